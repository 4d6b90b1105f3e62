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
use rustc_hash::FxHashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The gate of a device.
#[derive(Debug)]
pub(crate) struct Gate {
    state: Mutex<State>,
    /// Whether any address space is lost: as long as none is, no job takes the lock to look.
    any_lost: AtomicBool,
    /// The next use counter of the device.
    stamp: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    open: bool,
    spaces: FxHashMap<VmId, Space>,
    /// The last use of each buffer on each timeline since the gate was opened.
    uses: FxHashMap<(BufferId, TimelineId, VmId), Used>,
}

/// An address space; there may be something to note of one before its plan is accepted.
#[derive(Debug, Default)]
struct Space {
    view: Option<Arc<VmView>>,
    /// Its page tables could not be written.
    lost: bool,
    /// Its last job on each timeline.
    jobs: PointSet,
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
            any_lost: AtomicBool::new(false),
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
        let state = &mut *state;
        if !state.open {
            return Ok(Passed::Ask);
        }
        let space = state.spaces.get_mut(&vm);
        let space = space.and_then(|space| space.view.clone().map(|view| (space, view)));
        let own = space.filter(|(_, view)| view.tenant() == tenant);
        let (space, view) = own.ok_or_else(|| Error::no_vm(vm))?;
        if space.lost {
            return Err(Error::VmLost(vm));
        }
        let covers = view.covers(spans);
        // Of a job that names nothing that is mapped the planner would not hear otherwise.
        if !covers.fresh || covers.uses.is_empty() {
            return Ok(Passed::Ask);
        }
        space.jobs.add(at);
        let stamp = self.stamp();
        for (buffer, intent) in covers.uses.iter().copied() {
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
        self.state().spaces.entry(vm).or_default().jobs.add(at);
    }

    /// The last jobs of an address space.
    pub(crate) fn jobs_on(&self, vm: VmId) -> PointSet {
        let state = self.state();
        let space = state.spaces.get(&vm);
        space.map_or_else(PointSet::new, |space| space.jobs.clone())
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
                state.spaces.remove(&view.vm);
                continue;
            }
            let known = state.spaces.entry(view.vm).or_default();
            known.view = Some(Arc::new(view));
        }
    }

    /// Lets jobs pass again.
    pub(crate) fn open(&self) {
        self.state().open = true;
    }

    /// The page tables of an address space could not be written: no job runs there any more.
    pub(crate) fn lose(&self, vm: VmId) {
        self.state().spaces.entry(vm).or_default().lost = true;
        self.any_lost.store(true, Ordering::Release);
    }

    /// Whether the page tables of an address space are wrong.
    pub(crate) fn is_lost(&self, vm: VmId) -> bool {
        let lost = || self.state().spaces.get(&vm).is_some_and(|space| space.lost);
        self.any_lost.load(Ordering::Acquire) && lost()
    }

    /// How an address space stands.
    pub(crate) fn view(&self, vm: VmId) -> Option<Arc<VmView>> {
        let state = self.state();
        state.spaces.get(&vm).and_then(|space| space.view.clone())
    }
}
