//! The radix page table: nine bits of the address per level.
//!
//! The two upper levels are directories of directories. An entry of the third stands for 2 MiB:
//! it is a large page, or leads to 512 entries of 4 KiB; sixteen aligned neighbours of these that
//! continue each other are flagged as one page of 64 KiB. Tables once made stay, also under a
//! large page: whoever reserved them must find them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::pte::{JOINED, PRESENT, Pte};

pub(crate) const PAGE: u64 = 4096;
pub(crate) const MIDDLE: u64 = 64 << 10;
pub(crate) const LARGE: u64 = 2 << 20;
/// What one table of the third level spans.
const GIB: u64 = 1 << 30;
const FANOUT: usize = 512;
/// Small pages in a joined one.
const JOIN: usize = 16;

type Small = Box<[u64; FANOUT]>;

/// 2 MiB of addresses.
#[derive(Default)]
struct Region {
    /// The large page.
    large: u64,
    /// How many entries of `small` are present: none beside a large page.
    used: u16,
    small: Option<Small>,
}

type Regions = Box<[Region; FANOUT]>;
type Middles = Box<[Option<Regions>; FANOUT]>;

const SMALL_BYTES: u64 = size_of::<[u64; FANOUT]>() as u64;
const REGIONS_BYTES: u64 = size_of::<[Region; FANOUT]>() as u64;
const MIDDLES_BYTES: u64 = size_of::<[Option<Regions>; FANOUT]>() as u64;
const TOP_BYTES: u64 = size_of::<[Option<Middles>; FANOUT]>() as u64;

/// There is no memory for tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoMemory;

/// Memory for tables, shared by the address spaces of a device.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: u64,
    used: AtomicU64,
}

impl Budget {
    pub(crate) fn new(limit: u64) -> Arc<Budget> {
        Arc::new(Budget {
            limit,
            used: AtomicU64::new(0),
        })
    }

    #[cfg(test)]
    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    fn take(&self, bytes: u64) -> Result<(), NoMemory> {
        let more = |used: u64| used.checked_add(bytes).filter(|sum| *sum <= self.limit);
        let taken = self
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        taken.map(|_| ()).map_err(|_| NoMemory)
    }

    fn give(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

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
    top: Box<[Option<Middles>; FANOUT]>,
    budget: Arc<Budget>,
    /// What was taken of the budget.
    bytes: u64,
    /// Entries of 4 KiB that stand for themselves.
    small: u64,
    /// Entries of 4 KiB that are part of 64 KiB.
    joined: u64,
    large: u64,
}

/// The index of an address in the level whose entries span `1 << shift` bytes.
fn index(address: u64, shift: u32) -> usize {
    (address >> shift) as usize % FANOUT
}

/// A table of empty entries; an error rather than an abort.
fn table<T: Default>() -> Result<Box<[T; FANOUT]>, NoMemory> {
    let mut entries = Vec::new();
    entries.try_reserve_exact(FANOUT).map_err(|_| NoMemory)?;
    entries.resize_with(FANOUT, T::default);
    entries.into_boxed_slice().try_into().map_err(|_| NoMemory)
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
            if needed > self.budget.limit {
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

    /// Puts pages at a range, the first one at `pte`; the largest that fit. The answer counts
    /// what was written.
    ///
    /// # Errors
    /// [`NoMemory`] when a table is missing that was not reserved; all before it is written.
    pub(crate) fn map(&mut self, address: u64, bytes: u64, pte: Pte) -> Result<Pages, NoMemory> {
        let mut written = Pages::default();
        let (mut at, end, mut pte) = (address, address + bytes, pte);
        while at < end {
            let mut part = (LARGE - at % LARGE).min(end - at);
            let large = part == LARGE && pte.continues(at, LARGE);
            if large {
                // As many as one table of the third level has, at once.
                let most = (GIB - at % GIB).min(end - at);
                part = most / LARGE * LARGE;
                self.map_large(at, part, pte)?;
                written.large += part / LARGE;
            } else {
                self.map_small(at, part, pte, &mut written)?;
            }
            at += part;
            pte = pte.advance(part);
        }
        Ok(written)
    }

    fn map_large(&mut self, address: u64, bytes: u64, first: Pte) -> Result<(), NoMemory> {
        let from = index(address, 21);
        let to = from + (bytes / LARGE) as usize;
        let Table {
            top,
            budget,
            bytes: total,
            small,
            joined,
            large,
        } = self;
        let regions = regions(top, budget, total, address)?;
        let mut pte = first;
        for region in &mut regions[from..to] {
            *large += 1;
            *large -= region.large & PRESENT;
            empty(region, small, joined);
            region.large = pte.0;
            pte = pte.advance(LARGE);
        }
        Ok(())
    }

    /// Inside one region.
    fn map_small(
        &mut self,
        address: u64,
        bytes: u64,
        first: Pte,
        written: &mut Pages,
    ) -> Result<(), NoMemory> {
        let Table {
            top,
            budget,
            bytes: total,
            ..
        } = self;
        let regions = regions(top, budget, total, address)?;
        let region = &mut regions[index(address, 21)];
        if region.small.is_none() {
            paid(budget, total, SMALL_BYTES, &mut region.small)?;
        }
        let from = index(address, 12);
        let to = from + (bytes / PAGE) as usize;
        let change = change(region, from, to);
        let Some(entries) = &mut region.small else {
            return Err(NoMemory);
        };
        // What both the address and the memory allow to join.
        let (a, b) = match first.continues(address, MIDDLE) {
            true => (from.next_multiple_of(JOIN), to / JOIN * JOIN),
            false => (to, to),
        };
        let (a, b) = if a < b { (a, b) } else { (to, to) };
        let mut pte = first.0;
        let step = first.step();
        for (range, flags) in [(from..a, 0), (a..b, JOINED), (b..to, 0)] {
            for entry in &mut entries[range] {
                *entry = pte | flags;
                pte += step;
            }
        }
        let count = to - from;
        region.used += count as u16;
        self.large -= change.large;
        self.small = self.small + change.small - change.gone_small + (count - (b - a)) as u64;
        self.joined = self.joined + change.joined - change.gone_joined + (b - a) as u64;
        written.small += (count - (b - a)) as u64;
        written.middle += ((b - a) / JOIN) as u64;
        Ok(())
    }

    /// Makes the pages of a range absent.
    ///
    /// # Errors
    /// [`NoMemory`] when a large page must be split and its table was not reserved.
    pub(crate) fn unmap(&mut self, address: u64, bytes: u64) -> Result<(), NoMemory> {
        let end = address + bytes;
        let mut at = address;
        while at < end {
            let Some(middles) = &mut self.top[index(at, 39)] else {
                at = ((at | ((GIB << 9) - 1)) + 1).min(end);
                continue;
            };
            let stop = (at | (GIB - 1)).saturating_add(1).min(end);
            let Some(regions) = &mut middles[index(at, 30)] else {
                at = stop;
                continue;
            };
            while at < stop {
                let part = (LARGE - at % LARGE).min(stop - at);
                let region = &mut regions[index(at, 21)];
                if part == LARGE {
                    self.large -= region.large & PRESENT;
                    region.large = 0;
                    empty(region, &mut self.small, &mut self.joined);
                } else if region.large & PRESENT != 0 || region.used > 0 {
                    if region.small.is_none() {
                        paid(
                            &self.budget,
                            &mut self.bytes,
                            SMALL_BYTES,
                            &mut region.small,
                        )?;
                    }
                    let from = index(at, 12);
                    let to = from + (part / PAGE) as usize;
                    let change = change(region, from, to);
                    if let Some(entries) = &mut region.small {
                        entries[from..to].fill(0);
                    }
                    self.large -= change.large;
                    self.small = self.small + change.small - change.gone_small;
                    self.joined = self.joined + change.joined - change.gone_joined;
                }
                at += part;
            }
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

/// As [`child`], paid by itself.
fn paid<'a, T: Default>(
    budget: &Budget,
    total: &mut u64,
    bytes: u64,
    entry: &'a mut Option<Box<[T; FANOUT]>>,
) -> Result<&'a mut [T; FANOUT], NoMemory> {
    if entry.is_none() {
        budget.take(bytes)?;
        match table() {
            Ok(child) => *entry = Some(child),
            Err(error) => {
                budget.give(bytes);
                return Err(error);
            }
        }
        *total += bytes;
    }
    entry.as_deref_mut().ok_or(NoMemory)
}

/// The regions of the GiB of an address.
fn regions<'a>(
    top: &'a mut [Option<Middles>; FANOUT],
    budget: &Budget,
    total: &mut u64,
    address: u64,
) -> Result<&'a mut [Region; FANOUT], NoMemory> {
    let middles = paid(budget, total, MIDDLES_BYTES, &mut top[index(address, 39)])?;
    paid(
        budget,
        total,
        REGIONS_BYTES,
        &mut middles[index(address, 30)],
    )
}

/// Makes the small pages of a region absent.
fn empty(region: &mut Region, small: &mut u64, joined: &mut u64) {
    if region.used > 0
        && let Some(entries) = &mut region.small
    {
        let part = entries.iter().map(|entry| (entry & JOINED) / JOINED);
        let part: u64 = part.sum();
        *joined -= part;
        *small -= u64::from(region.used) - part;
        entries.fill(0);
        region.used = 0;
    }
}

/// What becomes of the pages around and in a range of small entries.
#[derive(Default)]
struct Change {
    /// Large pages split.
    large: u64,
    /// Small and joined entries made of others.
    small: u64,
    joined: u64,
    /// Small and joined entries in the range, which are to be overwritten.
    gone_small: u64,
    gone_joined: u64,
}

/// Prepares small entries for being overwritten: splits the pages that go beyond the range, and
/// takes what is in the range out of the region's count.
fn change(region: &mut Region, from: usize, to: usize) -> Change {
    let mut change = Change::default();
    let Some(entries) = &mut region.small else {
        return change;
    };
    if region.large & PRESENT != 0 {
        let large = Pte(region.large);
        let mut pte = large.0 | JOINED;
        for entry in entries.iter_mut() {
            *entry = pte;
            pte += large.step();
        }
        region.large = 0;
        region.used = FANOUT as u16;
        change.large = 1;
        change.joined = FANOUT as u64;
    }
    let mut part = 0;
    for edge in [from, to] {
        let group = edge / JOIN * JOIN;
        if edge != group && entries[group] & JOINED != 0 {
            entries[group..group + JOIN]
                .iter_mut()
                .for_each(|entry| *entry &= !JOINED);
            part += JOIN as u64;
        }
    }
    change.small += part;
    change.gone_joined += part;
    let (mut present, mut joined) = (0, 0);
    for entry in &entries[from..to] {
        present += entry & PRESENT;
        joined += (entry & JOINED) / JOINED;
    }
    region.used -= present as u16;
    change.gone_joined += joined;
    change.gone_small += present - joined;
    change
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
