//! B-22: every answer against a model that looks at every granule and keeps the holes in a list.
#![allow(clippy::unwrap_used, missing_docs)]

use gpumm_allocator_range::RangeManager;
use gpumm_contract::allocator::{
    Allocate, Allocator, Block, Failure, Geometry, Mode, Refusal, Scan, Statistics,
};
use gpumm_contract::{AllocationId, Extent};
use std::collections::BTreeMap;

/// Taken granules: start and length.
type Piece = (u64, u64);

#[derive(Clone, Debug, PartialEq)]
struct Live {
    pieces: Vec<Piece>,
    colour: u64,
}

/// Units: granules.
#[derive(Clone, Debug, PartialEq)]
struct Model {
    size: u64,
    granule: u64,
    guard: u64,
    live: BTreeMap<u32, Live>,
    /// Oldest first.
    holes: Vec<Piece>,
}

impl Model {
    fn new(size: u64, granule: u64, guard: u64) -> Self {
        Model {
            size,
            granule,
            guard,
            live: BTreeMap::new(),
            holes: vec![(0, size)],
        }
    }

    fn geometry(&self) -> Geometry {
        Geometry {
            size: self.size * self.granule,
            granule: self.granule,
        }
    }

    /// Who has a granule, if it is in the arena.
    fn owner(&self, granule: u64) -> Option<u32> {
        let has = |live: &Live| {
            let mut pieces = live.pieces.iter();
            pieces.any(|&(start, units)| (start..start + units).contains(&granule))
        };
        self.live
            .iter()
            .find(|(_, live)| has(live))
            .map(|(&n, _)| n)
    }

    /// The place in a stretch of free granules, found by trying every one.
    fn place(&self, (start, units): Piece, wish: &Allocate) -> Option<u64> {
        let (low, high) = wish.range.unwrap_or((0, self.geometry().size));
        let wanted = wish.bytes / self.granule;
        let step = wish.alignment.max(self.granule) / self.granule;
        let foreign = |granule: u64| {
            let owner = self.owner(granule).and_then(|n| self.live.get(&n));
            owner.is_some_and(|live| live.colour != wish.colour)
        };
        let below = start > 0 && foreign(start - 1);
        let above = foreign(start + units);
        let fits = |&at: &u64| {
            let end = at + wanted;
            at % step == 0
                && at * self.granule >= low
                && end * self.granule <= high
                && (!below || at >= start + self.guard)
                && (!above || end + self.guard <= start + units)
        };
        let last = (start + units).checked_sub(wanted)?;
        let mut places = start..=last;
        match wish.mode {
            Mode::High => places.rev().find(fits),
            _ => places.find(fits),
        }
    }

    /// The hole that serves a wish, by its number in the list, and the place.
    fn find(&self, wish: &Allocate) -> Option<(usize, u64)> {
        let (low, high) = wish.range.unwrap_or((0, self.geometry().size));
        let (low, high) = (low.div_ceil(self.granule), high / self.granule);
        let units = wish.bytes / self.granule;
        let hole = |n: usize| self.holes[n];
        let mut order: Vec<usize> = (0..self.holes.len()).rev().collect();
        // Sorting is stable: ties stay newest first.
        match wish.mode {
            Mode::Best => order.sort_by_key(|&n| hole(n).1),
            Mode::BestLow => order.sort_by_key(|&n| (hole(n).1, hole(n).0)),
            Mode::Low => order.sort_by_key(|&n| hole(n).0),
            Mode::High => order.sort_by_key(|&n| std::cmp::Reverse(hole(n).0)),
            Mode::Evict => (),
        }
        let by_place = matches!(wish.mode, Mode::Low | Mode::High);
        let reaches = |n: usize| hole(n).0 < high && hole(n).0 + hole(n).1 > low;
        order.retain(|&n| hole(n).1 >= units && (!by_place || reaches(n)));
        if wish.once && high.checked_sub(low) != Some(units) {
            order.truncate(1);
        }
        let found = |n: usize| Some((n, self.place(hole(n), wish)?));
        order.into_iter().find_map(found)
    }

    /// What the strategy has to answer: the place, or no space.
    fn allocate(&mut self, wish: &Allocate) -> Option<u64> {
        let (n, at) = self.find(wish)?;
        let (start, units) = self.holes.remove(n);
        let taken = wish.bytes / self.granule;
        let end = at + taken;
        let rest = [(start, at - start), (end, start + units - end)];
        self.holes.extend(rest.iter().filter(|rest| rest.1 > 0));
        let live = Live {
            pieces: vec![(at, taken)],
            colour: wish.colour,
        };
        self.live.insert(wish.number.0, live);
        Some(at)
    }

    fn free(&mut self, number: u32) -> bool {
        let Some(live) = self.live.remove(&number) else {
            return false;
        };
        for (start, units) in live.pieces {
            let (mut low, mut high) = (start, start + units);
            self.holes.retain(|&(start, units)| {
                let end = start + units;
                let beside = end == low || start == high;
                (low, high) = match beside {
                    true => (low.min(start), high.max(end)),
                    false => (low, high),
                };
                !beside
            });
            self.holes.push((low, high - low));
        }
        true
    }

    fn resize(&mut self, size: u64) -> bool {
        let end = |live: &Live| live.pieces.iter().map(|p| p.0 + p.1).max().unwrap();
        let used = self.live.values().map(end).max().unwrap_or(0);
        if size < used {
            return false;
        }
        if size != self.size {
            self.holes.retain(|&(start, _)| start < used);
            if size > used {
                self.holes.push((used, size - used));
            }
            self.size = size;
        }
        true
    }

    /// A fresh strategy with the model's allocations in an order; the model becomes what it knows.
    fn restore(&mut self, rng: &mut fastrand::Rng) -> RangeManager {
        let mut range = RangeManager::new().with_guard(self.guard * self.granule);
        range.restore_begin(self.geometry()).unwrap();
        let mut parts: Vec<_> = self.live.iter().collect();
        rng.shuffle(&mut parts);
        let extent = |&(start, units): &Piece| Extent {
            offset: start * self.granule,
            bytes: units * self.granule,
        };
        for (&number, live) in parts {
            let extents: Vec<_> = live.pieces.iter().map(extent).collect();
            range.restore_part(AllocationId(number), &extents).unwrap();
        }
        range.restore_end().unwrap();
        self.live.values_mut().for_each(|live| live.colour = 0);
        self.holes.sort_unstable_by(|a, b| b.cmp(a));
        range
    }

    /// Allocations of several pieces, as another strategy makes them.
    fn foreign(&mut self, rng: &mut fastrand::Rng) {
        self.live.clear();
        self.holes.clear();
        let (mut at, mut pieces) = (0, Vec::new());
        while at < self.size {
            let units = rng.u64(1..=self.size / 8 + 1).min(self.size - at);
            match (rng.u8(..3), self.holes.last_mut()) {
                (0, Some(last)) if last.0 + last.1 == at => last.1 += units,
                (0, _) => self.holes.push((at, units)),
                _ => pieces.push((at, units)),
            }
            at += units;
        }
        rng.shuffle(&mut pieces);
        for number in (0..).step_by(3) {
            let count = rng.usize(1..=3).min(pieces.len());
            if count == 0 {
                break;
            }
            let pieces = pieces.split_off(pieces.len() - count);
            self.live.insert(number, Live { pieces, colour: 0 });
        }
    }

    /// The free stretch around a piece while others are regarded as gone.
    fn stretch(&self, added: &[u32], piece: Piece) -> Piece {
        let gone = |granule: u64| {
            granule < self.size && self.owner(granule).is_none_or(|n| added.contains(&n))
        };
        let (mut low, mut high) = (piece.0, piece.0 + piece.1);
        while low > 0 && gone(low - 1) {
            low -= 1;
        }
        while gone(high) {
            high += 1;
        }
        (low, high - low)
    }

    #[track_caller]
    fn compare(&self, range: &RangeManager, page: usize) {
        assert_eq!(range.validate(), Ok(()));
        let mut pieces: Vec<(Piece, Option<u32>)> = Vec::new();
        pieces.extend(self.holes.iter().map(|&hole| (hole, None)));
        for (&number, live) in &self.live {
            pieces.extend(live.pieces.iter().map(|&piece| (piece, Some(number))));
        }
        pieces.sort_unstable();
        let block = |&((start, units), owner): &(Piece, Option<u32>)| Block {
            extent: Extent {
                offset: start * self.granule,
                bytes: units * self.granule,
            },
            owner: owner.map(AllocationId),
        };
        let blocks: Vec<Block> = pieces.iter().map(block).collect();
        let (mut seen, mut from) = (Vec::new(), 0);
        loop {
            let shown = range.blocks(from, page);
            seen.extend_from_slice(&shown);
            if shown.len() < page {
                break;
            }
            from = shown[page - 1].extent.end().unwrap();
        }
        assert_eq!(seen, blocks);
        let free: u64 = self.holes.iter().map(|hole| hole.1).sum();
        let largest = self.holes.iter().map(|hole| hole.1).max();
        let expected = Statistics {
            used_bytes: (self.size - free) * self.granule,
            free_bytes: free * self.granule,
            largest_hole: largest.unwrap_or(0) * self.granule,
            allocations: self.live.len() as u64,
            holes: self.holes.len() as u64,
        };
        assert_eq!(range.statistics(), expected);
    }
}

const NUMBERS: u32 = 30;

/// A random wish within the rules.
fn wish(rng: &mut fastrand::Rng, model: &Model) -> Allocate {
    let most = match rng.u8(..4) {
        0 => model.size + 2,
        _ => model.size / 6 + 2,
    };
    let mut wish = Allocate::plain(
        AllocationId(rng.u32(..NUMBERS)),
        rng.u64(1..=most) * model.granule,
    );
    wish.mode = Mode::ALL[rng.usize(..5)];
    wish.once = rng.u8(..6) == 0;
    wish.colour = rng.u64(..3);
    wish.contiguous = rng.bool();
    wish.keep_rounding = rng.bool();
    wish.clear = rng.bool();
    match rng.u8(..4) {
        0 => wish.alignment = model.granule << rng.u32(..5),
        1 => wish.alignment = model.granule * rng.u64(1..12),
        _ => (),
    }
    if rng.u8(..3) == 0 {
        let (a, b) = (rng.u64(..=model.size), rng.u64(..=model.size));
        let (low, high) = (a.min(b) * model.granule, a.max(b) * model.granule);
        let exact = low + wish.bytes;
        if rng.bool() && exact <= model.geometry().size {
            wish.range = Some((low, exact));
        } else if low < high {
            wish.range = Some((low + rng.u64(..model.granule), high));
        }
    }
    wish
}

struct Pair {
    model: Model,
    range: RangeManager,
}

impl Pair {
    fn allocate(&mut self, wish: &Allocate) -> Option<u64> {
        let Pair { model, range } = self;
        let mut extents = vec![Extent::default()];
        let answer = range.allocate(wish, &mut extents);
        if model.live.contains_key(&wish.number.0) {
            assert_eq!(answer, Err(Failure::Refused(Refusal::NumberInUse)));
            return None;
        }
        let largest = model.holes.iter().map(|hole| hole.1).max().unwrap_or(0);
        let place = model.allocate(wish);
        match place {
            Some(at) => {
                assert_eq!(answer, Ok(()), "{wish:?} at {at}");
                let extent = Extent {
                    offset: at * model.granule,
                    bytes: wish.bytes,
                };
                assert_eq!(extents[1..], [extent], "{wish:?}");
            }
            None => {
                let largest_hole = largest * model.granule;
                assert_eq!(answer, Err(Failure::NoSpace { largest_hole }), "{wish:?}");
            }
        }
        place
    }

    fn free(&mut self, number: u32) {
        let freed = self.model.free(number);
        let expected = match freed {
            true => Ok(()),
            false => Err(Refusal::NumberUnknown),
        };
        assert_eq!(self.range.free(AllocationId(number)), expected);
    }

    /// A whole eviction: what is found is what the granules say, and afterwards the wish fits.
    fn scan(&mut self, rng: &mut fastrand::Rng) {
        let wish = wish(rng, &self.model);
        let scan = Scan {
            bytes: wish.bytes,
            alignment: wish.alignment,
            range: wish.range,
            mode: wish.mode,
            colour: wish.colour,
        };
        let plain = scan.wish(AllocationId(NUMBERS));
        if let Err(why) = self.range.scan_begin(&scan) {
            let (low, high) = plain.range.unwrap_or((0, self.model.geometry().size));
            let granule = self.model.granule;
            let whole = (high / granule).saturating_sub(low.div_ceil(granule));
            assert_eq!(why, Refusal::Range);
            assert!(whole < plain.bytes / granule, "{scan:?}");
            return;
        }
        let mut order: Vec<u32> = self.model.live.keys().copied().collect();
        rng.shuffle(&mut order);
        let stop = rng.u8(..4) != 0;
        let (mut added, mut hit) = (Vec::new(), None);
        for number in order {
            let mut found = false;
            let pieces = self.model.live[&number].pieces.clone();
            // Of several pieces each is gone when its turn comes.
            for (n, &piece) in pieces.iter().enumerate() {
                let whole = self.model.live.get_mut(&number).unwrap();
                let later = whole.pieces.split_off(n + 1);
                let kept = Live {
                    pieces: later,
                    colour: whole.colour,
                };
                self.model.live.insert(NUMBERS + 1, kept);
                let all = [&added[..], &[number]].concat();
                let stretch = self.model.stretch(&all, piece);
                // What is added has no colour to keep away from.
                let mut rest = self.model.clone();
                rest.live.retain(|n, _| !all.contains(n));
                if let Some(at) = rest.place(stretch, &plain) {
                    hit = Some((at, at + plain.bytes / self.model.granule));
                    found = true;
                }
                let later = self.model.live.remove(&(NUMBERS + 1)).unwrap();
                let whole = self.model.live.get_mut(&number).unwrap();
                whole.pieces.extend(later.pieces);
            }
            assert_eq!(
                self.range.scan_add(AllocationId(number)),
                Ok(found),
                "{scan:?}"
            );
            assert_eq!(self.range.validate(), Ok(()));
            added.push(number);
            if found && stop {
                break;
            }
        }
        let mut victims = Vec::new();
        for &number in added.iter().rev() {
            let overlaps = |&(start, units): &Piece| {
                hit.is_some_and(|(low, high)| start < high && low < start + units)
            };
            let goes = self.model.live[&number].pieces.iter().any(overlaps);
            assert_eq!(self.range.scan_remove(AllocationId(number)), Ok(goes));
            assert_eq!(self.range.validate(), Ok(()));
            victims.extend(goes.then_some(number));
        }
        self.model.compare(&self.range, 7);
        if hit.is_none() || rng.bool() {
            return;
        }
        victims.iter().for_each(|&number| self.free(number));
        while let Some(AllocationId(number)) = self.range.scan_colour().unwrap() {
            assert!(self.model.guard > 0);
            assert_ne!(self.model.live[&number].colour, plain.colour);
            self.free(number);
        }
        let number = (0..NUMBERS).find(|n| !self.model.live.contains_key(n));
        let evicting = Allocate {
            number: AllocationId(number.unwrap_or(NUMBERS)),
            mode: Mode::Evict,
            ..plain
        };
        assert!(self.allocate(&evicting).is_some(), "{evicting:?}");
    }

    fn step(&mut self, rng: &mut fastrand::Rng) {
        match rng.u32(..100) {
            0..50 => _ = self.allocate(&wish(rng, &self.model)),
            50..90 => self.free(rng.u32(..NUMBERS)),
            90..95 => self.scan(rng),
            95..97 => {
                let units = (self.model.size + rng.u64(..30)).saturating_sub(15).max(1);
                let geometry = Geometry {
                    size: units * self.model.granule,
                    ..self.model.geometry()
                };
                let expected = match self.model.resize(units) {
                    true => Ok(()),
                    false => Err(Refusal::Geometry),
                };
                assert_eq!(self.range.resize(geometry), expected);
            }
            97 => {
                let (old, new) = (rng.u32(..NUMBERS), rng.u32(..NUMBERS));
                let known = self.model.live.contains_key(&old);
                let expected = match known {
                    true if self.model.live.contains_key(&new) => Err(Refusal::NumberInUse),
                    true => Ok(()),
                    false => Err(Refusal::NumberUnknown),
                };
                let answer = self.range.replace(AllocationId(old), AllocationId(new));
                assert_eq!(answer, expected);
                if expected.is_ok() {
                    let live = self.model.live.remove(&old).unwrap();
                    self.model.live.insert(new, live);
                }
            }
            98 => self.range = self.model.restore(rng),
            _ => {
                self.model.foreign(rng);
                self.range = self.model.restore(rng);
            }
        }
    }
}

#[test]
fn b_22_every_answer_agrees_with_the_model() {
    let arenas = [
        (1, 1, 0, 1_000),
        (9, 4096, 1, 4_000),
        (40, 1, 0, 12_000),
        (40, 4096, 1, 12_000),
        (100, 1 << 20, 0, 10_000),
        (100, 1, 2, 10_000),
        (120, 1 << 40, 3, 6_000),
        (300, 4096, 0, 4_000),
    ];
    for (seed, (size, granule, guard, steps)) in arenas.into_iter().enumerate() {
        let mut rng = fastrand::Rng::with_seed(seed as u64);
        let model = Model::new(size, granule, guard);
        let mut range = RangeManager::new().with_guard(guard * granule);
        range.init(model.geometry()).unwrap();
        let mut pair = Pair { model, range };
        for _ in 0..steps {
            pair.step(&mut rng);
            pair.model.compare(&pair.range, rng.usize(1..40));
        }
        for number in 0..=NUMBERS.max(3 * size as u32) {
            pair.free(number);
        }
        pair.model.compare(&pair.range, 1);
        assert_eq!(pair.range.statistics().holes, 1);
    }
}
