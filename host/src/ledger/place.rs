//! Judging `place` and `unplace`: who gets which bytes.

use super::request::{Check, Placed};
use super::{AllocationFacts, Refusal, number};
use gpumm_contract::extent::{round_up, total};
use gpumm_contract::{
    AllocationId, BufferId, Extent, MemoryTypeId, Point, PointSet, Shows, TenantId,
};

impl Check<'_> {
    /// INVARIANT: extents lie in the arena, on the granule, overlap nothing live, have the
    /// buffer's size, and are what the strategy granted under this number.
    pub(super) fn place(
        &mut self,
        allocation: AllocationId,
        memory: MemoryTypeId,
        buffer: BufferId,
        extents: &[Extent],
    ) -> Result<(), Refusal> {
        if self.ledger.allocations.contains_key(&allocation) {
            return Err(Refusal::InUse("allocation", allocation.0.into()));
        }
        if !self.overlay.granted(allocation, memory, extents) {
            return Err(Refusal::NotGranted(allocation));
        }
        let (tenant, bytes) = self.owner(buffer)?;
        let unknown = || Refusal::Unknown("memory type", memory.0.into());
        let facts = self.ledger.memory.get_mut(&memory).ok_or_else(unknown)?;
        if round_up(bytes, facts.kind.granule) != total(extents) || extents.is_empty() {
            return Err(Refusal::WrongSize(allocation));
        }
        let mut inherited = PointSet::new();
        for &extent in extents {
            let inside = extent.end().is_some_and(|end| end <= facts.kind.size);
            let granule = facts.kind.granule;
            if !inside || extent.bytes == 0 || (extent.offset | extent.bytes) & (granule - 1) != 0 {
                return Err(Refusal::OutsideArena { memory, extent });
            }
            if facts.overlapping(extent).next().is_some() {
                return Err(Refusal::Overlap { memory, extent });
            }
            facts.live.insert(extent.offset, (extent.bytes, allocation));
            facts
                .pending
                .overlapping(extent)
                .for_each(|points| inherited.join(points));
            facts.pending.clear(extent);
            self.accepted
                .high_water
                .push((memory, extent.offset + extent.bytes));
        }
        inherited.retire(|p| self.ledger.reached(p));
        let placed = AllocationFacts {
            memory,
            buffer,
            tenant,
            bytes,
            extents: extents.into(),
            table: None,
            readers: PointSet::new(),
            writers: PointSet::new(),
            inherited,
            holds_content: false,
            arrives: None,
            left: None,
            shows: Shows::AsBefore,
            ends_after: None,
        };
        self.ledger.allocations.insert(allocation, placed);
        self.ledger.used_allocations.set(number(allocation.0), ());
        self.move_in(buffer, allocation, memory)?;
        self.accepted.placed.push(Placed {
            allocation,
            memory,
            tenant,
            extents: extents.into(),
        });
        Ok(())
    }

    fn move_in(
        &mut self,
        buffer: BufferId,
        to: AllocationId,
        memory: MemoryTypeId,
    ) -> Result<(), Refusal> {
        let Some(facts) = self.ledger.buffers.get_mut(&buffer) else {
            return self.found_buffer(buffer, to);
        };
        let from = std::mem::replace(&mut facts.allocation, to);
        self.superseded.insert(from);
        let was = self.ledger.allocations.get(&from).map(|a| a.memory);
        let evicts_to = |m: MemoryTypeId| self.ledger.memory.get(&m).and_then(|m| m.kind.evict_to);
        if was.and_then(evicts_to) == Some(memory) {
            self.accepted.counts.evictions += 1;
        } else if was.is_some() && was == evicts_to(memory) {
            self.accepted.counts.swap_ins += 1;
        }
        Ok(())
    }

    /// ORDER: every use that is not over must be named, so that nobody gets the bytes too early.
    pub(super) fn unplace(
        &mut self,
        allocation: AllocationId,
        after: &PointSet,
    ) -> Result<(), Refusal> {
        let unknown = || Refusal::Unknown("allocation", allocation.0.into());
        let facts = self
            .ledger
            .allocations
            .get(&allocation)
            .ok_or_else(unknown)?;
        if facts.ends_after.is_some() {
            return Err(unknown());
        }
        let covers = |p: Point| {
            after
                .iter()
                .any(|a| a.timeline == p.timeline && a.value >= p.value)
        };
        let uses = [&facts.readers, &facts.writers, &facts.inherited];
        if let Some(point) = uses
            .iter()
            .flat_map(|set| set.iter())
            .find(|&p| !self.ledger.reached(p) && !covers(p))
        {
            return Err(Refusal::EndsTooEarly { allocation, point });
        }
        if let Some(point) = after.iter().find(|&p| !self.submitted(p)) {
            return Err(Refusal::WaitsForever(point));
        }
        if !self.overlay.freed(allocation, facts.memory) {
            return Err(Refusal::StrategyDisagrees(allocation));
        }
        self.nobody_imports(facts.table)?;
        let (memory, table) = (facts.memory, facts.table);
        let (buffer, extents) = (facts.buffer, facts.extents.clone());
        let bytes = facts.bytes;
        let of = self.ledger.buffers.get(&buffer);
        let shows = of.map(|b| Shows::after(b.content, b.tenant));
        let shows = shows.unwrap_or(Shows::Of(TenantId::NOBODY));
        if !self.superseded.remove(&allocation) {
            self.end_buffer(buffer, allocation)?;
        }
        let mut after = after.clone();
        after.retire(|p| self.ledger.reached(p));
        if let Some(of) = self.ledger.memory.get_mut(&memory) {
            // Host memory is handed out clean: the pool keeps its own books.
            if !of.kind.is_host() {
                shows.note(&mut of.residue, &extents, bytes, of.kind.granule);
            }
            for &extent in extents.iter() {
                of.live.remove(&extent.offset);
                if !after.is_empty() {
                    of.pending.set(extent, after.clone());
                }
            }
        }
        if let Some(table) = table {
            self.end_layout(table);
        }
        if let Some(facts) = self.ledger.allocations.get_mut(&allocation) {
            facts.ends_after = Some(after);
            facts.shows = shows;
        }
        self.ledger.ending.insert(allocation, ());
        self.unplaced.insert(allocation);
        Ok(())
    }

    /// Allocations whose last point is reached are gone; their numbers may be used again.
    pub(super) fn end_allocations(&mut self) {
        let reached = |p: Point| self.ledger.reached(p);
        let over = |number: &AllocationId| {
            let facts = self.ledger.allocations.get(number);
            facts
                .and_then(|a| a.ends_after.as_ref())
                .is_some_and(|after| after.iter().all(reached))
        };
        let gone: Vec<AllocationId> = self
            .ledger
            .ending
            .iter()
            .map(|(&number, ())| number)
            .filter(over)
            .collect();
        for allocation in gone {
            self.ledger.ending.remove(&allocation);
            self.ledger.used_allocations.clear(number(allocation.0));
            if let Some(facts) = self.ledger.allocations.remove(&allocation) {
                self.accepted
                    .ended
                    .push((facts.memory, facts.shows, facts.extents));
            }
        }
        for memory in self.ledger.memory.values_mut() {
            if memory.pending.len() > 256 {
                let timelines = &self.ledger.timelines;
                let reached = |p: Point| {
                    timelines
                        .get(&p.timeline)
                        .is_some_and(|t| t.completed >= p.value)
                };
                memory.pending.retain(|after| !after.iter().all(reached));
            }
        }
    }
}
