//! Allocator strategy: two-level segregated fit, the fast default.
//!
//! One extent per allocation, chosen in constant time from lists of holes of nearly equal size,
//! and joined with its neighbours the moment it is given back. See the README for the idea, the
//! bounds and the sources.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod bins;
mod check;
mod nodes;
mod restore;
mod search;

use alloc::vec::Vec;
use gpumm_contract::allocator::{
    Allocate, Allocator, Block, Failure, Geometry, Refusal, Statistics,
};
use gpumm_contract::numbers::{self, LIMIT, Numbers};
use gpumm_contract::{AllocationId, Extent};
use nodes::{Arena, NONE, Node};

/// The two-level segregated fit strategy.
///
/// Bounds: allocation numbers below 2^26; larger ones are [`Refusal::Unsupported`].
/// Complexity: `allocate` and `free` O(1); a wish that no hole of a larger bin serves costs the
/// holes of its own bin (and, with an alignment, of the bins up to `bytes + alignment`), one
/// with a range all holes that are large enough; "no space" the holes of the highest bin, once
/// for each largest hole.
/// Invariants: a wish is refused only when no hole fits it; after a restore the answers depend
/// on the restored allocations alone.
#[derive(Clone, Debug)]
pub struct Tlsf {
    /// Size 0 before the first geometry.
    geometry: Geometry,
    /// The logarithm of the granule.
    shift: u32,
    arena: Arena,
    numbers: Numbers,
    allocations: u64,
    /// Between the begin and the end of a restore; the arena's nodes are in no order then.
    restoring: bool,
}

impl Default for Tlsf {
    fn default() -> Self {
        Tlsf {
            geometry: Geometry {
                size: 0,
                granule: 1,
            },
            shift: 0,
            arena: Arena::new(0),
            numbers: Numbers::default(),
            allocations: 0,
            restoring: false,
        }
    }
}

impl Tlsf {
    /// A strategy without a geometry.
    pub fn new() -> Self {
        Self::default()
    }

    fn begin(&mut self, geometry: Geometry) -> Result<(), Refusal> {
        self.geometry = geometry.checked()?;
        self.shift = geometry.granule.trailing_zeros();
        self.arena = Arena::new(geometry.size >> self.shift);
        self.numbers.clear();
        self.allocations = 0;
        self.restoring = false;
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
            number if self.numbers.get(number) != numbers::NONE => Err(Refusal::NumberInUse),
            _ => Ok(()),
        }
    }

    /// The whole granules of a range; `None` for the whole arena, which needs no range.
    fn window(&self, range: Option<(u64, u64)>) -> Option<(u64, u64)> {
        let (start, end) = range.filter(|&range| range != (0, self.geometry.size))?;
        Some((start.div_ceil(self.geometry.granule), end >> self.shift))
    }

    /// The extent in granules.
    fn units(&self, extent: &Extent) -> Result<(u64, u64), Refusal> {
        let end = extent
            .end()
            .filter(|&end| end <= self.geometry.size)
            .ok_or(Refusal::Extent)?;
        let granular = (extent.offset | end) & (self.geometry.granule - 1) == 0;
        let good = granular && extent.bytes != 0;
        if good {
            Ok((extent.offset >> self.shift, extent.bytes >> self.shift))
        } else {
            Err(Refusal::Extent)
        }
    }

    fn extent(&self, node: &Node) -> Extent {
        Extent {
            offset: node.offset << self.shift,
            bytes: node.units << self.shift,
        }
    }
}

impl Allocator for Tlsf {
    fn init(&mut self, geometry: Geometry) -> Result<(), Refusal> {
        self.begin(geometry)?;
        let hole = self.arena.append_hole(0, self.arena.size);
        self.arena.file(hole);
        Ok(())
    }

    fn resize(&mut self, geometry: Geometry) -> Result<(), Refusal> {
        self.serving()?;
        let geometry = geometry.checked()?;
        let same = geometry.granule == self.geometry.granule;
        if same && self.arena.resize(geometry.size >> self.shift) {
            self.geometry = geometry;
            Ok(())
        } else {
            Err(Refusal::Geometry)
        }
    }

    #[inline]
    fn allocate(&mut self, wish: &Allocate, extents: &mut Vec<Extent>) -> Result<(), Failure> {
        let alignment = wish.alignment.max(self.geometry.granule);
        if wish.range.is_none()
            && alignment.is_power_of_two()
            && let Some(offset) = self.take_any(wish.number, wish.bytes, alignment - 1)
        {
            let bytes = wish.bytes;
            extents.push(Extent { offset, bytes });
            return Ok(());
        }
        self.allocate_any(wish, extents)
    }

    #[inline]
    fn allocate_one(&mut self, number: AllocationId, bytes: u64) -> Option<u64> {
        self.take_any(number, bytes, 0)
    }

    #[inline]
    fn free(&mut self, number: AllocationId) -> Result<(), Refusal> {
        self.serving()?;
        let entry = self.numbers.filed_mut(number.0);
        let filed = entry.filter(|entry| **entry != numbers::NONE);
        let entry = filed.ok_or(Refusal::NumberUnknown)?;
        let first = core::mem::replace(entry, numbers::NONE);
        self.arena.release_all(first);
        self.allocations -= 1;
        Ok(())
    }

    fn adopt(&mut self, number: AllocationId, extents: &[Extent]) -> Result<(), Refusal> {
        self.serving()?;
        self.unused(number)?;
        let mut first = NONE;
        // Backwards, so that the chain is in the caller's order.
        for extent in extents.iter().rev() {
            let cut = self.units(extent).ok();
            let fit = cut.and_then(|(at, units)| self.arena.find(units, 1, Some((at, at + units))));
            let (Some((start, units)), Some(fit)) = (cut, fit) else {
                self.arena.release_all(first);
                return Err(Refusal::Extent);
            };
            let node = self.arena.take(fit.node, start, units, number.0);
            self.arena.chain(node, first);
            first = node;
        }
        if first == NONE {
            return Err(Refusal::Extent);
        }
        self.numbers.set(number.0, first);
        self.allocations += 1;
        Ok(())
    }

    fn restore_begin(&mut self, geometry: Geometry) -> Result<(), Refusal> {
        self.begin(geometry)?;
        self.restoring = true;
        Ok(())
    }

    fn restore_part(&mut self, number: AllocationId, extents: &[Extent]) -> Result<(), Refusal> {
        match self.restoring {
            true => self.file(number, extents),
            false => Err(Refusal::Geometry),
        }
    }

    fn restore_end(&mut self) -> Result<(), Refusal> {
        let restoring = core::mem::take(&mut self.restoring);
        let joined = restoring && self.arena.join();
        match (restoring, joined) {
            (true, true) => Ok(()),
            (true, false) => {
                *self = Tlsf::default();
                Err(Refusal::Extent)
            }
            (false, _) => Err(Refusal::Geometry),
        }
    }

    fn statistics(&self) -> Statistics {
        if self.serving().is_err() {
            return Statistics::default();
        }
        Statistics {
            used_bytes: self.arena.used << self.shift,
            free_bytes: (self.arena.size - self.arena.used) << self.shift,
            largest_hole: self.arena.largest().1 << self.shift,
            allocations: self.allocations,
            holes: self.arena.holes,
        }
    }

    fn blocks(&self, from: u64, limit: usize) -> Vec<Block> {
        if self.serving().is_err() {
            return Vec::new();
        }
        let mut at = self.arena.first_behind(from >> self.shift);
        let nodes = core::iter::from_fn(|| {
            let node = (at != NONE).then(|| self.arena.node(at))?;
            at = node.above;
            Some(node)
        });
        let block = |node: &Node| Block {
            extent: self.extent(node),
            owner: (!node.is_hole()).then_some(AllocationId(node.previous)),
        };
        nodes.map(block).take(limit).collect()
    }

    fn validate(&self) -> Result<(), &'static str> {
        self.invariants()
    }
}

impl Tlsf {
    /// Takes the hole that is found first, if it is aligned as it is; its offset.
    #[inline]
    fn take_any(&mut self, number: AllocationId, bytes: u64, mask: u64) -> Option<u64> {
        // Bytes off the granule become more units than the arena can have.
        let units = bytes.rotate_right(self.shift);
        let entry = self.numbers.filed_mut(number.0)?;
        if units == 0 || *entry != numbers::NONE {
            return None;
        }
        // There are no holes, and nothing is found, while there is no geometry to serve.
        let hole = self.arena.find_plain(units);
        let offset = self.arena.node(hole).offset << self.shift;
        if hole == NONE || offset & mask != 0 {
            return None;
        }
        *entry = self.arena.take_low(hole, units, number.0);
        self.allocations += 1;
        Some(offset)
    }

    /// Serves any wish that could not be served as a plain one, or says why not.
    #[cold]
    fn allocate_any(&mut self, wish: &Allocate, extents: &mut Vec<Extent>) -> Result<(), Failure> {
        self.serving().map_err(Failure::Refused)?;
        let alignment = wish.checked(self.geometry).map_err(Failure::Refused)?;
        self.unused(wish.number).map_err(Failure::Refused)?;
        let (units, alignment) = (wish.bytes >> self.shift, alignment >> self.shift);
        let Some(fit) = self.arena.find(units, alignment, self.window(wish.range)) else {
            let (hole, units) = self.arena.largest();
            (self.arena.widest, self.arena.bound) = (hole, units);
            return Err(Failure::NoSpace {
                largest_hole: units << self.shift,
            });
        };
        let node = self.arena.take(fit.node, fit.start, units, wish.number.0);
        self.numbers.set(wish.number.0, node);
        self.allocations += 1;
        extents.push(Extent {
            offset: fit.start << self.shift,
            bytes: wish.bytes,
        });
        Ok(())
    }
}
