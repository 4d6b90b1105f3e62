//! The device's ring: what the scheduler decides is done here.
//!
//! ORDER: the scheduler is asked and the device is given jobs under one lock, so jobs reach the
//! device in the order of the decisions. Outcomes are told and points reached without it: whoever
//! waits for a point may be another ring.

use super::contexts::Contexts;
use super::gate::Gate;
use super::launch::{Launch, Launched};
use super::queued::{Queued, Waiting};
use super::told::Told;
use crate::error::Error;
use crate::executor::{Spaces, hardware_point};
use crate::failsafe::Failsafe;
use crate::ledger::VmView;
use gpumm_contract::{Point, TimelineId};
use gpumm_hw as hw;
use gpumm_scheduler::{
    Action, Dependency, EntityConfig, EntityKey, JobDesc, JobError, JobKey, Priority, RingConfig,
    RingId, Scheduler, Verdict,
};
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

/// The only ring that a device has so far.
const RING: RingId = RingId(0);

/// What a ring is made with.
pub(crate) struct RingSite {
    pub(crate) device: Arc<dyn hw::Device>,
    pub(crate) engine: hw::EngineId,
    pub(crate) timelines: Arc<hw::Timelines>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) failsafe: Arc<Failsafe>,
    pub(crate) spaces: Arc<Spaces>,
    /// One per context.
    pub(crate) contexts: Vec<TimelineId>,
    /// How many jobs the device has at once.
    pub(crate) credits: u32,
    /// How long a job may take before it counts as hanging.
    pub(crate) timeout: Duration,
    /// How many hangs make a queue guilty.
    pub(crate) hang_limit: u32,
}

/// The ring of a device, and who may use it.
pub(crate) struct Ring {
    pub(super) site: RingSite,
    state: Mutex<State>,
    began: Instant,
    numbers: AtomicU64,
    pub(super) watchdog: super::watchdog::Watchdog,
    itself: Weak<Ring>,
}

pub(super) struct State {
    pub(super) scheduler: Scheduler<Arc<Launched>>,
    /// Jobs that the device has.
    pub(super) running: HashMap<JobKey, Arc<Launched>>,
    contexts: Contexts,
    /// The value that each context's next queue begins with.
    values: BTreeMap<TimelineId, u64>,
    /// Queues that have ended, until their last job has.
    ending: Vec<Arc<Queued>>,
    /// The deadline that the watchdog waits for.
    watched: Option<Duration>,
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ring")
            .field("engine", &self.site.engine)
            .finish_non_exhaustive()
    }
}

impl Ring {
    /// Errors: there is no credit.
    pub(crate) fn new(site: RingSite) -> Result<Arc<Self>, Error> {
        let config = RingConfig {
            credits: site.credits,
            timeout: Some(site.timeout),
        };
        let mut scheduler =
            Scheduler::new(&[config]).map_err(|e| Error::Argument(e.to_string()))?;
        scheduler.set_hang_limit(site.hang_limit);
        let state = State {
            scheduler,
            running: HashMap::new(),
            contexts: Contexts::new(site.contexts.clone()),
            values: BTreeMap::new(),
            ending: Vec::new(),
            watched: None,
        };
        let ring = Arc::new_cyclic(|itself| Ring {
            site,
            state: Mutex::new(state),
            began: Instant::now(),
            numbers: AtomicU64::new(1),
            watchdog: super::watchdog::Watchdog::default(),
            itself: itself.clone(),
        });
        Ok(ring)
    }

    pub(super) fn gate(&self) -> &Gate {
        &self.site.gate
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// A new queue.
    ///
    /// Errors: all contexts are in use.
    pub(crate) fn begin(&self, priority: Priority) -> Result<Arc<Queued>, Error> {
        // Queues that are gone may have finished since somebody looked.
        self.reap();
        let mut state = self.state();
        let state = &mut *state;
        let context = state.contexts.take()?;
        let last = state
            .values
            .get(&context.timeline)
            .map_or(0, |next| next - 1);
        let config = EntityConfig {
            priority,
            last,
            ..EntityConfig::new(RING)
        };
        match state.scheduler.add_entity(context.timeline, &config) {
            Ok(entity) => Ok(Arc::new(Queued::new(entity, context, last + 1))),
            Err(error) => {
                state.contexts.give_back(context)?;
                Err(Error::System(error.to_string()))
            }
        }
    }

    /// A queue's handle is gone: its context is free when its last job is over.
    pub(crate) fn end(&self, queue: &Arc<Queued>) {
        self.state().ending.push(queue.clone());
        self.reap();
    }

    /// Gives contexts back whose queue has ended and has nothing left to do.
    pub(crate) fn reap(&self) {
        let mut state = self.state();
        let state = &mut *state;
        let ending = std::mem::take(&mut state.ending);
        for queue in ending {
            let status = state.scheduler.entity(queue.entity);
            let idle =
                status.is_none_or(|s| s.queued == 0 && s.running == 0 && s.reached == s.last);
            // Another owner is the planner, with a job of it.
            if !idle || Arc::strong_count(&queue) > 1 {
                state.ending.push(queue);
                continue;
            }
            let removed = state.scheduler.fini_entity(queue.entity);
            state.values.insert(queue.context.timeline, queue.next());
            if let Err(error) = removed.map_err(|e| e.to_string()).and_then(|()| {
                let given = state.contexts.give_back(queue.context);
                given.map_err(|e| e.to_string())
            }) {
                tracing::warn!(%error, "a context is not given back");
            }
        }
    }

    /// No more jobs of a queue begin; those that wait end.
    pub(crate) fn kill(&self, queue: &Queued) {
        self.change(|scheduler| scheduler.kill(queue.entity));
    }

    pub(crate) fn set_priority(&self, queue: &Queued, priority: Priority) {
        self.change(|scheduler| scheduler.set_priority(queue.entity, priority));
    }

    fn change(
        &self,
        act: impl FnOnce(&mut Scheduler<Arc<Launched>>) -> Result<(), gpumm_scheduler::Error>,
    ) {
        // INVARIANT: a queue's entity lives as long as the queue does.
        let changed = act(&mut self.state().scheduler);
        debug_assert!(changed.is_ok());
        self.pump();
    }

    pub(crate) fn is_guilty(&self, queue: &Queued) -> bool {
        let state = self.state();
        state
            .scheduler
            .entity(queue.entity)
            .is_some_and(|s| s.guilty)
    }

    /// Hands a job over that has come through the planner.
    pub(crate) fn push(
        &self,
        queue: &Queued,
        at: Point,
        on: (Option<Arc<VmView>>, Option<Point>),
        waiting: Waiting,
    ) {
        self.push_one(queue, at, on, waiting);
        queue.answered();
    }

    /// Ends a job whose address space could not be made ready: its point is reached in its turn.
    pub(crate) fn cancel(&self, queue: &Queued, at: Point, waiting: Waiting) {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let launched = Launched::refused(number, at, waiting);
        self.hand_over(queue.entity, at, &[], launched);
        queue.answered();
    }

    /// Hands a job over that waits for what makes its address space ready, and for what it says.
    pub(super) fn push_one(
        &self,
        queue: &Queued,
        at: Point,
        (view, ready): (Option<Arc<VmView>>, Option<Point>),
        waiting: Waiting,
    ) {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let mut after: Vec<Dependency> = waiting.after.iter().map(Dependency::from).collect();
        let reached = |p: &Point| self.site.timelines.reached(hardware_point(*p));
        after.extend(ready.filter(|p| !reached(p)).map(Dependency::finished));
        self.hand_over(
            queue.entity,
            at,
            &after,
            Launched::new(number, at, waiting, view),
        );
    }

    fn hand_over(&self, entity: EntityKey, at: Point, after: &[Dependency], job: Launched) {
        let job = Arc::new(job);
        let desc = JobDesc {
            payload: job.clone(),
            credits: 1,
            dependencies: after,
            value: Some(at.value),
        };
        let pushed = self.state().scheduler.push(entity, desc);
        if let Err(error) = pushed {
            // The point must be reached whatever happens.
            tracing::error!(%error, "a job was not taken");
            self.tell(Told {
                job: Some(job),
                point: at,
                error: Some(JobError::Killed),
            });
        }
        self.pump();
    }

    /// Does what the scheduler has decided.
    pub(super) fn pump(&self) {
        let mut told = Vec::new();
        let mut watched = Vec::new();
        let mut hung = Vec::new();
        let deadline = {
            let mut state = self.state();
            let state = &mut *state;
            let now = self.now();
            loop {
                let Some(action) = state.scheduler.poll(now) else {
                    break;
                };
                match action {
                    Action::Run {
                        key,
                        payload,
                        guilty,
                        ..
                    } => {
                        state.running.insert(key, payload.clone());
                        if let Err(error) = self.launch(key, &payload, guilty) {
                            payload.end(hw::OutcomeValue::Failed(error));
                            let ended =
                                state.scheduler.ended(key, Err(FAILED), Duration::ZERO, now);
                            debug_assert!(ended.is_ok());
                        }
                    }
                    Action::Finish {
                        key,
                        point,
                        error,
                        payload,
                        ..
                    } => {
                        let job = state.running.remove(&key).or(payload);
                        told.push(Told { job, point, error });
                    }
                    Action::Watch { point } => watched.push(point),
                    Action::TimedOut { key, .. } => hung.push(key),
                    Action::Cancel { key, .. } => {
                        if let Some(job) = state.running.get(&key) {
                            job.cancel();
                        }
                    }
                    // Nothing is handed to the device twice: a reset ends one job only.
                    Action::Rerun { .. } => {}
                }
            }
            let deadline = state.scheduler.next_deadline();
            let sooner = match (state.watched, deadline) {
                (Some(old), Some(new)) => new < old,
                (old, new) => old.is_none() && new.is_some(),
            };
            // A deadline that moves on is looked at when the old one has passed: most jobs end long
            // before, and waking a thread for each of them would cost more than they do.
            sooner.then(|| state.watched = deadline).and(deadline)
        };
        if let Some(deadline) = deadline {
            self.watchdog.look_at(deadline, &self.itself, self.began);
        }
        for key in hung {
            self.hangs(key);
        }
        told.into_iter().for_each(|told| self.tell(told));
        for point in watched {
            let watch = Arc::new(Watch(self.itself.clone()));
            self.site.timelines.watch(hardware_point(point), watch);
        }
    }

    /// Gives a job to the device.
    fn launch(
        &self,
        key: JobKey,
        job: &Arc<Launched>,
        guilty: bool,
    ) -> Result<(), hw::DeviceError> {
        let skipped = guilty || job.is_refused();
        let command = match skipped {
            true => hw::Command::Nop,
            false => hw::Command::Launch(hw::Launch {
                vm: hw::VmId(job.vm().0),
                job: job.number,
                kernel: *job.kernel(),
            }),
        };
        let hooks = Launch {
            ring: self.itself.clone(),
            key,
            job: job.clone(),
            skipped,
        };
        let submission = hw::Submission {
            command,
            hooks: Some(Arc::new(hooks)),
            ..hw::Submission::default()
        };
        self.site.device.submit(self.site.engine, submission)
    }

    /// The device has ended a job.
    ///
    /// ORDER: of one that hung the verdict is given here, after its capture and before its point.
    pub(super) fn ended(&self, key: JobKey, (failed, hung): (bool, bool), time: Duration) {
        let result = if failed { Err(FAILED) } else { Ok(()) };
        {
            let mut state = self.state();
            let now = self.now();
            let scheduler = &mut state.scheduler;
            let judged = hung && scheduler.timeout_verdict(key, Verdict::Reset, now).is_ok();
            let ended = match judged {
                true => Ok(()),
                false => scheduler.ended(key, result, time, now),
            };
            debug_assert!(ended.is_ok());
        }
        self.pump();
    }

    /// Time has passed.
    pub(super) fn tick(&self) {
        {
            let mut state = self.state();
            let now = self.now();
            state.watched = None;
            state.scheduler.tick(now);
        }
        self.pump();
        self.reap();
    }
}

/// Wakes a ring that still is there.
struct Watch(Weak<Ring>);

impl hw::Watcher for Watch {
    fn reached(&self, point: hw::Point) {
        if let Some(ring) = self.0.upgrade() {
            let point = Point {
                timeline: TimelineId(point.timeline.0),
                value: point.value,
            };
            ring.state().scheduler.reached(point);
            ring.pump();
        }
    }
}

/// The code of every job that failed: what went wrong is kept with the job.
const FAILED: i32 = -5;
