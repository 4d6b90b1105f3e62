//! Showing a buffer in an address space, and taking it out again.

use crate::order::Context;
use crate::{Manager, Slots};
use gpumm_contract::facts::Content;
use gpumm_contract::plan::Status;
use gpumm_contract::request::Intent;
use gpumm_contract::table::{Hold, Holder, Tables};
use gpumm_contract::vm::{AddressSpaces, VmId, WRITE};
use gpumm_contract::{BufferId, Point, PointSet, TableId, TimelineId};

impl<T: Tables, V: AddressSpaces, S: Slots> Manager<T, V, S> {
    /// Whether a buffer lives where jobs may use it.
    pub(super) fn in_place(&self, id: BufferId) -> bool {
        self.state.buffer(id).is_some_and(|buffer| {
            let mut places = buffer.placement.iter();
            places.any(|place| self.stands_for(place.memory, buffer.home.memory))
        })
    }

    /// Whether page tables show a buffer.
    pub(crate) fn is_shown(&self, id: BufferId) -> bool {
        !self.state.vms.is_empty()
            && self.vms.vms_of(id).iter().any(|vm| {
                let space = self.state.vms.get(vm);
                space.is_some_and(|space| space.shown.contains_key(&id))
            })
    }

    /// Lets the device reach a buffer's memory, and clears what others left in it.
    ///
    /// Errors: as [`Manager::reach`].
    pub(super) fn prepare(&mut self, id: BufferId, ctx: &mut Context) -> Result<(), Status> {
        self.reach(id, ctx)?;
        let memory = self.state.buffer(id).map(|b| b.home.memory);
        let on = memory.and_then(|memory| self.copy_timeline(memory));
        self.clear_foreign(id, on.ok_or(Status::InvalidAccess)?, ctx)
    }

    /// What a job or a page-table write must come after: who brings the content or had the bytes
    /// before, and for a job that writes also who reads; not other jobs, which clients order.
    pub(super) fn content_points(&self, id: BufferId, intent: Intent, into: &mut PointSet) {
        let Some(home) = self.state.buffer(id).map(|b| &b.home) else {
            return;
        };
        into.join(&home.inherited);
        let readers = home.readers.iter().filter(|_| intent == Intent::Write);
        for point in home.writers.iter().chain(readers) {
            if !self.state.job_timelines.contains(&point.timeline) {
                into.add(point);
            }
        }
    }

    /// Writes the entries of all mappings of a buffer in an address space, which must wait for
    /// the content already.
    pub(super) fn show(
        &mut self,
        vm: VmId,
        id: BufferId,
        on: TimelineId,
        ctx: &mut Context,
    ) -> Result<(), Status> {
        let buffer = self.state.buffer(id).ok_or(Status::UnknownBuffer)?;
        let table = buffer.home.table;
        for mapping in self.vms.mappings_of(vm, id)? {
            let entries = (mapping.at, table, mapping.offset, mapping.attributes.into());
            let at = self.write(vm, on, entries, ctx)?;
            self.shows(id, table, mapping.attributes, at);
        }
        self.vms.show(vm, id, table)?;
        if let Some(space) = self.state.vms.get_mut(&vm) {
            space.shown.insert(id, table);
        }
        Ok(())
    }

    /// Takes note that entries of a buffer's memory are written at a point.
    pub(super) fn shows(&mut self, id: BufferId, table: TableId, attributes: u8, at: Point) {
        let (holder, until) = (Holder::Bind, at);
        self.keep(table, Hold { holder, until });
        if let Some(buffer) = self.state.buffer_mut(id) {
            buffer.home.readers.add(at);
            if attributes & WRITE != 0 && buffer.content != Content::Poisoned {
                buffer.content = Content::Valid;
            }
        }
    }

    /// Takes a buffer out of every address space that shows it, once its jobs are over: its
    /// memory is about to become somebody else's, or unreachable.
    ///
    /// ORDER: the invalidation counts as a use of the memory, so its next owner comes after it.
    pub(crate) fn unshow(
        &mut self,
        id: BufferId,
        on: TimelineId,
        ctx: &mut Context,
    ) -> Result<(), Status> {
        if self.state.vms.is_empty() {
            return Ok(());
        }
        for vm in self.vms.vms_of(id) {
            let space = self.state.space(vm)?;
            if !space.shown.contains_key(&id) {
                continue;
            }
            let mut before = space.busy.clone();
            self.state.job_points(id).for_each(|p| before.add(p));
            self.write_after(vm, on, &before, ctx)?;
            let mut last = None;
            for mapping in self.vms.mappings_of(vm, id)? {
                let entries = (mapping.at, TableId::NONE, 0, 0);
                last = Some(self.write(vm, on, entries, ctx)?);
            }
            if let Some(last) = last {
                self.invalidate(vm, on, &[id], last, ctx)?;
            }
            self.vms.evict(vm, id)?;
            if let Some(space) = self.state.vms.get_mut(&vm) {
                space.shown.remove(&id);
            }
        }
        Ok(())
    }

    /// Ends all mappings of a buffer that ends.
    pub(crate) fn unmap_everywhere(
        &mut self,
        id: BufferId,
        ctx: &mut Context,
    ) -> Result<(), Status> {
        if self.state.vms.is_empty() {
            return Ok(());
        }
        let memory = self.state.buffer(id).map(|b| b.home.memory);
        let on = memory.and_then(|memory| self.copy_timeline(memory));
        self.unshow(id, on.ok_or(Status::InvalidAccess)?, ctx)?;
        for vm in self.vms.vms_of(id) {
            self.vms.unmap_buffer(vm, id, &mut Default::default())?;
        }
        Ok(())
    }

    /// The device has forgotten its page tables.
    pub(crate) fn tables_lost(&mut self) {
        for (&vm, space) in &mut self.state.vms {
            for &id in space.shown.keys() {
                let marked = self.vms.evict(vm, id);
                debug_assert!(marked.is_ok());
            }
            space.shown.clear();
        }
    }
}
