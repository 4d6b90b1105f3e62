//! The crate `buddy_system_allocator`, its frame allocator.

use crate::Peer;
use buddy_system_allocator::FrameAllocator;
use gpumm_contract::Geometry;

/// Powers of two of frames, here of granules; its free lists are ordered sets.
pub struct BuddySystem {
    allocator: FrameAllocator,
    /// First frame and count.
    live: Vec<Option<(usize, usize)>>,
    shift: u32,
}

impl BuddySystem {
    /// For ids below a bound.
    pub fn new(ids: usize) -> Self {
        BuddySystem {
            allocator: FrameAllocator::new(),
            live: vec![None; ids],
            shift: 0,
        }
    }
}

impl Peer for BuddySystem {
    fn start(&mut self, arena: Geometry) {
        self.shift = arena.granule.trailing_zeros();
        self.allocator = FrameAllocator::new();
        self.allocator
            .add_frame(0, (arena.size >> self.shift) as usize);
    }

    fn allocate(&mut self, id: u32, bytes: u64, _: u64) -> Option<u64> {
        // A block of a power of two of granules is aligned to its own size.
        let count = (bytes >> self.shift) as usize;
        let first = self.allocator.alloc(count);
        self.live[id as usize] = first.map(|first| (first, count));
        first.map(|first| (first as u64) << self.shift)
    }

    fn free(&mut self, id: u32) {
        if let Some((first, count)) = self.live[id as usize].take() {
            self.allocator.dealloc(first, count);
        }
    }

    fn rounded(&self, bytes: u64) -> u64 {
        bytes.next_power_of_two()
    }
}
