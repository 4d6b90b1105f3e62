//! Memory for page tables, which is bounded.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::table::FANOUT;

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

    pub(super) fn limit(&self) -> u64 {
        self.limit
    }

    #[cfg(test)]
    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    pub(super) fn take(&self, bytes: u64) -> Result<(), NoMemory> {
        let more = |used: u64| used.checked_add(bytes).filter(|sum| *sum <= self.limit);
        let taken = self
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        taken.map(|_| ()).map_err(|_| NoMemory)
    }

    pub(super) fn give(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// A table of empty entries; an error rather than an abort.
pub(super) fn table<T: Default>() -> Result<Box<[T; FANOUT]>, NoMemory> {
    let mut entries = Vec::new();
    entries.try_reserve_exact(FANOUT).map_err(|_| NoMemory)?;
    entries.resize_with(FANOUT, T::default);
    entries.into_boxed_slice().try_into().map_err(|_| NoMemory)
}

/// The table behind an entry, made and paid if it is missing.
pub(super) fn paid<'a, T: Default>(
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
