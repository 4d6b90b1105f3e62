//! Address spaces: what is shown in them, and when.
//!
//! gpuvm keeps addresses and mappings; here is decided which memory the page tables show, and in
//! which order that happens. `bind.rs` maps and unmaps, `show.rs` shows buffers and takes them
//! out again, `submit.rs` makes an address space ready for a job.
//!
//! ```text
//! bind      wait for the content, update-ptes .., invalidate-tlb where something was shown before
//! move      wait for the jobs, update-ptes (none), invalidate-tlb, copy          on a copy timeline
//! submit    make room, copies in, update-ptes, signal                            on the bind timeline
//! ```
//!
//! Invariants: a vm-bo exists while it has mappings; all its mappings show the buffer's present
//! table, or none does, and then it is evicted; page-table writes of an address space happen one
//! after the other.

mod bind;
mod show;
mod submit;

use crate::order::Context;
use crate::state::State;
use crate::{Manager, Slots};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use gpumm_contract::plan::{Op, Status};
use gpumm_contract::request::{CloseVm, CreateVm};
use gpumm_contract::table::{Hold, Holder, Tables};
use gpumm_contract::vm::{AddressSpaces, Op as Step, Span, VmError, VmId};
use gpumm_contract::{BufferId, Point, PointSet, TableId, TimelineId};

/// An address space, beside what gpuvm knows of it.
#[derive(Clone, Debug)]
pub(crate) struct Space {
    /// Its addresses.
    pub(crate) range: Span,
    /// Page-table writes and invalidations.
    pub(crate) written: PointSet,
    /// Jobs that may use every member.
    pub(crate) busy: PointSet,
    /// What the page tables show of its members; the others are evicted.
    pub(crate) shown: BTreeMap<BufferId, TableId>,
}

impl Space {
    pub(crate) fn new(range: Span) -> Self {
        Space {
            range,
            written: PointSet::new(),
            busy: PointSet::new(),
            shown: BTreeMap::new(),
        }
    }
}

impl State {
    /// An address space.
    fn space(&self, vm: VmId) -> Result<&Space, Status> {
        self.vms.get(&vm).ok_or(VmError::UnknownVm.into())
    }

    /// Points of jobs that use a buffer through an address space.
    fn job_points(&self, id: BufferId) -> impl Iterator<Item = Point> {
        let home = self.buffer(id).map(|b| &b.home).into_iter();
        let points = home.flat_map(|h| h.readers.iter().chain(h.writers.iter()));
        points.filter(|p| self.job_timelines.contains(&p.timeline))
    }
}

impl<T: Tables, V: AddressSpaces, S: Slots> Manager<T, V, S> {
    /// Makes an address space.
    pub(crate) fn create_vm(&mut self, create: &CreateVm) -> Status {
        match self.vms.create(create.vm, create.config) {
            Ok(()) => {
                let space = Space::new(create.config.range);
                self.state.vms.insert(create.vm, space);
                Status::Good
            }
            Err(why) => why.into(),
        }
    }

    /// Ends an address space: nothing is shown there once its jobs are over.
    pub(crate) fn close_vm(&mut self, close: &CloseVm, ctx: &mut Context) -> Status {
        self.try_close(close, ctx).err().unwrap_or(Status::Good)
    }

    fn try_close(&mut self, close: &CloseVm, ctx: &mut Context) -> Result<(), Status> {
        let vm = close.vm;
        let space = self.state.space(vm)?;
        let (at, mut before) = (space.range, space.busy.clone());
        before.join(&close.after);
        let shown: Vec<BufferId> = space.shown.keys().copied().collect();
        for &id in &shown {
            self.state.job_points(id).for_each(|p| before.add(p));
        }
        let on = self.state.copy_timelines.first().copied();
        let on = on.ok_or(Status::InvalidAccess)?;
        let mut steps = Vec::new();
        self.vms.close(vm, &mut steps)?;
        let sparse = |step: &Step| matches!(step, Step::Unmap(u) if u.mapping.buffer.is_none());
        if !shown.is_empty() || steps.iter().any(sparse) {
            self.write_after(vm, on, &before, ctx)?;
            let written = self.write(vm, on, (at, TableId::NONE, 0, 0), ctx)?;
            self.invalidate(vm, on, &shown, written, ctx)?;
        }
        self.state.vms.remove(&vm);
        Ok(())
    }

    /// Lets a timeline wait for points and for everything written to an address space's page
    /// tables before.
    fn write_after(
        &mut self,
        vm: VmId,
        on: TimelineId,
        points: &PointSet,
        ctx: &mut Context,
    ) -> Result<(), Status> {
        let mut before = self.state.space(vm)?.written.clone();
        before.join(points);
        ctx.wait(on, &before, |p| self.state.reached(p));
        Ok(())
    }

    /// Writes page-table entries: the addresses, the table and the offset in it, and the flags.
    fn write(
        &mut self,
        vm: VmId,
        on: TimelineId,
        (at, table, offset, flags): (Span, TableId, u64, u64),
        ctx: &mut Context,
    ) -> Result<Point, Status> {
        let point = ctx.point(on).ok_or(Status::InvalidAccess)?;
        ctx.emit(&Op::UpdatePtes {
            at: point,
            vm,
            address: at.start,
            table,
            offset,
            bytes: at.bytes,
            flags,
        });
        self.written(vm, point);
        Ok(point)
    }

    fn written(&mut self, vm: VmId, at: Point) {
        if let Some(space) = self.state.vms.get_mut(&vm) {
            space.written.add(at);
        }
    }

    /// Has the translations of an address space forgotten that buffers had until a point. Their
    /// memory, and the tables of it, are in use until that has happened.
    fn invalidate(
        &mut self,
        vm: VmId,
        on: TimelineId,
        of: &[BufferId],
        written: Point,
        ctx: &mut Context,
    ) -> Result<(), Status> {
        let at = ctx.point(on).ok_or(Status::InvalidAccess)?;
        ctx.emit(&Op::InvalidateTlb { at, vm });
        self.written(vm, at);
        for &id in of {
            let shown = self.state.space(vm)?.shown.get(&id).copied();
            let Some(table) = shown else { continue };
            self.uses_memory(id, written);
            self.uses_memory(id, at);
            let holder = Holder::Bind;
            self.keep(table, Hold { holder, until: at });
        }
        Ok(())
    }

    /// Takes note that something which happens at a point concerns a buffer's memory.
    fn uses_memory(&mut self, id: BufferId, at: Point) {
        if let Some(buffer) = self.state.buffer_mut(id) {
            buffer.home.readers.add(at);
        }
    }
}
