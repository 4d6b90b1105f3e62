//! What of a page table has changed since somebody copied it.

use super::table::{FANOUT, LARGE, Table, index};
#[cfg(feature = "wgpu")]
use super::table::{GIB, PAGE};

/// The flag of a copied entry that is a page of 2 MiB; the host's entries leave its bit free.
pub(crate) const IMAGE_LARGE: u64 = 1 << 5;

/// Ranges of addresses whose entries may have changed.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// The table was emptied before the other changes.
    pub(crate) cleared: bool,
    /// Beginnings and ends, in the order of the changes.
    pub(crate) ranges: Vec<(u64, u64)>,
}

impl Changes {
    pub(super) fn add(&mut self, address: u64, bytes: u64) {
        let end = address + bytes;
        match self.ranges.last_mut() {
            Some(last) if last.1 == address => last.1 = end,
            _ => self.ranges.push((address, end)),
        }
    }

    pub(super) fn clear(&mut self) {
        self.cleared = true;
        self.ranges.clear();
    }
}

/// The entries of 2 MiB of addresses.
pub(crate) enum Entries<'a> {
    /// None is present.
    None,
    /// One page, with [`IMAGE_LARGE`].
    Large(u64),
    /// Pages of 4 KiB; those of joined ones stand for themselves too.
    Small(&'a [u64; FANOUT]),
}

impl Table {
    /// The entries of the 2 MiB that an address lies in.
    pub(crate) fn entries(&self, address: u64) -> Entries<'_> {
        let middles = self.top[index(address, 39)].as_ref();
        let regions = middles.and_then(|middles| middles[index(address, 30)].as_ref());
        let Some(region) = regions.map(|regions| &regions[index(address, 21)]) else {
            return Entries::None;
        };
        match &region.small {
            _ if region.large != 0 => Entries::Large(region.large | IMAGE_LARGE),
            Some(small) if region.used > 0 => Entries::Small(small),
            _ => Entries::None,
        }
    }
}

#[cfg(feature = "wgpu")]
impl Table {
    /// The first address of a range that may be of a present page, or the range's end.
    pub(crate) fn next(&self, address: u64, end: u64) -> u64 {
        let mut at = address;
        while at < end {
            let middles = self.top[index(at, 39)].as_ref();
            let regions = middles.and_then(|middles| middles[index(at, 30)].as_ref());
            let Some(regions) = regions else {
                at = (at | (GIB - 1)) + 1;
                continue;
            };
            let region = &regions[index(at, 21)];
            if region.large == 0 && region.used == 0 {
                at = (at | (LARGE - 1)) + 1;
            } else if self.walk(at).is_none() {
                at = (at | (PAGE - 1)) + 1;
            } else {
                break;
            }
        }
        at.min(end)
    }
}

/// The beginnings of the pieces of 2 MiB that a range touches.
pub(crate) fn regions(start: u64, end: u64) -> impl Iterator<Item = u64> {
    (start - start % LARGE..end).step_by(LARGE as usize)
}
