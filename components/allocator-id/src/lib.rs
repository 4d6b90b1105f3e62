//! Allocator strategy: bounded integers, such as hardware context ids.
//!
//! With a granule of 1 an extent of `n` bytes is `n` ids. Every wish gets the lowest run of a
//! power-of-two length, at a multiple of that length. See the README for the idea, the bounds and
//! the sources; [`contexts`] and [`paged`] hold what managers of ids do around a strategy.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod check;
pub mod contexts;
mod free;
pub mod paged;
mod set;

use alloc::vec::Vec;
use free::FreeIds;
use gpumm_contract::allocator::{
    Allocate, Allocator, Block, Failure, Geometry, Refusal, Statistics,
};
use gpumm_contract::numbers::{LIMIT, NONE, Numbers};
use gpumm_contract::{AllocationId, Extent};
use set::Set;

/// How many ids there can be: a bitmap has a bit for each, used or not.
pub const MAX_IDS: u64 = LIMIT as u64;

/// The strategy for bounded integers.
///
/// Units: an id is a granule. Bounds: at most [`MAX_IDS`] granules, else [`Refusal::Geometry`];
/// lengths that are powers of two, others are [`Refusal::Unsupported`]; allocation numbers below
/// 2^26. Complexity: `allocate` and `free` O(log64 ids + length / 64); an alignment beyond the
/// length costs O(ids / alignment) looks at worst.
/// Invariants: an allocation is one run; a wish gets the lowest run that serves it, so the answers
/// depend on what is live alone, and a restored strategy answers as the old one would.
#[derive(Clone, Debug)]
pub struct Id {
    /// Size 0 before the first geometry.
    geometry: Geometry,
    free: FreeIds,
    /// The first id of every allocation.
    firsts: Set,
    /// From a first id to its allocation number.
    owners: Numbers,
    /// From a first id to the number of ids.
    lengths: Numbers,
    /// From an allocation number to its first id.
    numbers: Numbers,
    allocations: u64,
    restoring: bool,
}

impl Default for Id {
    fn default() -> Self {
        Id {
            geometry: Geometry {
                size: 0,
                granule: 1,
            },
            free: FreeIds::default(),
            firsts: Set::default(),
            owners: Numbers::default(),
            lengths: Numbers::default(),
            numbers: Numbers::default(),
            allocations: 0,
            restoring: false,
        }
    }
}

impl Id {
    /// A strategy without a geometry.
    pub fn new() -> Self {
        Self::default()
    }

    fn begin(&mut self, geometry: Geometry) -> Result<(), Refusal> {
        let ids = bounded(geometry)?;
        *self = Id {
            geometry,
            free: FreeIds::none(ids),
            firsts: Set::new(ids as usize),
            ..Id::default()
        };
        self.free.paint(0, ids, true);
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

    fn shift(&self) -> u32 {
        self.geometry.granule.trailing_zeros()
    }

    /// The whole ids of a range.
    fn window(&self, range: Option<(u64, u64)>) -> (u64, u64) {
        let (start, end) = range.unwrap_or((0, self.geometry.size));
        (start.div_ceil(self.geometry.granule), end >> self.shift())
    }

    /// The extent in ids.
    fn ids(&self, extent: &Extent) -> Result<(u64, u64), Refusal> {
        let end = extent
            .end()
            .filter(|&end| end <= self.geometry.size)
            .ok_or(Refusal::Extent)?;
        let granular = (extent.offset | end) & (self.geometry.granule - 1) == 0;
        if granular && extent.bytes != 0 {
            Ok((extent.offset >> self.shift(), end >> self.shift()))
        } else {
            Err(Refusal::Extent)
        }
    }

    /// The lowest run that begins at a multiple of `alignment` inside a window.
    fn find(&self, length: u64, alignment: u64, (start, end): (u64, u64)) -> Option<u64> {
        let order = length.trailing_zeros();
        let mut from = start;
        loop {
            let first = self.free.first(order, from)?;
            if end.saturating_sub(first) < length {
                return None;
            }
            if first.is_multiple_of(alignment) {
                return Some(first);
            }
            // Runs lie at multiples of their length; only a larger alignment comes here.
            from = first.checked_next_multiple_of(alignment)?;
        }
    }

    fn enter(&mut self, number: u32, first: u64, end: u64) {
        self.free.paint(first, end, false);
        self.firsts.insert(first as usize);
        self.owners.set(first as u32, number);
        self.lengths.set(first as u32, (end - first) as u32);
        self.numbers.set(number, first as u32);
        self.allocations += 1;
    }

    fn extent(&self, first: u64, length: u64) -> Extent {
        Extent {
            offset: first << self.shift(),
            bytes: length << self.shift(),
        }
    }

    /// The allocation or hole that an id lies in.
    fn block(&self, id: u64) -> Option<Block> {
        if let Some((first, length)) = self.free.hole(id) {
            return Some(Block {
                extent: self.extent(first, length),
                owner: None,
            });
        }
        let first = self.firsts.at_most(id as usize)? as u32;
        Some(Block {
            extent: self.extent(u64::from(first), u64::from(self.lengths.get(first))),
            owner: Some(AllocationId(self.owners.get(first))),
        })
    }
}

/// How many ids a geometry has.
fn bounded(geometry: Geometry) -> Result<u64, Refusal> {
    let ids = geometry.checked()?.size >> geometry.granule.trailing_zeros();
    if ids <= MAX_IDS {
        Ok(ids)
    } else {
        Err(Refusal::Geometry)
    }
}

impl Allocator for Id {
    fn init(&mut self, geometry: Geometry) -> Result<(), Refusal> {
        self.begin(geometry)
    }

    fn resize(&mut self, geometry: Geometry) -> Result<(), Refusal> {
        self.serving()?;
        let (old, new) = (self.free.len(), bounded(geometry)?);
        let same = geometry.granule == self.geometry.granule;
        if !same || (new < old && !self.free.all(new, old)) {
            return Err(Refusal::Geometry);
        }
        let (mut free, mut firsts) = (FreeIds::none(new), Set::new(new as usize));
        free.paint(0, new, true);
        let mut from = 0;
        while let Some(first) = self.firsts.at_least(from) {
            let end = first as u64 + u64::from(self.lengths.get(first as u32));
            free.paint(first as u64, end, false);
            firsts.insert(first);
            from = first + 1;
        }
        (self.geometry, self.free, self.firsts) = (geometry, free, firsts);
        Ok(())
    }

    fn allocate(&mut self, wish: &Allocate, extents: &mut Vec<Extent>) -> Result<(), Failure> {
        self.serving().map_err(Failure::Refused)?;
        let alignment = wish.checked(self.geometry).map_err(Failure::Refused)?;
        self.unused(wish.number).map_err(Failure::Refused)?;
        let (length, alignment) = (wish.bytes >> self.shift(), alignment >> self.shift());
        if !length.is_power_of_two() {
            return Err(Failure::Refused(Refusal::Unsupported));
        }
        let Some(first) = self.find(length, alignment, self.window(wish.range)) else {
            return Err(Failure::NoSpace {
                largest_hole: self.free.largest() << self.shift(),
            });
        };
        self.enter(wish.number.0, first, first + length);
        extents.push(self.extent(first, length));
        Ok(())
    }

    fn free(&mut self, number: AllocationId) -> Result<(), Refusal> {
        self.serving()?;
        let first = self.numbers.get(number.0);
        if first == NONE {
            return Err(Refusal::NumberUnknown);
        }
        let start = u64::from(first);
        let end = start + u64::from(self.lengths.get(first));
        self.free.paint(start, end, true);
        self.firsts.remove(first as usize);
        self.owners.set(first, NONE);
        self.lengths.set(first, NONE);
        self.numbers.set(number.0, NONE);
        self.allocations -= 1;
        Ok(())
    }

    fn restore_begin(&mut self, geometry: Geometry) -> Result<(), Refusal> {
        self.begin(geometry)?;
        self.restoring = true;
        Ok(())
    }

    /// Files one live allocation.
    ///
    /// Errors: [`Refusal::Unsupported`] for an allocation of several extents, which is foreign: who
    /// holds it would have to know more than its first id. Any one run is adopted, also one that no
    /// wish would have got.
    fn restore_part(&mut self, number: AllocationId, extents: &[Extent]) -> Result<(), Refusal> {
        if !self.restoring {
            return Err(Refusal::Geometry);
        }
        self.unused(number)?;
        let ids = extents.iter().map(|extent| self.ids(extent));
        let ids = ids.collect::<Result<Vec<_>, _>>()?;
        match ids[..] {
            [(first, end)] if self.free.all(first, end) => self.enter(number.0, first, end),
            [] | [_] => return Err(Refusal::Extent),
            _ => return Err(Refusal::Unsupported),
        }
        Ok(())
    }

    fn restore_end(&mut self) -> Result<(), Refusal> {
        if !self.restoring {
            return Err(Refusal::Geometry);
        }
        self.restoring = false;
        Ok(())
    }

    /// Sums over the arena; a hole is a run that a wish could get as a whole.
    fn statistics(&self) -> Statistics {
        if self.serving().is_err() {
            return Statistics::default();
        }
        let free = self.free.count();
        Statistics {
            used_bytes: (self.free.len() - free) << self.shift(),
            free_bytes: free << self.shift(),
            largest_hole: self.free.largest() << self.shift(),
            allocations: self.allocations,
            holes: self.free.holes(),
        }
    }

    fn blocks(&self, from: u64, limit: usize) -> Vec<Block> {
        if self.serving().is_err() {
            return Vec::new();
        }
        let mut at = from >> self.shift();
        let blocks = core::iter::from_fn(|| {
            let block = (at < self.free.len()).then(|| self.block(at))??;
            at = (block.extent.offset + block.extent.bytes) >> self.shift();
            Some(block)
        });
        blocks.take(limit).collect()
    }

    fn validate(&self) -> Result<(), &'static str> {
        self.invariants()
    }
}
