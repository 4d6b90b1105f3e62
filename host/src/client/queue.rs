//! Queues: jobs on address spaces, one after the other.

use super::{Batch, Client, Fence, Vm};
use crate::error::Error;
use crate::jobs::{Passed, Queued, Waiting};
use crate::planner::Verb;
use std::sync::Arc;

pub use gpumm_hw::VmKernel;
pub use gpumm_scheduler::Priority;

/// A queue of jobs; they begin in the order in which they were submitted. Dropping it lets what
/// was submitted run.
///
/// Queues of a device share it fairly, by the time that their jobs take and by priority. A queue
/// has one of the device's contexts for as long as it lives.
pub struct Queue {
    client: Client,
    queued: Arc<Queued>,
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue")
            .field("queued", &self.queued)
            .finish_non_exhaustive()
    }
}

impl Queue {
    /// Submits a job on an address space, after everything that was submitted here before and
    /// after other fences. It begins when what it names is there; nobody waits for that here.
    ///
    /// Where what the job names is in place, no component is asked.
    /// Errors: the address space is another client's, closed or lost; what the job names has no
    /// room; the queue was killed.
    pub fn submit(&self, vm: &Vm, kernel: VmKernel, after: &[&Fence]) -> Result<Fence, Error> {
        let after = after.iter().map(|fence| fence.point()).collect();
        let waiting = Waiting::new(vm.id, kernel, after);
        let tenant = self.client.tenant;
        let device = &self.client.device;
        let ring = device.ring.as_ref().ok_or(Error::NoPageTables)?;
        let mut waiting = match self.queued.pass(ring, tenant, waiting)? {
            Passed::Runs(job) => return Ok(Fence::of_job(device.clone(), job)),
            Passed::Ask(waiting) => waiting,
        };
        let outcome = waiting.tell_apart();
        let verb = Verb::Submit {
            tenant,
            vm: vm.id,
            queue: self.queued.clone(),
            waiting,
        };
        let mut replies = device.ask(vec![verb], false)?;
        let unanswered = || Error::System("a request was not answered".into());
        match replies.pop().ok_or_else(unanswered)?? {
            crate::planner::Reply::Runs(point) => Ok(Fence::new(device.clone(), point, outcome)),
            _ => Err(unanswered()),
        }
    }

    /// Ends what has not begun yet, each job with an error; no more jobs are taken.
    ///
    /// Errors: the device has no page tables.
    pub fn kill(&self) -> Result<(), Error> {
        let ring = self.client.device.ring.as_ref();
        ring.ok_or(Error::NoPageTables)?.kill(&self.queued);
        Ok(())
    }

    /// Changes the priority of jobs that have not begun.
    ///
    /// Errors: the device has no page tables.
    pub fn set_priority(&self, priority: Priority) -> Result<(), Error> {
        let ring = self.client.device.ring.as_ref();
        ring.ok_or(Error::NoPageTables)?
            .set_priority(&self.queued, priority);
        Ok(())
    }

    /// Whether jobs of this queue have hung so often that no more of them are run.
    pub fn is_guilty(&self) -> bool {
        let ring = self.client.device.ring.as_ref();
        ring.is_some_and(|ring| ring.is_guilty(&self.queued))
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        if let Some(ring) = &self.client.device.ring {
            ring.end(&self.queued);
        }
    }
}

impl Client {
    /// A new queue of jobs.
    ///
    /// Errors: the device has no page tables, or all its contexts are in use.
    pub fn queue(&self, priority: Priority) -> Result<Queue, Error> {
        let ring = self.device.ring.as_ref().ok_or(Error::NoPageTables)?;
        let queued = ring.begin(priority)?;
        let client = self.clone();
        Ok(Queue { client, queued })
    }
}

impl Batch {
    /// Asks for a job on an address space, planned with the other requests of the batch.
    pub fn submit_job(
        &mut self,
        queue: &Queue,
        vm: &Vm,
        kernel: VmKernel,
        after: &[&Fence],
    ) -> super::Slot {
        let after = after.iter().map(|fence| fence.point()).collect();
        let mut waiting = Waiting::new(vm.id, kernel, after);
        let outcome = waiting.tell_apart();
        let verb = Verb::Submit {
            tenant: queue.client.tenant,
            vm: vm.id,
            queue: queue.queued.clone(),
            waiting,
        };
        self.push(verb, Some(outcome))
    }
}
