//! Our strategies and the allocators of others behind one trait, so that one bench can replay the
//! same operations on all of them in one process.
//!
//! This package is no default member of the workspace: it compiles C++ (VMA), which nothing else
//! of the project needs.
//!
//! An adapter keeps a handle for each id and adds nothing else; a free of what was refused is
//! skipped by all of them.

mod buddy_system;
pub mod growth;
pub mod heap;
mod native;
mod offset;
pub mod places;
mod range;
pub mod recorded;
mod slot;
mod vma;

pub use buddy_system::BuddySystem;
pub use native::Native;
pub use offset::OffsetAllocator;
pub use range::RangeAlloc;
pub use slot::Slot;
pub use vma::VirtualBlock;

use gpumm_contract::{Extent, Geometry};
use gpumm_tests::workloads::{Kind, Op};
use std::hint::black_box;

/// Sees an operation and what it was answered: nothing for a free and for a refusal.
pub type Watch<'a> = &'a mut dyn FnMut(&Op, &[Extent]);

/// Who is measured.
pub trait Subject {
    /// Begins with an empty arena.
    fn start(&mut self, arena: Geometry);

    /// Does the operations: what is timed.
    fn run(&mut self, ops: &[Op]);

    /// Does the operations and shows every answer.
    fn watch(&mut self, ops: &[Op], seen: Watch<'_>);
}

/// An allocator that is called once for each operation.
pub trait Peer {
    /// Begins with an empty arena.
    fn start(&mut self, arena: Geometry);

    /// Takes bytes for an id; the block's first byte, or `None` when it is refused.
    ///
    /// Bounds: `bytes` is a multiple of the granule, `id` below what the adapter was made for.
    fn allocate(&mut self, id: u32, bytes: u64, align: u64) -> Option<u64>;

    /// Gives back what an id has, if it has something.
    fn free(&mut self, id: u32);

    /// The bytes that a block of this size takes from the arena.
    fn rounded(&self, bytes: u64) -> u64 {
        bytes
    }
}

impl<P: Peer> Subject for P {
    fn start(&mut self, arena: Geometry) {
        Peer::start(self, arena);
    }

    fn run(&mut self, ops: &[Op]) {
        for op in ops {
            match op.kind {
                Kind::Free => self.free(op.id),
                _ => _ = black_box(self.allocate(op.id, op.bytes, 1 << op.align_log2)),
            }
        }
    }

    fn watch(&mut self, ops: &[Op], seen: Watch<'_>) {
        for op in ops {
            let place = match op.kind {
                Kind::Free => {
                    self.free(op.id);
                    None
                }
                _ => self.allocate(op.id, op.bytes, 1 << op.align_log2),
            };
            let bytes = self.rounded(op.bytes);
            let block = place.map(|offset| Extent { offset, bytes });
            seen(op, block.as_slice());
        }
    }
}
