//! The host's own record of facts, and the judge of every plan.
//!
//! A plan is checked whole before its first operation runs: [`Ledger::check`] applies it with an
//! open journal; a refusal takes everything back, an acceptance makes it the state. `place.rs`
//! judges who gets which bytes, `device_op.rs` who may touch them and in which order, `table.rs`
//! which sg-tables live and are mapped, `share.rs` who on other devices reads what, `loss.rs` what
//! becomes of content that could not be saved, `request.rs` whether the requests got what they
//! asked for. `facts.rs` has what is kept, `clock.rs` knows what comes before what, `due.rs` what
//! ends when, `used.rs` which numbers are free; `snapshot.rs` gives the facts to a restored
//! component.
//!
//! Of address spaces, `vm.rs` judges what is written to page tables, `vm_bind.rs` whether that is
//! what is mapped, `vm_job.rs` whether a job finds there what it uses; `vm_facts.rs` and
//! `stretch.rs` have what is kept, `vm_view.rs` shows it to the rest of the host.
//!
//! "Reached" always means *delivered* as reached to the mechanism, never the device's present
//! state: that is what makes equal inputs give equal judgements.

mod accepted;
mod clock;
mod device_op;
mod due;
mod facts;
mod loss;
mod place;
mod refusal;
mod request;
mod share;
mod snapshot;
mod stretch;
mod table;
#[cfg(test)]
#[allow(clippy::expect_used, clippy::type_complexity)]
mod tests;
mod timeline;
mod used;
mod vm;
mod vm_bind;
mod vm_facts;
mod vm_job;
mod vm_view;

pub(crate) use accepted::Accepted;
pub use accepted::Counts;
pub use refusal::Refusal;
pub(crate) use share::Shared;
#[allow(unused_imports, reason = "for the host's way around the planner")]
pub(crate) use vm_view::{Covers, VmView};

use clock::Clocks;
use due::Due;
use facts::{
    AllocationFacts, AttachmentFacts, BufferFacts, Ending, Held, MemoryFacts, TableFacts, Uses,
};
use gpumm_contract::facts::{Content, MemoryType, Role};
use gpumm_contract::journal::{Journaled, JournaledPages};
use gpumm_contract::plan::Lists;
use gpumm_contract::request::Grants;
use gpumm_contract::vm::VmId;
use gpumm_contract::{
    AllocationId, AttachmentId, BufferId, Extent, MemoryTypeId, Point, TableId, TenantId,
    TimelineId,
};
use std::collections::BTreeMap;
use timeline::Timelines;
use used::Used;
use vm_facts::VmFacts;

/// The record of one device.
///
/// Complexity: a plan is judged in time proportional to its operations and to what they end; what
/// is live costs memory, not time.
/// Invariants: live extents of a memory type are disjoint; every buffer has one current
/// allocation, which has not ended; every table belongs to an allocation that has not ended; page
/// tables show what is mapped, of each buffer all or nothing, and only tables of live buffers' places.
#[derive(Clone, Debug)]
pub(crate) struct Ledger {
    pub(crate) memory: BTreeMap<MemoryTypeId, MemoryFacts>,
    timelines: Timelines,
    clocks: Clocks,
    buffers: JournaledPages<BufferFacts>,
    allocations: JournaledPages<AllocationFacts>,
    /// What is in flight on allocations; of those at rest, nothing.
    uses: JournaledPages<Uses>,
    /// Allocations that are unplaced but not over.
    ending: JournaledPages<Ending>,
    /// The same, each by one point that it still waits for.
    ends: Due<AllocationId>,
    tables: JournaledPages<TableFacts>,
    /// The holds of tables by the point that ends them.
    due: Due<Held>,
    /// How often tables have been held.
    holds: u64,
    attachments: Journaled<AttachmentId, AttachmentFacts>,
    /// The same by the table of what is read.
    imported: Journaled<(TableId, AttachmentId), ()>,
    /// Mapped bytes by aperture.
    mapped_bytes: Journaled<MemoryTypeId, u64>,
    vms: JournaledPages<VmFacts>,
    /// The address spaces that a buffer is mapped in.
    members: Journaled<(BufferId, VmId), ()>,
    /// How many addresses of an address space show a table, where there are any.
    shown: Journaled<(TableId, VmId), u64>,
    used_allocations: Used,
    used_tables: Used,
    /// Room for the lists of a plan's operations.
    lists: Lists,
}

impl Ledger {
    pub(crate) fn new(memory: &[MemoryType], timelines: &[(TimelineId, Role)]) -> Self {
        let timelines = Timelines::new(timelines);
        Ledger {
            memory: memory
                .iter()
                .map(|&kind| (kind.id, MemoryFacts::new(kind)))
                .collect(),
            clocks: Clocks::new(timelines.len()),
            buffers: JournaledPages::default(),
            allocations: JournaledPages::default(),
            uses: JournaledPages::default(),
            ending: JournaledPages::default(),
            ends: Due::new(timelines.len()),
            tables: JournaledPages::default(),
            due: Due::new(timelines.len()),
            holds: 0,
            attachments: Journaled::default(),
            imported: Journaled::default(),
            mapped_bytes: Journaled::default(),
            vms: JournaledPages::default(),
            members: Journaled::default(),
            shown: Journaled::default(),
            used_allocations: Used::default(),
            used_tables: Used::default(),
            lists: Lists::default(),
            timelines,
        }
    }

    /// What the next batch may use: lowest unused numbers first, and an endless last run.
    pub(crate) fn grants(&self) -> Grants {
        Grants {
            allocations: self.used_allocations.unused(),
            tables: self.used_tables.unused(),
            timelines: self.points(|role| role != Role::Job),
        }
    }

    /// The next value of every timeline.
    pub(crate) fn next_points(&self) -> Vec<Point> {
        self.points(|_| true)
    }

    /// The next value of every timeline of some roles.
    fn points(&self, of: impl Fn(Role) -> bool) -> Vec<Point> {
        let next = |t: &timeline::TimelineFacts| Point {
            timeline: t.id,
            value: t.next,
        };
        let some = self.timelines.iter().filter(|t| of(t.role));
        some.map(next).collect()
    }

    /// Whether a point has been delivered as reached.
    #[inline]
    fn reached(&self, point: Point) -> bool {
        self.timelines.reached(point)
    }

    #[inline]
    fn buffer(&self, buffer: BufferId) -> Option<&BufferFacts> {
        self.buffers.get(buffer.0)
    }

    #[inline]
    fn allocation(&self, number: AllocationId) -> Option<&AllocationFacts> {
        self.allocations.get(number.0.into())
    }

    /// The place of a live buffer.
    #[inline]
    fn home(&self, buffer: BufferId) -> Option<&AllocationFacts> {
        self.allocation(self.buffer(buffer)?.allocation)
    }

    #[inline]
    fn table_facts(&self, table: TableId) -> Option<&TableFacts> {
        self.tables.get(table.0.into())
    }

    /// What is in flight on an allocation.
    #[inline]
    fn uses_of(&self, number: AllocationId) -> &Uses {
        self.uses.get(number.0.into()).unwrap_or(Uses::NONE)
    }

    /// What an allocation ends after, if it is on its way to its end.
    #[inline]
    fn ending_of(&self, number: AllocationId) -> Option<&Ending> {
        self.ending.get(number.0.into())
    }

    /// Live allocations of a memory type with their extents: what its strategy must know.
    pub(crate) fn live_allocations(
        &self,
        memory: MemoryTypeId,
    ) -> impl Iterator<Item = (AllocationId, &[Extent])> {
        // INVARIANT: they are filed under 32-bit numbers.
        let all = self.allocations.iter();
        let all = all.map(|(number, a)| (AllocationId(number as u32), a));
        all.filter(move |(n, a)| a.memory == memory && self.ending_of(*n).is_none())
            .map(|(number, a)| (number, &a.extents[..]))
    }

    /// The extents of a live allocation of a memory type.
    pub(crate) fn live_extents(
        &self,
        memory: MemoryTypeId,
        number: AllocationId,
    ) -> Option<&[Extent]> {
        let facts = self.allocation(number).filter(|a| a.memory == memory)?;
        self.ending_of(number)
            .is_none()
            .then_some(&facts.extents[..])
    }

    /// The highest number that is in use.
    pub(crate) fn highest_allocation(&self) -> Option<AllocationId> {
        let last = self.allocations.iter().next_back();
        last.map(|(number, _)| AllocationId(number as u32))
    }

    /// Whether an allocation number is in use, be it by an allocation that is ending.
    pub(crate) fn knows(&self, number: AllocationId) -> bool {
        self.allocations.contains(number.0.into())
    }

    /// Whether a number belongs to a live allocation of a memory type.
    pub(crate) fn is_live(&self, memory: MemoryTypeId, number: AllocationId) -> bool {
        self.live_extents(memory, number).is_some()
    }

    /// Buffers alive, and their bytes.
    pub(crate) fn live(&self) -> (u64, u64) {
        let homes = self.buffers.iter().map(|(_, b)| b.allocation);
        let bytes = homes.filter_map(|home| self.allocation(home).map(|a| a.bytes));
        (self.buffers.len() as u64, bytes.sum())
    }

    /// The size of a live buffer.
    pub(crate) fn buffer_bytes(&self, buffer: BufferId) -> Option<u64> {
        self.home(buffer).map(|a| a.bytes)
    }

    /// Where a live buffer is.
    pub(crate) fn memory_of(&self, buffer: BufferId) -> Option<MemoryTypeId> {
        self.home(buffer).map(|a| a.memory)
    }

    /// The place of a live buffer: of host memory that is mapped, its aperture.
    pub(crate) fn place_of(&self, buffer: BufferId) -> Option<MemoryTypeId> {
        let home = self.home(buffer)?;
        let aperture = self.memory.get(&home.memory)?.kind.aperture;
        let mapped = self.maps(home);
        Some(aperture.filter(|_| mapped).unwrap_or(home.memory))
    }

    /// What a live buffer's bytes are.
    pub(crate) fn content_of(&self, buffer: BufferId) -> Option<Content> {
        self.buffer(buffer).map(|b| b.content)
    }

    /// Whether the device's DMA reaches an allocation of host memory.
    fn maps(&self, of: &AllocationFacts) -> bool {
        let table = of.table.and_then(|t| self.table_facts(t));
        table.is_some_and(|t| t.mapped)
    }

    /// The extents of an allocation of host memory whose table, if it has one, is not mapped.
    pub(crate) fn mappable(&self, number: AllocationId) -> Option<&[Extent]> {
        let facts = self.allocation(number)?;
        let host = self.memory.get(&facts.memory)?.kind.is_host();
        (host && !self.maps(facts)).then_some(&facts.extents[..])
    }

    /// Whether the device reaches an allocation of host memory.
    pub(crate) fn is_mapped(&self, number: AllocationId) -> bool {
        self.allocation(number).is_some_and(|a| self.maps(a))
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
        let of = |(number, _): (u64, &Ending)| self.allocations.get(number);
        let mut all = self.ending.iter().filter_map(of);
        all.any(|a| a.memory == memory)
    }

    /// The tenant of a live buffer.
    pub(crate) fn buffer_tenant(&self, buffer: BufferId) -> Option<TenantId> {
        self.home(buffer).map(|a| a.tenant)
    }

    fn begin(&mut self) {
        self.timelines.begin();
        self.clocks.begin();
        self.each_journal(Journal::Begin);
    }

    fn commit(&mut self) {
        self.clocks.commit();
        self.each_journal(Journal::Commit);
    }

    fn rollback(&mut self) {
        self.timelines.rollback();
        self.clocks.rollback();
        self.each_journal(Journal::Rollback);
    }

    fn each_journal(&mut self, what: Journal) {
        macro_rules! each {
            ($($part:expr),*) => { $( match what {
                Journal::Begin => $part.begin(),
                Journal::Commit => $part.commit(),
                Journal::Rollback => $part.rollback(),
            } )* };
        }
        each!(self.buffers, self.allocations, self.uses, self.ending);
        each!(self.ends, self.tables, self.due);
        each!(self.attachments, self.imported, self.mapped_bytes);
        each!(self.vms, self.members, self.shown);
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
