//! The host's own record of facts, and the judge of every plan.
//!
//! A plan is checked whole before its first operation runs: [`Ledger::check`] applies it with an
//! open journal; a refusal takes everything back, an acceptance makes it the state. `place.rs`
//! judges who gets which bytes, `device_op.rs` who may touch them and in which order, `table.rs`
//! which sg-tables live and are mapped, `share.rs` who on other devices reads what, `loss.rs` what becomes of content that could not be saved,
//! `request.rs` whether the requests got what they asked for; `clock.rs` knows what comes before
//! what, `snapshot.rs` gives the facts to a restored component.
//!
//! "Reached" always means *delivered* as reached to the mechanism, never the device's present
//! state: that is what makes equal inputs give equal judgements.

mod clock;
mod device_op;
mod loss;
mod place;
mod refusal;
mod request;
mod share;
mod snapshot;
mod table;
#[cfg(test)]
#[allow(clippy::expect_used, clippy::type_complexity)]
mod tests;

pub use refusal::Refusal;
pub(crate) use request::Accepted;
pub use request::Counts;
pub(crate) use share::Shared;

use clock::Clocks;
use gpumm_contract::facts::{Content, MemoryType, Role};
use gpumm_contract::journal::Journaled;
use gpumm_contract::ranges::RangeMap;
use gpumm_contract::request::{Grants, Placement, Run};
use gpumm_contract::table::Hold;
use gpumm_contract::{
    AllocationId, AttachmentId, BufferId, DeviceId, Extent, MemoryTypeId, Point, PointSet, Segment,
    Shows, Stamp, TableId, TenantId, TimelineId,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What is known about a memory type.
#[derive(Clone, Debug)]
pub(crate) struct MemoryFacts {
    pub(crate) kind: MemoryType,
    /// Extents of live allocations by offset.
    live: Journaled<u64, (u64, AllocationId)>,
    /// Whose bytes free memory still shows.
    residue: RangeMap<TenantId>,
    /// Free bytes that earlier owners have not finished with.
    pending: RangeMap<PointSet>,
    /// The highest end ever placed.
    pub(crate) high_water: u64,
}

impl MemoryFacts {
    fn new(kind: MemoryType) -> Self {
        let (residue, pending) = (RangeMap::default(), RangeMap::default());
        MemoryFacts {
            kind,
            live: Journaled::default(),
            residue,
            pending,
            high_water: 0,
        }
    }

    /// The live allocation that shares bytes with an extent, if any.
    pub(crate) fn overlapping(&self, extent: Extent) -> impl Iterator<Item = AllocationId> {
        let end = extent.offset.saturating_add(extent.bytes);
        let before = self.live.range(..=extent.offset).next_back();
        let before = before.filter(move |(start, (bytes, _))| *start + bytes > extent.offset);
        let inside = self
            .live
            .range(extent.offset.saturating_add(1)..end.max(extent.offset.saturating_add(1)));
        before
            .into_iter()
            .chain(inside)
            .map(|(_, &(_, allocation))| allocation)
    }
}

#[derive(Clone, Debug)]
struct TimelineFacts {
    role: Role,
    /// As delivered to the mechanism.
    completed: u64,
    /// The value that the next operation gets.
    next: u64,
}

#[derive(Clone, Debug)]
struct BufferFacts {
    tenant: TenantId,
    bytes: u64,
    placement: Placement,
    priority: u8,
    stamp: Stamp,
    content: Content,
    allocation: AllocationId,
}

#[derive(Clone, Debug)]
struct AllocationFacts {
    memory: MemoryTypeId,
    buffer: BufferId,
    tenant: TenantId,
    /// The buffer's size, not rounded.
    bytes: u64,
    extents: Arc<[Extent]>,
    table: Option<TableId>,
    readers: PointSet,
    writers: PointSet,
    inherited: PointSet,
    /// Whether the buffer's content is here, or on its way here.
    holds_content: bool,
    /// The copy that brings the content; none when it came about here.
    arrives: Option<Point>,
    /// The copy that took the content to the buffer's next place.
    left: Option<Point>,
    /// What the bytes show when the buffer has left.
    shows: Shows,
    /// Set when unplaced: the points after which the allocation is gone.
    ends_after: Option<PointSet>,
}

#[derive(Clone, Debug)]
struct TableFacts {
    allocation: AllocationId,
    memory: MemoryTypeId,
    buffer: BufferId,
    segments: Arc<[Segment]>,
    layout: bool,
    /// Whether the device's DMA may reach it.
    mapped: bool,
    holds: Vec<Hold>,
}

/// Another device's import of a buffer.
#[derive(Clone, Debug)]
struct AttachmentFacts {
    buffer: BufferId,
    device: DeviceId,
    /// Of the memory that it reads.
    table: TableId,
}

/// The record of one device.
///
/// Invariants: live extents of a memory type are disjoint; every buffer has one current
/// allocation; every table belongs to an allocation that has not ended.
#[derive(Clone, Debug)]
pub(crate) struct Ledger {
    pub(crate) memory: BTreeMap<MemoryTypeId, MemoryFacts>,
    timelines: Journaled<TimelineId, TimelineFacts>,
    clocks: Clocks,
    buffers: Journaled<BufferId, BufferFacts>,
    allocations: Journaled<AllocationId, AllocationFacts>,
    /// Allocations that are unplaced but not over.
    ending: Journaled<AllocationId, ()>,
    tables: Journaled<TableId, TableFacts>,
    attachments: Journaled<AttachmentId, AttachmentFacts>,
    /// The same by the table of what is read.
    imported: Journaled<(TableId, AttachmentId), ()>,
    /// Mapped bytes by aperture.
    mapped_bytes: Journaled<MemoryTypeId, u64>,
    /// Tables by the point that ends one of their holds.
    due: Journaled<Point, Vec<TableId>>,
    used_allocations: RangeMap<()>,
    used_tables: RangeMap<()>,
}

impl Ledger {
    pub(crate) fn new(memory: &[MemoryType], timelines: &[(TimelineId, Role)]) -> Self {
        let mut ledger = Ledger {
            memory: memory
                .iter()
                .map(|&kind| (kind.id, MemoryFacts::new(kind)))
                .collect(),
            timelines: Journaled::default(),
            clocks: Clocks::default(),
            buffers: Journaled::default(),
            allocations: Journaled::default(),
            ending: Journaled::default(),
            tables: Journaled::default(),
            attachments: Journaled::default(),
            imported: Journaled::default(),
            mapped_bytes: Journaled::default(),
            due: Journaled::default(),
            used_allocations: RangeMap::default(),
            used_tables: RangeMap::default(),
        };
        for &(timeline, role) in timelines {
            ledger.timelines.insert(
                timeline,
                TimelineFacts {
                    role,
                    completed: 0,
                    next: 1,
                },
            );
        }
        ledger
    }

    /// What the next batch may use: lowest unused numbers first, and an endless last run.
    pub(crate) fn grants(&self) -> Grants {
        Grants {
            allocations: unused(&self.used_allocations),
            tables: unused(&self.used_tables),
            timelines: self.next_points(),
        }
    }

    /// The next value of every timeline.
    pub(crate) fn next_points(&self) -> Vec<Point> {
        self.timelines
            .iter()
            .map(|(&timeline, t)| Point {
                timeline,
                value: t.next,
            })
            .collect()
    }

    /// Whether a point has been delivered as reached.
    fn reached(&self, point: Point) -> bool {
        self.timelines
            .get(&point.timeline)
            .is_some_and(|t| t.completed >= point.value)
    }

    /// Live allocations of a memory type with their extents: what its strategy must know.
    pub(crate) fn live_allocations(
        &self,
        memory: MemoryTypeId,
    ) -> impl Iterator<Item = (AllocationId, &[Extent])> {
        self.allocations
            .iter()
            .filter(move |(_, a)| a.memory == memory && a.ends_after.is_none())
            .map(|(&number, a)| (number, &a.extents[..]))
    }

    /// Whether an allocation number is in use, be it by an allocation that is ending.
    pub(crate) fn knows(&self, number: AllocationId) -> bool {
        self.allocations.contains_key(&number)
    }

    /// Whether a number belongs to a live allocation of a memory type.
    pub(crate) fn is_live(&self, memory: MemoryTypeId, number: AllocationId) -> bool {
        self.allocations
            .get(&number)
            .is_some_and(|a| a.memory == memory && a.ends_after.is_none())
    }

    /// Buffers alive, and their bytes.
    pub(crate) fn live(&self) -> (u64, u64) {
        self.buffers
            .iter()
            .fold((0, 0), |(n, bytes), (_, b)| (n + 1, bytes + b.bytes))
    }

    /// The size of a live buffer.
    pub(crate) fn buffer_bytes(&self, buffer: BufferId) -> Option<u64> {
        self.buffers.get(&buffer).map(|b| b.bytes)
    }

    /// Where a live buffer is.
    pub(crate) fn memory_of(&self, buffer: BufferId) -> Option<MemoryTypeId> {
        let allocation = self.buffers.get(&buffer)?.allocation;
        self.allocations.get(&allocation).map(|a| a.memory)
    }

    /// The place of a live buffer: of host memory that is mapped, its aperture.
    pub(crate) fn place_of(&self, buffer: BufferId) -> Option<MemoryTypeId> {
        let memory = self.memory_of(buffer)?;
        let allocation = self
            .allocations
            .get(&self.buffers.get(&buffer)?.allocation)?;
        let mapped = allocation
            .table
            .and_then(|t| self.tables.get(&t))
            .is_some_and(|t| t.mapped);
        let aperture = self.memory.get(&memory)?.kind.aperture;
        Some(aperture.filter(|_| mapped).unwrap_or(memory))
    }

    /// What a live buffer's bytes are.
    pub(crate) fn content_of(&self, buffer: BufferId) -> Option<Content> {
        self.buffers.get(&buffer).map(|b| b.content)
    }

    /// The extents of an allocation of host memory whose table, if it has one, is not mapped.
    pub(crate) fn mappable(&self, number: AllocationId) -> Option<&[Extent]> {
        let facts = self.allocations.get(&number)?;
        let table = facts.table.and_then(|t| self.tables.get(&t));
        let host = self.memory.get(&facts.memory)?.kind.is_host();
        (host && !table.is_some_and(|t| t.mapped)).then_some(&facts.extents[..])
    }

    /// Whether the device reaches an allocation of host memory.
    pub(crate) fn is_mapped(&self, number: AllocationId) -> bool {
        let table = self.allocations.get(&number).and_then(|a| a.table);
        let facts = table.and_then(|t| self.tables.get(&t));
        facts.is_some_and(|t| t.mapped)
    }

    /// Of host memory, how much more the device's DMA could reach, and how much at most.
    pub(crate) fn aperture(&self, memory: MemoryTypeId) -> Option<(u64, u64)> {
        let aperture = self.memory.get(&memory)?.kind.aperture?;
        let all = self.memory.get(&aperture)?.kind.size;
        let used = self.mapped_bytes.get(&aperture).copied().unwrap_or(0);
        Some((all.saturating_sub(used), all))
    }

    /// Whether memory of this type is on its way back to whoever hands it out.
    pub(crate) fn is_ending(&self, memory: MemoryTypeId) -> bool {
        let of = |(number, ()): (&AllocationId, &())| self.allocations.get(number);
        self.ending
            .iter()
            .filter_map(of)
            .any(|a| a.memory == memory)
    }

    /// The tenant of a live buffer.
    pub(crate) fn buffer_tenant(&self, buffer: BufferId) -> Option<TenantId> {
        self.buffers.get(&buffer).map(|b| b.tenant)
    }

    fn begin(&mut self) {
        self.each_journal(Journal::Begin);
        self.clocks.begin();
    }

    fn commit(&mut self) {
        self.each_journal(Journal::Commit);
        self.clocks.commit();
    }

    fn rollback(&mut self) {
        self.each_journal(Journal::Rollback);
        self.clocks.rollback();
    }

    fn each_journal(&mut self, what: Journal) {
        macro_rules! each {
            ($($part:expr),*) => { $( match what {
                Journal::Begin => $part.begin(),
                Journal::Commit => $part.commit(),
                Journal::Rollback => $part.rollback(),
            } )* };
        }
        each!(
            self.timelines,
            self.buffers,
            self.allocations,
            self.ending,
            self.tables,
            self.attachments,
            self.imported,
            self.mapped_bytes,
            self.due
        );
        each!(self.used_allocations, self.used_tables);
        for memory in self.memory.values_mut() {
            each!(memory.live, memory.residue, memory.pending);
        }
    }
}

#[derive(Clone, Copy)]
enum Journal {
    Begin,
    Commit,
    Rollback,
}

/// How many holes below the highest used number are granted: more would only make batches longer.
const GRANTED_HOLES: usize = 64;

fn unused(used: &RangeMap<()>) -> Vec<Run> {
    let mut runs = Vec::new();
    let mut end = 0;
    for (range, ()) in used.iter().take(GRANTED_HOLES) {
        push_run(&mut runs, end, range.offset);
        end = range.offset + range.bytes;
    }
    let top = used.last_end().max(end);
    push_run(&mut runs, top, u64::from(u32::MAX));
    runs
}

fn push_run(runs: &mut Vec<Run>, from: u64, to: u64) {
    if let (Ok(first), Ok(count)) = (u32::try_from(from), u32::try_from(to.saturating_sub(from)))
        && count > 0
    {
        runs.push(Run { first, count });
    }
}

/// The one-number extent of a range map over numbers.
fn number(n: u32) -> Extent {
    Extent {
        offset: n.into(),
        bytes: 1,
    }
}
