//! Judging device operations: who may touch which bytes, and in which order.

use super::request::Check;
use super::{AllocationFacts, MemoryFacts, Refusal};
use crate::executor::{DeviceOp, Memory};
use crate::runtime::IMPORT;
use gpumm_contract::facts::{Content, Role};
use gpumm_contract::request::{Access, Intent, Placement};
use gpumm_contract::table::Holder;
use gpumm_contract::{AllocationId, BufferId, JobId, MemoryTypeId, Point, TableId, TimelineId};

impl Check<'_> {
    /// The memory that an operation names by its table.
    fn resolve(&self, table: TableId) -> Result<(Memory, &AllocationFacts), Refusal> {
        let unknown = || Refusal::Unknown("table", table.0.into());
        let facts = self.ledger.tables.get(&table).ok_or_else(unknown)?;
        let allocation = facts.allocation;
        let of = self
            .ledger
            .allocations
            .get(&allocation)
            .ok_or_else(unknown)?;
        let memory = Memory {
            table,
            allocation,
            buffer: of.buffer,
            tenant: of.tenant,
            kind: of.memory,
            segments: facts.segments.clone(),
            bytes: of.bytes,
        };
        Ok((memory, of))
    }

    /// A table that the device is going to reach by DMA; the CPU reaches everything.
    fn reached_by(&self, at: Point, table: TableId) -> Result<(Memory, &AllocationFacts), Refusal> {
        let resolved = self.resolve(table)?;
        let by_cpu = self
            .ledger
            .timelines
            .get(&at.timeline)
            .is_some_and(|t| matches!(t.role, Role::Cpu | Role::RevocableCpu));
        let host = |m: &MemoryFacts| m.kind.is_host();
        let needs = self.ledger.memory.get(&resolved.0.kind).is_some_and(host);
        let mapped = self.ledger.tables.get(&table).is_some_and(|t| t.mapped);
        if needs && !mapped && !by_cpu {
            return Err(Refusal::NotMapped(table));
        }
        Ok(resolved)
    }

    /// Takes the next value of a timeline.
    pub(super) fn advance(&mut self, at: Point) -> Result<(), Refusal> {
        let unknown = || Refusal::Unknown("timeline", at.timeline.0.into());
        let next = self
            .ledger
            .timelines
            .get(&at.timeline)
            .ok_or_else(unknown)?
            .next;
        if next != at.value {
            return Err(Refusal::WrongValue {
                timeline: at.timeline,
                expected: next,
                found: at.value,
            });
        }
        if let Some(facts) = self.ledger.timelines.get_mut(&at.timeline) {
            facts.next += 1;
        }
        Ok(())
    }

    /// Whether an operation exists that will reach a point.
    pub(super) fn submitted(&self, point: Point) -> bool {
        self.ledger
            .timelines
            .get(&point.timeline)
            .is_some_and(|t| point.value < t.next)
    }

    pub(super) fn wait(&mut self, timeline: TimelineId, point: Point) -> Result<(), Refusal> {
        let unknown = || Refusal::Unknown("timeline", timeline.0.into());
        let facts = self.ledger.timelines.get(&timeline).ok_or_else(unknown)?;
        let next = facts.next;
        // Who reaches a gate does not wait for what a plan says.
        if let Role::Gate(_) = facts.role {
            return Err(Refusal::NotAnEngine(timeline));
        }
        if !self.submitted(point) {
            return Err(Refusal::WaitsForever(point));
        }
        self.ledger.clocks.wait(timeline, next, point);
        self.accepted.ops.push(DeviceOp::Wait { timeline, point });
        Ok(())
    }

    pub(super) fn signal(&mut self, at: Point) -> Result<(), Refusal> {
        self.on_engine(at)?;
        self.advance(at)?;
        self.accepted.ops.push(DeviceOp::Signal { at });
        Ok(())
    }

    /// ORDER: a use follows the earlier owners and the writers; a write also follows the readers.
    fn ordered(
        &self,
        id: AllocationId,
        of: &AllocationFacts,
        at: Point,
        write: bool,
    ) -> Result<(), Refusal> {
        let readers = write.then_some(&of.readers);
        let before = [&of.inherited, &of.writers]
            .into_iter()
            .chain(readers)
            .flat_map(|set| set.iter());
        for point in before {
            if !self.ledger.reached(point) && !self.ledger.clocks.ordered(at, point) {
                return Err(Refusal::NotOrdered {
                    allocation: id,
                    timeline: at.timeline,
                    point,
                });
            }
        }
        Ok(())
    }

    pub(super) fn record(&mut self, id: AllocationId, at: Point, write: bool) {
        if let Some(facts) = self.ledger.allocations.get_mut(&id) {
            if write {
                facts.writers.add(at)
            } else {
                facts.readers.add(at)
            }
            // Memory that is on its way back is used once more: it goes back later.
            if let Some(after) = &mut facts.ends_after {
                after.add(at);
            }
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
        self.ordered(source.allocation, source_facts, at, false)?;
        self.ordered(target.allocation, target_facts, at, true)?;
        let whole = from_offset == 0 && to_offset == 0 && bytes == target_facts.bytes;
        if !whole || !self.carries(source_facts, target.allocation, target_facts) {
            return Err(Refusal::ContentLost(target.buffer));
        }
        self.advance(at)?;
        self.record(source.allocation, at, false);
        self.record(target.allocation, at, true);
        if let Some(facts) = self.ledger.allocations.get_mut(&target.allocation) {
            facts.holds_content = true;
            facts.arrives = Some(at);
        }
        if let Some(facts) = self.ledger.allocations.get_mut(&source.allocation) {
            facts.left = Some(at);
        }
        for table in [from, to] {
            self.hold(table, Holder::Copy, at);
            self.hold(table, Holder::CpuFallback, at);
        }
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
    fn carries(&self, from: &AllocationFacts, to: AllocationId, target: &AllocationFacts) -> bool {
        let buffer = self.ledger.buffers.get(&target.buffer);
        let host = |m: &MemoryFacts| m.kind.is_host();
        let here = from.left.is_none() && from.ends_after.is_none();
        let again = self.recovers()
            && self.ledger.memory.get(&from.memory).is_some_and(host)
            && from.left.is_some_and(|p| !self.ledger.reached(p));
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
        self.ordered(target.allocation, facts, at, true)?;
        let (buffer, whole) = (facts.buffer, offset == 0 && bytes == facts.bytes);
        // A fill may clear memory before its first use; it may not destroy what a client wrote.
        let of = self.ledger.buffers.get(&buffer);
        let unwritten =
            of.is_some_and(|b| b.content == Content::Never && b.allocation == target.allocation);
        if !unwritten || !whole || pattern != 0 {
            return Err(Refusal::ContentLost(buffer));
        }
        self.advance(at)?;
        self.record(target.allocation, at, true);
        self.now_holds(Content::Clean, buffer, target.allocation);
        self.hold(table, Holder::Access, at);
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

    fn now_holds(&mut self, content: Content, buffer: BufferId, allocation: AllocationId) {
        if let Some(facts) = self.ledger.buffers.get_mut(&buffer) {
            facts.content = content;
        }
        if let Some(facts) = self.ledger.allocations.get_mut(&allocation) {
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

    pub(super) fn run(&mut self, at: Point, job: JobId, tables: &[TableId]) -> Result<(), Refusal> {
        let wrong = Refusal::WrongJob(self.request);
        let access = self.access().filter(|a| {
            a.job == job && a.timeline == at.timeline && a.uses.len() == tables.len() && !self.ran
        });
        let access: Access = access.cloned().ok_or(wrong.clone())?;
        let mut memory = Vec::with_capacity(tables.len());
        for (used, &table) in access.uses.iter().zip(tables) {
            let (resolved, facts) = self.reached_by(at, table)?;
            let buffer = self.ledger.buffers.get(&used.buffer).ok_or(wrong.clone())?;
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
            let shown = self.ledger.memory.get(&facts.memory).map(|m| &m.residue);
            let foreign =
                |&e: &_| shown.is_some_and(|r| r.overlapping(e).any(|&t| t != facts.tenant));
            if !facts.holds_content && facts.extents.iter().any(foreign) {
                return Err(Refusal::ForeignBytes(used.buffer));
            }
            self.ordered(resolved.allocation, facts, at, used.intent == Intent::Write)?;
            memory.push(resolved);
        }
        self.advance(at)?;
        for (used, &table) in access.uses.iter().zip(tables) {
            let allocation = self.ledger.buffers.get(&used.buffer).map(|b| b.allocation);
            let Some(allocation) = allocation else {
                continue;
            };
            self.record(allocation, at, used.intent == Intent::Write);
            if used.intent == Intent::Write {
                self.now_holds(Content::Valid, used.buffer, allocation);
            }
            if let Some(facts) = self.ledger.buffers.get_mut(&used.buffer) {
                facts.stamp = access.stamp;
            }
            self.hold(table, Holder::Access, at);
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
