//! Judging `map-dma`, `unmap-dma` and `poison`: what the device reaches, and what is lost.

use super::request::Check;
use super::{AllocationFacts, MemoryFacts, Refusal};
use crate::executor::DeviceOp;
use gpumm_contract::facts::Content;
use gpumm_contract::{AllocationId, BufferId, MemoryTypeId, TableId};

impl Check<'_> {
    /// INVARIANT: the host has mapped the memory during this call, or this plan has unmapped it;
    /// and the aperture holds it.
    pub(super) fn map_dma(&mut self, table: TableId) -> Result<(), Refusal> {
        let (allocation, aperture, bytes) = self.mapping(table)?;
        let facts = self.ledger.table_facts(table);
        if facts.is_some_and(|t| t.mapped) {
            return Err(Refusal::NoMapping(table));
        }
        // A mapping that this plan has ended has not ended yet: it stays.
        let ended = self.unmapped.contains(&table).then(|| {
            let ends =
                |op: &DeviceOp| matches!(op, DeviceOp::Unmap { table: t, .. } if *t == table);
            self.accepted.ops.iter().rposition(ends)
        });
        match ended.flatten() {
            Some(at) => drop(self.accepted.ops.remove(at)),
            None if self.overlay.mapped(allocation) => {}
            None => return Err(Refusal::NoMapping(table)),
        }
        let limit = self.ledger.memory.get(&aperture).map_or(0, |m| m.kind.size);
        let used = self.ledger.mapped_bytes.get(&aperture).copied();
        let used = used.unwrap_or(0).saturating_add(bytes);
        if used > limit {
            return Err(Refusal::ApertureFull(aperture));
        }
        self.ledger.mapped_bytes.insert(aperture, used);
        if let Some(facts) = self.ledger.tables.get_mut(table.0.into()) {
            facts.mapped = true;
        }
        self.unmapped.remove(&table);
        self.accepted.mapped.insert(allocation);
        Ok(())
    }

    /// ORDER: refused while an operation in flight uses the table.
    pub(super) fn unmap_dma(&mut self, table: TableId) -> Result<(), Refusal> {
        let (_, aperture, bytes) = self.mapping(table)?;
        self.nobody_shows(Some(table))?;
        let unknown = || Refusal::Unknown("table", table.0.into());
        let facts = self.ledger.tables.get_mut(table.0.into());
        let facts = facts.ok_or_else(unknown)?;
        if !facts.mapped {
            return Err(Refusal::NoMapping(table));
        }
        if facts.holds > 0 {
            return Err(Refusal::TableInUse(table));
        }
        facts.mapped = false;
        let (memory, buffer) = (facts.memory, facts.buffer);
        let segments = facts.segments.clone();
        let used = self.ledger.mapped_bytes.get(&aperture).copied();
        let left = used.unwrap_or(0).saturating_sub(bytes);
        self.ledger.mapped_bytes.insert(aperture, left);
        self.unmapped.insert(table);
        self.accepted.ops.push(DeviceOp::Unmap {
            table,
            memory,
            buffer,
            segments,
        });
        Ok(())
    }

    /// Whose memory a table describes, the aperture that it is mapped into, and its bytes.
    fn mapping(&self, table: TableId) -> Result<(AllocationId, MemoryTypeId, u64), Refusal> {
        let unknown = || Refusal::Unknown("table", table.0.into());
        let facts = self.ledger.table_facts(table).ok_or_else(unknown)?;
        // A table that is only held outlives its allocation; its memory is the segments.
        let bytes = facts.segments.iter().map(|s| s.bytes).sum();
        let host = |m: &MemoryFacts| m.kind.aperture;
        let aperture = match self.ledger.allocation(facts.allocation) {
            Some(of) => self.ledger.memory.get(&of.memory).and_then(host),
            None => self.ledger.memory.values().find_map(host),
        };
        let aperture = aperture.ok_or(Refusal::NoMapping(table))?;
        Ok((facts.allocation, aperture, bytes))
    }

    /// The host has seen a buffer's content go: the plan must give it up.
    pub(super) fn content_lost(&mut self, buffer: BufferId) {
        let Some(facts) = self.ledger.buffer(buffer) else {
            return;
        };
        if facts.content == Content::Poisoned {
            return;
        }
        let allocation = facts.allocation;
        self.must_poison.insert(buffer);
        if let Some(facts) = self.ledger.allocations.get_mut(allocation.0.into()) {
            facts.holds_content = false;
        }
    }

    /// The device's own memory shows nothing any more, and what was not retired has not run.
    pub(super) fn device_lost(&mut self) {
        self.page_tables_lost();
        for memory in self.ledger.memory.values_mut() {
            if !memory.kind.is_host() {
                memory.residue.retain(|_| false);
            }
        }
        let ledger = &*self.ledger;
        let stays = |a: &AllocationFacts| {
            let memory = ledger.memory.get(&a.memory);
            memory.is_some_and(|m| m.kind.is_host()) && a.arrives.iter().all(|p| ledger.reached(p))
        };
        let all = ledger.allocations.iter();
        let gone = all.filter(|(_, a)| a.holds_content && !stays(a));
        let gone: Vec<u64> = gone.map(|(number, _)| number).collect();
        for number in gone {
            if let Some(facts) = self.ledger.allocations.get_mut(number) {
                facts.holds_content = false;
            }
        }
    }

    /// Whether every content is somewhere or given up, after a loss of the device.
    ///
    /// Errors: one is neither.
    pub(super) fn recovered(&self) -> Result<bool, Refusal> {
        for (buffer, facts) in self.ledger.buffers.iter() {
            let home = self.ledger.allocation(facts.allocation);
            let here = home.is_some_and(|a| a.holds_content);
            if facts.content.moves() && !here {
                return Err(Refusal::FalsePoison(BufferId(buffer)));
            }
        }
        Ok(true)
    }

    /// INVARIANT: only a content that is really gone is given up, and only where the host has
    /// said that something was lost.
    pub(super) fn poison(&mut self, buffer: BufferId) -> Result<(), Refusal> {
        let false_poison = Refusal::FalsePoison(buffer);
        let unknown = || Refusal::Unknown("buffer", buffer.0);
        let facts = self.ledger.buffer(buffer).ok_or_else(unknown)?;
        let allocation = self.ledger.allocation(facts.allocation);
        let here = allocation.is_some_and(|a| a.holds_content);
        let left = self.ledger.ending.iter().any(|(number, _)| {
            let a = self.ledger.allocations.get(number);
            let uses = self.ledger.uses.get(number);
            a.zip(uses).is_some_and(|(a, uses)| {
                let left = uses.left.iter().any(|p| !self.ledger.reached(p));
                a.buffer == buffer && a.holds_content && left
            })
        });
        let told = self.must_poison.remove(&buffer);
        let gone = !here && (told || !left) && facts.content.moves();
        if !gone && !told {
            return Err(false_poison);
        }
        if let Some(facts) = self.ledger.buffers.get_mut(buffer.0) {
            facts.content = Content::Poisoned;
        }
        for vm in self.ledger.vms_of(buffer) {
            if let Some(facts) = self.vm_mut(vm) {
                facts.outdate(buffer);
            }
        }
        self.accepted.poisoned.push(buffer);
        Ok(())
    }
}
