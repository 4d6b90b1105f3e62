//! What the manager knows between two batches.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use gpumm_contract::facts::{Content, MemoryType};
use gpumm_contract::ranges::RangeMap;
use gpumm_contract::request::Placement;
use gpumm_contract::{
    AllocationId, AttachmentId, BufferId, DeviceId, Extent, MemoryTypeId, Point, PointSet, Shows,
    Stamp, TableId, TenantId, TimelineId,
};

/// Where a buffer is now.
#[derive(Clone, Debug)]
pub(crate) struct Home {
    pub(crate) memory: MemoryTypeId,
    pub(crate) allocation: AllocationId,
    pub(crate) table: TableId,
    /// The copy that brings the content here; none when it came about here.
    pub(crate) arrives: Option<Point>,
    pub(crate) extents: Vec<Extent>,
    /// Operations that read these extents for this buffer.
    pub(crate) readers: PointSet,
    /// Operations that write these extents for this buffer.
    pub(crate) writers: PointSet,
    /// Operations of the bytes' earlier owners.
    pub(crate) inherited: PointSet,
}

impl Home {
    /// Everything that must be over before the extents belong to somebody else.
    pub(crate) fn busy(&self, reached: impl Fn(Point) -> bool) -> PointSet {
        let mut all = self.readers.clone();
        all.join(&self.writers);
        all.join(&self.inherited);
        all.retire(reached);
        all
    }
}

/// A live buffer.
#[derive(Clone, Debug)]
pub(crate) struct Buffer {
    pub(crate) tenant: TenantId,
    pub(crate) bytes: u64,
    pub(crate) placement: Placement,
    pub(crate) priority: u8,
    pub(crate) stamp: Stamp,
    pub(crate) content: Content,
    pub(crate) home: Home,
}

impl Buffer {
    /// What the buffer's home shows when the buffer leaves it, and how much of it is the
    /// buffer's.
    pub(crate) fn shows(&self) -> (Shows, u64) {
        (Shows::after(self.content, self.tenant), self.bytes)
    }
}

/// The order of eviction inside a memory type: priority, then last use, then age.
pub(crate) type LruKey = (u8, Stamp, BufferId);

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
    pub(crate) lru: BTreeSet<LruKey>,
    /// Mapped bytes of an aperture.
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
            lru: BTreeSet::new(),
            used: 0,
            frees: Vec::new(),
            purge_at: 64,
        }
    }

    /// Whether the extents show bytes of somebody other than the tenant.
    pub(crate) fn shows_others(&self, extents: &[Extent], tenant: TenantId) -> bool {
        extents
            .iter()
            .any(|&e| self.residue.overlapping(e).any(|&t| t != tenant))
    }
}

/// Host memory that a live buffer has left, and from which its content could be taken again.
#[derive(Clone, Debug)]
pub(crate) struct Leaving {
    pub(crate) arrives: Option<Point>,
    /// The copy that takes the content away.
    pub(crate) left: Point,
    /// When the memory is given back.
    pub(crate) after: PointSet,
}

/// Everything that a restore brings back.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    pub(crate) memory: BTreeMap<MemoryTypeId, Memory>,
    /// How far each timeline has come, as delivered.
    pub(crate) completed: BTreeMap<TimelineId, u64>,
    /// The timelines that the manager's own copies run on.
    pub(crate) copy_timelines: Vec<TimelineId>,
    /// The timelines that the CPU's accesses stand on, and whether they keep buffers resident.
    pub(crate) cpu_timelines: BTreeMap<TimelineId, bool>,
    /// Tables whose memory the device's DMA may reach, with their bytes.
    pub(crate) mapped: BTreeMap<TableId, (MemoryTypeId, u64)>,
    /// By the buffer that left, and the table of what it left.
    pub(crate) leaving: BTreeMap<(BufferId, TableId), Leaving>,
    pub(crate) buffers: BTreeMap<BufferId, Buffer>,
    /// Which devices read a buffer where it lies.
    pub(crate) attachments: BTreeMap<(BufferId, AttachmentId), DeviceId>,
    /// The gate of each device that may.
    pub(crate) gates: BTreeMap<DeviceId, TimelineId>,
}

impl State {
    /// Whether a point has been delivered as reached.
    pub(crate) fn reached(&self, point: Point) -> bool {
        self.completed
            .get(&point.timeline)
            .is_some_and(|&c| c >= point.value)
    }

    /// Whether the CPU is using a buffer's memory and keeps it where it is.
    pub(crate) fn pinned(&self, id: BufferId) -> bool {
        let open =
            |p: Point| self.cpu_timelines.get(&p.timeline) == Some(&true) && !self.reached(p);
        let home = self.buffers.get(&id).map(|b| &b.home);
        home.is_some_and(|h| h.readers.iter().chain(h.writers.iter()).any(open))
    }

    /// Puts a buffer into the eviction order of its memory type, or takes it out.
    pub(crate) fn file_in_lru(&mut self, id: BufferId, present: bool) {
        let Some(b) = self.buffers.get(&id) else {
            return;
        };
        let key = (b.priority, b.stamp, id);
        let mapped = self.mapped.get(&b.home.table).map(|m| m.0);
        let evictable = |of: &Memory| of.kind.evict_to.is_some();
        let own = Some(b.home.memory).filter(|m| self.memory.get(m).is_some_and(evictable));
        for of in own.into_iter().chain(mapped) {
            if let Some(memory) = self.memory.get_mut(&of) {
                if present {
                    memory.lru.insert(key);
                } else {
                    memory.lru.remove(&key);
                }
            }
        }
    }

    /// Takes freed extents into the books: who may still use them, and whose bytes they show.
    ///
    /// Host memory is handed out clean by the host, so what it shows is not kept.
    pub(crate) fn vacate(&mut self, home: &Home, (shows, bytes): (Shows, u64), after: &PointSet) {
        let Some(memory) = self.memory.get_mut(&home.memory) else {
            return;
        };
        if !memory.kind.is_host() {
            let granule = memory.kind.granule;
            shows.note(&mut memory.residue, &home.extents, bytes, granule);
        }
        for &extent in &home.extents {
            if !after.is_empty() {
                memory.pending.set(extent, after.clone());
            }
        }
        memory.frees.push(home.allocation);
        if memory.pending.len() >= memory.purge_at {
            let completed = &self.completed;
            let reached = |p: Point| completed.get(&p.timeline).is_some_and(|&c| c >= p.value);
            memory.pending.retain(|points| !points.iter().all(reached));
            memory.purge_at = (memory.pending.len() * 2).max(64);
        }
    }

    /// Takes over extents for a new owner and says what it must wait for.
    pub(crate) fn claim(&mut self, memory: MemoryTypeId, extents: &[Extent]) -> PointSet {
        let mut inherited = PointSet::new();
        let Some(of) = self.memory.get_mut(&memory) else {
            return inherited;
        };
        for &extent in extents {
            of.pending
                .overlapping(extent)
                .for_each(|points| inherited.join(points));
            of.pending.clear(extent);
        }
        inherited.retire(|p| self.reached(p));
        inherited
    }
}
