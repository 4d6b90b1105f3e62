//! The strategy against the reference done literally, call by call, with every flag.
//!
//! Left out are the wishes that the strategy's contract serves otherwise than the reference; the
//! README lists them, and the cases and the property test have them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    missing_docs,
    unreachable_pub
)]

mod rules;
mod tree;

use gpumm_allocator_buddy::Buddy;
use gpumm_contract::allocator::{Allocate, Allocator, Failure, Geometry, Mode};
use gpumm_contract::{AllocationId, Extent};
use rules::Flags;
use std::collections::BTreeMap;
use tree::{State, Tree};

const GRANULE: u64 = 4096;
const NUMBERS: u32 = 60;

struct Pair {
    buddy: Buddy,
    tree: Tree,
    live: BTreeMap<u32, Vec<usize>>,
    size: u64,
    /// Whether memory is ever given back clear.
    clears: bool,
}

/// A call, in chunks.
#[derive(Clone, Copy, Debug)]
struct Call {
    range: Option<(u64, u64)>,
    wanted: u64,
    least: u64,
    flags: Flags,
}

fn call(rng: &mut fastrand::Rng, size: u64) -> Call {
    let most = [size / 8, size / 2, size + 2][rng.usize(..3)].max(1);
    let mut call = Call {
        range: None,
        wanted: rng.u64(1..=most),
        least: 1,
        flags: Flags {
            range: false,
            topdown: rng.u8(..3) == 0,
            contiguous: rng.u8(..3) == 0,
            clear: rng.bool(),
            trim_disable: rng.u8(..4) == 0,
        },
    };
    if rng.u8(..3) == 0 {
        call.wanted = 1 << rng.u32(..5);
    }
    if rng.u8(..2) == 0 {
        call.least = 1 << rng.u32(..5);
    }
    if rng.u8(..3) == 0 {
        let (a, b) = (rng.u64(..=size), rng.u64(..=size));
        let (start, end) = (a.min(b), a.max(b));
        let end = match rng.u8(..4) {
            0 => start + call.wanted,
            _ => end,
        };
        if start < end && end <= size {
            call.range = Some((start, end));
            call.flags.range = true;
        }
    }
    call
}

/// Whether the contract has its own answer.
fn differs(call: &Call, size: u64) -> bool {
    let (start, end) = call.range.unwrap_or((0, size));
    if start + call.wanted == end {
        // Only the start needs the alignment.
        return start.is_multiple_of(call.least) && !end.is_multiple_of(call.least);
    }
    // The alignment of a small wish holds in a range and for one extent, too.
    call.wanted < call.least && (call.flags.range || call.flags.contiguous)
}

impl Pair {
    fn new(size: u64, clears: bool) -> Self {
        let mut buddy = Buddy::new();
        buddy
            .init(Geometry {
                size: size * GRANULE,
                granule: GRANULE,
            })
            .unwrap();
        Pair {
            buddy,
            tree: Tree::new(size),
            live: BTreeMap::new(),
            size,
            clears,
        }
    }

    fn sum(&self, list: &[usize]) -> u64 {
        list.iter().map(|&at| self.tree.nodes[at].size()).sum()
    }

    /// Searching harder never trims; the contract promises the size, so the end goes back.
    fn cut_end(&mut self, list: &mut Vec<usize>, wanted: u64) {
        while self.sum(list) > wanted {
            let excess = self.sum(list) - wanted;
            let last = list.pop().unwrap();
            let node = self.tree.nodes[last];
            if node.size() <= excess {
                self.tree.free(last);
            } else {
                list.extend(self.tree.trim(last, node.offset, node.size() - excess));
            }
        }
    }

    fn allocate(&mut self, number: u32, call: Call) {
        let (start, end) = call.range.unwrap_or((0, self.size));
        let Call { wanted, flags, .. } = call;
        let expected = self.tree.alloc(start, end, wanted, call.least, flags);
        let wish = Allocate {
            alignment: call.least * GRANULE,
            range: call.range.map(|(a, b)| (a * GRANULE, b * GRANULE)),
            mode: if flags.topdown {
                Mode::High
            } else {
                Mode::Best
            },
            contiguous: flags.contiguous,
            clear: flags.clear,
            keep_rounding: flags.trim_disable,
            ..Allocate::plain(AllocationId(number), wanted * GRANULE)
        };
        let mut extents = Vec::new();
        let answer = self.buddy.allocate(&wish, &mut extents);
        let Ok(mut list) = expected else {
            let no_space = matches!(answer, Err(Failure::NoSpace { .. }));
            assert!(no_space, "{call:?} {expected:?} {extents:?}");
            return;
        };
        if !flags.trim_disable {
            self.cut_end(&mut list, wanted);
        }
        assert_eq!(answer, Ok(()), "{call:?} {list:?}");
        let blocks = list.iter().map(|&at| {
            let node = &self.tree.nodes[at];
            (node.offset, node.size())
        });
        let extents = extents
            .iter()
            .map(|e| (e.offset / GRANULE, e.bytes / GRANULE));
        // A trimmed block and a gap-free allocation are one extent of several blocks.
        assert_eq!(
            joined(extents.collect()),
            joined(blocks.collect()),
            "{call:?}"
        );
        self.live.insert(number, list);
    }

    fn trim(&mut self, rng: &mut fastrand::Rng, number: u32) {
        let Some([at]) = self.live.get(&number).map(Vec::as_slice) else {
            return;
        };
        let node = self.tree.nodes[*at];
        let bytes = rng.u64(1..=node.size());
        let start = node.offset + rng.u64(..=node.size() - bytes);
        let list = self.tree.trim(*at, start, bytes);
        let mut kept = Vec::new();
        let answer = self.buddy.trim(
            AllocationId(number),
            Some(start * GRANULE),
            bytes * GRANULE,
            &mut kept,
        );
        assert_eq!(answer, Ok(()));
        let expected = Extent {
            offset: start * GRANULE,
            bytes: bytes * GRANULE,
        };
        assert_eq!(kept, [expected]);
        self.live.insert(number, list);
    }

    fn step(&mut self, rng: &mut fastrand::Rng) {
        let number = rng.u32(..NUMBERS);
        match (rng.u8(..100), self.live.remove(&number)) {
            (0..60, None) => {
                let call = call(rng, self.size);
                if !differs(&call, self.size) {
                    self.allocate(number, call);
                }
            }
            (60..90, Some(list)) => {
                let cleared = self.clears && rng.bool();
                self.tree.free_list(&list, cleared);
                let freed = self.buddy.free_as(AllocationId(number), cleared);
                assert_eq!(freed, Ok(()));
            }
            (90..98, Some(list)) => {
                self.live.insert(number, list);
                self.trim(rng, number);
            }
            (98.., list) => {
                list.map(|list| self.live.insert(number, list));
                if rng.u8(..4) == 0 {
                    let clear = self.clears && rng.bool();
                    self.tree.reset_clear(clear);
                    assert_eq!(self.buddy.reset_clear(clear), Ok(()));
                }
            }
            (_, list) => {
                list.map(|list| self.live.insert(number, list));
            }
        }
        self.compare();
    }

    /// Free and taken blocks, each with its class where it shows, are the same.
    fn compare(&self) {
        let seen = self.buddy.blocks(0, usize::MAX);
        let seen: Vec<_> = seen
            .iter()
            .map(|b| (b.extent.offset / GRANULE, b.extent.bytes / GRANULE))
            .collect();
        let leaves = self.tree.nodes.iter();
        let leaves = leaves.filter(|n| matches!(n.state, State::Free | State::Taken));
        let mut expected: Vec<_> = leaves.map(|n| (n.offset, n.size())).collect();
        expected.sort_unstable();
        assert_eq!(seen, expected);
        assert_eq!(
            self.buddy.clear_bytes(),
            self.tree.clear_avail * GRANULE,
            "clear"
        );
        for (&number, list) in &self.live {
            let blocks = self.buddy.blocks_of(AllocationId(number));
            let blocks: Vec<_> = blocks
                .iter()
                .map(|(e, clear)| (e.offset / GRANULE, *clear))
                .collect();
            let nodes = list.iter().map(|&at| &self.tree.nodes[at]);
            let expected: Vec<_> = nodes.map(|n| (n.offset, n.clear)).collect();
            assert_eq!(blocks, expected, "{number}");
        }
    }
}

/// Extents with what follows without a gap joined.
fn joined(list: Vec<(u64, u64)>) -> Vec<(u64, u64)> {
    let mut joined: Vec<(u64, u64)> = Vec::new();
    for (offset, size) in list {
        match joined.last_mut() {
            Some(last) if last.0 + last.1 == offset => last.1 += size,
            _ => joined.push((offset, size)),
        }
    }
    joined
}

#[test]
fn every_answer_is_that_of_the_literal_reference() {
    let arenas = [
        (1, 500),
        (7, 8_000),
        (16, 20_000),
        (31, 20_000),
        (48, 20_000),
        (64, 20_000),
        (100, 10_000),
        (160, 5_000),
    ];
    for (size, steps) in arenas {
        for seed in 0..4 {
            let mut rng = fastrand::Rng::with_seed(seed << 32 | size);
            let mut pair = Pair::new(size, seed != 0);
            for step in 0..steps / 4 {
                pair.step(&mut rng);
                if step % 500 == 0 {
                    assert_eq!(pair.buddy.validate(), Ok(()));
                }
            }
        }
    }
}
