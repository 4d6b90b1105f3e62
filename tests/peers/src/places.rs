//! What a run's answers say of its quality: refusals, holes, the highest byte.

use gpumm_contract::{Extent, Geometry};
use gpumm_tests::workloads::{Kind, Op};

/// The answers of a run so far.
#[derive(Debug)]
pub struct Places {
    arena: Geometry,
    live: Vec<(u64, Vec<Extent>)>,
    requested: u64,
    /// Allocations that were refused.
    pub refusals: u64,
    /// Those of them that were refused although the bytes were free: the arena less the sum of
    /// the live requested bytes was enough.
    pub refusals_with_room: u64,
    /// The highest byte that an allocation ever reached, plus one.
    pub high_water: u64,
    /// The most bytes that were live at once, as requested.
    pub peak: u64,
}

impl Places {
    /// For ids below a bound.
    pub fn new(arena: Geometry, ids: usize) -> Self {
        Places {
            arena,
            live: vec![(0, Vec::new()); ids],
            requested: 0,
            refusals: 0,
            refusals_with_room: 0,
            high_water: 0,
            peak: 0,
        }
    }

    /// Enters an answer.
    ///
    /// # Panics
    /// When an extent lies outside the arena or an answer is too small: no figure counts then.
    pub fn see(&mut self, op: &Op, extents: &[Extent]) {
        let (bytes, kept) = &mut self.live[op.id as usize];
        if op.kind == Kind::Free {
            self.requested -= std::mem::take(bytes);
            kept.clear();
            return;
        }
        if extents.is_empty() {
            self.refusals += 1;
            let room = self.arena.size - self.requested >= op.bytes;
            self.refusals_with_room += u64::from(room);
            return;
        }
        let sum: u64 = extents.iter().map(|extent| extent.bytes).sum();
        let end = extents.iter().filter_map(Extent::end).max().unwrap_or(0);
        assert!(
            sum >= op.bytes && end <= self.arena.size,
            "{op:?}: {extents:?}"
        );
        *bytes = op.bytes;
        kept.clear();
        kept.extend_from_slice(extents);
        self.requested += op.bytes;
        self.peak = self.peak.max(self.requested);
        self.high_water = self.high_water.max(end);
    }

    /// One less the share of the free bytes that the largest hole has: 0 is one hole, near 1 dust.
    ///
    /// # Panics
    /// When two live extents overlap.
    pub fn external_fragmentation(&self) -> f64 {
        let all = self.live.iter().flat_map(|(_, extents)| extents);
        let mut taken: Vec<&Extent> = all.collect();
        taken.sort();
        let (mut at, mut free, mut largest) = (0, 0, 0);
        let end = Extent {
            offset: self.arena.size,
            bytes: 0,
        };
        for extent in taken.into_iter().chain([&end]) {
            assert!(extent.offset >= at, "{extent:?} overlaps its neighbour");
            free += extent.offset - at;
            largest = largest.max(extent.offset - at);
            at = extent.offset + extent.bytes;
        }
        if free == 0 {
            0.0
        } else {
            1.0 - largest as f64 / free as f64
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn op(kind: Kind, id: u32, bytes: u64) -> Op {
        let align_log2 = 0;
        Op {
            bytes,
            id,
            kind,
            align_log2,
        }
    }

    #[test]
    fn refusals_and_holes_are_counted() {
        let arena = Geometry {
            size: 100,
            granule: 1,
        };
        let mut places = Places::new(arena, 3);
        let at = |offset, bytes| [Extent { offset, bytes }];
        places.see(&op(Kind::Allocate, 0, 10), &at(0, 16));
        places.see(&op(Kind::Allocate, 1, 20), &at(36, 20));
        places.see(&op(Kind::Allocate, 2, 70), &[]);
        places.see(&op(Kind::Allocate, 2, 71), &[]);
        assert_eq!((places.refusals, places.refusals_with_room), (2, 1));
        assert_eq!((places.high_water, places.peak), (56, 30));
        // Holes of 20 and 44.
        assert_eq!(places.external_fragmentation(), 1.0 - 44.0 / 64.0);
        places.see(&op(Kind::Free, 0, 0), &[]);
        places.see(&op(Kind::Free, 2, 0), &[]);
        assert_eq!(places.external_fragmentation(), 1.0 - 44.0 / 80.0);
        assert_eq!(places.high_water, 56);
    }
}
