//! The device's ring: what the scheduler decides is done here.
//!
//! ORDER: the scheduler is asked and the device is given jobs under one lock, so jobs reach the
//! device in the order of the decisions. Outcomes are told and points reached without it: whoever
//! waits for a point may be another ring.
//!
//! What happens is put into the inbox first. A thread that finds the lock taken goes on: whoever
//! has it looks into the inbox again after letting it go. So neither clients nor the engine's
//! thread wait for each other.

use super::contexts::Contexts;
use super::gate::Gate;
use super::inbox::{Inbox, News};
use super::launch::Launched;
use super::queued::{Queued, Waiting};
use super::told::Told;
use crate::error::Error;
use crate::executor::{Spaces, hardware_point};
use crate::failsafe::Failsafe;
use crate::ledger::VmView;
use gpumm_contract::{Point, TimelineId};
use gpumm_hw as hw;
use gpumm_scheduler::{
    Action, Dependency, JobDesc, JobError, JobKey, RingConfig, RingId, Scheduler, Verdict,
};
use rustc_hash::FxHashMap;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, TryLockError, Weak};
use std::time::{Duration, Instant};

/// The only ring that a device has so far.
pub(super) const RING: RingId = RingId(0);

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
    inbox: Inbox,
    /// INVARIANT: taken by `change` and `pump` alone, which look into the inbox afterwards.
    state: Mutex<State>,
    began: Instant,
    numbers: AtomicU64,
    pub(super) watchdog: super::watchdog::Watchdog,
    itself: Weak<Ring>,
}

pub(super) struct State {
    pub(super) scheduler: Scheduler<Arc<Launched>>,
    /// Jobs that the device has.
    pub(super) running: FxHashMap<JobKey, Arc<Launched>>,
    pub(super) contexts: Contexts,
    /// The value that each context's next queue begins with.
    pub(super) values: BTreeMap<TimelineId, u64>,
    /// Queues that have ended, until their last job has.
    pub(super) ending: Vec<Arc<Queued>>,
    /// The deadline that the watchdog waits for.
    watched: Option<Duration>,
    /// What is being heard of; empty between two looks.
    news: Vec<News>,
}

/// What is to be done after a look, without the lock.
#[derive(Default)]
struct Todo {
    told: Vec<Told>,
    watched: Vec<Point>,
    hung: Vec<JobKey>,
    deadline: Option<Duration>,
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
            running: FxHashMap::default(),
            news: Vec::new(),
            contexts: Contexts::new(site.contexts.clone()),
            values: BTreeMap::new(),
            ending: Vec::new(),
            watched: None,
        };
        let ring = Arc::new_cyclic(|itself| Ring {
            site,
            inbox: Inbox::default(),
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

    pub(super) fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Takes the lock, hears what happened before, and does what comes of it and of the change.
    ///
    /// ORDER: never from within a change, which has the lock.
    pub(super) fn change<T>(&self, act: impl FnOnce(&mut State, Duration) -> T) -> T {
        let (answer, todo) = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let now = self.now();
            let mut todo = Todo::default();
            self.hear(&mut state, now, &mut todo);
            let answer = act(&mut state, now);
            self.decide(&mut state, now, &mut todo);
            (answer, todo)
        };
        self.carry_out(todo);
        self.pump();
        answer
    }

    /// Tells the ring what has happened.
    pub(super) fn tell_ring(&self, news: News) {
        self.inbox.put(news);
        self.pump();
    }

    /// Sees to the inbox, unless somebody does already.
    fn pump(&self) {
        while !self.inbox.is_empty() {
            let mut state = match self.state.try_lock() {
                Ok(state) => state,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                // Whoever it is comes here when it has let the lock go.
                Err(TryLockError::WouldBlock) => return,
            };
            let now = self.now();
            let mut todo = Todo::default();
            self.hear(&mut state, now, &mut todo);
            self.decide(&mut state, now, &mut todo);
            drop(state);
            self.carry_out(todo);
        }
    }

    /// Lets the scheduler know what has happened.
    fn hear(&self, state: &mut State, now: Duration, todo: &mut Todo) {
        let State {
            news, scheduler, ..
        } = state;
        self.inbox.take(news);
        for news in news.drain(..) {
            match news {
                News::Pushed { entity, after, job } => {
                    let desc = JobDesc {
                        payload: job.clone(),
                        credits: 1,
                        dependencies: &after,
                        value: Some(job.at.value),
                    };
                    if let Err(error) = scheduler.push(entity, desc) {
                        // The point must be reached whatever happens.
                        tracing::error!(%error, "a job was not taken");
                        todo.told.push(Told {
                            point: job.at,
                            job: Some(job),
                            error: Some(JobError::Killed),
                        });
                    }
                }
                News::Ended {
                    key,
                    failed,
                    hung,
                    time,
                } => {
                    let result = if failed { Err(FAILED) } else { Ok(()) };
                    let judged =
                        hung && scheduler.timeout_verdict(key, Verdict::Reset, now).is_ok();
                    let ended = match judged {
                        true => Ok(()),
                        false => scheduler.ended(key, result, time, now),
                    };
                    debug_assert!(ended.is_ok());
                }
                News::Reached(point) => scheduler.reached(point),
            }
        }
    }

    /// Asks the scheduler what to do, and gives jobs to the device.
    fn decide(&self, state: &mut State, now: Duration, todo: &mut Todo) {
        while let Some(action) = state.scheduler.poll(now) {
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
                        let ended = state.scheduler.ended(key, Err(FAILED), Duration::ZERO, now);
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
                    todo.told.push(Told { job, point, error });
                }
                Action::Watch { point } => todo.watched.push(point),
                Action::TimedOut { key, .. } => todo.hung.push(key),
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
        if sooner {
            state.watched = deadline;
            todo.deadline = deadline;
        }
    }

    fn carry_out(&self, todo: Todo) {
        if let Some(deadline) = todo.deadline {
            self.watchdog.look_at(deadline, &self.itself, self.began);
        }
        todo.hung.into_iter().for_each(|key| self.hangs(key));
        todo.told.into_iter().for_each(|told| self.tell(told));
        for point in todo.watched {
            let watch = Arc::new(Watch(self.itself.clone()));
            self.site.timelines.watch(hardware_point(point), watch);
        }
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
        self.tell_ring(News::Pushed {
            entity: queue.entity,
            after: Vec::new(),
            job: Arc::new(Launched::refused(number, at, waiting)),
        });
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
        self.tell_ring(News::Pushed {
            entity: queue.entity,
            after,
            job: Arc::new(Launched::new(number, at, waiting, view)),
        });
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
        job.launch(self.itself.clone(), key, skipped);
        let submission = hw::Submission {
            command,
            hooks: Some(job.clone()),
            ..hw::Submission::default()
        };
        self.site.device.submit(self.site.engine, submission)
    }

    /// The device has ended a job.
    ///
    /// ORDER: of one that hung the verdict is given with this, after its capture and before its
    /// point.
    pub(super) fn ended(&self, key: JobKey, (failed, hung): (bool, bool), time: Duration) {
        self.tell_ring(News::Ended {
            key,
            failed,
            hung,
            time,
        });
    }

    /// Time has passed.
    pub(super) fn tick(&self) {
        self.change(|state, now| {
            state.watched = None;
            state.scheduler.tick(now);
        });
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
            ring.tell_ring(News::Reached(point));
        }
    }
}

/// The code of every job that failed: what went wrong is kept with the job.
const FAILED: i32 = -5;
