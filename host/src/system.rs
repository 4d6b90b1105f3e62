//! System memory: one arena for all devices of the Runtime, answered by the host itself.

use gpumm_contract::extent::round_up;
use gpumm_contract::ranges::RangeMap;
use gpumm_contract::{Extent, TenantId};
use gpumm_hw::SystemMemory;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The granule of system memory, in bytes.
pub const SYSTEM_GRANULE: u64 = 4096;

/// The holes of the arena, and whose bytes they still show.
#[derive(Debug, Default)]
struct Holes {
    /// Offset to length; neighbours never touch.
    by_offset: BTreeMap<u64, u64>,
    /// The same holes as length and offset.
    by_bytes: BTreeSet<(u64, u64)>,
    residue: RangeMap<TenantId>,
    free: u64,
    used: u64,
    high_water: u64,
}

impl Holes {
    fn add(&mut self, offset: u64, bytes: u64) {
        if bytes > 0 {
            self.by_offset.insert(offset, bytes);
            self.by_bytes.insert((bytes, offset));
            self.free += bytes;
        }
    }

    /// Takes the hole at an offset away; 0 bytes where there is none.
    fn take(&mut self, offset: u64) -> u64 {
        let Some(bytes) = self.by_offset.remove(&offset) else {
            return 0;
        };
        self.by_bytes.remove(&(bytes, offset));
        self.free -= bytes;
        bytes
    }
}

/// Hands out system memory.
///
/// Invariants: extents handed out never overlap. Memory goes back only after its last user is
/// done, so nobody of another device can get bytes that are still in use.
#[derive(Debug)]
pub struct SystemPool {
    memory: Arc<SystemMemory>,
    holes: Mutex<Holes>,
}

impl SystemPool {
    /// A pool over the whole of a system memory.
    pub fn new(memory: Arc<SystemMemory>) -> Self {
        let size = memory.size() / SYSTEM_GRANULE * SYSTEM_GRANULE;
        let mut holes = Holes::default();
        holes.add(0, size);
        SystemPool {
            memory,
            holes: Mutex::new(holes),
        }
    }

    fn holes(&self) -> MutexGuard<'_, Holes> {
        // A panic while the lock is held leaves consistent maps: every change is one insert or remove.
        self.holes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes memory: the smallest hole that holds it, or else the lowest holes together, as host
    /// pages need not be contiguous.
    ///
    /// Units: bytes, rounded up to the granule.
    /// Errors: all holes together are too small; then the largest hole.
    pub fn allocate(&self, bytes: u64) -> Result<Vec<Extent>, u64> {
        let mut holes = self.holes();
        let largest = holes.by_bytes.last().map_or(0, |(bytes, _)| *bytes);
        let bytes = round_up(bytes, SYSTEM_GRANULE)
            .filter(|&b| b > 0)
            .ok_or(largest)?;
        let mut extents = Vec::new();
        if let Some(&(_, offset)) = holes.by_bytes.range((bytes, 0)..).next() {
            extents.push(Extent { offset, bytes });
        } else {
            let mut left = bytes;
            for (&offset, &have) in &holes.by_offset {
                let bytes = have.min(left);
                extents.push(Extent { offset, bytes });
                left -= bytes;
                if left == 0 {
                    break;
                }
            }
            if left > 0 {
                return Err(largest);
            }
        }
        for extent in &extents {
            let have = holes.take(extent.offset);
            let end = extent.offset + extent.bytes;
            holes.add(end, have.saturating_sub(extent.bytes));
            holes.high_water = holes.high_water.max(end);
        }
        holes.used += bytes;
        Ok(extents)
    }

    /// Gives memory back.
    pub(crate) fn free(&self, extents: &[Extent]) {
        let mut holes = self.holes();
        for &Extent {
            mut offset,
            mut bytes,
        } in extents
        {
            holes.used -= bytes;
            if let Some((&before, &have)) = holes.by_offset.range(..offset).next_back()
                && before + have == offset
            {
                holes.take(before);
                (offset, bytes) = (before, bytes + have);
            }
            bytes += holes.take(offset + bytes);
            holes.add(offset, bytes);
        }
    }

    /// Remembers whose bytes the extents show; nobody's where they are known to be zero.
    pub(crate) fn leave(&self, extents: &[Extent], tenant: Option<TenantId>) {
        let mut holes = self.holes();
        for &extent in extents {
            match tenant {
                Some(tenant) => holes.residue.set(extent, tenant),
                None => holes.residue.clear(extent),
            }
        }
    }

    /// Clears what others left in extents that a tenant is about to see.
    ///
    /// Errors: the system does not take the pages back.
    pub(crate) fn prepare(
        &self,
        extents: &[Extent],
        tenant: TenantId,
    ) -> Result<(), gpumm_hw::DeviceError> {
        let mut holes = self.holes();
        for &extent in extents {
            if holes.residue.overlapping(extent).any(|&t| t != tenant) {
                self.memory.decommit(extent.offset, extent.bytes)?;
                holes.residue.clear(extent);
            }
        }
        Ok(())
    }

    /// Bytes that could be handed out now.
    pub fn free_bytes(&self) -> u64 {
        self.holes().free
    }

    /// Bytes handed out now.
    pub fn used(&self) -> u64 {
        self.holes().used
    }

    /// The highest end ever handed out.
    pub fn high_water(&self) -> u64 {
        self.holes().high_water
    }
}
