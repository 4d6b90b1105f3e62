//! One address space: its page table, and the translations in use.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::error::DeviceError;
use crate::runs::Runs;
use crate::sync::lock;
use crate::vm::{
    Access, Backing, PteEntry, PteWrite, VM_ADDRESS_BITS, VmFaultReason, VmId, VmReport,
};
use crate::vm_check::whole;

use super::budget::{Budget, NoMemory};
use super::changes::Changes;
use super::pte::Pte;
use super::table::{PAGE, Pages, Table};
use super::tlb::Tlb;
use super::{Counters, Piece};

/// An address space.
///
/// Locks are taken in the order of the fields.
pub(crate) struct Space {
    pub(crate) id: VmId,
    pub(super) start: u64,
    pub(super) end: u64,
    /// It was destroyed.
    gone: AtomicBool,
    /// Held for reading while a piece of a job uses translations: whoever holds it for writing
    /// knows that none is in use.
    gate: RwLock<()>,
    tlb: Mutex<Tlb>,
    pub(super) table: RwLock<Table>,
    /// For who copies the table; jobs then walk it each time.
    pub(super) changes: Option<Mutex<Changes>>,
    /// Grows with every change of the table, under its lock.
    version: AtomicU64,
}

/// Translated addresses.
#[derive(Default)]
pub(crate) struct Window {
    /// What stands behind them, in order; neighbours are merged.
    pub(crate) pieces: Vec<Piece>,
    /// How many bytes are translated.
    pub(crate) bytes: u64,
    /// Why there are not more.
    pub(crate) fault: Option<VmFaultReason>,
}

pub(super) fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

impl From<NoMemory> for DeviceError {
    fn from(_: NoMemory) -> DeviceError {
        DeviceError::PageTableMemory
    }
}

impl Space {
    pub(crate) fn new(
        id: VmId,
        start: u64,
        bytes: u64,
        budget: &Arc<Budget>,
        walked: bool,
    ) -> Result<Space, DeviceError> {
        whole(start)?;
        whole(bytes)?;
        let end = start.checked_add(bytes);
        let end = end.filter(|end| *end <= 1 << VM_ADDRESS_BITS);
        let outside = DeviceError::OutsideVm {
            vm: id,
            address: start,
            bytes,
        };
        Ok(Space {
            id,
            start,
            end: end.ok_or(outside)?,
            gone: AtomicBool::new(false),
            gate: RwLock::new(()),
            tlb: Mutex::default(),
            table: RwLock::new(Table::new(budget)?),
            changes: walked.then(Mutex::default),
            version: AtomicU64::new(0),
        })
    }

    /// Whether a range lies inside.
    fn check(&self, address: u64, bytes: u64) -> Result<(), DeviceError> {
        let end = address.checked_add(bytes);
        match address >= self.start && end.is_some_and(|end| end <= self.end) {
            true => Ok(()),
            false => Err(DeviceError::OutsideVm {
                vm: self.id,
                address,
                bytes,
            }),
        }
    }

    /// See [`Device::reserve_ptes`](crate::Device::reserve_ptes).
    pub(crate) fn reserve(&self, address: u64, bytes: u64) -> Result<(), DeviceError> {
        whole(address)?;
        whole(bytes)?;
        self.check(address, bytes)?;
        Ok(write(&self.table).reserve(address, bytes)?)
    }

    /// Writes entries whose lists are checked; the first `limit` bytes of them.
    pub(crate) fn write(
        &self,
        writes: &[PteWrite],
        mut limit: u64,
        counters: &Counters,
    ) -> Result<(), DeviceError> {
        for pte in writes {
            if self.gone.load(Ordering::Acquire) {
                return Err(DeviceError::UnknownVm(self.id));
            }
            self.check(pte.address, pte.bytes)?;
            let bytes = pte.bytes.min(limit);
            limit -= bytes;
            if bytes == 0 {
                continue;
            }
            // Held for one write only, so that jobs come in between.
            let mut table = write(&self.table);
            self.version.fetch_add(1, Ordering::Relaxed);
            if let Some(changes) = &self.changes {
                lock(changes).add(pte.address, bytes, &table);
            }
            counters.wrote(put(&mut table, pte, bytes)?);
        }
        Ok(())
    }

    /// Forgets the translations, when none is in use.
    pub(crate) fn invalidate(&self) {
        let _nobody_works = write(&self.gate);
        lock(&self.tlb).clear();
    }

    /// Ends it. Afterwards no job works in it.
    pub(crate) fn end(&self) {
        self.gone.store(true, Ordering::Release);
        let _nobody_works = write(&self.gate);
    }

    /// Empties the page table.
    pub(crate) fn clear(&self) {
        let _nobody_works = write(&self.gate);
        lock(&self.tlb).clear();
        let mut table = write(&self.table);
        self.version.fetch_add(1, Ordering::Relaxed);
        table.clear();
        if let Some(changes) = &self.changes {
            lock(changes).clear();
        }
    }

    /// Lets a job use translations until the answer is dropped.
    ///
    /// # Errors
    /// [`DeviceError::UnknownVm`] when it was destroyed.
    pub(crate) fn enter(&self) -> Result<RwLockReadGuard<'_, ()>, DeviceError> {
        let entered = read(&self.gate);
        match self.gone.load(Ordering::Acquire) {
            true => Err(DeviceError::UnknownVm(self.id)),
            false => Ok(entered),
        }
    }

    /// Translates addresses up to the first that cannot be used so. The caller has entered.
    pub(crate) fn translate(
        &self,
        address: u64,
        bytes: u64,
        access: Access,
        counters: &Counters,
    ) -> Window {
        let mut window = Window::default();
        let (mut hits, mut walks, mut stale) = (0, 0, 0);
        {
            let mut tlb = lock(&self.tlb);
            let table = read(&self.table);
            let version = self.version.load(Ordering::Relaxed);
            while window.bytes < bytes {
                let at = address.saturating_add(window.bytes);
                if at < self.start || at >= self.end {
                    window.fault = Some(VmFaultReason::Range);
                    break;
                }
                let mut most = (bytes - window.bytes).min(self.end - at);
                let known = if self.changes.is_none() {
                    tlb.find(at)
                } else {
                    None
                };
                let leaf = match known {
                    Some(entry) => {
                        hits += 1;
                        if entry.version != version {
                            // The table has changed: what it says now is compared, page by page.
                            let now = table.walk(at);
                            if now == Some(entry.leaf) {
                                entry.version = version;
                            } else {
                                let page = at - at % PAGE;
                                let place =
                                    |leaf: super::Leaf| leaf.pte.advance(page - leaf.address);
                                stale += u64::from(now.map(place) != Some(place(entry.leaf)));
                                most = most.min(page + PAGE - at);
                            }
                        }
                        entry.leaf
                    }
                    None => {
                        walks += 1;
                        let Some(leaf) = table.walk(at) else {
                            window.fault = Some(VmFaultReason::Unmapped);
                            break;
                        };
                        if self.changes.is_none() {
                            tlb.insert(leaf, version);
                        }
                        leaf
                    }
                };
                if access == Access::Write && !leaf.pte.writable() {
                    window.fault = Some(VmFaultReason::ReadOnly);
                    break;
                }
                let into = at - leaf.address;
                let piece = Piece {
                    place: leaf.pte.place().map(|(memory, base)| (memory, base + into)),
                    bytes: (leaf.bytes - into).min(most),
                };
                window.bytes += piece.bytes;
                window.push(piece);
            }
        }
        counters.translated(hits, walks, stale);
        window
    }

    /// See [`Device::vm_report`](crate::Device::vm_report).
    pub(crate) fn report(&self) -> VmReport {
        let table = read(&self.table);
        let pages = table.pages();
        VmReport {
            start: self.start,
            bytes: self.end - self.start,
            ptes_4k: pages.small,
            ptes_64k: pages.middle,
            ptes_2m: pages.large,
            table_bytes: table.bytes(),
        }
    }

    /// See [`Device::page_table`](crate::Device::page_table).
    pub(crate) fn entries(&self, limit: usize) -> Vec<PteEntry> {
        let table = read(&self.table);
        let entries = table.leaves(limit).into_iter().map(|leaf| PteEntry {
            address: leaf.address,
            bytes: leaf.bytes,
            target: leaf.pte.target(),
        });
        entries.collect()
    }
}

impl Window {
    pub(super) fn push(&mut self, piece: Piece) {
        match self.pieces.last_mut() {
            Some(last) if last.next_place() == piece.place => last.bytes += piece.bytes,
            _ => self.pieces.push(piece),
        }
    }

    /// Leaves out what comes after the first so many bytes.
    pub(crate) fn cut(&mut self, bytes: u64) {
        let mut left = bytes;
        self.pieces.retain_mut(|piece| {
            piece.bytes = piece.bytes.min(left);
            left -= piece.bytes;
            piece.bytes > 0
        });
        self.bytes = self.bytes.min(bytes);
    }
}

/// Writes the first bytes of one write.
fn put(table: &mut Table, write: &PteWrite, bytes: u64) -> Result<Pages, NoMemory> {
    match &write.backing {
        Backing::Invalid => table.unmap(write.address, bytes).map(|()| Pages::default()),
        Backing::Sparse => table.map(write.address, bytes, Pte::SPARSE),
        Backing::Memory {
            segments,
            offset,
            write: writable,
        } => {
            let runs = Runs::new(segments, *offset, bytes);
            let runs = runs.map(|run| (Pte::memory(run.memory, run.offset, *writable), run.bytes));
            table.map_runs(write.address, bytes, runs)
        }
    }
}
