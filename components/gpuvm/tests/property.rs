//! Random requests against a map of pages, and steps against an oracle written from the rules
//! alone: what the pages of the request show decides, one by one.
#![allow(clippy::unwrap_used)]

mod common;

use common::{VM, span};
use fastrand::Rng;
use gpumm_contract::BufferId;
use gpumm_contract::vm::{
    AddressSpaces, Bind, Mapping, Op, PAGE, Remap, Unmap, VirtualMemory, VmConfig, VmError,
};
use gpumm_gpuvm::GpuVm;

/// What a page shows.
#[derive(Clone, Copy, PartialEq)]
struct Page {
    /// Pages of one mapping have one number.
    mapping: u64,
    buffer: Option<u64>,
    page: u64,
    attributes: u8,
}

/// A map of pages.
#[derive(Clone)]
struct Pages {
    pages: Vec<Option<Page>>,
    next: u64,
}

impl Pages {
    /// The whole mapping that a page belongs to: from where to where.
    fn whole(&self, at: usize) -> (usize, usize) {
        let mapping = self.pages[at].unwrap().mapping;
        let same = |at: &usize| self.pages[*at].is_some_and(|p| p.mapping == mapping);
        let start = (0..=at).rev().take_while(same).last().unwrap();
        let end = (at..self.pages.len()).take_while(same).last().unwrap() + 1;
        (start, end)
    }

    fn mapping(&self, start: usize, end: usize) -> Mapping {
        let first = self.pages[start].unwrap();
        Mapping {
            at: span(start as u64, end as u64),
            buffer: first.buffer.map(BufferId),
            offset: first.page * PAGE,
            attributes: first.attributes,
        }
    }

    fn all(&self) -> Vec<Mapping> {
        let (mut found, mut at) = (Vec::new(), 0);
        while at < self.pages.len() {
            if self.pages[at].is_none() {
                at += 1;
                continue;
            }
            let (start, end) = self.whole(at);
            found.push(self.mapping(start, end));
            at = end;
        }
        found
    }

    /// What a request makes of the pages, and the steps.
    fn bind(&mut self, bind: &Bind) -> Vec<Op> {
        let at = match bind {
            Bind::Map(m) => m.at,
            Bind::Unmap(at) => *at,
        };
        let (from, to) = (
            (at.start / PAGE) as usize,
            (at.end().unwrap() / PAGE) as usize,
        );
        let number = self.next;
        self.next += 2;
        let shown = |at: usize| match bind {
            Bind::Unmap(_) => None,
            Bind::Map(m) => Some(Page {
                mapping: number,
                buffer: m.buffer.map(|b| b.0),
                page: m.offset / PAGE + (at - from) as u64,
                attributes: m.attributes,
            }),
        };
        let mut steps = Vec::new();
        let mut at = from;
        while at < to {
            if self.pages[at].is_none() {
                at += 1;
                continue;
            }
            let (start, end) = self.whole(at);
            let (low, high) = (start.max(from), end.min(to));
            let stays = |at: usize| {
                let (old, new) = (self.pages[at].unwrap(), shown(at));
                old.buffer.is_some()
                    && new.is_some_and(|new| {
                        (new.buffer, new.page, new.attributes)
                            == (old.buffer, old.page, old.attributes)
                    })
            };
            let unmap = Unmap {
                mapping: self.mapping(start, end),
                keep: (low..high).all(stays),
            };
            steps.push(match (low, high) == (start, end) {
                true => Op::Unmap(unmap),
                false => Op::Remap(Remap {
                    unmap,
                    hole: span(low as u64, high as u64),
                }),
            });
            // Behind the request begins a mapping of its own.
            for page in self.pages[high..end].iter_mut().flatten() {
                page.mapping = number + 1;
            }
            at = high;
        }
        (from..to).for_each(|at| self.pages[at] = shown(at));
        if let Bind::Map(new) = bind {
            steps.push(Op::Map(*new));
        }
        steps
    }

    fn count(&self, buffer: Option<u64>) -> usize {
        let all = self.all();
        all.iter()
            .filter(|m| buffer.is_none() || m.buffer.map(|b| b.0) == buffer)
            .count()
    }
}

/// How requests look.
struct Profile {
    pages: u64,
    longest: u64,
    buffers: u64,
    /// One in so many is an unmap.
    unmaps: u32,
}

fn random(rng: &mut Rng, p: &Profile) -> Bind {
    // Mostly short ones, so that there are many mappings, and a few that end many.
    let longest = match rng.u32(0..1000) {
        0 => p.pages,
        1..10 => p.pages.min(p.longest * 40),
        _ => p.longest,
    };
    let length = rng.u64(1..=longest);
    let start = rng.u64(0..=p.pages - length);
    let at = span(start, start + length);
    if rng.u32(0..p.unmaps) == 0 {
        return Bind::Unmap(at);
    }
    // Often what continues a neighbour, so that keep is met.
    let offset = match rng.u8(0..3) {
        0 => rng.u64(0..p.pages),
        _ => start,
    };
    Bind::Map(Mapping {
        at,
        buffer: (rng.u8(0..16) != 0).then(|| BufferId(rng.u64(0..p.buffers))),
        offset: offset * PAGE,
        attributes: rng.u8(0..2) * rng.u8(0..2),
    })
}

fn make(p: &Profile, mappings: u32, per_buffer: u32) -> (GpuVm, Pages) {
    let mut vms = GpuVm::default();
    let config = VmConfig {
        range: span(0, p.pages),
        kernel: span(0, 0),
        mappings,
        mappings_per_buffer: per_buffer,
    };
    vms.create(VM, config).unwrap();
    for buffer in 0..p.buffers {
        vms.obtain(VM, BufferId(buffer), false).unwrap();
    }
    let pages = vec![None; p.pages as usize];
    (vms, Pages { pages, next: 0 })
}

fn compare(vms: &GpuVm, pages: &Pages, p: &Profile) {
    vms.validate_structure().unwrap();
    let all = pages.all();
    assert_eq!(vms.find_range(VM, span(0, p.pages), usize::MAX), all);
    for buffer in 0..p.buffers {
        let buffer = BufferId(buffer);
        let own = all.iter().filter(|m| m.buffer == Some(buffer));
        assert!(vms.mappings_of(VM, buffer).unwrap().iter().eq(own.clone()));
    }
}

fn run(seed: u64, requests: u64, p: &Profile) {
    let mut rng = Rng::with_seed(seed);
    let (mut vms, mut pages) = make(p, 1 << 20, 1 << 20);
    let mut steps = Vec::new();
    for done in 0..requests {
        let bind = random(&mut rng, p);
        steps.clear();
        vms.bind(VM, &[bind], &mut steps).unwrap();
        assert_eq!(steps, pages.bind(&bind), "{bind:?}");
        if done % (p.pages * 4) == 0 {
            compare(&vms, &pages, p);
        }
        if done % 64 == 0 {
            let start = rng.u64(0..p.pages);
            let at = span(start, rng.u64(start + 1..=p.pages));
            let overlap =
                |m: &&Mapping| m.at.start < at.end().unwrap() && at.start < m.at.end().unwrap();
            let found = vms.find_range(VM, at, 3);
            let from = start.saturating_sub(1) as usize;
            let near = (from..p.pages as usize)
                .find(|&at| pages.pages[at].is_some() && at as u64 >= start);
            let first = near
                .map(|at| pages.whole(at))
                .map(|(s, e)| pages.mapping(s, e));
            assert_eq!(found.first(), first.as_ref().filter(overlap));
        }
    }
    compare(&vms, &pages, p);
}

/// How many requests, of those in a release build.
fn share(requests: u64) -> u64 {
    requests / if cfg!(debug_assertions) { 20 } else { 1 }
}

#[test]
fn g_38_any_requests_in_a_small_space() {
    let p = Profile {
        pages: 48,
        longest: 12,
        buffers: 2,
        unmaps: 4,
    };
    run(1, share(400_000), &p);
}

#[test]
fn g_38_any_requests_with_hundreds_of_mappings() {
    let p = Profile {
        pages: 2048,
        longest: 8,
        buffers: 5,
        unmaps: 3,
    };
    run(2, share(400_000), &p);
}

/// Three levels of nodes, which come and go.
#[test]
fn g_38_any_requests_with_thousands_of_mappings() {
    let p = Profile {
        pages: 1 << 15,
        longest: 3,
        buffers: 40,
        unmaps: 6,
    };
    run(3, share(600_000), &p);
}

/// Lists with limits: what is refused leaves nothing behind.
#[test]
fn lists_are_carried_out_whole_or_not_at_all() {
    let p = Profile {
        pages: 64,
        longest: 6,
        buffers: 3,
        unmaps: 6,
    };
    let mut rng = Rng::with_seed(4);
    let (mappings, per_buffer) = (20, 9);
    let (mut vms, mut pages) = make(&p, mappings, per_buffer);
    let mut refusals = [0; 2];
    for _ in 0..share(100_000) {
        let list: Vec<Bind> = (0..rng.usize(1..6)).map(|_| random(&mut rng, &p)).collect();
        let (mut next, mut expected, mut refused) = (pages.clone(), Vec::new(), None);
        for (number, bind) in list.iter().enumerate() {
            expected.extend(next.bind(bind));
            let buffers = (0..p.buffers).any(|b| next.count(Some(b)) > per_buffer as usize);
            if next.count(None) > mappings as usize {
                refused = Some((number as u32, VmError::TooManyMappings));
            } else if buffers {
                refused = Some((number as u32, VmError::TooManyOfBuffer));
            }
            if refused.is_some() {
                break;
            }
        }
        let done = common::bind(&mut vms, &list);
        match refused {
            None => {
                pages = next;
                assert_eq!(done, Ok(expected));
            }
            Some((request, why)) => {
                refusals[usize::from(why == VmError::TooManyMappings)] += 1;
                assert_eq!(done.map_err(|e| (e.request, e.why)), Err((request, why)));
            }
        }
        compare(&vms, &pages, &p);
    }
    assert!(refusals.iter().all(|&n| n > 100), "{refusals:?}");
}

/// What a keeper answers must not depend on how it came to where it is.
#[test]
fn a_keeper_that_adopted_the_mappings_answers_the_same() {
    let p = Profile {
        pages: 4096,
        longest: 8,
        buffers: 7,
        unmaps: 3,
    };
    let mut rng = Rng::with_seed(5);
    let (mut old, _) = make(&p, 1 << 20, 1 << 20);
    for _ in 0..5_000 {
        old.bind(VM, &[random(&mut rng, &p)], &mut Vec::new())
            .unwrap();
    }
    let (mut new, _) = make(&p, 1 << 20, 1 << 20);
    let mut all = old.find_range(VM, span(0, p.pages), usize::MAX);
    rng.shuffle(&mut all);
    all.iter().for_each(|&m| new.adopt(VM, m).unwrap());
    for _ in 0..5_000 {
        let bind = [random(&mut rng, &p)];
        let (mut one, mut other) = (Vec::new(), Vec::new());
        old.bind(VM, &bind, &mut one).unwrap();
        new.bind(VM, &bind, &mut other).unwrap();
        assert_eq!(one, other);
    }
    for buffer in 0..p.buffers {
        let (mut one, mut other) = (Vec::new(), Vec::new());
        old.unmap_buffer(VM, BufferId(buffer), &mut one).unwrap();
        new.unmap_buffer(VM, BufferId(buffer), &mut other).unwrap();
        assert_eq!(one, other);
        assert!(!one.is_empty());
    }
    old.validate_structure().unwrap();
    new.validate_structure().unwrap();
}

/// Four levels of nodes, built up and taken down: mappings in slots of their own, so that a set of
/// numbers says what is mapped.
#[test]
fn a_deep_tree_grows_and_shrinks() {
    const WIDE: u64 = 4;
    let count = share(400_000);
    let p = Profile {
        pages: count * WIDE,
        longest: 1,
        buffers: 100,
        unmaps: 1,
    };
    let (mut vms, _) = make(&p, 1 << 20, 1 << 20);
    let mut rng = Rng::with_seed(6);
    let mut mapped = std::collections::BTreeSet::new();
    let mut steps = Vec::new();
    let at = |from: u64, to: u64| span(from * WIDE, to * WIDE - 1);
    let check = |vms: &GpuVm, mapped: &std::collections::BTreeSet<u64>| {
        vms.validate_structure().unwrap();
        let all = vms.find_range(VM, span(0, p.pages), usize::MAX);
        let starts = all.iter().map(|m| m.at.start / PAGE / WIDE);
        assert!(starts.eq(mapped.iter().copied()));
    };
    let mut order: Vec<u64> = (0..count).collect();
    // The lower half ascending, the rest in any order.
    rng.shuffle(&mut order[count as usize / 2..]);
    let map = |nth: u64| {
        Bind::Map(Mapping {
            at: at(nth, nth + 1),
            buffer: Some(BufferId(nth % p.buffers)),
            offset: 0,
            attributes: 0,
        })
    };
    for &nth in &order {
        vms.bind(VM, &[map(nth)], &mut steps).unwrap();
        mapped.insert(nth);
    }
    check(&vms, &mapped);
    // Three of four go one by one, some come back, and then ranges go.
    for _ in 0..2 {
        for _ in 0..count * 3 / 2 {
            let nth = rng.u64(0..count);
            vms.bind(VM, &[Bind::Unmap(at(nth, nth + 1))], &mut steps)
                .unwrap();
            mapped.remove(&nth);
        }
        check(&vms, &mapped);
        for _ in 0..count / 4 {
            let nth = rng.u64(0..count);
            vms.bind(VM, &[map(nth)], &mut steps).unwrap();
            mapped.insert(nth);
        }
        check(&vms, &mapped);
    }
    while !mapped.is_empty() {
        let from = rng.u64(0..count);
        let to = count.min(from + rng.u64(1..count / 8));
        steps.clear();
        vms.bind(VM, &[Bind::Unmap(at(from, to))], &mut steps)
            .unwrap();
        let gone: Vec<u64> = mapped.range(from..to).copied().collect();
        assert_eq!(steps.len(), gone.len());
        gone.iter().for_each(|nth| assert!(mapped.remove(nth)));
        if mapped.len() < 64 {
            steps.clear();
            vms.bind(VM, &[Bind::Unmap(at(0, count))], &mut steps)
                .unwrap();
            mapped.clear();
        }
        check(&vms, &mapped);
    }
}

/// Ranges that end wherever a leaf or a node can end.
#[test]
fn whole_leaves_end_between_any_neighbours() {
    let p = Profile {
        pages: 6_000,
        longest: 1,
        buffers: 3,
        unmaps: 1,
    };
    let (mut vms, _) = make(&p, 1 << 20, 1 << 20);
    let map = |nth: u64| {
        Bind::Map(Mapping {
            at: span(nth, nth + 1),
            buffer: Some(BufferId(nth % p.buffers)),
            offset: 0,
            attributes: 0,
        })
    };
    let all: Vec<Bind> = (0..p.pages).map(map).collect();
    vms.bind(VM, &all, &mut Vec::new()).unwrap();
    for end in 1..p.pages {
        let start = end.saturating_sub(200);
        let mut vms = vms.clone();
        vms.bind(VM, &[Bind::Unmap(span(start, end))], &mut Vec::new())
            .unwrap();
        vms.validate_structure().unwrap();
        assert_eq!(
            vms.find_next(VM, end * PAGE).map(|m| m.at),
            Some(span(end, end + 1))
        );
        assert_eq!(vms.mappings(VM) as u64, p.pages - (end - start));
    }
}
