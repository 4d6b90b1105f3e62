//! Writing the page table: the largest pages that fit, and splits of those that are cut.

use super::budget::{Budget, NoMemory, paid};
use super::pte::{JOINED, PRESENT, Pte};
use super::table::{
    FANOUT, GIB, JOIN, LARGE, MIDDLE, MIDDLES_BYTES, Middles, PAGE, Pages, REGIONS_BYTES, Region,
    SMALL_BYTES, Table, index,
};

impl Table {
    /// Puts pages at a range, the first one at `pte`; the largest that fit. The answer counts
    /// what was written.
    ///
    /// # Errors
    /// [`NoMemory`] when a table is missing that was not reserved; all before it is written.
    pub(crate) fn map(&mut self, address: u64, bytes: u64, pte: Pte) -> Result<Pages, NoMemory> {
        self.map_runs(address, bytes, std::iter::once((pte, bytes)))
    }

    /// As [`Table::map`], with runs of pages that follow each other; together they are as long as
    /// the range.
    pub(crate) fn map_runs(
        &mut self,
        address: u64,
        bytes: u64,
        runs: impl Iterator<Item = (Pte, u64)>,
    ) -> Result<Pages, NoMemory> {
        let mut written = Pages::default();
        let (mut at, end) = (address, address + bytes);
        let mut rest = Rest {
            runs,
            now: (Pte::SPARSE, 0),
        };
        while at < end {
            let part = (LARGE - at % LARGE).min(end - at);
            let (pte, left) = rest.now()?;
            if part == LARGE && left >= LARGE && pte.continues(at, LARGE) {
                // As many as one table of the third level has, at once.
                let most = (GIB - at % GIB).min(left);
                let part = most - most % LARGE;
                self.map_large(at, part, pte)?;
                written.large += part / LARGE;
                rest.take(part);
                at += part;
            } else {
                self.map_small(at, part, &mut rest, &mut written)?;
                at += part;
            }
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
        rest: &mut Rest<impl Iterator<Item = (Pte, u64)>>,
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
        let mut joined = 0;
        let mut place = from;
        while place < to {
            let (pte, left) = rest.now()?;
            let count = (left / PAGE).min((to - place) as u64);
            joined += fill(&mut entries[place..place + count as usize], place, pte);
            place += count as usize;
            rest.take(count * PAGE);
        }
        let count = to - from;
        region.used += count as u16;
        self.large -= change.large;
        self.small = self.small + change.small - change.gone_small + (count - joined) as u64;
        self.joined = self.joined + change.joined - change.gone_joined + joined as u64;
        written.small += (count - joined) as u64;
        written.middle += (joined / JOIN) as u64;
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
}

/// Runs of pages, from somewhere within one of them on.
struct Rest<I> {
    runs: I,
    /// The entry of its next page, and how many bytes are left of it.
    now: (Pte, u64),
}

impl<I: Iterator<Item = (Pte, u64)>> Rest<I> {
    /// The run that goes on.
    fn now(&mut self) -> Result<(Pte, u64), NoMemory> {
        while self.now.1 == 0 {
            // There are as many as the range is long.
            self.now = self.runs.next().ok_or(NoMemory)?;
        }
        Ok(self.now)
    }

    fn take(&mut self, bytes: u64) {
        let (pte, left) = self.now;
        self.now = (pte.advance(bytes), left - bytes);
    }
}

/// Writes the small entries of one run, the first of them at a place of its region. The answer is
/// how many are part of larger pages: what both the address and the memory allow to join.
fn fill(entries: &mut [u64], place: usize, first: Pte) -> usize {
    let (from, to) = (place, place + entries.len());
    let (a, b) = (from.next_multiple_of(JOIN), to / JOIN * JOIN);
    let aligned = first.continues(place as u64 * PAGE, MIDDLE);
    let (a, b) = if aligned && a < b { (a, b) } else { (to, to) };
    let mut pte = first.0;
    let step = first.step();
    for (range, flags) in [(from..a, 0), (a..b, JOINED), (b..to, 0)] {
        for entry in &mut entries[range.start - from..range.end - from] {
            *entry = pte | flags;
            pte += step;
        }
    }
    b - a
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
