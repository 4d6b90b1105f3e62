//! The radix page table: nine bits of the address per level.
//!
//! The two upper levels are directories of directories. An entry of the third stands for 2 MiB:
//! it is a large page, or leads to 512 entries of 4 KiB; sixteen aligned neighbours of these that
//! continue each other are flagged as one page of 64 KiB. Tables once made stay, also under a
//! large page: whoever reserved them must find them.

use std::sync::Arc;

use super::budget::{Budget, NoMemory, table};
use super::pte::{JOINED, PRESENT, Pte};

pub(crate) const PAGE: u64 = 4096;
pub(crate) const MIDDLE: u64 = 64 << 10;
pub(crate) const LARGE: u64 = 2 << 20;
/// What one table of the third level spans.
pub(super) const GIB: u64 = 1 << 30;
pub(super) const FANOUT: usize = 512;
/// Small pages in a joined one.
pub(super) const JOIN: usize = 16;

pub(super) type Small = Box<[u64; FANOUT]>;

/// 2 MiB of addresses.
#[derive(Default)]
pub(super) struct Region {
    /// The large page.
    pub(super) large: u64,
    /// How many entries of `small` are present: none beside a large page.
    pub(super) used: u16,
    pub(super) small: Option<Small>,
}

pub(super) type Regions = Box<[Region; FANOUT]>;
pub(super) type Middles = Box<[Option<Regions>; FANOUT]>;

pub(super) const SMALL_BYTES: u64 = size_of::<[u64; FANOUT]>() as u64;
pub(super) const REGIONS_BYTES: u64 = size_of::<[Region; FANOUT]>() as u64;
pub(super) const MIDDLES_BYTES: u64 = size_of::<[Option<Regions>; FANOUT]>() as u64;
const TOP_BYTES: u64 = size_of::<[Option<Middles>; FANOUT]>() as u64;

/// Pages by size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pages {
    pub(crate) small: u64,
    pub(crate) middle: u64,
    pub(crate) large: u64,
}

/// A page that a walk found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Leaf {
    /// Where the page begins.
    pub(crate) address: u64,
    pub(crate) bytes: u64,
    pub(crate) pte: Pte,
}

/// The page table of one address space.
pub(crate) struct Table {
    pub(super) top: Box<[Option<Middles>; FANOUT]>,
    pub(super) budget: Arc<Budget>,
    /// What was taken of the budget.
    pub(super) bytes: u64,
    /// Entries of 4 KiB that stand for themselves.
    pub(super) small: u64,
    /// Entries of 4 KiB that are part of 64 KiB.
    pub(super) joined: u64,
    pub(super) large: u64,
}

/// The index of an address in the level whose entries span `1 << shift` bytes.
pub(super) fn index(address: u64, shift: u32) -> usize {
    (address >> shift) as usize % FANOUT
}

impl Table {
    pub(crate) fn new(budget: &Arc<Budget>) -> Result<Table, NoMemory> {
        budget.take(TOP_BYTES)?;
        let Ok(top) = table() else {
            budget.give(TOP_BYTES);
            return Err(NoMemory);
        };
        Ok(Table {
            top,
            budget: Arc::clone(budget),
            bytes: TOP_BYTES,
            small: 0,
            joined: 0,
            large: 0,
        })
    }

    /// Memory of the tables in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The pages that are present.
    pub(crate) fn pages(&self) -> Pages {
        Pages {
            small: self.small,
            middle: self.joined / JOIN as u64,
            large: self.large,
        }
    }

    /// Makes every page absent; tables stay.
    pub(crate) fn clear(&mut self) {
        for regions in self.top.iter_mut().flatten().flat_map(|m| m.iter_mut()) {
            for region in regions.iter_mut().flat_map(|regions| regions.iter_mut()) {
                region.large = 0;
                if region.used > 0
                    && let Some(small) = &mut region.small
                {
                    small.fill(0);
                }
                region.used = 0;
            }
        }
        (self.small, self.joined, self.large) = (0, 0, 0);
    }

    /// Makes all tables that writes in the range may need, or on an error none.
    pub(crate) fn reserve(&mut self, address: u64, bytes: u64) -> Result<(), NoMemory> {
        let needed = self.missing(address, bytes)?;
        self.budget.take(needed)?;
        self.bytes += needed;
        // What is made stays even if the process has no memory for the rest: it is paid.
        let mut made = 0;
        let result = self.make(address, bytes, &mut made);
        let unused = needed - made;
        self.bytes -= unused;
        self.budget.give(unused);
        result
    }

    /// The bytes of the tables that are missing in the range.
    fn missing(&self, address: u64, bytes: u64) -> Result<u64, NoMemory> {
        let mut needed = 0;
        let mut upper = None;
        for start in steps(address, bytes, GIB) {
            let middles = self.top[index(start, 39)].as_ref();
            if middles.is_none() && upper != Some(index(start, 39)) {
                upper = Some(index(start, 39));
                needed += MIDDLES_BYTES;
            }
            let regions = middles.and_then(|middles| middles[index(start, 30)].as_ref());
            let end = (start | (GIB - 1)).min(address + bytes - 1) + 1;
            needed += match regions {
                None => {
                    REGIONS_BYTES + steps(start, end - start, LARGE).count() as u64 * SMALL_BYTES
                }
                Some(regions) => {
                    let bare = |start: &u64| regions[index(*start, 21)].small.is_none();
                    let bare = steps(start, end - start, LARGE).filter(bare);
                    bare.count() as u64 * SMALL_BYTES
                }
            };
            // So a range beyond measure is refused after a short look.
            if needed > self.budget.limit() {
                return Err(NoMemory);
            }
        }
        Ok(needed)
    }

    fn make(&mut self, address: u64, bytes: u64, made: &mut u64) -> Result<(), NoMemory> {
        for start in steps(address, bytes, LARGE) {
            let middles = child(&mut self.top[index(start, 39)], made, MIDDLES_BYTES)?;
            let regions = child(&mut middles[index(start, 30)], made, REGIONS_BYTES)?;
            child(&mut regions[index(start, 21)].small, made, SMALL_BYTES)?;
        }
        Ok(())
    }

    /// The page at an address.
    pub(crate) fn walk(&self, address: u64) -> Option<Leaf> {
        let middles = self.top[index(address, 39)].as_ref()?;
        let regions = middles[index(address, 30)].as_ref()?;
        let region = &regions[index(address, 21)];
        let leaf = |bytes: u64, pte: u64| Leaf {
            address: address - address % bytes,
            bytes,
            pte: Pte(pte & !JOINED),
        };
        if region.large & PRESENT != 0 {
            return Some(leaf(LARGE, region.large));
        }
        let small = region.small.as_ref()?;
        let place = index(address, 12);
        let entry = small[place];
        if entry & JOINED != 0 {
            return Some(leaf(MIDDLE, small[place - place % JOIN]));
        }
        (entry & PRESENT != 0).then(|| leaf(PAGE, entry))
    }

    /// The first so many pages, by address.
    pub(crate) fn leaves(&self, limit: usize) -> Vec<Leaf> {
        let mut leaves = Vec::new();
        for (top, middles) in (0..).zip(self.top.iter()) {
            for (middle, regions) in (0..).zip(middles.iter().flat_map(|m| m.iter())) {
                let base: u64 = top << 39 | middle << 30;
                let regions = regions.iter().flat_map(|regions| regions.iter());
                for (address, region) in (base..).step_by(LARGE as usize).zip(regions) {
                    region.leaves(address, limit, &mut leaves);
                    if leaves.len() >= limit {
                        return leaves;
                    }
                }
            }
        }
        leaves
    }
}

impl Region {
    /// Adds the pages of the region, as far as the limit allows.
    fn leaves(&self, base: u64, limit: usize, leaves: &mut Vec<Leaf>) {
        let small = self.small.iter().filter(|_| self.used > 0);
        let small = (base..)
            .step_by(PAGE as usize)
            .zip(small.flat_map(|s| s.iter()));
        let small = small.filter_map(|(address, entry)| {
            let joined = entry & JOINED != 0;
            let first = !joined || address.is_multiple_of(MIDDLE);
            (entry & PRESENT != 0 && first).then_some(Leaf {
                address,
                bytes: if joined { MIDDLE } else { PAGE },
                pte: Pte(entry & !JOINED),
            })
        });
        let large = (self.large & PRESENT != 0).then_some(Leaf {
            address: base,
            bytes: LARGE,
            pte: Pte(self.large),
        });
        let room = limit.saturating_sub(leaves.len());
        leaves.extend(large.into_iter().chain(small).take(room));
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        self.budget.give(self.bytes);
    }
}

/// The starts of the aligned pieces that a range touches; the first is the range's own.
fn steps(address: u64, bytes: u64, piece: u64) -> impl Iterator<Item = u64> {
    let first = (bytes > 0).then_some(address);
    let rest = (address - address % piece + piece..address + bytes).step_by(piece as usize);
    first.into_iter().chain(rest)
}

/// The table behind an entry, made if it is missing.
fn child<'a, T: Default>(
    entry: &'a mut Option<Box<[T; FANOUT]>>,
    made: &mut u64,
    bytes: u64,
) -> Result<&'a mut [T; FANOUT], NoMemory> {
    let child = match entry.take() {
        Some(child) => child,
        None => {
            let child = table()?;
            *made += bytes;
            child
        }
    };
    Ok(entry.insert(child))
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
