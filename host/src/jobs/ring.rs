//! The device's ring: what the scheduler decides is done here.
//!
//! ORDER: the scheduler is asked and the device is given jobs under one lock, so jobs reach the
//! device in the order of the decisions. Outcomes are told and points reached without it: whoever
//! waits for a point may be another ring.
//!
//! A thread that finds the lock taken puts what has happened into the inbox and goes on: whoever has
//! the lock looks there after letting it go. So neither clients nor the engine's thread wait for
//! each other.

use super::contexts::Contexts;
use super::gate::Gate;
use super::inbox::{Inbox, News};
use super::launch::Launched;
use super::queued::{Queued, Waiting};
use super::running::Running;
use super::told::Told;
use crate::error::Error;
use crate::executor::{Spaces, hardware_point};
use crate::failsafe::Failsafe;
use crate::ledger::VmView;
use gpumm_contract::{Point, TimelineId};
use gpumm_hw as hw;
use gpumm_scheduler::{Action, Dependency, EntityKey, JobKey, RingConfig, RingId, Scheduler};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError, Weak};
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
    /// INVARIANT: whoever takes it hears the inbox first, so that jobs of a queue come in order,
    /// and pumps afterwards.
    state: Mutex<State>,
    began: Instant,
    numbers: AtomicU64,
    pub(super) watchdog: super::watchdog::Watchdog,
    itself: Weak<Ring>,
}

pub(super) struct State {
    pub(super) scheduler: Scheduler<Arc<Launched>>,
    /// Jobs that the device has.
    pub(super) running: Running,
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
pub(super) struct Todo {
    pub(super) told: Vec<Told>,
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
            running: Running::default(),
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
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = self.with(state, |state, now, _| act(state, now));
        self.pump();
        answer
    }

    /// Tells the ring what has happened; somebody who is at work with it hears of it then.
    pub(super) fn tell_ring(&self, news: News) {
        // Without a way round, because there nearly always is nobody.
        match self.try_state() {
            Some(state) => self.with(state, |state, now, todo| state.hear(news, now, todo)),
            None => self.inbox.put(news),
        }
        self.pump();
    }

    /// Tells the ring of a queue's next job.
    fn tell_job(&self, entity: EntityKey, after: Vec<Dependency>, job: &Arc<Launched>) {
        match self.try_state() {
            Some(state) => self.with(state, |state, _, todo| {
                state.take_up(entity, &after, job, todo);
            }),
            None => self.inbox.put(News::Pushed {
                entity,
                after,
                job: job.clone(),
            }),
        }
        self.pump();
    }

    /// Sees to the inbox, unless somebody does already.
    fn pump(&self) {
        while !self.inbox.is_empty() {
            match self.try_state() {
                Some(state) => self.with(state, |_, _, _| ()),
                // Whoever it is comes here when it has let the lock go.
                None => return,
            }
        }
    }

    fn try_state(&self) -> Option<MutexGuard<'_, State>> {
        match self.state.try_lock() {
            Ok(state) => Some(state),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Hears what happened before, makes a change, and does what comes of both.
    fn with<T>(
        &self,
        mut state: MutexGuard<'_, State>,
        act: impl FnOnce(&mut State, Duration, &mut Todo) -> T,
    ) -> T {
        let now = self.now();
        let mut todo = Todo::default();
        let mut news = std::mem::take(&mut state.news);
        self.inbox.take(&mut news);
        news.drain(..)
            .for_each(|one| state.hear(one, now, &mut todo));
        state.news = news;
        let answer = act(&mut state, now, &mut todo);
        self.decide(&mut state, now, &mut todo);
        drop(state);
        self.carry_out(todo);
        answer
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
                    if let Err(error) = self.launch(key, &payload, guilty) {
                        payload.end(hw::OutcomeValue::Failed(error));
                        let ended = state.scheduler.ended(key, Err(FAILED), Duration::ZERO, now);
                        debug_assert!(ended.is_ok());
                    }
                    state.running.insert(key, payload);
                }
                Action::Finish {
                    key,
                    point,
                    error,
                    payload,
                    ..
                } => {
                    let job = state.running.remove(key).or(payload);
                    todo.told.push(Told { job, point, error });
                }
                Action::Watch { point } => todo.watched.push(point),
                Action::TimedOut { key, .. } => todo.hung.push(key),
                Action::Cancel { key, .. } => {
                    if let Some(job) = state.running.get(key) {
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
        let _ = self.push_one(queue, at, on, waiting);
        queue.answered();
    }

    /// Ends a job whose address space could not be made ready: its point is reached in its turn.
    pub(crate) fn cancel(&self, queue: &Queued, at: Point, waiting: Waiting) {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let job = Launched::refused((number, at), self.itself.clone(), waiting);
        self.tell_job(queue.entity, Vec::new(), &Arc::new(job));
        queue.answered();
    }

    /// Hands a job over that waits for what makes its address space ready, and for what it says.
    pub(super) fn push_one(
        &self,
        queue: &Queued,
        at: Point,
        (view, ready): (Option<Arc<VmView>>, Option<Point>),
        waiting: Waiting,
    ) -> Arc<Launched> {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let mut after: Vec<Dependency> = waiting.after.iter().map(Dependency::from).collect();
        let reached = |p: &Point| self.site.timelines.reached(hardware_point(*p));
        after.extend(ready.filter(|p| !reached(p)).map(Dependency::finished));
        let ring = self.itself.clone();
        let job = Arc::new(Launched::new((number, at), ring, waiting, view));
        self.tell_job(queue.entity, after, &job);
        job
    }

    /// Gives a job to the device.
    fn launch(
        &self,
        key: JobKey,
        job: &Arc<Launched>,
        guilty: bool,
    ) -> Result<(), hw::DeviceError> {
        job.launch(key, guilty);
        let command = match job.is_skipped() {
            true => hw::Command::Nop,
            false => hw::Command::Launch(hw::Launch {
                vm: hw::VmId(job.vm().0),
                job: job.number,
                kernel: job.kernel().clone(),
            }),
        };
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
pub(super) const FAILED: i32 = -5;
