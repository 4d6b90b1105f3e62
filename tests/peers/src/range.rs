//! The crate `range-alloc` of gfx-rs.

use crate::Peer;
use gpumm_contract::Geometry;
use range_alloc::RangeAllocator;
use std::ops::Range;

/// A list of holes in address order, searched from its beginning for the best fit.
pub struct RangeAlloc {
    allocator: RangeAllocator<u64>,
    live: Vec<Option<Range<u64>>>,
    granule: u64,
}

impl RangeAlloc {
    /// For ids below a bound.
    pub fn new(ids: usize) -> Self {
        RangeAlloc {
            allocator: RangeAllocator::new(0..1),
            live: vec![None; ids],
            granule: 1,
        }
    }
}

impl Peer for RangeAlloc {
    fn start(&mut self, arena: Geometry) {
        self.granule = arena.granule;
        self.allocator = RangeAllocator::new(0..arena.size);
    }

    fn allocate(&mut self, id: u32, bytes: u64, align: u64) -> Option<u64> {
        let range = if align <= self.granule {
            self.allocator.allocate_range(bytes)
        } else {
            self.allocator.allocate_range_aligned(bytes, align)
        };
        let range = range.ok();
        let offset = range.as_ref().map(|range| range.start);
        self.live[id as usize] = range;
        offset
    }

    fn free(&mut self, id: u32) {
        if let Some(range) = self.live[id as usize].take() {
            self.allocator.free_range(range);
        }
    }
}
