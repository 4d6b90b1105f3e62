//! Judging `attach`, `detach` and `notify`: who on other devices reads which buffer.

use super::facts::By;
use super::request::Check;
use super::{AttachmentFacts, Ledger, Refusal};
use crate::executor::DeviceOp;
use crate::runtime::IMPORT;
use crate::share::Notice;
use gpumm_contract::facts::{Fact, Role};
use gpumm_contract::request::{Attach, Detach};
use gpumm_contract::{
    AllocationId, AttachmentId, BufferId, DeviceId, Extent, MemoryTypeId, Point, PointSet, TableId,
};

/// What an importer of a buffer needs of it.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    pub(crate) extents: Vec<Extent>,
    /// When the content is there.
    pub(crate) after: PointSet,
}

impl Ledger {
    /// The imports of a table's memory.
    fn importers(&self, table: TableId) -> impl Iterator<Item = AttachmentId> + '_ {
        let of = (table, AttachmentId(0))..=(table, AttachmentId(u64::MAX));
        self.imported.range(of).map(|(&(_, a), ())| a)
    }

    /// The imports as facts.
    pub(super) fn attachment_facts(&self) -> impl Iterator<Item = Fact> {
        let fact = |(&attachment, a): (&AttachmentId, &AttachmentFacts)| Fact::Attachment {
            attachment,
            buffer: a.buffer,
            device: a.device,
        };
        self.attachments.iter().map(fact)
    }

    /// What an import that was just accepted reads, and from when on; none when it is over.
    pub(crate) fn shared(&self, attachment: AttachmentId) -> Option<Shared> {
        let of = self.attachments.get(&attachment)?;
        let table = self.table_facts(of.table)?;
        let home = self.allocation(table.allocation)?;
        let uses = self.uses_of(table.allocation);
        let mut after = uses.writers.clone();
        after.join(&uses.inherited);
        after.retire(|p| self.reached(p));
        let extents = home.extents.to_vec();
        Some(Shared { extents, after })
    }

    /// The allocation of a live buffer.
    pub(crate) fn home_of(&self, buffer: BufferId) -> Option<AllocationId> {
        self.buffer(buffer).map(|b| b.allocation)
    }

    /// Whose allocation it is, and of which memory type.
    pub(crate) fn owner_of(&self, number: AllocationId) -> Option<(MemoryTypeId, BufferId)> {
        let facts = self.allocation(number)?;
        Some((facts.memory, facts.buffer))
    }

    /// What a released buffer's memory still waits for.
    pub(crate) fn ends_after(&self, allocation: AllocationId, buffer: BufferId) -> PointSet {
        let mine = self.allocation(allocation).filter(|a| a.buffer == buffer);
        let ending = mine.and_then(|_| self.ending_of(allocation));
        ending.map(|e| e.after.clone()).unwrap_or_default()
    }
}

impl Check<'_> {
    /// Whether an import may begin: the buffer is alive in host memory of its own device, shows
    /// nothing but itself, and the device does not import it yet.
    pub(super) fn attachable(&self, attach: &Attach) -> Option<TableId> {
        let buffer = self.ledger.buffer(attach.buffer)?;
        let home = self.ledger.allocation(buffer.allocation)?;
        if !buffer.content.moves() || !home.holds_content {
            return None;
        }
        let host = self.ledger.memory.get(&home.memory)?.kind.is_host() && home.memory != IMPORT;
        let table = home.table.filter(|_| host)?;
        let device_of = |a| self.ledger.attachments.get(&a).map(|a| a.device);
        let mut others = self.ledger.importers(table).filter_map(device_of);
        let fresh = !self.ledger.attachments.contains_key(&attach.attachment);
        let gate = |role: &Role| *role == Role::Gate(attach.device);
        let may = self.ledger.timelines.iter().any(|t| gate(&t.role));
        (fresh && may && !others.any(|d| d == attach.device)).then_some(table)
    }

    /// An import begins with the answer to its request.
    pub(super) fn attach(&mut self, attach: Attach, table: TableId) {
        let facts = AttachmentFacts {
            buffer: attach.buffer,
            device: attach.device,
            table,
        };
        self.ledger.attachments.insert(attach.attachment, facts);
        self.ledger.imported.insert((table, attach.attachment), ());
    }

    /// An import has ended by itself; one that a move has ended before is no matter.
    pub(super) fn detach(&mut self, detach: Detach) {
        let of = self.ledger.attachments.get(&detach.attachment);
        if of.is_some_and(|a| a.buffer == detach.buffer) {
            self.end_import(detach.attachment);
        }
    }

    fn end_import(&mut self, attachment: AttachmentId) -> Option<AttachmentFacts> {
        let of = self.ledger.attachments.remove(&attachment)?;
        self.ledger.imported.remove(&(of.table, attachment));
        Some(of)
    }

    /// INVARIANT: an import ends once, through the gate of its own device.
    ///
    /// ORDER: the gate is a writer of the memory, so that everything which comes after the buffer
    /// there waits for it; a copy that took the content away before does not.
    pub(super) fn notify(
        &mut self,
        device: DeviceId,
        attachment: AttachmentId,
        gate: Point,
    ) -> Result<(), Refusal> {
        let unknown = || Refusal::Unknown("attachment", attachment.0);
        let of = self.ledger.attachments.get(&attachment);
        let (owner, table) = of.map(|a| (a.device, a.table)).ok_or_else(unknown)?;
        let role = self.ledger.timelines.get(gate.timeline).map(|t| t.role);
        if owner != device || role != Some(Role::Gate(device)) {
            return Err(Refusal::WrongGate {
                attachment,
                timeline: gate.timeline,
            });
        }
        let facts = self.ledger.table_facts(table).ok_or_else(unknown)?;
        let allocation = facts.allocation;
        if let Some(point) = self.ledger.uses_of(allocation).left.iter().next() {
            return Err(Refusal::NotOrdered {
                allocation,
                timeline: gate.timeline,
                point,
            });
        }
        self.advance(gate)?;
        self.end_import(attachment);
        self.record(allocation, gate, true);
        self.hold(table, By::Import, gate);
        let notice = Notice {
            device,
            attachment,
            gate,
        };
        self.accepted.ops.push(DeviceOp::Notify(notice));
        Ok(())
    }

    /// Memory that another device reads is not given up behind its back.
    pub(super) fn nobody_imports(&self, table: Option<TableId>) -> Result<(), Refusal> {
        match table.and_then(|t| self.ledger.importers(t).next()) {
            Some(attachment) => Err(Refusal::NotNotified(attachment)),
            None => Ok(()),
        }
    }

    /// An operation of an engine stands on the timeline of one: what others reach is not a plan's
    /// to advance, but by `notify`.
    pub(super) fn on_engine(&self, at: Point) -> Result<(), Refusal> {
        match self.ledger.timelines.get(at.timeline).map(|t| t.role) {
            Some(Role::Run | Role::Copy) => Ok(()),
            Some(_) => Err(Refusal::NotAnEngine(at.timeline)),
            None => Err(Refusal::Unknown("timeline", at.timeline.0.into())),
        }
    }
}
