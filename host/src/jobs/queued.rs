//! A queue's own order: which point its next job reaches, and which way jobs go.

use super::contexts::Context;
use super::gate;
use super::launch::Launched;
use super::ring::Ring;
use crate::error::Error;
use gpumm_contract::request::{Intent, SpanUse};
use gpumm_contract::vm::{Span, VmId};
use gpumm_contract::{Few, Point, PointSet, TenantId};
use gpumm_hw as hw;
use gpumm_scheduler::EntityKey;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A job that is not handed over yet.
#[derive(Clone, Debug)]
pub(crate) struct Waiting {
    pub(crate) vm: VmId,
    pub(crate) kernel: hw::VmKernel,
    pub(crate) after: PointSet,
    /// Where the outcome is told, unless that is with the job.
    pub(super) told: Option<Arc<hw::Outcome>>,
}

impl Waiting {
    pub(crate) fn new(vm: VmId, kernel: hw::VmKernel, after: PointSet) -> Self {
        Waiting {
            vm,
            kernel,
            after,
            told: None,
        }
    }

    /// Has the outcome told where it can be seen before the job is handed over.
    pub(crate) fn tell_apart(&mut self) -> Arc<hw::Outcome> {
        self.told.get_or_insert_default().clone()
    }

    /// The addresses that the job names.
    pub(crate) fn spans(&self) -> Few<SpanUse> {
        let span = |range: hw::VmRange| SpanUse {
            at: Span {
                start: range.address,
                bytes: range.bytes,
            },
            intent: match range.write {
                true => Intent::Write,
                false => Intent::Read,
            },
        };
        self.kernel.ranges().map(span).collect()
    }
}

/// What became of a job that wanted to pass.
#[derive(Debug)]
pub(crate) enum Passed {
    /// It was handed over.
    Runs(Arc<Launched>),
    /// The planner must be asked.
    Ask(Waiting),
}

/// A queue as its handle, the planner and the scheduler share it.
#[derive(Debug)]
pub(crate) struct Queued {
    pub(super) entity: EntityKey,
    pub(super) context: Context,
    order: Mutex<Order>,
}

/// Invariants: a job gets its point and its place in the scheduler under this lock.
#[derive(Debug)]
struct Order {
    /// The value of the next job.
    next: u64,
    /// Jobs that are on their way through the planner. As long as there are any, others must not
    /// overtake them.
    asking: u32,
}

impl Queued {
    pub(super) fn new(entity: EntityKey, context: Context, next: u64) -> Self {
        let order = Mutex::new(Order { next, asking: 0 });
        Queued {
            entity,
            context,
            order,
        }
    }

    fn order(&self) -> MutexGuard<'_, Order> {
        // Both numbers are right after every single change.
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands a job over at once if its address space is ready; otherwise it is on its way through
    /// the planner with this.
    ///
    /// Errors: the address space is none of the tenant's, or is lost.
    pub(crate) fn pass(
        &self,
        ring: &Arc<Ring>,
        tenant: TenantId,
        waiting: Waiting,
    ) -> Result<Passed, Error> {
        let spans = waiting.spans();
        let mut order = self.order();
        if order.asking == 0 {
            let at = self.point(order.next);
            let passed = ring.gate().pass((tenant, waiting.vm), &spans, at)?;
            if let gate::Passed::On(view) = passed {
                order.next += 1;
                let ready = view.ready();
                let job = ring.push_one(self, at, (Some(view), ready), waiting);
                return Ok(Passed::Runs(job));
            }
        }
        order.asking += 1;
        Ok(Passed::Ask(waiting))
    }

    /// A job is on its way through the planner.
    pub(crate) fn asking(&self) {
        self.order().asking += 1;
    }

    /// A job has come out of the planner.
    pub(crate) fn answered(&self) {
        let mut order = self.order();
        order.asking = order.asking.saturating_sub(1);
    }

    /// The point of a job that is on its way through the planner.
    pub(crate) fn take_point(&self) -> Point {
        let mut order = self.order();
        order.next += 1;
        self.point(order.next - 1)
    }

    /// The value that the next job would reach.
    pub(super) fn next(&self) -> u64 {
        self.order().next
    }

    fn point(&self, value: u64) -> Point {
        Point {
            timeline: self.context.timeline,
            value,
        }
    }
}
