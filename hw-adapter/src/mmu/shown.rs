//! What a device is shown whose shaders walk the page tables: their entries, what has changed of
//! them, and what stands behind ranges.

use crate::command::MemorySpace;
use crate::sync::lock;
use crate::vm::Access;

use super::Counters;
use super::changes::Changes;
use super::space::{Space, Window, read};
use super::table::{FANOUT, Table, index};

/// The flag of a copied entry that is a page of 2 MiB; the host's entries leave its bit free.
pub(crate) const IMAGE_LARGE: u64 = 1 << 5;

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

impl Space {
    /// Lets `work` copy what has changed since the last time. Without an error it has.
    pub(crate) fn changes<T, E>(
        &self,
        work: impl FnOnce(&Table, &Changes) -> Result<T, E>,
    ) -> Result<T, E> {
        let table = read(&self.table);
        let Some(changes) = &self.changes else {
            return work(&table, &Changes::default());
        };
        let mut changes = lock(changes);
        let result = work(&table, &changes);
        if result.is_ok() {
            changes.copied();
        }
        result
    }

    /// Where its addresses begin and end.
    pub(crate) fn bounds(&self) -> (u64, u64) {
        (self.start, self.end)
    }

    /// What can be read of a range, in order; what cannot is left out. The caller has entered.
    pub(crate) fn present(&self, address: u64, bytes: u64, counters: &Counters) -> Window {
        let mut all = Window::default();
        let end = address.saturating_add(bytes).min(self.end);
        let mut at = address.max(self.start);
        while at < end {
            at = read(&self.table).next(at, end);
            let part = self.translate(at, end.saturating_sub(at), Access::Read, counters);
            at += part.bytes.max(u64::from(at < end));
            all.bytes += part.bytes;
            part.pieces.into_iter().for_each(|piece| all.push(piece));
        }
        all
    }
}

impl Window {
    /// The numbers of the parts of vram, each of so many bytes, that stand behind it; some of them
    /// more than once.
    pub(crate) fn chunks(&self, bytes: u64) -> impl Iterator<Item = u64> {
        let vram = self
            .pieces
            .iter()
            .filter_map(move |piece| match piece.place {
                Some((MemorySpace::Vram, at)) => Some(at / bytes..=(at + piece.bytes - 1) / bytes),
                _ => None,
            });
        vram.flatten()
    }
}
