//! Allocator strategy: one extent each, from the hole that the caller's mode prefers.
//!
//! Best fit, lowest, highest or newest hole, exact ranges, colours that keep a distance, and
//! eviction scans: the range manager of the Linux kernel's GPU drivers. See the README for the
//! idea, the bounds and the sources.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod arena;
mod check;
mod index;
mod restore;
mod scan;
mod search;
mod tree;
#[cfg(test)]
mod tree_tests;

use alloc::vec::Vec;
use arena::{Arena, HEAD, NONE, Node};
use gpumm_contract::allocator::{
    Adopted, Allocate, Allocator, Block, Failure, Geometry, Refusal, Scan, Statistics,
};
use gpumm_contract::numbers::{LIMIT, Numbers};
use gpumm_contract::{AllocationId, Extent};
use scan::Roster;
use search::Wanted;

/// The range strategy.
///
/// Bounds: allocation numbers below 2^26; larger ones are [`Refusal::Unsupported`]. An alignment
/// may be any multiple of the granule, not only a power of two.
/// Complexity: `allocate` and `free` O(log n); a wish with an alignment, a range or a guard looks
/// at holes in the order of its mode until one fits, O(log n) each.
/// Invariants: a wish is refused only when no hole fits it, or when only the first hole was to be
/// tried; after a restore the answers depend on the restored allocations alone.
#[derive(Clone, Debug)]
pub struct RangeManager {
    /// Size 0 before the first geometry.
    geometry: Geometry,
    /// Bytes to keep free between neighbours of different colours.
    guard: u64,
    arena: Arena,
    numbers: Numbers,
    allocations: u64,
    roster: Roster,
    /// While restoring: the adopted nodes.
    adopted: Option<Adopted>,
}

impl Default for RangeManager {
    fn default() -> Self {
        RangeManager {
            geometry: Geometry {
                size: 0,
                granule: 1,
            },
            guard: 0,
            arena: Arena::new(0, 0),
            numbers: Numbers::default(),
            allocations: 0,
            roster: Roster::default(),
            adopted: None,
        }
    }
}

impl RangeManager {
    /// A strategy without a geometry, which takes no notice of colours.
    pub fn new() -> Self {
        Self::default()
    }

    /// Has the strategy keep `bytes` free between neighbours of different colours; to be called
    /// before the geometry comes.
    ///
    /// A new allocation keeps the distance from those on both sides of its hole. The ends of the
    /// arena have no colour. Restored allocations have colour 0, since no fact says another.
    ///
    /// Units: bytes, rounded up to whole granules. Bounds: 0 = no notice is taken of colours.
    #[must_use]
    pub fn with_guard(self, bytes: u64) -> Self {
        RangeManager {
            guard: bytes,
            ..self
        }
    }

    /// Files what is filed under one number under another one, which takes over place and colour.
    ///
    /// Errors: [`Refusal::NumberUnknown`], [`Refusal::NumberInUse`], [`Refusal::Unsupported`] for
    /// a number out of bounds, [`Refusal::Scan`] while allocations are added to a scan.
    pub fn replace(&mut self, old: AllocationId, new: AllocationId) -> Result<(), Refusal> {
        self.idle()?;
        let first = self.filed(old)?;
        self.unused(new)?;
        self.numbers.set(old.0, NONE);
        self.numbers.set(new.0, first);
        let mut at = first;
        while at != NONE {
            let node = self.arena.node_mut(at);
            node.owner = new.0;
            at = node.next;
        }
        Ok(())
    }

    fn begin(&mut self, geometry: Geometry) -> Result<(), Refusal> {
        let geometry = geometry.checked()?;
        let shift = geometry.granule.trailing_zeros();
        let guard = self.guard.div_ceil(geometry.granule);
        *self = RangeManager {
            geometry,
            arena: Arena::new(geometry.size >> shift, guard),
            ..Self::new().with_guard(self.guard)
        };
        Ok(())
    }

    fn serving(&self) -> Result<(), Refusal> {
        if self.geometry.size != 0 && self.adopted.is_none() {
            Ok(())
        } else {
            Err(Refusal::Geometry)
        }
    }

    /// Serving, and no scan forbids a change.
    fn idle(&self) -> Result<(), Refusal> {
        self.serving()?;
        if self.roster.is_active() {
            Err(Refusal::Scan)
        } else {
            Ok(())
        }
    }

    fn unused(&self, number: AllocationId) -> Result<(), Refusal> {
        match number.0 {
            LIMIT.. => Err(Refusal::Unsupported),
            number if self.numbers.get(number) != NONE => Err(Refusal::NumberInUse),
            _ => Ok(()),
        }
    }

    /// The first node that is filed under a number.
    fn filed(&self, number: AllocationId) -> Result<u32, Refusal> {
        match self.numbers.get(number.0) {
            NONE => Err(Refusal::NumberUnknown),
            first => Ok(first),
        }
    }

    #[inline]
    fn shift(&self) -> u32 {
        self.geometry.granule.trailing_zeros()
    }

    /// The wish in granules, with the whole granules of its range.
    fn wanted(&self, wish: &Allocate) -> Result<Wanted, Refusal> {
        let granule = self.geometry.granule;
        // What the contract leaves to a strategy: multiples that are no power of two.
        let odd = !wish.alignment.is_power_of_two() && wish.alignment.is_multiple_of(granule);
        let alignment = if odd && wish.alignment != 0 {
            let plain = Allocate {
                alignment: 0,
                ..*wish
            };
            plain.checked(self.geometry)?;
            wish.alignment
        } else {
            wish.checked(self.geometry)?
        };
        let (start, end) = wish.range.unwrap_or((0, self.geometry.size));
        Ok(Wanted {
            units: wish.bytes >> self.shift(),
            step: alignment >> self.shift(),
            start: start.div_ceil(granule),
            end: end >> self.shift(),
            mode: wish.mode,
            once: wish.once,
            colour: wish.colour,
        })
    }

    fn extent(&self, offset: u64, units: u64) -> Extent {
        Extent {
            offset: offset << self.shift(),
            bytes: units << self.shift(),
        }
    }
}

impl Allocator for RangeManager {
    fn init(&mut self, geometry: Geometry) -> Result<(), Refusal> {
        self.begin(geometry)?;
        self.arena.open(HEAD);
        Ok(())
    }

    fn resize(&mut self, geometry: Geometry) -> Result<(), Refusal> {
        self.idle()?;
        let geometry = geometry.checked()?;
        let same = geometry.granule == self.geometry.granule;
        if same && self.arena.resize(geometry.size >> self.shift()) {
            self.geometry = geometry;
            Ok(())
        } else {
            Err(Refusal::Geometry)
        }
    }

    fn allocate(&mut self, wish: &Allocate, extents: &mut Vec<Extent>) -> Result<(), Failure> {
        self.idle().map_err(Failure::Refused)?;
        let wanted = self.wanted(wish).map_err(Failure::Refused)?;
        self.unused(wish.number).map_err(Failure::Refused)?;
        let Some((below, start)) = self.arena.find(&wanted) else {
            return Err(Failure::NoSpace {
                largest_hole: self.arena.holes.all().largest() << self.shift(),
            });
        };
        let node = Node::new(start, wanted.units, wish.number.0, wish.colour);
        let at = self.arena.take(below, node);
        self.numbers.set(wish.number.0, at);
        self.allocations += 1;
        extents.push(self.extent(start, wanted.units));
        Ok(())
    }

    fn allocate_one(&mut self, number: AllocationId, bytes: u64) -> Option<u64> {
        let mut extents = Vec::new();
        let wish = Allocate::plain(number, bytes);
        self.allocate(&wish, &mut extents).ok()?;
        extents.first().map(|extent| extent.offset)
    }

    fn free(&mut self, number: AllocationId) -> Result<(), Refusal> {
        self.idle()?;
        let first = self.filed(number)?;
        self.numbers.set(number.0, NONE);
        self.arena.release_all(first);
        self.allocations -= 1;
        Ok(())
    }

    fn adopt(&mut self, number: AllocationId, extents: &[Extent]) -> Result<(), Refusal> {
        self.idle()?;
        self.unused(number)?;
        let mut first = NONE;
        // Backwards, so that the chain is in the caller's order.
        for extent in extents.iter().rev() {
            let cut = self.units(extent);
            let hole = cut.and_then(|(offset, units)| self.arena.hole_around(offset, units));
            let (Some((offset, units)), Some(below)) = (cut, hole) else {
                self.arena.release_all(first);
                return Err(Refusal::Extent);
            };
            let node = Node {
                next: first,
                ..Node::new(offset, units, number.0, 0)
            };
            first = self.arena.take(below, node);
        }
        if first == NONE {
            return Err(Refusal::Extent);
        }
        self.numbers.set(number.0, first);
        self.allocations += 1;
        Ok(())
    }

    fn scan_begin(&mut self, scan: &Scan) -> Result<(), Refusal> {
        self.idle()?;
        let wanted = self.wanted(&scan.wish(AllocationId(0)))?;
        if wanted.end.saturating_sub(wanted.start) < wanted.units {
            return Err(Refusal::Range);
        }
        self.roster.begin(wanted);
        Ok(())
    }

    fn scan_add(&mut self, number: AllocationId) -> Result<bool, Refusal> {
        self.serving()?;
        let mut at = self.filed(number)?;
        if !self.roster.has_begun() || self.roster.has(at) {
            return Err(Refusal::Scan);
        }
        let mut hit = false;
        while at != NONE {
            hit |= self.roster.add(&self.arena, at);
            at = self.arena.node(at).next;
        }
        Ok(hit)
    }

    fn scan_remove(&mut self, number: AllocationId) -> Result<bool, Refusal> {
        self.serving()?;
        let owner = |at: u32| self.arena.node(at).owner;
        if self.roster.last().map(owner) != Some(number.0) {
            return Err(Refusal::Scan);
        }
        let mut goes = false;
        while self.roster.last().map(owner) == Some(number.0) {
            goes |= self.roster.remove(&self.arena);
        }
        Ok(goes)
    }

    fn scan_colour(&mut self) -> Result<Option<AllocationId>, Refusal> {
        self.idle()?;
        let neighbour = self.roster.colour(&self.arena);
        Ok(neighbour.map(|at| AllocationId(self.arena.node(at).owner)))
    }

    fn restore_begin(&mut self, geometry: Geometry) -> Result<(), Refusal> {
        self.begin(geometry)?;
        self.adopted = Some(Adopted::default());
        Ok(())
    }

    fn restore_part(&mut self, number: AllocationId, extents: &[Extent]) -> Result<(), Refusal> {
        let mut adopted = self.adopted.take().ok_or(Refusal::Geometry)?;
        let result = self.file(&mut adopted, number, extents);
        self.adopted = Some(adopted);
        result
    }

    fn restore_end(&mut self) -> Result<(), Refusal> {
        let adopted = self.adopted.take().ok_or(Refusal::Geometry)?;
        match adopted.in_order() {
            Ok(pieces) => {
                self.join(&pieces);
                Ok(())
            }
            Err(why) => {
                *self = RangeManager::new();
                Err(why)
            }
        }
    }

    fn statistics(&self) -> Statistics {
        if self.serving().is_err() {
            return Statistics::default();
        }
        Statistics {
            used_bytes: self.arena.used << self.shift(),
            free_bytes: (self.arena.size - self.arena.used) << self.shift(),
            largest_hole: self.arena.holes.all().largest() << self.shift(),
            allocations: self.allocations,
            holes: self.arena.holes.all().len(),
        }
    }

    fn blocks(&self, from: u64, limit: usize) -> Vec<Block> {
        if self.serving().is_err() {
            return Vec::new();
        }
        let from = from >> self.shift();
        let both = |at: u32| {
            let node = self.arena.node(at);
            let owner = (at != HEAD).then_some(AllocationId(node.owner));
            [
                (node.offset, node.units, owner),
                (node.end(), node.hole, None),
            ]
        };
        let pieces = self.arena.from(from).flat_map(both);
        let pieces = pieces.filter(|&(offset, units, _)| units != 0 && offset + units > from);
        let block = |(offset, units, owner)| Block {
            extent: self.extent(offset, units),
            owner,
        };
        pieces.map(block).take(limit).collect()
    }

    fn validate(&self) -> Result<(), &'static str> {
        self.invariants()
    }
}
