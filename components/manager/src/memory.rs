//! The memory types of the device, and what is derived about them.

use crate::lru::Lru;
use alloc::vec::Vec;
use gpumm_contract::facts::MemoryType;
use gpumm_contract::ranges::RangeMap;
use gpumm_contract::{AllocationId, Extent, MemoryTypeId, PointSet, TenantId};

/// A memory type with what is derived about it.
#[derive(Clone, Debug)]
pub(crate) struct Memory {
    pub(crate) kind: MemoryType,
    /// Whose bytes free memory still shows.
    pub(crate) residue: RangeMap<TenantId>,
    /// Free bytes that earlier owners' operations have not finished with.
    pub(crate) pending: RangeMap<PointSet>,
    /// Resident buffers in eviction order; of an aperture the mapped ones; empty where nothing
    /// is evicted.
    pub(crate) lru: Lru,
    /// Bytes that strategies have granted and have not been asked to take back; of an aperture,
    /// bytes that are mapped.
    pub(crate) used: u64,
    /// Numbers to free with the next call of the strategy.
    pub(crate) frees: Vec<AllocationId>,
    /// Size of `pending` at which reached ranges are thrown out.
    pub(crate) purge_at: usize,
}

impl Memory {
    pub(crate) fn new(kind: MemoryType) -> Self {
        Memory {
            kind,
            residue: RangeMap::default(),
            pending: RangeMap::default(),
            lru: Lru::default(),
            used: 0,
            frees: Vec::new(),
            purge_at: 64,
        }
    }

    /// Bytes that the strategy has not granted, or would not have after the frees that wait.
    pub(crate) fn free(&self) -> u64 {
        self.kind.size.saturating_sub(self.used)
    }

    /// Has an allocation freed with the next call of the strategy.
    pub(crate) fn give_back(&mut self, allocation: AllocationId, bytes: u64) {
        self.frees.push(allocation);
        self.used = self.used.saturating_sub(bytes);
    }

    /// Whether the extents show bytes of somebody other than the tenant.
    pub(crate) fn shows_others(&self, extents: &[Extent], tenant: TenantId) -> bool {
        extents
            .iter()
            .any(|&e| self.residue.overlapping(e).any(|&t| t != tenant))
    }
}

/// Memory types by their number, which is small.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memories(Vec<Option<Memory>>);

impl Memories {
    pub(crate) fn get(&self, id: MemoryTypeId) -> Option<&Memory> {
        self.0.get(usize::from(id.0))?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, id: MemoryTypeId) -> Option<&mut Memory> {
        self.0.get_mut(usize::from(id.0))?.as_mut()
    }

    /// Adds a memory type; `false` when there is one of that number.
    pub(crate) fn add(&mut self, kind: MemoryType) -> bool {
        let at = usize::from(kind.id.0);
        if self.0.len() <= at {
            self.0.resize_with(at + 1, || None);
        }
        let free = self.0[at].is_none();
        if free {
            self.0[at] = Some(Memory::new(kind));
        }
        free
    }

    /// All of them, by number.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Memory> {
        self.0.iter().flatten()
    }

    /// All of them, by number, to change.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Memory> {
        self.0.iter_mut().flatten()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }
}
