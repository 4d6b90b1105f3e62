//! Address spaces: what the host checks and prepares before the mechanism plans for them, and
//! what follows a plan.

use super::Planner;
use super::admit::Newborn;
use crate::error::Error;
use crate::jobs::{Queued, Waiting};
use crate::ledger::VmView;
use gpumm_contract::request::{BindVm, CloseVm, CreateVm, Request, Submit};
use gpumm_contract::vm::packed::encode_binds;
use gpumm_contract::vm::{Bind, Mapping, PAGE, Span, VmConfig, VmId};
use gpumm_contract::{Point, PointSet, TenantId};
use gpumm_hw as hw;
use std::sync::Arc;

/// A job that a request makes its address space ready for.
pub(super) struct Pending {
    /// The request's number in the batch.
    request: usize,
    vm: VmId,
    at: Point,
    waiting: Waiting,
    queue: Arc<Queued>,
}

/// An address space that ends with a point: then the device may forget it.
pub(super) struct Closing {
    vm: VmId,
    after: Vec<Point>,
}

impl Planner {
    /// Makes the device's side of an address space, and the request for the rest of it.
    ///
    /// Errors: the device has no page tables, or refuses.
    pub(super) fn admit_create_vm(
        &mut self,
        (tenant, vm): (TenantId, VmId),
        config: VmConfig,
        newborn: &mut Newborn,
    ) -> Result<Request, Error> {
        if self.jobs_of_vms.is_none() {
            return Err(Error::NoPageTables);
        }
        let Span { start, bytes } = config.range;
        let device = self.executor.device();
        device.create_vm(hw::VmId(vm.0), start, bytes)?;
        newborn.vms.insert(vm, (tenant, config));
        Ok(Request::CreateVm(CreateVm { vm, tenant, config }))
    }

    /// Errors: it is none of the tenant's.
    pub(super) fn admit_close_vm(
        &mut self,
        (tenant, vm): (TenantId, VmId),
        newborn: &mut Newborn,
    ) -> Result<Request, Error> {
        self.owned_vm((tenant, vm), newborn)?;
        newborn.vms.remove(&vm);
        let after = self.gate.jobs_on(vm);
        Ok(Request::CloseVm(CloseVm { vm, after }))
    }

    /// Checks binds against what only the host knows, and reserves page-table memory for them.
    ///
    /// Errors: a buffer is none of the tenant's or is left by a mapping, or there is no memory for
    /// the page tables.
    pub(super) fn admit_bind(
        &mut self,
        (tenant, vm): (TenantId, VmId),
        binds: &[Bind],
        after: PointSet,
        newborn: &Newborn,
    ) -> Result<Request, Error> {
        self.owned_vm((tenant, vm), newborn)?;
        for bind in binds {
            let Bind::Map(map) = bind else { continue };
            let Some(buffer) = map.buffer else { continue };
            let size = self.owned(tenant, buffer, newborn)?;
            let size = size.checked_next_multiple_of(PAGE).unwrap_or(u64::MAX);
            let end = map.offset.checked_add(map.at.bytes);
            if end.is_none_or(|end| end > size) {
                let (bytes, offset) = (map.at.bytes, map.offset);
                return Err(Error::Argument(format!(
                    "a mapping of {bytes} bytes at {offset} leaves buffer {buffer}, whose pages have {size} bytes"
                )));
            }
        }
        let known = self.last_points()?;
        for point in after.iter() {
            let mut last = known.iter().copied().chain(newborn.points.iter());
            let known = |p: Point| p.timeline == point.timeline && p.value >= point.value;
            if !last.any(known) && !self.delivered.is_reached(point) {
                return Err(Error::Argument(
                    "a bind waits for a fence of another device".into(),
                ));
            }
        }
        for bind in binds {
            if let Bind::Map(Mapping { at, .. }) = bind
                && self.mappable(vm, *at, newborn)
            {
                let device = self.executor.device();
                device.reserve_ptes(hw::VmId(vm.0), at.start, at.bytes)?;
            }
        }
        Ok(Request::Bind(BindVm {
            vm,
            after,
            binds: encode_binds(binds, Vec::new()),
        }))
    }

    /// Whether addresses are such that something can be mapped there; where not, the mechanism
    /// says why.
    fn mappable(&self, vm: VmId, at: Span, newborn: &Newborn) -> bool {
        let new = newborn.vms.get(&vm).map(|vm| vm.1);
        let known = || Some(*self.gate.view(vm)?.config());
        let range = new.or_else(known).map(|config| config.range);
        let pages = at.bytes > 0 && (at.start | at.bytes).is_multiple_of(PAGE);
        pages
            && range.is_some_and(|range| {
                let inside = at.end().zip(range.end()).is_some_and(|(a, b)| a <= b);
                inside && at.start >= range.start
            })
    }

    /// Takes the next point of a queue for a job that its address space is made ready for.
    ///
    /// Errors: the address space is none of the tenant's, or is lost.
    pub(super) fn admit_submit(
        &mut self,
        (tenant, vm): (TenantId, VmId),
        waiting: Waiting,
        queue: Arc<Queued>,
        newborn: &mut Newborn,
    ) -> Result<Request, Error> {
        let owned = self.owned_vm((tenant, vm), newborn);
        let lost = self.gate.is_lost(vm).then_some(Error::VmLost(vm));
        if let Some(error) = owned.err().or(lost) {
            queue.answered();
            return Err(error);
        }
        let at = queue.take_point();
        let submit = Submit {
            vm,
            at,
            stamp: self.gate.stamp(),
            spans: waiting.spans().to_vec(),
        };
        newborn.points.add(at);
        self.gate.note_job(vm, at);
        newborn.jobs.push(Pending {
            request: newborn.requests,
            vm,
            at,
            waiting,
            queue,
        });
        Ok(Request::Submit(submit))
    }

    /// Makes the device's side of what the requests of a log make and map.
    ///
    /// Errors: the device refuses what it did not refuse then.
    pub(crate) fn prepare_vms(&mut self, requests: &[Request]) -> Result<(), Error> {
        let device = self.executor.device();
        for request in requests {
            if let Request::CreateVm(create) = request {
                let Span { start, bytes } = create.config.range;
                device.create_vm(hw::VmId(create.vm.0), start, bytes)?;
            }
        }
        Ok(())
    }

    /// Reaches the points of jobs that a log names: nobody runs them again.
    pub(crate) fn pass_jobs(&mut self, requests: &[Request]) {
        for request in requests {
            let at = match request {
                Request::Submit(submit) => submit.at,
                Request::Used(used) => used.at,
                _ => continue,
            };
            self.executor.reach(at);
        }
    }

    /// Hands jobs over whose requests were answered with what they must wait for, and ends those
    /// whose were refused. Every one of them reaches its point.
    ///
    /// ORDER: a job waits for what its own request has planned, not for what later ones of the
    /// batch have: that may wait for the job.
    pub(super) fn hand_over(
        &self,
        jobs: Vec<Pending>,
        ready: impl Fn(usize) -> Option<Option<Point>>,
    ) {
        // Without a ring nobody has a queue, so there are no jobs.
        let Some(ring) = &self.jobs_of_vms else {
            return;
        };
        for job in jobs {
            let view = self.gate.view(job.vm);
            match ready(job.request) {
                Some(ready) => {
                    ring.push(&job.queue, job.at, (view, ready), job.waiting);
                }
                None => ring.cancel(&job.queue, job.at, job.waiting),
            }
        }
    }

    /// Has the device forget address spaces whose last page-table write is over.
    pub(super) fn forget_closed(&mut self) {
        let closing = std::mem::take(&mut self.closing);
        let (over, open): (Vec<_>, Vec<_>) = closing.into_iter().partition(|closing| {
            let mut after = closing.after.iter();
            after.all(|p| self.delivered.is_reached(*p))
        });
        self.closing = open;
        for Closing { vm, .. } in over {
            // It was made when the address space was, and is forgotten once.
            let forgotten = self.executor.device().destroy_vm(hw::VmId(vm.0));
            debug_assert!(forgotten.is_ok());
        }
    }

    /// Remembers which address spaces have ended, and when that is true of the device.
    ///
    /// Jobs that named nothing which was mapped are known by their points alone.
    pub(super) fn closed(&mut self, views: &[VmView]) -> Result<(), Error> {
        if !views.iter().any(|view| view.closed) {
            return Ok(());
        }
        let cpu: Vec<_> = self.cpu.all().collect();
        let mut last = self.last_points()?;
        last.retain(|point| !cpu.contains(&point.timeline));
        let closed = views.iter().filter(|view| view.closed);
        self.closing.extend(closed.map(|view| Closing {
            vm: view.vm,
            after: view.written().iter().chain(last.iter().copied()).collect(),
        }));
        Ok(())
    }

    /// What follows the answer to a request on an address space itself.
    pub(super) fn vm_answered(&mut self, request: &Request, good: bool) -> Result<(), Error> {
        if let (Request::CreateVm(create), false) = (request, good) {
            let device = self.executor.device();
            device.destroy_vm(hw::VmId(create.vm.0))?;
        }
        Ok(())
    }

    /// The mappings of a tenant's address space that overlap a range, by address.
    pub(crate) fn vm_mappings(
        &mut self,
        tenant: TenantId,
        vm: VmId,
        at: Span,
    ) -> Result<Vec<Mapping>, Error> {
        let view = self.desk()?.ledger.vm(vm).filter(|v| v.tenant() == tenant);
        let view = view.ok_or_else(|| Error::no_vm(vm))?;
        Ok(view.overlapping(at).collect())
    }

    fn owned_vm(&mut self, (tenant, vm): (TenantId, VmId), newborn: &Newborn) -> Result<(), Error> {
        let old = self.desk()?.ledger.vm(vm).map(|vm| vm.tenant());
        let new = || newborn.vms.get(&vm).map(|vm| vm.0);
        match old.or_else(new) {
            Some(owner) if owner == tenant => Ok(()),
            // The same words for a foreign and for a closed one: nobody learns what others have.
            _ => Err(Error::no_vm(vm)),
        }
    }
}
