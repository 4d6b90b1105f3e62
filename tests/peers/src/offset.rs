//! The crate `offset-allocator`: a port of S. Aaltonen's OffsetAllocator.

use crate::Peer;
use gpumm_contract::Geometry;
use offset_allocator::{Allocation, Allocator};

/// Size classes as small floats, one of them probed; 32-bit sizes, here in granules.
pub struct OffsetAllocator {
    allocator: Allocator,
    live: Vec<Option<Allocation>>,
    shift: u32,
}

impl OffsetAllocator {
    /// For ids below a bound.
    pub fn new(ids: usize) -> Self {
        OffsetAllocator {
            allocator: Allocator::with_max_allocs(1, 16),
            live: vec![None; ids],
            shift: 0,
        }
    }
}

impl Peer for OffsetAllocator {
    fn start(&mut self, arena: Geometry) {
        self.shift = arena.granule.trailing_zeros();
        let units = u32::try_from(arena.size >> self.shift).expect("32 bits of granules");
        // Its nodes are made beforehand: one for each allocation and for each hole between them.
        let nodes = 2 * self.live.len() as u32 + 1024;
        self.allocator = Allocator::with_max_allocs(units, nodes);
    }

    fn allocate(&mut self, id: u32, bytes: u64, _: u64) -> Option<u64> {
        let block = self.allocator.allocate((bytes >> self.shift) as u32);
        let offset = block.map(|block| u64::from(block.offset) << self.shift);
        self.live[id as usize] = block;
        offset
    }

    fn free(&mut self, id: u32) {
        if let Some(block) = self.live[id as usize].take() {
            self.allocator.free(block);
        }
    }
}
