//! What the strategy shows of itself.

use crate::Buddy;
use crate::piece::Piece;
use crate::space::Space;
use alloc::vec::Vec;
use gpumm_contract::allocator::{Block, Statistics};
use gpumm_contract::{AllocationId, Extent};

impl Buddy {
    /// Bytes that are free and known to be zero; 0 before the first geometry.
    pub fn clear_bytes(&self) -> u64 {
        self.arena.space.clear << self.shift()
    }

    /// The blocks of an allocation, in its byte order, each with whether it was known to be zero
    /// when it was taken; empty when nothing is filed under the number.
    pub fn blocks_of(&self, number: AllocationId) -> Vec<(Extent, bool)> {
        let pieces = self.records.chain(number.0);
        pieces
            .map(|piece| (self.extent(piece.into()), piece.clear))
            .collect()
    }

    fn block(&self, piece: Piece, owner: Option<u32>) -> Block {
        Block {
            extent: self.extent(piece.into()),
            owner: owner.map(AllocationId),
        }
    }

    /// Sums over the arena.
    pub(crate) fn sums(&self) -> Statistics {
        if self.serving().is_err() {
            return Statistics::default();
        }
        let Space { size, free, .. } = self.arena.space;
        Statistics {
            used_bytes: (size - free) << self.shift(),
            free_bytes: free << self.shift(),
            largest_hole: self.largest_hole(),
            allocations: self.allocations,
            holes: self.arena.space.count(),
        }
    }

    /// Blocks and holes in address order, from the first one that ends behind `from`.
    pub(crate) fn page(&self, from: u64, limit: usize) -> Vec<Block> {
        let mut blocks = Vec::new();
        if self.serving().is_err() {
            return blocks;
        }
        let from = from >> self.shift();
        let taken = self.records.lowest_behind(from, limit);
        let mut taken = taken.into_iter().peekable();
        let mut hole = self.arena.space.first_behind(from);
        while blocks.len() < limit {
            let below = |piece: Piece| hole.is_none_or(|hole| piece.offset < hole.offset);
            if let Some((piece, owner)) = taken.next_if(|&(piece, _)| below(piece)) {
                blocks.push(self.block(piece, Some(owner)));
            } else if let Some(piece) = hole {
                blocks.push(self.block(piece, None));
                let behind = piece.offset.checked_add(piece.chunks());
                hole = behind.and_then(|behind| self.arena.space.first_behind(behind));
            } else {
                break;
            }
        }
        blocks
    }
}
