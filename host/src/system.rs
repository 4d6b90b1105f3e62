//! System memory: one arena for all devices of the Runtime, answered by the host itself.

use gpumm_contract::extent::round_up;
use gpumm_contract::ranges::RangeMap;
use gpumm_contract::{Extent, TenantId};
use gpumm_hw::SystemMemory;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The granule of system memory, in bytes.
pub const SYSTEM_GRANULE: u64 = 4096;

/// The holes of the arena, and whose bytes they still show.
#[derive(Debug)]
struct Holes {
    /// Offset to length; neighbours never touch.
    by_offset: BTreeMap<u64, u64>,
    residue: RangeMap<TenantId>,
    used: u64,
    high_water: u64,
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
        let by_offset = (size > 0).then_some((0, size)).into_iter().collect();
        let holes = Holes {
            by_offset,
            residue: RangeMap::default(),
            used: 0,
            high_water: 0,
        };
        SystemPool {
            memory,
            holes: Mutex::new(holes),
        }
    }

    fn holes(&self) -> MutexGuard<'_, Holes> {
        // A panic while the lock is held leaves consistent maps: every change is one insert or remove.
        self.holes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes memory: the lowest hole that holds it, or else the lowest holes together, as host
    /// pages need not be contiguous.
    ///
    /// Units: bytes, rounded up to the granule.
    /// Errors: all holes together are too small; then the largest hole.
    pub fn allocate(&self, bytes: u64) -> Result<Vec<Extent>, u64> {
        let mut holes = self.holes();
        let largest = holes.by_offset.values().copied().max().unwrap_or(0);
        let bytes = round_up(bytes, SYSTEM_GRANULE)
            .filter(|&b| b > 0)
            .ok_or(largest)?;
        let single = holes
            .by_offset
            .iter()
            .find(|(_, have)| **have >= bytes)
            .map(|(&at, _)| at);
        let mut extents = Vec::new();
        match single {
            Some(offset) => extents.push(Extent { offset, bytes }),
            None => {
                let mut left = bytes;
                for (&offset, &have) in &holes.by_offset {
                    let take = have.min(left);
                    extents.push(Extent {
                        offset,
                        bytes: take,
                    });
                    left -= take;
                    if left == 0 {
                        break;
                    }
                }
                if left > 0 {
                    return Err(largest);
                }
            }
        }
        for extent in &extents {
            let Some(have) = holes.by_offset.remove(&extent.offset) else {
                continue;
            };
            let end = extent.offset + extent.bytes;
            if have > extent.bytes {
                holes.by_offset.insert(end, have - extent.bytes);
            }
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
                holes.by_offset.remove(&before);
                (offset, bytes) = (before, bytes + have);
            }
            if let Some(have) = holes.by_offset.remove(&(offset + bytes)) {
                bytes += have;
            }
            holes.by_offset.insert(offset, bytes);
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
        self.holes().by_offset.values().sum()
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
