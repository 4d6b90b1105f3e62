//! Allocator strategy: a ring, for bytes that live for a short time, such as uploads.
//!
//! Every allocation begins where the last one ended; what is freed is had again when the ring comes
//! round. See the README for the idea, the bounds and the sources.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod check;
mod ring;

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use gpumm_contract::allocator::{
    Allocate, Allocator, Block, Failure, Geometry, Refusal, Statistics,
};
use gpumm_contract::numbers::{LIMIT, NONE, Numbers};
use gpumm_contract::{AllocationId, Extent};
use ring::Ring;

/// The ring strategy.
///
/// Bounds: allocation numbers below 2^26; a range other than the whole arena is
/// [`Refusal::Unsupported`]. Complexity: `allocate` and `free` O(1); `blocks` O(live).
/// Invariants: an allocation is one extent and begins at the head, or at 0 when it would reach
/// beyond the end; what lies between two live allocations is no room; a restored ring has at least
/// as much room as the old one, and answers the same when it goes on at the same place.
#[derive(Clone, Debug)]
pub struct Linear {
    /// Size 0 before the first geometry.
    geometry: Geometry,
    ring: Ring,
    /// From an allocation number to its place in the ring's list.
    numbers: Numbers,
    /// While restoring: what was adopted, by offset: length and number.
    adopted: Option<BTreeMap<u64, (u64, u32)>>,
}

impl Default for Linear {
    fn default() -> Self {
        Linear {
            geometry: Geometry {
                size: 0,
                granule: 1,
            },
            ring: Ring::default(),
            numbers: Numbers::default(),
            adopted: None,
        }
    }
}

impl Linear {
    /// A strategy without a geometry.
    pub fn new() -> Self {
        Self::default()
    }

    fn begin(&mut self, geometry: Geometry) -> Result<(), Refusal> {
        self.geometry = geometry.checked()?;
        self.ring = Ring::new(geometry.size >> geometry.granule.trailing_zeros());
        self.numbers.clear();
        self.adopted = None;
        Ok(())
    }

    fn serving(&self) -> Result<(), Refusal> {
        if self.geometry.size != 0 && self.adopted.is_none() {
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

    /// The extent in granules.
    fn units(&self, extent: &Extent) -> Result<(u64, u64), Refusal> {
        let end = extent
            .end()
            .filter(|&end| end <= self.geometry.size)
            .ok_or(Refusal::Extent)?;
        let granular = (extent.offset | end) & (self.geometry.granule - 1) == 0;
        if granular && extent.bytes != 0 {
            Ok((extent.offset >> self.shift(), extent.bytes >> self.shift()))
        } else {
            Err(Refusal::Extent)
        }
    }
}

impl Allocator for Linear {
    fn init(&mut self, geometry: Geometry) -> Result<(), Refusal> {
        self.begin(geometry)
    }

    fn resize(&mut self, geometry: Geometry) -> Result<(), Refusal> {
        self.serving()?;
        let geometry = geometry.checked()?;
        let same = geometry.granule == self.geometry.granule;
        if same && self.ring.resize(geometry.size >> self.shift()) {
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
        // The head is where it is: a range would leave all that lies before it unused.
        if wish
            .range
            .is_some_and(|range| range != (0, self.geometry.size))
        {
            return Err(Failure::Refused(Refusal::Unsupported));
        }
        let (units, alignment) = (wish.bytes >> self.shift(), alignment >> self.shift());
        let Some(start) = self.ring.place(units, alignment) else {
            return Err(Failure::NoSpace {
                largest_hole: self.ring.room() << self.shift(),
            });
        };
        let at = self.ring.push(start, units, wish.number.0);
        self.numbers.set(wish.number.0, at);
        extents.push(Extent {
            offset: start << self.shift(),
            bytes: wish.bytes,
        });
        Ok(())
    }

    fn free(&mut self, number: AllocationId) -> Result<(), Refusal> {
        self.serving()?;
        let at = self.numbers.get(number.0);
        if at == NONE {
            return Err(Refusal::NumberUnknown);
        }
        self.numbers.set(number.0, NONE);
        self.ring.remove(at);
        Ok(())
    }

    fn restore_begin(&mut self, geometry: Geometry) -> Result<(), Refusal> {
        self.begin(geometry)?;
        self.adopted = Some(BTreeMap::new());
        Ok(())
    }

    /// Files one live allocation.
    ///
    /// Errors: [`Refusal::Unsupported`] for an allocation of several extents, which is foreign: a
    /// ring never splits one, so whoever reads it back relies on one extent. Extents anywhere are
    /// adopted: what lies between them is what a ring has after frees.
    fn restore_part(&mut self, number: AllocationId, extents: &[Extent]) -> Result<(), Refusal> {
        let mut adopted = self.adopted.take().ok_or(Refusal::Geometry)?;
        let result = self.adopt(&mut adopted, number, extents);
        self.adopted = Some(adopted);
        result
    }

    fn restore_end(&mut self) -> Result<(), Refusal> {
        let adopted = self.adopted.take().ok_or(Refusal::Geometry)?;
        let Some(first) = first_behind_the_best_gap(&adopted, self.ring.size()) else {
            return Ok(());
        };
        let behind = adopted.range(first..).chain(adopted.range(..first));
        for (&start, &(units, number)) in behind {
            let at = self.ring.push(start, units, number);
            self.numbers.set(number, at);
        }
        Ok(())
    }

    /// Sums over the arena. The largest hole is what the next allocation can get at most; other
    /// holes may be longer, but the ring has not come round to them.
    fn statistics(&self) -> Statistics {
        if self.serving().is_err() {
            return Statistics::default();
        }
        Statistics {
            used_bytes: self.ring.used() << self.shift(),
            free_bytes: (self.ring.size() - self.ring.used()) << self.shift(),
            largest_hole: self.ring.room() << self.shift(),
            allocations: self.ring.live(),
            holes: self.ring.holes(),
        }
    }

    fn blocks(&self, from: u64, limit: usize) -> Vec<Block> {
        if self.serving().is_err() {
            return Vec::new();
        }
        let mut blocks = Vec::new();
        let mut end = 0;
        let hole = |start, end| (start, end, None);
        let mut show = |(start, end, owner): (u64, u64, Option<u32>)| {
            if start < end && end > from >> self.shift() && blocks.len() < limit {
                blocks.push(Block {
                    extent: Extent {
                        offset: start << self.shift(),
                        bytes: (end - start) << self.shift(),
                    },
                    owner: owner.map(AllocationId),
                });
            }
        };
        for entry in self.ring.by_address() {
            show(hole(end, entry.start));
            end = entry.start + entry.units;
            show((entry.start, end, Some(entry.number)));
        }
        show(hole(end, self.ring.size()));
        blocks
    }

    fn validate(&self) -> Result<(), &'static str> {
        self.invariants()
    }
}

impl Linear {
    fn adopt(
        &mut self,
        adopted: &mut BTreeMap<u64, (u64, u32)>,
        number: AllocationId,
        extents: &[Extent],
    ) -> Result<(), Refusal> {
        self.unused(number)?;
        let units = extents.iter().map(|extent| self.units(extent));
        let units = units.collect::<Result<Vec<_>, _>>()?;
        let (start, units) = match units[..] {
            [only] => only,
            [] => return Err(Refusal::Extent),
            _ => return Err(Refusal::Unsupported),
        };
        let last = adopted.range(..start + units).next_back();
        if last.is_some_and(|(other, &(length, _))| other + length > start) {
            return Err(Refusal::Extent);
        }
        adopted.insert(start, (units, number.0));
        // The place in the list is known at the end; until then the number is merely in use.
        self.numbers.set(number.0, 0);
        Ok(())
    }
}

/// Where the ring went on is no fact: the live extents do not tell it. So it goes on in the gap
/// with the most room, of equals the one round the arena's end, then the lowest. This is the start
/// of the allocation behind that gap, the oldest one from now on.
fn first_behind_the_best_gap(adopted: &BTreeMap<u64, (u64, u32)>, size: u64) -> Option<u64> {
    let (&lowest, _) = adopted.first_key_value()?;
    let (&highest, &(units, _)) = adopted.last_key_value()?;
    // The gap round the arena's end is two pieces, and no allocation is split.
    let high = size - (highest + units);
    let (mut room, mut first) = (high.max(lowest), lowest);
    let mut end = 0;
    for (&start, &(units, _)) in adopted {
        // What is below the lowest is a piece of the gap round the end.
        if start != lowest && start - end > room {
            (room, first) = (start - end, start);
        }
        end = start + units;
    }
    Some(first)
}
