//! Allocator strategy: binary buddy blocks, several to an allocation.
//!
//! Sizes are made up of power-of-two blocks, so that no byte is refused while it is free and
//! what comes back joins into large aligned blocks again. See the README for the idea, the
//! bounds and the sources.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod check;
mod gather;
mod offsets;
mod piece;
mod pool;
mod records;
mod space;

use alloc::vec::Vec;
use gather::{Arena, Wanted};
use gpumm_contract::allocator::{
    Allocate, Allocator, Block, Failure, Geometry, Refusal, Statistics,
};
use gpumm_contract::numbers::{LIMIT, Numbers};
use gpumm_contract::{AllocationId, Extent};
use piece::Piece;
use records::{Chain, NONE, Records};
use space::Space;

/// The buddy strategy.
///
/// Bounds: allocation numbers below 2^26; larger ones are [`Refusal::Unsupported`].
/// Complexity: `allocate` and `free` O(blocks * orders * log n) with a logarithm to base 64.
/// Invariants: the free blocks are a function of which granules are free, so a restored strategy
/// answers as the one it replaces would have; the largest hole is the largest free block.
#[derive(Clone, Debug)]
pub struct Buddy {
    /// Size 0 before the first geometry.
    geometry: Geometry,
    arena: Arena,
    numbers: Numbers,
    allocations: u64,
    restoring: bool,
    /// The answer in the making, kept for its memory.
    taken: Vec<(u64, u64)>,
}

impl Default for Buddy {
    fn default() -> Self {
        Buddy {
            geometry: Geometry {
                size: 0,
                granule: 1,
            },
            arena: Arena {
                space: Space::taken(0),
                records: Records::new(),
            },
            numbers: Numbers::default(),
            allocations: 0,
            restoring: false,
            taken: Vec::new(),
        }
    }
}

impl Buddy {
    /// A strategy without a geometry.
    pub fn new() -> Self {
        Self::default()
    }

    fn begin(&mut self, geometry: Geometry, restoring: bool) -> Result<(), Refusal> {
        let geometry = geometry.checked()?;
        *self = Buddy {
            geometry,
            restoring,
            ..Buddy::default()
        };
        let chunks = geometry.size >> self.shift();
        // From nothing to everything free: never refused.
        let _ = self.arena.space.resize(chunks);
        Ok(())
    }

    fn serving(&self) -> Result<(), Refusal> {
        if self.geometry.size != 0 && !self.restoring {
            Ok(())
        } else {
            Err(Refusal::Geometry)
        }
    }

    fn unused(&self, number: AllocationId) -> Result<(), Refusal> {
        match number.0 {
            LIMIT.. => Err(Refusal::Unsupported),
            number if self.numbers.get(number) != NONE => Err(Refusal::NumberInUse),
            _ => Ok(()),
        }
    }

    #[inline]
    fn shift(&self) -> u32 {
        self.geometry.granule.trailing_zeros()
    }

    /// The wish in chunks, with the whole chunks of its range.
    fn wanted(&self, wish: &Allocate, alignment: u64) -> Wanted {
        let (start, end) = wish.range.unwrap_or((0, self.geometry.size));
        Wanted {
            owner: wish.number.0,
            chunks: wish.bytes >> self.shift(),
            multiple: alignment.trailing_zeros() - self.shift(),
            start: start.div_ceil(self.geometry.granule),
            end: end >> self.shift(),
        }
    }

    /// First chunk of an extent and the one behind it.
    fn chunks(&self, extent: &Extent) -> Option<(u64, u64)> {
        let end = extent.end().filter(|&end| end <= self.geometry.size)?;
        let granular = (extent.offset | end) & (self.geometry.granule - 1) == 0;
        let good = granular && extent.bytes != 0;
        good.then_some((extent.offset >> self.shift(), end >> self.shift()))
    }

    fn largest_hole(&self) -> u64 {
        self.arena
            .space
            .largest()
            .map_or(0, |order| 1 << order << self.shift())
    }

    fn block(&self, piece: Piece, owner: Option<u32>) -> Block {
        let extent = Extent {
            offset: piece.offset << self.shift(),
            bytes: piece.chunks() << self.shift(),
        };
        Block {
            extent,
            owner: owner.map(AllocationId),
        }
    }
}

impl Allocator for Buddy {
    fn init(&mut self, geometry: Geometry) -> Result<(), Refusal> {
        self.begin(geometry, false)
    }

    fn resize(&mut self, geometry: Geometry) -> Result<(), Refusal> {
        self.serving()?;
        let geometry = geometry.checked()?;
        let same = geometry.granule == self.geometry.granule;
        if same && self.arena.space.resize(geometry.size >> self.shift()) {
            self.geometry = geometry;
            Ok(())
        } else {
            Err(Refusal::Geometry)
        }
    }

    fn allocate(&mut self, wish: &Allocate, extents: &mut Vec<Extent>) -> Result<(), Failure> {
        self.serving().map_err(Failure::Refused)?;
        let alignment = wish.checked(self.geometry).map_err(Failure::Refused)?;
        self.unused(wish.number).map_err(Failure::Refused)?;
        if wish.contiguous {
            return Err(Failure::Refused(Refusal::Unsupported));
        }
        let wanted = self.wanted(wish, alignment);
        self.taken.clear();
        let Some(chain) = self.arena.gather(&wanted, &mut self.taken) else {
            return Err(Failure::NoSpace {
                largest_hole: self.largest_hole(),
            });
        };
        self.numbers.set(wish.number.0, chain.first);
        self.allocations += 1;
        let shift = self.shift();
        let extent = |&(offset, chunks): &(u64, u64)| Extent {
            offset: offset << shift,
            bytes: chunks << shift,
        };
        extents.extend(self.taken.iter().map(extent));
        Ok(())
    }

    fn free(&mut self, number: AllocationId) -> Result<(), Refusal> {
        self.serving()?;
        let first = self.numbers.get(number.0);
        if first == NONE {
            return Err(Refusal::NumberUnknown);
        }
        self.numbers.set(number.0, NONE);
        self.arena.give_back(first);
        self.allocations -= 1;
        Ok(())
    }

    fn restore_begin(&mut self, geometry: Geometry) -> Result<(), Refusal> {
        self.begin(geometry, true)
    }

    fn restore_part(&mut self, number: AllocationId, extents: &[Extent]) -> Result<(), Refusal> {
        if !self.restoring {
            return Err(Refusal::Geometry);
        }
        self.unused(number)?;
        if extents.is_empty() || extents.iter().any(|extent| self.chunks(extent).is_none()) {
            return Err(Refusal::Extent);
        }
        let mut chain = Chain::new(number.0);
        for extent in extents {
            let Some((start, end)) = self.chunks(extent) else {
                continue;
            };
            if !self.arena.extend(&mut chain, start, end) {
                return Err(Refusal::Extent);
            }
        }
        self.numbers.set(number.0, chain.first);
        self.allocations += 1;
        Ok(())
    }

    fn restore_end(&mut self) -> Result<(), Refusal> {
        // Overlaps were refused part by part.
        if core::mem::take(&mut self.restoring) {
            Ok(())
        } else {
            Err(Refusal::Geometry)
        }
    }

    fn statistics(&self) -> Statistics {
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

    fn blocks(&self, from: u64, limit: usize) -> Vec<Block> {
        let mut blocks = Vec::new();
        if self.serving().is_err() {
            return blocks;
        }
        let from = from >> self.shift();
        let mut taken = self
            .arena
            .records
            .lowest_behind(from, limit)
            .into_iter()
            .peekable();
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

    fn validate(&self) -> Result<(), &'static str> {
        self.invariants()
    }
}
