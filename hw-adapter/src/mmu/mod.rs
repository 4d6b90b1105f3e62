//! The MMU of a device: address spaces with page tables, and jobs that go through them.

mod budget;
mod changes;
mod lanes;
mod launch;
mod pte;
#[cfg(feature = "wgpu")]
mod shown;
mod space;
mod table;
mod tlb;
mod write;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use crate::command::MemorySpace;
use crate::error::DeviceError;
use crate::vm::{PteWrite, VmId};

use crate::statistics::add;
use budget::Budget;

pub(crate) use launch::{Host, damage, launch};
pub(crate) use space::{Space, Window};
pub(crate) use table::Leaf;
use table::Pages;
#[cfg(feature = "wgpu")]
pub(crate) use {
    changes::Changes,
    launch::perform,
    shown::Entries,
    table::{LARGE, PAGE, Table},
};

/// Contiguous bytes behind addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Where they are; `None` for what is sparse.
    pub(crate) place: Option<(MemorySpace, u64)>,
    pub(crate) bytes: u64,
}

impl Piece {
    /// Where a piece would be that continues this one.
    fn next_place(self) -> Option<(MemorySpace, u64)> {
        self.place
            .map(|(memory, offset)| (memory, offset + self.bytes))
    }
}

/// What the MMU of a device has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MmuStatistics {
    /// Looks into a page table for a translation.
    pub walks: u64,
    /// Translations that were known already.
    pub tlb_hits: u64,
    /// Of these, those that the page table did not say any more.
    pub stale_accesses: u64,
    /// Jobs that ended with [`DeviceError::VmFault`].
    pub faults: u64,
    /// Commands to forget translations, also ignored ones.
    pub invalidations: u64,
    /// Pages of 4 KiB written, mapped or sparse.
    pub ptes_4k: u64,
    /// Pages of 64 KiB written, mapped or sparse.
    pub ptes_64k: u64,
    /// Pages of 2 MiB written, mapped or sparse.
    pub ptes_2m: u64,
}

/// The counters behind [`MmuStatistics`].
#[derive(Debug, Default)]
pub(crate) struct Counters {
    walks: AtomicU64,
    hits: AtomicU64,
    stale: AtomicU64,
    faults: AtomicU64,
    invalidations: AtomicU64,
    small: AtomicU64,
    middle: AtomicU64,
    large: AtomicU64,
}

impl Counters {
    fn wrote(&self, pages: Pages) {
        add(&self.small, pages.small);
        add(&self.middle, pages.middle);
        add(&self.large, pages.large);
    }

    fn translated(&self, hits: u64, walks: u64, stale: u64) {
        add(&self.hits, hits);
        add(&self.walks, walks);
        add(&self.stale, stale);
    }
}

/// The address spaces of a device.
pub(crate) struct Mmu {
    spaces: RwLock<HashMap<VmId, Arc<Space>>>,
    budget: Arc<Budget>,
    /// Jobs walk the tables each time, and somebody copies what changes.
    walked: bool,
    /// Translations are not forgotten: a mistake that the device was told to make.
    keep: AtomicBool,
    pub(crate) counters: Counters,
}

impl Mmu {
    /// With `walked`, jobs keep no translations, and changes of the tables are kept for
    /// [`Space::changes`].
    pub(crate) fn new(table_bytes: u64, walked: bool) -> Mmu {
        Mmu {
            spaces: RwLock::default(),
            budget: Budget::new(table_bytes),
            walked,
            keep: AtomicBool::new(false),
            counters: Counters::default(),
        }
    }

    pub(crate) fn create(&self, vm: VmId, start: u64, bytes: u64) -> Result<(), DeviceError> {
        let mut spaces = self.spaces.write().unwrap_or_else(PoisonError::into_inner);
        if spaces.contains_key(&vm) {
            return Err(DeviceError::VmExists(vm));
        }
        let space = Space::new(vm, start, bytes, &self.budget, self.walked)?;
        spaces.insert(vm, Arc::new(space));
        Ok(())
    }

    pub(crate) fn destroy(&self, vm: VmId) -> Result<(), DeviceError> {
        let mut spaces = self.spaces.write().unwrap_or_else(PoisonError::into_inner);
        let space = spaces.remove(&vm).ok_or(DeviceError::UnknownVm(vm))?;
        drop(spaces);
        space.end();
        Ok(())
    }

    pub(crate) fn space(&self, vm: VmId) -> Result<Arc<Space>, DeviceError> {
        let spaces = self.spaces.read().unwrap_or_else(PoisonError::into_inner);
        spaces.get(&vm).cloned().ok_or(DeviceError::UnknownVm(vm))
    }

    /// Writes entries whose lists are checked.
    pub(crate) fn write(&self, vm: VmId, writes: &[PteWrite]) -> Result<(), DeviceError> {
        self.space(vm)?.write(writes, u64::MAX, &self.counters)
    }

    /// Writes the first half of the entries.
    pub(crate) fn write_half(&self, vm: VmId, writes: &[PteWrite]) -> Result<(), DeviceError> {
        let bytes = writes.iter().map(|write| write.bytes);
        let half = bytes.fold(0, u64::saturating_add) / 2;
        let half = half - half % table::PAGE;
        self.space(vm)?.write(writes, half, &self.counters)
    }

    pub(crate) fn invalidate(&self, vm: VmId) -> Result<(), DeviceError> {
        let space = self.space(vm)?;
        add(&self.counters.invalidations, 1);
        if !self.keep.load(Ordering::Acquire) {
            space.invalidate();
        }
        Ok(())
    }

    /// Whether the device makes the mistake to ignore invalidations.
    pub(crate) fn ignore_invalidations(&self, ignore: bool) {
        self.keep.store(ignore, Ordering::Release);
    }

    /// A job has ended with a fault.
    pub(crate) fn count_fault(&self) {
        add(&self.counters.faults, 1);
    }

    /// Empties all page tables.
    pub(crate) fn clear(&self) {
        let spaces = self.spaces.read().unwrap_or_else(PoisonError::into_inner);
        let all: Vec<_> = spaces.values().cloned().collect();
        drop(spaces);
        all.iter().for_each(|space| space.clear());
    }

    pub(crate) fn statistics(&self) -> MmuStatistics {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.counters;
        MmuStatistics {
            walks: get(&counters.walks),
            tlb_hits: get(&counters.hits),
            stale_accesses: get(&counters.stale),
            faults: get(&counters.faults),
            invalidations: get(&counters.invalidations),
            ptes_4k: get(&counters.small),
            ptes_64k: get(&counters.middle),
            ptes_2m: get(&counters.large),
        }
    }
}
