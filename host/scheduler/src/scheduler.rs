//! The scheduler's parts, and what is set from outside.

use crate::entity::Entity;
use crate::job::{Dependencies, Job, NONE, State};
use crate::line::Lines;
use crate::ring::{Ring, micros};
use crate::slab::Slab;
use crate::{
    Action, EntityConfig, EntityKey, EntityStatus, Error, JobDesc, JobError, JobKey, Priority,
    Pushed, RingConfig, RingId, RingSet,
};
use gpumm_contract::{Point, TimelineId};
use std::collections::VecDeque;
use std::time::Duration;

/// How many hangs make an entity guilty, if nobody says otherwise: the first one, as in the kernel.
pub const HANG_LIMIT: u32 = 1;

/// How often something happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Jobs pushed.
    pub pushed: u64,
    /// Jobs finished.
    pub finished: u64,
    /// Jobs that wanted more credits than their ring has: a warning each.
    pub clamped: u64,
    /// Jobs that were found hanging.
    pub hangs: u64,
}

/// Schedules jobs of many entities onto rings.
///
/// It does nothing by itself: calls tell it what happened, [`poll`](Scheduler::poll) answers what
/// is to be done, one action at a time; all of them are to be taken after every call. Time is
/// what the caller says, counted from wherever it likes, and never goes back.
///
/// Complexity: push, run and end of a job that waits for nothing O(log entities), without
/// allocating once the queues have grown; a dependency adds O(log timelines + log waiters).
/// Invariants: those of [`validate`](Scheduler::validate); equal calls give equal actions.
#[derive(Debug)]
pub struct Scheduler<J> {
    pub(crate) rings: Vec<Ring>,
    pub(crate) entities: Slab<Entity>,
    pub(crate) jobs: Slab<Job<J>>,
    pub(crate) lines: Lines,
    pub(crate) actions: VecDeque<Action<J>>,
    /// Entities whose first job may have become ready, or finished.
    pub(crate) wake: Vec<u32>,
    /// The rings that may be able to take a job.
    pub(crate) dirty: u64,
    pub(crate) turn: u64,
    pub(crate) hang_limit: u32,
    /// Some job may wait for a value that was pushed after it, so that jobs can wait in a circle.
    pub(crate) early: bool,
    /// How many entities are ending.
    pub(crate) endings: usize,
    pub(crate) closed: bool,
    pub(crate) counts: Counts,
}

impl<J> Scheduler<J> {
    /// A scheduler of some rings.
    ///
    /// Bounds: 1 to 64 rings, each with a credit at least.
    /// Errors: [`Error::BadRings`].
    pub fn new(rings: &[RingConfig]) -> Result<Self, Error> {
        let bad = rings.iter().any(|ring| ring.credits == 0);
        if bad || rings.is_empty() || rings.len() > 64 {
            return Err(Error::BadRings);
        }
        Ok(Scheduler {
            rings: rings.iter().map(Ring::new).collect(),
            entities: Slab::new(),
            jobs: Slab::new(),
            lines: Lines::new(),
            actions: VecDeque::new(),
            wake: Vec::new(),
            dirty: 0,
            turn: 0,
            hang_limit: HANG_LIMIT,
            early: false,
            endings: 0,
            closed: false,
            counts: Counts::default(),
        })
    }

    /// Sets how many hangs make an entity guilty (at least one does), and beyond how many a job is
    /// not given to a ring again after [`Resubmit`](crate::Verdict::Resubmit).
    pub fn set_hang_limit(&mut self, hangs: u32) {
        self.hang_limit = hangs;
    }

    /// Adds an entity that owns a timeline.
    ///
    /// Errors: [`Error::TimelineInUse`], [`Error::UnknownRing`], [`Error::Closed`].
    pub fn add_entity(
        &mut self,
        timeline: TimelineId,
        config: &EntityConfig,
    ) -> Result<EntityKey, Error> {
        if self.closed {
            return Err(Error::Closed);
        }
        if !config.rings.within(self.rings.len()) {
            return Err(Error::UnknownRing);
        }
        let line = self.lines.obtain(timeline);
        if self.lines.all[line].entity.is_some() {
            return Err(Error::TimelineInUse(timeline));
        }
        let mut entity = Entity::new(line, config);
        // A timeline never goes back behind what was told about it.
        let of = &mut self.lines.all[line];
        entity.last = entity.last.max(of.reached);
        let last = entity.last;
        self.early |= !of.ending.is_empty();
        let (index, generation) = self.entities.insert(entity);
        self.lines.all[line].entity = Some(index);
        self.advance(line, last);
        self.settle();
        Ok(EntityKey { index, generation })
    }

    /// Changes how urgent an entity's jobs are, from the next one that is given to a ring.
    ///
    /// Errors: [`Error::UnknownEntity`].
    pub fn set_priority(&mut self, entity: EntityKey, priority: Priority) -> Result<(), Error> {
        let entity = self.find_entity(entity)?;
        self.entities[entity].priority = priority;
        self.rerank(entity);
        Ok(())
    }

    /// Changes the rings for jobs that are pushed from now on.
    ///
    /// Jobs of one entity rely on each other's order, which only a ring keeps: one that is for
    /// another ring than those before it waits until they are done.
    ///
    /// Errors: [`Error::UnknownEntity`], [`Error::UnknownRing`].
    pub fn set_rings(&mut self, entity: EntityKey, rings: RingSet) -> Result<(), Error> {
        let entity = self.find_entity(entity)?;
        if !rings.within(self.rings.len()) {
            return Err(Error::UnknownRing);
        }
        self.entities[entity].rings = rings;
        Ok(())
    }

    /// Pushes a job: its point exists from here on, and will be reached.
    ///
    /// A job goes to the ring of the entity's job before it, while there is one and the ring is
    /// still allowed; otherwise to the allowed ring with the fewest jobs. A job of an entity that
    /// was killed finishes at once, after those before it, without waiting for dependencies.
    ///
    /// Bounds: a value must be greater than those before it.
    /// Errors: [`Error::UnknownEntity`], [`Error::NoRing`], [`Error::NoCredits`],
    /// [`Error::NotAhead`]; the payload is dropped.
    pub fn push(&mut self, entity: EntityKey, job: JobDesc<'_, J>) -> Result<Pushed, Error> {
        let index = self.find_entity(entity)?;
        if job.credits == 0 {
            return Err(Error::NoCredits);
        }
        let of = &self.entities[index];
        let value = job.value.unwrap_or(of.last.saturating_add(1));
        let timeline = self.lines.all[of.line].id;
        let point = Point { timeline, value };
        if value <= of.last {
            let last = of.last;
            return Err(Error::NotAhead { point, last });
        }
        let ring = self.choose(of).ok_or(Error::NoRing)?;
        let limit = self.rings[usize::from(ring.0)].limit;
        let ending = of.ending.is_some();
        let dependencies = if ending || job.dependencies.is_empty() {
            Dependencies::default()
        } else {
            Dependencies::new(job.dependencies, |point| {
                let line = self.lines.find(point.timeline);
                let reached = line.is_some_and(|l| self.lines.all[l].reached >= point.value);
                point.timeline != timeline && !reached
            })
        };
        let waits = !dependencies.as_slice().is_empty();
        let (number, generation) = self.jobs.insert(Job {
            payload: Some(job.payload),
            value,
            entity: index,
            credits: job.credits.min(limit),
            ring,
            state: State::Queued,
            error: None,
            karma: 0,
            waits: 0,
            ticket: 0,
            charged: 0,
            before: NONE,
            behind: NONE,
            dependencies,
        });
        let of = &mut self.entities[index];
        of.last = value;
        of.jobs.push_back((value, number));
        let first = of.jobs.len() == of.handed + 1;
        self.rings[usize::from(ring.0)].load += 1;
        if waits {
            self.enroll(number);
        }
        if self.early && self.endings > 0 {
            self.break_circles();
        }
        if first {
            self.wake.push(index);
        }
        self.settle();
        let clamped = (job.credits > limit).then_some(limit);
        self.counts.pushed += 1;
        self.counts.clamped += u64::from(clamped.is_some());
        let key = JobKey {
            index: number,
            generation,
        };
        Ok(Pushed {
            key,
            point,
            ring,
            clamped,
        })
    }

    /// The ring of an entity's next job.
    #[inline]
    fn choose(&self, entity: &Entity) -> Option<RingId> {
        let single = entity.rings.single();
        if single.is_some() {
            return single;
        }
        let before = entity.jobs.back().map(|&(_, job)| self.jobs[job].ring);
        let stays = before.filter(|&ring| entity.rings.contains(ring));
        let load = |ring: &RingId| self.rings[usize::from(ring.0)].load;
        stays.or_else(|| entity.rings.iter().min_by_key(load))
    }

    /// Takes the next action to do; `None` = nothing, until something is told.
    #[inline]
    pub fn poll(&mut self, now: Duration) -> Option<Action<J>> {
        while let Some(action) = self.actions.pop_front() {
            // A job may have ended before somebody came to hear what is to be done about it.
            let still = match &action {
                Action::Rerun { key, .. }
                | Action::Cancel { key, .. }
                | Action::TimedOut { key, .. } => self.find_running(*key).is_ok(),
                Action::Run { .. } | Action::Finish { .. } | Action::Watch { .. } => true,
            };
            if still {
                return Some(action);
            }
        }
        while self.dirty != 0 {
            let ring = self.dirty.trailing_zeros();
            let run = self.hand_out(ring as usize, micros(now));
            if run.is_some() {
                return run;
            }
            self.dirty &= !(1 << ring);
        }
        None
    }

    /// What can be seen of an entity.
    pub fn entity(&self, entity: EntityKey) -> Option<EntityStatus> {
        let of = &self.entities[self.find_entity(entity).ok()?];
        Some(EntityStatus {
            priority: of.priority,
            rings: of.rings,
            queued: of.jobs.len() - of.handed,
            running: of.running,
            reached: self.lines.all[of.line].reached,
            last: of.last,
            guilty: of.guilty,
            ending: of.ending,
        })
    }

    /// How many credits of a ring are taken.
    pub fn used(&self, ring: RingId) -> Option<u32> {
        Some(self.rings.get(usize::from(ring.0))?.used)
    }

    /// How many entities there are.
    pub fn entities(&self) -> usize {
        self.entities.len()
    }

    /// How many jobs are not finished.
    pub fn jobs(&self) -> usize {
        self.jobs.len()
    }

    /// How often something happened.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    #[inline]
    pub(crate) fn find_entity(&self, key: EntityKey) -> Result<u32, Error> {
        let live = self.entities.is_live(key.index, key.generation);
        live.then_some(key.index).ok_or(Error::UnknownEntity)
    }

    /// A job that is on its ring.
    #[inline]
    pub(crate) fn find_running(&self, key: JobKey) -> Result<u32, Error> {
        let live = self.jobs.is_live(key.index, key.generation);
        let runs = live && self.jobs[key.index].state == State::Running;
        runs.then_some(key.index).ok_or(Error::UnknownJob)
    }

    pub(crate) fn entity_key(&self, index: u32) -> EntityKey {
        let generation = self.entities.generation(index).unwrap_or_default();
        EntityKey { index, generation }
    }

    pub(crate) fn job_key(&self, index: u32) -> JobKey {
        let generation = self.jobs.generation(index).unwrap_or_default();
        JobKey { index, generation }
    }

    /// What a job that is still queued ends with.
    pub(crate) fn ending(&self, job: u32) -> Option<JobError> {
        self.entities[self.jobs[job].entity].ending
    }
}
