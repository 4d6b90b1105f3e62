//! Allocator strategy: binary buddy blocks, several to an allocation, as the kernel's GPU buddy
//! allocator hands them out.
//!
//! Sizes are made up of power-of-two blocks, so that no byte is refused while it is free and
//! what comes back joins into large aligned blocks again. Memory that is known to be zeroed is
//! kept apart. See the README for the idea, the rules, the bounds and the sources.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod bits;
mod check;
mod find;
mod gather;
mod merge;
mod offsets;
mod piece;
mod pool;
mod records;
mod space;
mod view;

use alloc::vec::Vec;
use gather::{Arena, Wanted};
use gpumm_contract::allocator::{
    Allocate, Allocator, Block, Failure, Geometry, Mode, Refusal, Statistics,
};
use gpumm_contract::numbers::LIMIT;
use gpumm_contract::{AllocationId, Extent};
use piece::Run;
use records::Records;
use space::Space;

/// The buddy strategy.
///
/// Bounds: allocation numbers below 2^26; larger ones are [`Refusal::Unsupported`].
/// Complexity: `allocate` and `free` O(blocks * orders * log n) with a logarithm to base 4096.
/// Invariants: the free blocks are a function of which granules are free and which of these are
/// clear; the largest hole is the largest free block.
#[derive(Clone, Debug)]
pub struct Buddy {
    /// Size 0 before the first geometry.
    geometry: Geometry,
    arena: Arena,
    records: Records,
    allocations: u64,
    restoring: bool,
}

impl Default for Buddy {
    fn default() -> Self {
        Buddy {
            geometry: Geometry {
                size: 0,
                granule: 1,
            },
            arena: Arena {
                space: Space::nothing(),
                taken: Vec::new(),
            },
            records: Records::new(),
            allocations: 0,
            restoring: false,
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

    #[inline]
    fn serving(&self) -> Result<(), Refusal> {
        if self.geometry.size != 0 && !self.restoring {
            Ok(())
        } else {
            Err(Refusal::Geometry)
        }
    }

    #[inline]
    fn unused(&self, number: AllocationId) -> Result<(), Refusal> {
        match number.0 {
            LIMIT.. => Err(Refusal::Unsupported),
            number if self.records.has(number) => Err(Refusal::NumberInUse),
            _ => Ok(()),
        }
    }

    #[inline]
    fn shift(&self) -> u32 {
        self.geometry.granule.trailing_zeros()
    }

    /// The wish in chunks, with the whole chunks of its range.
    #[inline]
    fn wanted(&self, wish: &Allocate, alignment: u64) -> Wanted {
        let (start, end) = wish.range.unwrap_or((0, self.geometry.size));
        let shift = self.shift();
        let ragged = start & (self.geometry.granule - 1) != 0;
        Wanted {
            chunks: wish.bytes >> shift,
            multiple: alignment.trailing_zeros() - shift,
            start: (start >> shift) + u64::from(ragged),
            end: end >> shift,
            ranged: wish.range.is_some(),
            top: wish.mode == Mode::High,
            contiguous: wish.contiguous,
            clear: wish.clear,
            keep: wish.keep_rounding,
        }
    }

    /// First chunk of an extent and the one behind it.
    fn chunks(&self, extent: &Extent) -> Option<(u64, u64)> {
        let end = extent.end().filter(|&end| end <= self.geometry.size)?;
        let granular = (extent.offset | end) & (self.geometry.granule - 1) == 0;
        let good = granular && extent.bytes != 0;
        good.then_some((extent.offset >> self.shift(), end >> self.shift()))
    }

    #[inline]
    fn extent(&self, run: Run) -> Extent {
        Extent {
            offset: run.start << self.shift(),
            bytes: run.chunks() << self.shift(),
        }
    }

    fn largest_hole(&self) -> u64 {
        let largest = self.arena.space.largest();
        largest.map_or(0, |order| 1 << order << self.shift())
    }

    /// What an allocation of one gap-free extent covers, in chunks.
    fn one_extent(&self, number: u32) -> Result<(u64, u64), Refusal> {
        let mut runs = self.records.runs(number);
        let first = runs.next().ok_or(Refusal::NumberUnknown)?;
        let behind = |end, run: Run| (run.start == end).then_some(run.end);
        let end = runs.try_fold(first.end, behind);
        Ok((first.start, end.ok_or(Refusal::Extent)?))
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
        let wanted = self.wanted(wish, alignment);
        if let Some(run) = self.arena.at_once(&wanted) {
            self.records.file(wish.number.0, &[run]);
            self.allocations += 1;
            extents.push(self.extent(run));
            return Ok(());
        }
        let Some(joined) = self.arena.gather(&wanted) else {
            return Err(Failure::NoSpace {
                largest_hole: self.largest_hole(),
            });
        };
        let taken = &self.arena.taken;
        self.records.file(wish.number.0, taken);
        self.allocations += 1;
        let (single, one) = taken.split_at(joined);
        extents.extend(single.iter().map(|&run| self.extent(run)));
        if let (Some(&first), Some(last)) = (one.first(), one.last()) {
            // What follows without a gap ends where its last run does.
            extents.push(self.extent(Run {
                end: last.end,
                ..first
            }));
        }
        Ok(())
    }

    fn allocate_one(&mut self, number: AllocationId, bytes: u64) -> Option<u64> {
        self.serving().ok()?;
        let wish = Allocate::plain(number, bytes);
        let alignment = wish.checked(self.geometry).ok()?;
        self.unused(number).ok()?;
        let run = self.arena.at_once(&self.wanted(&wish, alignment))?;
        self.records.file(number.0, &[run]);
        self.allocations += 1;
        Some(self.extent(run).offset)
    }

    fn free(&mut self, number: AllocationId) -> Result<(), Refusal> {
        self.free_as(number, false)
    }

    #[inline]
    fn free_as(&mut self, number: AllocationId, cleared: bool) -> Result<(), Refusal> {
        self.serving()?;
        let space = &mut self.arena.space;
        let release = |run| {
            space.release(Run {
                clear: cleared,
                ..run
            })
        };
        if !self.records.take(number.0, release) {
            return Err(Refusal::NumberUnknown);
        }
        self.allocations -= 1;
        Ok(())
    }

    fn trim(
        &mut self,
        number: AllocationId,
        start: Option<u64>,
        bytes: u64,
        extents: &mut Vec<Extent>,
    ) -> Result<(), Refusal> {
        self.serving()?;
        let (offset, end) = self.one_extent(number.0)?;
        let (offset, length) = (offset << self.shift(), (end - offset) << self.shift());
        if bytes == 0 || bytes & (self.geometry.granule - 1) != 0 || bytes > length {
            return Err(Refusal::Size);
        }
        // Of what stays as it is the start does not matter.
        let start = start.filter(|_| bytes != length).unwrap_or(offset);
        let inside = start.checked_sub(offset);
        if inside.is_none_or(|before| before > length - bytes) {
            return Err(Refusal::Range);
        }
        let kept = Extent {
            offset: start,
            bytes,
        };
        let (start, end) = self.chunks(&kept).ok_or(Refusal::Range)?;
        let Arena { space, taken } = &mut self.arena;
        taken.clear();
        self.records.take(number.0, |run| {
            taken.extend(run.within(start, end));
            let below = run.within(0, start);
            let above = run.within(end, u64::MAX);
            below
                .into_iter()
                .chain(above)
                .for_each(|rest| space.release(rest));
        });
        self.records.file(number.0, taken);
        extents.push(kept);
        Ok(())
    }

    fn reset_clear(&mut self, clear: bool) -> Result<(), Refusal> {
        self.serving()?;
        self.arena.space.reset_clear(clear);
        Ok(())
    }

    fn restore_begin(&mut self, geometry: Geometry) -> Result<(), Refusal> {
        self.begin(geometry, true)
    }

    fn adopt(&mut self, number: AllocationId, extents: &[Extent]) -> Result<(), Refusal> {
        self.serving()?;
        self.file(number, extents)
    }

    fn restore_part(&mut self, number: AllocationId, extents: &[Extent]) -> Result<(), Refusal> {
        if !self.restoring {
            return Err(Refusal::Geometry);
        }
        self.file(number, extents)
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
        self.sums()
    }

    fn blocks(&self, from: u64, limit: usize) -> Vec<Block> {
        self.page(from, limit)
    }

    fn validate(&self) -> Result<(), &'static str> {
        self.invariants()
    }
}

impl Buddy {
    /// Files an allocation with exactly these extents.
    fn file(&mut self, number: AllocationId, extents: &[Extent]) -> Result<(), Refusal> {
        self.unused(number)?;
        if extents.is_empty() || extents.iter().any(|extent| self.chunks(extent).is_none()) {
            return Err(Refusal::Extent);
        }
        self.arena.taken.clear();
        for extent in extents {
            let Some((start, end)) = self.chunks(extent) else {
                continue;
            };
            if self.arena.exactly(start, end) != end {
                self.arena.give_back();
                return Err(Refusal::Extent);
            }
        }
        self.records.file(number.0, &self.arena.taken);
        self.allocations += 1;
        Ok(())
    }
}
