//! What the manager knows between two batches.

use crate::lru::{Lru, LruKey};
use crate::memory::{Memories, Memory};
use crate::vm::Space;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use gpumm_contract::extent::total;
use gpumm_contract::facts::Content;
use gpumm_contract::paged::Paged;
use gpumm_contract::request::Placement;
use gpumm_contract::vm::VmId;
use gpumm_contract::{
    AllocationId, AttachmentId, BufferId, DeviceId, Extent, Extents, MemoryTypeId, Point, PointSet,
    Shows, Stamp, TableId, TenantId, TimelineId,
};

/// Where a buffer is now.
#[derive(Clone, Debug)]
pub(crate) struct Home {
    pub(crate) memory: MemoryTypeId,
    pub(crate) allocation: AllocationId,
    pub(crate) table: TableId,
    /// The copy that brings the content here; none when it came about here.
    pub(crate) arrives: Option<Point>,
    pub(crate) extents: Extents,
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
    pub(crate) memory: Memories,
    /// How far each timeline has come, as delivered, by its number.
    pub(crate) completed: Paged<u64>,
    /// The timelines that the manager's own copies run on.
    pub(crate) copy_timelines: Vec<TimelineId>,
    /// The timeline that clients' binds are written on.
    pub(crate) bind_timeline: Option<TimelineId>,
    /// The timelines of jobs that the host submits.
    pub(crate) job_timelines: BTreeSet<TimelineId>,
    pub(crate) vms: BTreeMap<VmId, Space>,
    /// Holds of vm-bos that last as long as a restore.
    pub(crate) restored: Vec<(VmId, BufferId)>,
    /// The timelines that the CPU's accesses stand on, and whether they keep buffers resident.
    pub(crate) cpu_timelines: BTreeMap<TimelineId, bool>,
    /// Tables whose memory the device's DMA may reach, by number, with the aperture and their bytes.
    pub(crate) mapped: Paged<(MemoryTypeId, u64)>,
    /// By the buffer that left, and the table of what it left.
    pub(crate) leaving: BTreeMap<(BufferId, TableId), Leaving>,
    /// Size of `leaving` at which what was given back is thrown out.
    pub(crate) purge_leaving_at: usize,
    pub(crate) buffers: Paged<Buffer>,
    /// Which devices read a buffer where it lies.
    pub(crate) attachments: BTreeMap<(BufferId, AttachmentId), DeviceId>,
    /// The gate of each device that may.
    pub(crate) gates: BTreeMap<DeviceId, TimelineId>,
}

impl State {
    /// A live buffer.
    pub(crate) fn buffer(&self, id: BufferId) -> Option<&Buffer> {
        self.buffers.get(id.0)
    }

    /// A live buffer, to change.
    pub(crate) fn buffer_mut(&mut self, id: BufferId) -> Option<&mut Buffer> {
        self.buffers.get_mut(id.0)
    }

    /// Whether a point has been delivered as reached.
    pub(crate) fn reached(&self, point: Point) -> bool {
        reached(&self.completed, point)
    }

    /// Whether the CPU is using a buffer's memory and keeps it where it is.
    pub(crate) fn pinned(&self, id: BufferId) -> bool {
        if self.cpu_timelines.is_empty() {
            return false;
        }
        let open =
            |p: Point| self.cpu_timelines.get(&p.timeline) == Some(&true) && !self.reached(p);
        let home = self.buffer(id).map(|b| &b.home);
        home.is_some_and(|h| h.readers.iter().chain(h.writers.iter()).any(open))
    }

    /// Puts a buffer into the eviction order of its memory type, or takes it out.
    pub(crate) fn file_in_lru(&mut self, id: BufferId, present: bool) {
        let Some(b) = self.buffers.get(id.0) else {
            return;
        };
        let key: LruKey = (b.priority, b.stamp, id);
        let mapped = self.mapped.get(b.home.table.0.into()).map(|m| m.0);
        let evictable = |of: &Memory| of.kind.evict_to.is_some();
        let own = Some(b.home.memory).filter(|&m| self.memory.get(m).is_some_and(evictable));
        for of in own.into_iter().chain(mapped) {
            if let Some(memory) = self.memory.get_mut(of) {
                let lru: &mut Lru = &mut memory.lru;
                if present {
                    lru.insert(key);
                } else {
                    lru.remove(key);
                }
            }
        }
    }

    /// Takes freed extents into the books: who may still use them, and whose bytes they show.
    ///
    /// Host memory is handed out clean by the host, so what it shows is not kept.
    pub(crate) fn vacate(&mut self, home: &Home, (shows, bytes): (Shows, u64), after: &PointSet) {
        let Some(memory) = self.memory.get_mut(home.memory) else {
            return;
        };
        if !memory.kind.is_host() {
            let granule = memory.kind.granule;
            shows.note(&mut memory.residue, &home.extents, bytes, granule);
        }
        if !after.is_empty() {
            for &extent in home.extents.iter() {
                memory.pending.set(extent, after.clone());
            }
        }
        memory.give_back(home.allocation, total(&home.extents).unwrap_or(0));
        if memory.pending.len() >= memory.purge_at {
            let completed = &self.completed;
            memory
                .pending
                .retain(|points| !points.iter().all(|p| reached(completed, p)));
            memory.purge_at = (memory.pending.len() * 2).max(64);
        }
    }

    /// Takes over extents for a new owner and says what it must wait for.
    pub(crate) fn claim(&mut self, memory: MemoryTypeId, extents: &[Extent]) -> PointSet {
        let mut inherited = PointSet::new();
        let Some(of) = self.memory.get_mut(memory) else {
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

/// Whether timelines that have come so far have reached a point.
pub(crate) fn reached(completed: &Paged<u64>, point: Point) -> bool {
    let completed = completed.get(point.timeline.0.into());
    completed.is_some_and(|&c| c >= point.value)
}
