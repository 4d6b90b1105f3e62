//! What of a page table has changed since somebody copied it.

use super::table::{GIB, LARGE, PAGE, Table, index};

/// So many ranges are kept; beyond that, what is present is cheaper to say.
const RANGES: usize = 4096;

/// Ranges of addresses whose entries may have changed.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// The table was emptied before the other changes, or it is to be copied as if it were.
    #[cfg_attr(not(feature = "wgpu"), allow(dead_code))] // Only a GPU's table is a copy.
    pub(crate) cleared: bool,
    /// Beginnings and ends, in the order of the changes.
    pub(crate) ranges: Vec<(u64, u64)>,
    /// How many of the ranges stand for all that was present once.
    present: usize,
}

impl Changes {
    /// A range is about to change in a table. What is kept is bounded by what is present: nobody
    /// may ever copy it.
    pub(super) fn add(&mut self, address: u64, bytes: u64, table: &Table) {
        if self.ranges.len() >= RANGES + 2 * self.present {
            self.clear();
            let mut at = table.next(0, u64::MAX);
            while at < u64::MAX {
                let start = at - at % LARGE;
                self.push(start, start + LARGE);
                at = table.next(start + LARGE, u64::MAX);
            }
            self.present = self.ranges.len();
        }
        self.push(address, address + bytes);
    }

    fn push(&mut self, start: u64, end: u64) {
        match self.ranges.last_mut() {
            Some(last) if last.1 == start => last.1 = end,
            _ => self.ranges.push((start, end)),
        }
    }

    /// The table is empty.
    pub(super) fn clear(&mut self) {
        *self = Changes {
            cleared: true,
            ..Changes::default()
        };
    }

    /// Somebody has copied all of it.
    #[cfg(feature = "wgpu")]
    pub(super) fn copied(&mut self) {
        *self = Changes::default();
    }
}

impl Table {
    /// The first address of a range that is of a present page, or the range's end. Addresses that
    /// no table can have are skipped at once.
    pub(crate) fn next(&self, address: u64, end: u64) -> u64 {
        const BEYOND: u64 = 1 << crate::vm::VM_ADDRESS_BITS;
        let mut at = address;
        while at < end.min(BEYOND) {
            let Some(middles) = self.top[index(at, 39)].as_ref() else {
                at = (at | ((GIB << 9) - 1)) + 1;
                continue;
            };
            let Some(regions) = middles[index(at, 30)].as_ref() else {
                at = (at | (GIB - 1)) + 1;
                continue;
            };
            let region = &regions[index(at, 21)];
            if region.large == 0 && region.used == 0 {
                at = (at | (LARGE - 1)) + 1;
            } else if self.walk(at).is_none() {
                at = (at | (PAGE - 1)) + 1;
            } else {
                return at;
            }
        }
        end
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::budget::Budget;
    use super::super::pte::Pte;
    use super::*;

    #[test]
    fn what_is_kept_is_bounded_by_what_is_present() {
        let mut table = Table::new(&Budget::new(1 << 30)).unwrap();
        let mut changes = Changes::default();
        // Every second page of a few, over and over, at places that do not touch.
        for round in 0..50_000_u64 {
            let at = round % 7 * (3 * GIB) + round % 16 * 2 * PAGE;
            changes.add(at, PAGE, &table);
            table.map(at, PAGE, Pte::SPARSE).unwrap();
            assert!(changes.ranges.len() <= RANGES + 64, "{round}");
        }
        assert!(changes.cleared);
        // Everything that is present is in it.
        let mut at = table.next(0, u64::MAX);
        assert_eq!(at, 0);
        let mut pages = 0;
        while at < u64::MAX {
            let known = |(start, end): &(u64, u64)| (*start..*end).contains(&at);
            assert!(changes.ranges.iter().any(known), "{at:#x}");
            pages += 1;
            at = table.next(at + PAGE, u64::MAX);
        }
        assert_eq!(pages, 7 * 16);
    }
}
