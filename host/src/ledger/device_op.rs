//! Judging device operations: who may touch which bytes, and in which order.

use super::facts::By;
use super::request::Check;
use super::{AllocationFacts, MemoryFacts, Refusal, TableFacts};
use crate::executor::{DeviceOp, Memory};
use crate::runtime::IMPORT;
use gpumm_contract::facts::{Content, Role};
use gpumm_contract::request::{Access, Intent, Placement};
use gpumm_contract::{
    AllocationId, BufferId, JobId, MemoryTypeId, Point, PointSet, TableId, TimelineId,
};

impl Check<'_> {
    /// The memory that an operation names by its table.
    fn resolve(&self, table: TableId) -> Result<(&TableFacts, &AllocationFacts), Refusal> {
        let unknown = || Refusal::Unknown("table", table.0.into());
        let facts = self.ledger.table_facts(table).ok_or_else(unknown)?;
        let of = self.ledger.allocation(facts.allocation);
        Ok((facts, of.ok_or_else(unknown)?))
    }

    /// A table that the device is going to reach by DMA; the CPU reaches everything.
    pub(super) fn reached_by(
        &self,
        at: Point,
        table: TableId,
    ) -> Result<(Memory, &AllocationFacts), Refusal> {
        let (facts, of) = self.resolve(table)?;
        let host = |m: &MemoryFacts| m.kind.is_host();
        let needs = || self.ledger.memory.get(&of.memory).is_some_and(host);
        if !facts.mapped && needs() && !self.by_cpu(at) {
            return Err(Refusal::NotMapped(table));
        }
        let memory = Memory {
            table,
            allocation: facts.allocation,
            buffer: of.buffer,
            tenant: of.tenant,
            kind: of.memory,
            segments: facts.segments.clone(),
            bytes: of.bytes,
        };
        Ok((memory, of))
    }

    fn by_cpu(&self, at: Point) -> bool {
        let role = self.ledger.timelines.get(at.timeline).map(|t| t.role);
        matches!(role, Some(Role::Cpu | Role::RevocableCpu))
    }

    /// Takes the next value of a timeline.
    pub(super) fn advance(&mut self, at: Point) -> Result<(), Refusal> {
        let unknown = || Refusal::Unknown("timeline", at.timeline.0.into());
        let facts = self.ledger.timelines.get_mut(at.timeline);
        let facts = facts.ok_or_else(unknown)?;
        // The host gives the jobs on address spaces their points.
        if facts.role == Role::Job {
            return Err(Refusal::NotAnEngine(at.timeline));
        }
        if facts.next != at.value {
            return Err(Refusal::WrongValue {
                timeline: at.timeline,
                expected: facts.next,
                found: at.value,
            });
        }
        facts.next += 1;
        if facts.role == Role::Bind {
            self.bound = Some(at);
        }
        Ok(())
    }

    /// Whether an operation exists that will reach a point.
    pub(super) fn submitted(&self, point: Point) -> bool {
        self.ledger.timelines.submitted(point)
    }

    pub(super) fn wait(&mut self, timeline: TimelineId, point: Point) -> Result<(), Refusal> {
        let unknown = || Refusal::Unknown("timeline", timeline.0.into());
        let facts = self.ledger.timelines.get(timeline);
        let facts = facts.ok_or_else(unknown)?;
        let value = facts.next;
        // Who reaches a gate, or submits a job by itself, does not wait for what a plan says.
        if let Role::Gate(_) | Role::Job = facts.role {
            return Err(Refusal::NotAnEngine(timeline));
        }
        if !self.submitted(point) {
            return Err(Refusal::WaitsForever(point));
        }
        let ledger = &mut *self.ledger;
        let from = Point { timeline, value };
        ledger.clocks.wait(&ledger.timelines, from, point);
        self.accepted.ops.push(DeviceOp::Wait { timeline, point });
        Ok(())
    }

    pub(super) fn signal(&mut self, at: Point) -> Result<(), Refusal> {
        let role = self.ledger.timelines.get(at.timeline).map(|t| t.role);
        if role != Some(Role::Bind) {
            self.on_engine(at)?;
        }
        self.advance(at)?;
        self.accepted.ops.push(DeviceOp::Signal { at });
        Ok(())
    }

    /// ORDER: a use follows the earlier owners and the writers; a write also follows the readers.
    fn ordered(&self, id: AllocationId, at: Point, write: bool) -> Result<(), Refusal> {
        let of = self.ledger.uses_of(id);
        let readers = write.then_some(&of.readers);
        let before = [&of.inherited, &of.writers]
            .into_iter()
            .chain(readers)
            .flat_map(|set| set.iter());
        for point in before {
            if !self.comes_after(at, point) {
                return Err(Refusal::NotOrdered {
                    allocation: id,
                    timeline: at.timeline,
                    point,
                });
            }
        }
        Ok(())
    }

    /// Whether an operation that reaches a point comes after another one, or that is over.
    pub(super) fn comes_after(&self, at: Point, point: Point) -> bool {
        let ledger = &*self.ledger;
        ledger.reached(point) || ledger.clocks.ordered(&ledger.timelines, at, point)
    }

    /// Takes note of a use of an allocation, which jobs that are submitted without a word do not
    /// wait for.
    pub(super) fn record(&mut self, id: AllocationId, at: Point, write: bool) {
        self.note_use(id, at, write);
        self.outdate(id, at);
    }

    /// Takes note of a use of an allocation.
    pub(super) fn note_use(&mut self, id: AllocationId, at: Point, write: bool) {
        if !self.ledger.knows(id) {
            return;
        }
        let uses = self.ledger.uses.get_or_default(id.0.into());
        match write {
            true => uses.writers.add(at),
            false => uses.readers.add(at),
        }
        // Memory that is on its way back is used once more: it goes back later.
        if let Some(ending) = self.ledger.ending.get_mut(id.0.into()) {
            ending.after.add(at);
        }
    }

    pub(super) fn copy(
        &mut self,
        at: Point,
        [from, to]: [TableId; 2],
        [from_offset, to_offset]: [u64; 2],
        bytes: u64,
    ) -> Result<(), Refusal> {
        self.on_engine(at)?;
        let (source, source_facts) = self.reached_by(at, from)?;
        let (target, target_facts) = self.reached_by(at, to)?;
        inside(from, source_facts, from_offset, bytes)?;
        inside(to, target_facts, to_offset, bytes)?;
        if source_facts.tenant != target_facts.tenant || source_facts.buffer != target_facts.buffer
        {
            return Err(Refusal::CrossesTenants { from, to });
        }
        if source.kind == IMPORT || target.kind == IMPORT {
            // Its exporter may end an import at any time: there is no redo of such a copy.
            return Err(Refusal::Unsupported("a copy of an import"));
        }
        if source.allocation == target.allocation {
            return Err(Refusal::OutsideTable(to));
        }
        self.ordered(source.allocation, at, false)?;
        self.ordered(target.allocation, at, true)?;
        let whole = from_offset == 0 && to_offset == 0 && bytes == target_facts.bytes;
        let to_facts = (target.allocation, target_facts);
        if !whole || !self.carries((source.allocation, source_facts), to_facts) {
            return Err(Refusal::ContentLost(target.buffer));
        }
        self.advance(at)?;
        self.record(source.allocation, at, false);
        self.record(target.allocation, at, true);
        let number = target.allocation.0.into();
        if let Some(facts) = self.ledger.allocations.get_mut(number) {
            facts.holds_content = true;
            facts.arrives = PointSet::from(at);
        }
        let uses = self.ledger.uses.get_mut(source.allocation.0.into());
        if let Some(uses) = uses {
            uses.left = PointSet::from(at);
        }
        self.hold(from, By::Copy, at);
        self.hold(to, By::Copy, at);
        self.accepted.counts.bytes_moved += bytes;
        self.accepted.ops.push(DeviceOp::Copy {
            at,
            source,
            target,
            source_offset: from_offset,
            target_offset: to_offset,
            bytes,
        });
        Ok(())
    }

    /// Whether a copy takes a buffer's content on: from where it is to the buffer's place, or,
    /// after a loss of the device, from the host memory that it was leaving.
    ///
    /// INVARIANT: nothing else is copied, so memory that is given back is neither read, whose
    /// bytes may be another's by now, nor written.
    fn carries(
        &self,
        (source, from): (AllocationId, &AllocationFacts),
        (to, target): (AllocationId, &AllocationFacts),
    ) -> bool {
        let buffer = self.ledger.buffer(target.buffer);
        let host = |m: &MemoryFacts| m.kind.is_host();
        let left = &self.ledger.uses_of(source).left;
        let here = left.is_empty() && self.ledger.ending_of(source).is_none();
        let again = self.recovers()
            && self.ledger.memory.get(&from.memory).is_some_and(host)
            && left.iter().any(|p| !self.ledger.reached(p));
        buffer.is_some_and(|b| b.allocation == to)
            && from.holds_content
            && !target.holds_content
            && (here || again)
    }

    pub(super) fn fill(
        &mut self,
        at: Point,
        table: TableId,
        offset: u64,
        bytes: u64,
        pattern: u64,
    ) -> Result<(), Refusal> {
        self.on_engine(at)?;
        let (target, facts) = self.reached_by(at, table)?;
        if target.kind == IMPORT {
            return Err(Refusal::Unsupported("a fill of an import"));
        }
        inside(table, facts, offset, bytes)?;
        self.ordered(target.allocation, at, true)?;
        let (buffer, whole) = (facts.buffer, offset == 0 && bytes == facts.bytes);
        // A fill may clear memory before its first use; it may not destroy what a client wrote.
        let of = self.ledger.buffer(buffer);
        let unwritten =
            of.is_some_and(|b| b.content == Content::Never && b.allocation == target.allocation);
        if !unwritten || !whole || pattern != 0 {
            return Err(Refusal::ContentLost(buffer));
        }
        self.advance(at)?;
        self.record(target.allocation, at, true);
        self.now_holds(Content::Clean, buffer, target.allocation);
        self.hold(table, By::Use, at);
        self.accepted.counts.bytes_cleared += bytes;
        self.accepted.ops.push(DeviceOp::Fill {
            at,
            target,
            offset,
            bytes,
            pattern,
        });
        Ok(())
    }

    pub(super) fn now_holds(
        &mut self,
        content: Content,
        buffer: BufferId,
        allocation: AllocationId,
    ) {
        if let Some(facts) = self.ledger.buffers.get_mut(buffer.0) {
            facts.content = content;
        }
        let number = allocation.0.into();
        let empty = |a: &AllocationFacts| !a.holds_content;
        // What is so already is not written down again.
        if self.ledger.allocation(allocation).is_some_and(empty)
            && let Some(facts) = self.ledger.allocations.get_mut(number)
        {
            facts.holds_content = true;
        }
    }

    /// Whether a buffer may be used in a memory type: an aperture is met by the host memory that
    /// it stands for, which has to be mapped.
    fn accepts(&self, placement: Placement, memory: MemoryTypeId) -> bool {
        let aperture = self
            .ledger
            .memory
            .get(&memory)
            .and_then(|m| m.kind.aperture);
        placement.accepts(memory) || aperture.is_some_and(|a| placement.accepts(a))
    }

    /// Whether an allocation without content shows what another tenant left there.
    pub(super) fn shows_foreign(&self, of: &AllocationFacts) -> bool {
        let shown = self.ledger.memory.get(&of.memory).map(|m| &m.residue);
        let foreign = |&e: &_| shown.is_some_and(|r| r.overlapping(e).any(|&t| t != of.tenant));
        !of.holds_content && of.extents.iter().any(foreign)
    }

    pub(super) fn run(&mut self, at: Point, job: JobId, tables: &[TableId]) -> Result<(), Refusal> {
        let wrong = Refusal::WrongJob(self.request);
        let access = self.access().filter(|a| {
            a.job == job && a.timeline == at.timeline && a.uses.len() == tables.len() && !self.ran
        });
        let access: &Access = access.ok_or(wrong.clone())?;
        let mut memory = Vec::with_capacity(tables.len());
        for (used, &table) in access.uses.iter().zip(tables) {
            let (resolved, facts) = self.reached_by(at, table)?;
            let buffer = self.ledger.buffer(used.buffer).ok_or(wrong.clone())?;
            if buffer.allocation != resolved.allocation {
                return Err(wrong);
            }
            if buffer.content == Content::Poisoned {
                return Err(Refusal::Poisoned(used.buffer));
            }
            if !access.anywhere && !self.accepts(buffer.placement, facts.memory) {
                return Err(Refusal::NotResident(used.buffer));
            }
            if buffer.content != Content::Never && !facts.holds_content {
                return Err(Refusal::ContentLost(used.buffer));
            }
            if self.shows_foreign(facts) {
                return Err(Refusal::ForeignBytes(used.buffer));
            }
            self.ordered(resolved.allocation, at, used.intent == Intent::Write)?;
            memory.push(resolved);
        }
        self.advance(at)?;
        for (used, &table) in access.uses.iter().zip(tables) {
            let Some(facts) = self.ledger.buffers.get_mut(used.buffer.0) else {
                continue;
            };
            facts.stamp = access.stamp;
            let allocation = facts.allocation;
            self.record(allocation, at, used.intent == Intent::Write);
            if used.intent == Intent::Write {
                self.now_holds(Content::Valid, used.buffer, allocation);
            }
            self.hold(table, By::Use, at);
        }
        self.ran = true;
        self.accepted.runs.push(at);
        self.accepted.ops.push(DeviceOp::Run { at, job, memory });
        Ok(())
    }
}

fn inside(table: TableId, facts: &AllocationFacts, offset: u64, bytes: u64) -> Result<(), Refusal> {
    let end = offset
        .checked_add(bytes)
        .filter(|&end| bytes > 0 && end <= facts.bytes);
    end.map(|_| ()).ok_or(Refusal::OutsideTable(table))
}
