//! Operations at a given number of live allocations.

use gpumm_tests::workloads::{Kind, Op};

/// Page-granular allocations, of which so many are always live.
#[derive(Debug)]
pub struct Steady {
    rng: fastrand::Rng,
    live: u32,
}

impl Steady {
    /// With so many live allocations.
    pub fn new(live: u32) -> Self {
        let rng = fastrand::Rng::with_seed(7);
        Steady { rng, live }
    }

    /// An arena that the live allocations fill to two thirds on average, in bytes.
    pub fn arena(&self) -> u64 {
        let mean = 65 * 4096 / 2;
        (u64::from(self.live) * mean / 2 * 3).next_multiple_of(1 << 20)
    }

    /// The allocations that come first.
    pub fn prefill(&mut self) -> Vec<Op> {
        (0..self.live).map(|id| self.allocate(id)).collect()
    }

    /// Pairs of a free of a random one and an allocation in its stead.
    pub fn pairs(&mut self, count: usize) -> Vec<Op> {
        let mut ops = Vec::with_capacity(2 * count);
        for _ in 0..count {
            let id = self.rng.u32(..self.live);
            ops.push(Op {
                bytes: 0,
                id,
                kind: Kind::Free,
                align_log2: 0,
            });
            ops.push(self.allocate(id));
        }
        ops
    }

    fn allocate(&mut self, id: u32) -> Op {
        Op {
            bytes: 4096 * self.rng.u64(1..=64),
            id,
            kind: Kind::Allocate,
            align_log2: 12,
        }
    }
}
