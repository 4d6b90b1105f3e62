//! Judging `place` and `unplace`: who gets which bytes.

use super::accepted::Placed;
use super::request::Check;
use super::{AllocationFacts, Ending, Refusal, Uses};
use crate::shared::Shared;
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
        if self.ledger.knows(allocation) {
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
        let number = allocation.0.into();
        if !inherited.is_empty() {
            let uses = Uses {
                inherited,
                ..Uses::default()
            };
            self.ledger.uses.insert(number, uses);
        }
        let extents = Shared::from(extents);
        let placed = AllocationFacts {
            memory,
            buffer,
            tenant,
            bytes,
            extents: extents.clone(),
            table: None,
            holds_content: false,
            arrives: PointSet::new(),
        };
        self.ledger.allocations.insert(number, placed);
        self.ledger.used_allocations.set(allocation.0, true);
        self.move_in(buffer, allocation, memory)?;
        self.accepted.placed.push(Placed {
            allocation,
            memory,
            tenant,
            extents,
        });
        Ok(())
    }

    fn move_in(
        &mut self,
        buffer: BufferId,
        to: AllocationId,
        memory: MemoryTypeId,
    ) -> Result<(), Refusal> {
        let Some(facts) = self.ledger.buffers.get_mut(buffer.0) else {
            return self.found_buffer(buffer, to);
        };
        let from = std::mem::replace(&mut facts.allocation, to);
        self.superseded.insert(from);
        let was = self.ledger.allocation(from).map(|a| a.memory);
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
        mut after: PointSet,
    ) -> Result<(), Refusal> {
        let unknown = || Refusal::Unknown("allocation", allocation.0.into());
        let facts = self.ledger.allocation(allocation).ok_or_else(unknown)?;
        if self.ledger.ending_of(allocation).is_some() {
            return Err(unknown());
        }
        self.nobody_shows(facts.table)?;
        let covers = |p: Point| {
            after
                .iter()
                .any(|a| a.timeline == p.timeline && a.value >= p.value)
        };
        let uses = self.ledger.uses_of(allocation);
        let uses = [&uses.readers, &uses.writers, &uses.inherited];
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
        let (bytes, tenant) = (facts.bytes, facts.tenant);
        let of = self.ledger.buffer(buffer);
        let shows = of.map(|b| Shows::after(b.content, tenant));
        let shows = shows.unwrap_or(Shows::Of(TenantId::NOBODY));
        if !self.superseded.remove(&allocation) {
            self.end_buffer(buffer, allocation)?;
        }
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
        match after.iter().next() {
            Some(point) => {
                let ledger = &mut *self.ledger;
                ledger.ends.file(&ledger.timelines, point, allocation);
            }
            None => self.over.push(allocation),
        }
        let ending = Ending { after, shows };
        self.ledger.ending.insert(allocation.0.into(), ending);
        self.unplaced.push(allocation);
        Ok(())
    }

    /// Of the allocations that were filed to be looked at, those whose last point is reached are
    /// gone, and their numbers may be used again; the others go on waiting.
    pub(super) fn end_allocations(&mut self) {
        let ledger = &mut *self.ledger;
        let mut gone = std::mem::take(&mut self.over);
        gone.retain(|&allocation| {
            let after = ledger.ending.get(allocation.0.into()).map(|e| &e.after);
            let mut after = after.into_iter().flat_map(|after| after.iter());
            match after.find(|&p| !ledger.timelines.reached(p)) {
                Some(point) => {
                    ledger.ends.file(&ledger.timelines, point, allocation);
                    false
                }
                None => true,
            }
        });
        gone.sort_unstable();
        for allocation in gone.drain(..) {
            let number = allocation.0.into();
            ledger.used_allocations.set(allocation.0, false);
            let of = ledger.allocations.get(number);
            if let Some((of, ending)) = of.zip(ledger.ending.get(number)) {
                let ended = (of.memory, ending.shows, of.extents.clone());
                self.accepted.ended.push(ended);
            }
            ledger.ending.remove(number);
            ledger.uses.remove(number);
            ledger.allocations.remove(number);
        }
        self.over = gone;
        self.purge();
    }

    /// Most of what is pending is placed anew before long; what is not, is looked through now and
    /// then for what is reached.
    fn purge(&mut self) {
        for memory in self.ledger.memory.values_mut() {
            if memory.pending.len() > 256 {
                let timelines = &self.ledger.timelines;
                let over = |after: &PointSet| after.iter().all(|p| timelines.reached(p));
                memory.pending.retain(|after| !over(after));
            }
        }
    }
}
