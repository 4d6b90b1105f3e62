//! Which address spaces are ready for jobs: what lets a job go to the device without the planner.
//!
//! ```text
//! client    submit ---- ready? --- yes: note the use, hand the job to the scheduler
//!                           \---- no: ask the planner, which plans a `submit`
//! planner   close, take the noted uses | plan .. accepted: publish | hand over jobs | open
//! ```
//!
//! ORDER: while the gate is closed nobody passes, so a plan knows every job that it must wait for.

use crate::error::Error;
use crate::ledger::VmView;
use gpumm_contract::request::{Intent, SpanUse, Used};
use gpumm_contract::vm::VmId;
use gpumm_contract::{BufferId, Point, PointSet, Stamp, TenantId, TimelineId};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The gate of a device.
#[derive(Debug)]
pub(crate) struct Gate {
    state: Mutex<State>,
    /// The next use counter of the device.
    stamp: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    open: bool,
    vms: HashMap<VmId, Arc<VmView>>,
    /// Address spaces whose page tables could not be written.
    lost: BTreeSet<VmId>,
    /// The last job of each address space on each timeline.
    jobs: HashMap<VmId, PointSet>,
    /// The last use of each buffer on each timeline since the gate was opened.
    uses: BTreeMap<(BufferId, TimelineId, VmId), Used>,
}

/// What became of a job at the gate.
#[derive(Debug)]
pub(crate) enum Passed {
    /// It may run once the address space is ready, as it is here.
    On(Arc<VmView>),
    /// The planner must be asked.
    Ask,
}

impl Default for Gate {
    fn default() -> Self {
        let state = State {
            open: true,
            ..State::default()
        };
        Gate {
            state: Mutex::new(state),
            stamp: AtomicU64::new(1),
        }
    }
}

impl Gate {
    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is whole before the lock is let go, so a panic leaves nothing half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next use counter.
    pub(crate) fn stamp(&self) -> Stamp {
        Stamp(self.stamp.fetch_add(1, Ordering::Relaxed))
    }

    /// Lets a job pass whose address space is ready, and notes what it uses.
    ///
    /// Errors: the address space is none of the tenant's, or is lost.
    pub(crate) fn pass(
        &self,
        (tenant, vm): (TenantId, VmId),
        spans: &[SpanUse],
        at: Point,
    ) -> Result<Passed, Error> {
        let mut state = self.state();
        if !state.open {
            return Ok(Passed::Ask);
        }
        let view = state.vms.get(&vm).filter(|v| v.tenant() == tenant);
        let view = view.ok_or_else(|| Error::no_vm(vm))?;
        if state.lost.contains(&vm) {
            return Err(Error::VmLost(vm));
        }
        let covers = view.covers(spans);
        // Of a job that names nothing that is mapped the planner would not hear otherwise.
        if !covers.fresh || covers.uses.is_empty() {
            return Ok(Passed::Ask);
        }
        let view = view.clone();
        state.jobs.entry(vm).or_default().add(at);
        let stamp = self.stamp();
        for (buffer, intent) in covers.uses {
            let new = Used {
                vm,
                at,
                stamp,
                buffer: Some(buffer),
                intent,
            };
            let known = state.uses.entry((buffer, at.timeline, vm));
            let known = known.or_insert(new);
            let write = known.intent == Intent::Write || intent == Intent::Write;
            *known = new;
            known.intent = if write { Intent::Write } else { Intent::Read };
        }
        Ok(Passed::On(view))
    }

    /// Takes note of a job that has come through the planner.
    pub(crate) fn note_job(&self, vm: VmId, at: Point) {
        self.state().jobs.entry(vm).or_default().add(at);
    }

    /// The last jobs of an address space.
    pub(crate) fn jobs_on(&self, vm: VmId) -> PointSet {
        self.state().jobs.get(&vm).cloned().unwrap_or_default()
    }

    /// Lets nobody pass any more, and says who has passed, in the order of the last uses.
    pub(crate) fn close(&self) -> Vec<Used> {
        let mut state = self.state();
        state.open = false;
        let uses = std::mem::take(&mut state.uses);
        let mut uses: Vec<Used> = uses.into_values().collect();
        uses.sort_by_key(|used| (used.stamp, used.buffer));
        uses
    }

    /// Takes over how an address space stands after a plan.
    pub(crate) fn publish(&self, views: Vec<VmView>) {
        if views.is_empty() {
            return;
        }
        let mut state = self.state();
        for view in views {
            if view.closed {
                state.vms.remove(&view.vm);
                state.jobs.remove(&view.vm);
                state.lost.remove(&view.vm);
            } else {
                state.vms.insert(view.vm, Arc::new(view));
            }
        }
    }

    /// Lets jobs pass again.
    pub(crate) fn open(&self) {
        self.state().open = true;
    }

    /// The page tables of an address space could not be written: no job runs there any more.
    pub(crate) fn lose(&self, vm: VmId) {
        self.state().lost.insert(vm);
    }

    /// Whether the page tables of an address space are right.
    pub(crate) fn is_lost(&self, vm: VmId) -> bool {
        self.state().lost.contains(&vm)
    }

    /// How an address space stands.
    pub(crate) fn view(&self, vm: VmId) -> Option<Arc<VmView>> {
        self.state().vms.get(&vm).cloned()
    }
}
