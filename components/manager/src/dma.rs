//! Letting the device's DMA reach host memory: `gtt` is host memory that is mapped.

use crate::order::Context;
use crate::relocate::Found;
use crate::{Manager, Slots};
use alloc::vec::Vec;
use gpumm_contract::extent::total;
use gpumm_contract::plan::{Op, Status};
use gpumm_contract::table::Tables;
use gpumm_contract::vm::AddressSpaces;
use gpumm_contract::{AllocationId, BufferId, Extent, MemoryTypeId, TableId};

impl<T: Tables, V: AddressSpaces, S: Slots> Manager<T, V, S> {
    /// Whether a placement's memory type is met by living in another: `gtt` is met by the host
    /// memory that it stands for, since a use maps it; and the other way round.
    pub(crate) fn stands_for(&self, wanted: MemoryTypeId, lives: MemoryTypeId) -> bool {
        let aperture = |m: MemoryTypeId| self.state.memory.get(m).and_then(|m| m.kind.aperture);
        wanted == lives || aperture(lives) == Some(wanted)
    }

    /// The memory type whose strategy serves a place: of an aperture the host memory behind it.
    pub(crate) fn arena_of(&self, place: MemoryTypeId) -> MemoryTypeId {
        let behind =
            |m: &crate::memory::Memory| (m.kind.aperture == Some(place)).then_some(m.kind.id);
        self.state.memory.iter().find_map(behind).unwrap_or(place)
    }

    /// Has an allocation mapped before it has a table; [`Manager::note_mapped`] must follow once
    /// it has one. Memory that needs no mapping is mapped already.
    ///
    /// Errors: [`Status::NotMapped`] when the host could not, [`Status::NoSpace`] when the
    /// aperture is full of buffers in use; then nothing is mapped.
    pub(crate) fn map(
        &mut self,
        memory: MemoryTypeId,
        allocation: AllocationId,
        bytes: u64,
        ctx: &mut Context,
    ) -> Result<(), Status> {
        let Some(aperture) = self.state.memory.get(memory).and_then(|m| m.kind.aperture) else {
            return Ok(());
        };
        while let Some(of) = self.state.memory.get(aperture)
            && of.used.saturating_add(bytes) > of.kind.size
        {
            let largest_hole = of.kind.size.saturating_sub(of.used);
            let stuck = of.used;
            let full = Status::NoSpace {
                largest_hole,
                stuck,
            };
            self.sink(aperture, ctx).ok_or(full)?;
        }
        match self.slots.map_dma(&[allocation])[..] {
            [true] => Ok(()),
            _ => Err(Status::NotMapped),
        }
    }

    /// Has memory mapped with one call that content of many buffers is going to be copied to.
    /// Where the aperture does not hold all of it, nothing is: then the moves map one by one.
    pub(crate) fn map_many(&mut self, memory: MemoryTypeId, moves: &mut [(BufferId, Found)]) {
        let Some(aperture) = self.state.memory.get(memory).and_then(|m| m.kind.aperture) else {
            return;
        };
        let carries = |id| {
            let buffer = self.state.buffer(id);
            buffer.is_some_and(|b| b.content.moves())
        };
        let mut asked: Vec<&mut Found> = Vec::with_capacity(moves.len());
        for (id, found) in moves {
            if carries(*id) {
                asked.push(found);
            }
        }
        let bytes = asked
            .iter()
            .try_fold(0u64, |sum, found| sum.checked_add(total(&found.extents)?));
        let free = self.state.memory.get(aperture).map_or(0, |of| of.free());
        if asked.is_empty() || bytes.is_none_or(|bytes| bytes > free) {
            return;
        }
        let numbers: Vec<AllocationId> = asked.iter().map(|found| found.allocation).collect();
        let mapped = self.slots.map_dma(&numbers);
        let mapped = mapped.into_iter().chain(core::iter::repeat(false));
        for (found, mapped) in asked.into_iter().zip(mapped) {
            found.mapped = Some(mapped);
        }
    }

    /// Takes a mapping into the books and the plan.
    pub(crate) fn note_mapped(
        &mut self,
        memory: MemoryTypeId,
        table: TableId,
        extents: &[Extent],
        ctx: &mut Context,
    ) {
        let Some(aperture) = self.state.memory.get(memory).and_then(|m| m.kind.aperture) else {
            return;
        };
        let bytes = total(extents).unwrap_or(0);
        self.state.mapped.insert(table.0.into(), (aperture, bytes));
        if let Some(of) = self.state.memory.get_mut(aperture) {
            of.used = of.used.saturating_add(bytes);
        }
        ctx.emit(&Op::MapDma { table });
    }

    /// Lets the device reach a buffer where it lives.
    ///
    /// Errors: as [`Manager::map`].
    pub(crate) fn reach(&mut self, id: BufferId, ctx: &mut Context) -> Result<(), Status> {
        let Some(home) = self.state.buffer(id).map(|b| &b.home) else {
            return Err(Status::UnknownBuffer);
        };
        let (memory, table, allocation) = (home.memory, home.table, home.allocation);
        let host = |m: &crate::memory::Memory| m.kind.is_host();
        if self.state.mapped.contains(table.0.into())
            || !self.state.memory.get(memory).is_some_and(host)
        {
            return Ok(());
        }
        let extents = home.extents.clone();
        self.map(memory, allocation, total(&extents).unwrap_or(0), ctx)?;
        self.note_mapped(memory, table, &extents, ctx);
        self.state.file_in_lru(id, true);
        Ok(())
    }

    /// Ends the mapping of the idle buffer that was used longest ago: it moves from `gtt` to
    /// `system`, where it lies. `None` when every mapped buffer is in use.
    fn sink(&mut self, aperture: MemoryTypeId, ctx: &mut Context) -> Option<()> {
        let lru = &self.state.memory.get(aperture)?.lru;
        let idle = |id: &BufferId| {
            let home = self.state.buffer(*id).map(|b| &b.home);
            let still = home.is_some_and(|h| h.busy(|p| self.state.reached(p)).is_empty());
            still && !self.is_shown(*id)
        };
        let (_, _, id) = lru
            .behind(None)
            .find(|(_, _, id)| !ctx.locked.contains(id) && idle(id))?;
        let table = self.state.buffer(id)?.home.table;
        self.state.file_in_lru(id, false);
        self.unmap(table, ctx);
        Some(())
    }

    /// Ends a table's mapping, if it has one.
    fn unmap(&mut self, table: TableId, ctx: &mut Context) {
        let Some((aperture, bytes)) = self.state.mapped.remove(table.0.into()) else {
            return;
        };
        if let Some(of) = self.state.memory.get_mut(aperture) {
            of.used = of.used.saturating_sub(bytes);
        }
        ctx.emit(&Op::UnmapDma { table });
    }

    /// Ends tables that nobody holds any more, and their mappings before them.
    pub(crate) fn drop_tables(&mut self, tables: Vec<TableId>, ctx: &mut Context) {
        for table in tables {
            self.unmap(table, ctx);
            ctx.emit(&Op::DropTable { table });
        }
    }
}
