//! The end: of entities, of the device, of the scheduler.

use crate::job::{Awaited, State};
use crate::ring::micros;
use crate::wait::Need;
use crate::{Action, EntityKey, Error, JobError, RingId, Scheduler};
use std::collections::BTreeSet;
use std::time::Duration;

impl<J> Scheduler<J> {
    /// Ends an entity: what was given to a ring goes on; every other job of it, and every later
    /// one, ends [`Killed`](JobError::Killed).
    ///
    /// A job that was pushed before ends after those before it and after all its dependencies,
    /// so that who waits for it may rely on them: their points have to be reached also where
    /// it would have done that a job was given to the same ring. Only where a dependency in turn
    /// waits for the job, nobody waits any longer.
    ///
    /// Errors: [`Error::UnknownEntity`].
    /// Complexity: O(its queue); where jobs wait for values that were pushed after them, each of
    /// its dependencies costs O(jobs) besides.
    pub fn kill(&mut self, entity: EntityKey) -> Result<(), Error> {
        let entity = self.find_entity(entity)?;
        self.end_entity(entity, JobError::Killed);
        self.settle();
        Ok(())
    }

    /// Kills an entity and removes it once its last job is finished; its timeline may then be
    /// another entity's. Until then a push finishes with [`Killed`](JobError::Killed).
    ///
    /// Errors: [`Error::UnknownEntity`].
    pub fn fini_entity(&mut self, entity: EntityKey) -> Result<(), Error> {
        let entity = self.find_entity(entity)?;
        self.entities[entity].leaving = true;
        self.end_entity(entity, JobError::Killed);
        self.wake.push(entity);
        self.settle();
        Ok(())
    }

    /// Ends the scheduler: kills every entity, takes no new one, and has what is on the rings
    /// cancelled. Goes on until the last job is finished ([`jobs`](Scheduler::jobs)).
    ///
    /// Answers a warning: how many entities there still were.
    pub fn fini(&mut self) -> usize {
        let left = self.entities.iter().filter(|(_, of)| !of.leaving).count();
        self.closed = true;
        for entity in self.entities.numbers() {
            self.end_entity(entity, JobError::Killed);
        }
        for ring in 0..self.rings.len() {
            let on_it: Vec<u32> = self.rings[ring].jobs(&self.jobs).collect();
            for job in on_it {
                self.cancel(job);
            }
        }
        self.settle();
        left
    }

    /// The device is gone: what is on a ring has ended, what is not ends as if killed, all of
    /// it [`Lost`](JobError::Lost), and so does every later job.
    pub fn device_lost(&mut self, now: Duration) {
        let now = micros(now);
        self.closed = true;
        for entity in self.entities.numbers() {
            self.end_entity(entity, JobError::Lost);
        }
        for ring in 0..self.rings.len() {
            let on_it: Vec<u32> = self.rings[ring].jobs(&self.jobs).collect();
            for job in on_it {
                self.end(job, Some(JobError::Lost), 0, now);
            }
        }
        self.settle();
    }

    /// Settles that a job on a ring ends cancelled, unless that is settled already.
    pub(crate) fn cancel(&mut self, number: u32) {
        let job = &mut self.jobs[number];
        if job.error.is_none() {
            job.error = Some(JobError::Cancelled);
            let ring: RingId = job.ring;
            let key = self.job_key(number);
            self.actions.push_back(Action::Cancel { ring, key });
        }
    }

    fn end_entity(&mut self, index: u32, error: JobError) {
        let entity = &mut self.entities[index];
        if entity.ending.is_some() {
            return;
        }
        entity.ending = Some(error);
        self.endings += 1;
        let queued: Vec<u32> = entity.jobs.range(entity.handed..).map(|of| of.1).collect();
        for job in queued {
            self.enroll(job);
        }
        self.wake.push(index);
        if self.early {
            self.break_circles();
        }
    }

    /// Ends the waits of ending jobs for what waits for them.
    ///
    /// Circles can only come about by waits for values that were pushed later.
    #[cold]
    pub(crate) fn break_circles(&mut self) {
        for index in self.entities.numbers() {
            let entity = &self.entities[index];
            if entity.ending.is_none() {
                continue;
            }
            let queued: Vec<u32> = entity.jobs.range(entity.handed..).map(|of| of.1).collect();
            for job in queued {
                let all = self.jobs[job].dependencies.as_slice();
                let circles: Vec<Awaited> = all
                    .iter()
                    .copied()
                    .filter(|of| self.need(job, of) != Need::Nothing && self.waits_for(of, job))
                    .collect();
                if !circles.is_empty() {
                    let circle = |of: &Awaited| circles.iter().any(|c| c.timeline == of.timeline);
                    let kept = &mut self.jobs[job].dependencies;
                    kept.retain(|of| !circle(of));
                    self.enroll(job);
                    self.wake.push(index);
                }
            }
        }
    }

    /// Whether a point cannot be reached before a queued job is finished.
    fn waits_for(&self, point: &Awaited, job: u32) -> bool {
        let mut seen = BTreeSet::new();
        let mut open = Vec::from_iter(self.job_of(point));
        while let Some(number) = open.pop() {
            if number == job {
                return true;
            }
            let of = &self.jobs[number];
            // What is on a ring waits for nobody.
            if of.state != State::Queued || !seen.insert(number) {
                continue;
            }
            let entity = &self.entities[of.entity];
            let at = entity.reaching(of.value);
            open.extend(at.checked_sub(1).map(|before| entity.jobs[before].1));
            let all = of.dependencies.as_slice().iter();
            let needed = all.filter(|of| self.need(number, of) != Need::Nothing);
            open.extend(needed.filter_map(|of| self.job_of(of)));
        }
        false
    }

    /// The job that reaches a point; if it is not pushed yet, the last one it will come after.
    fn job_of(&self, point: &Awaited) -> Option<u32> {
        let line = self.lines.find(point.timeline)?;
        let entity = &self.entities[self.lines.all[line].entity?];
        let at = entity.reaching(point.value);
        let job = entity.jobs.get(at).or(entity.jobs.back());
        job.map(|&(_, job)| job)
    }

    /// Removes an entity without jobs. Who waits for a value that it never pushed now waits for the
    /// caller.
    pub(crate) fn drop_entity(&mut self, index: u32) {
        let entity = &self.entities[index];
        let line = entity.line;
        self.endings -= usize::from(entity.ending.is_some());
        self.entities.remove(index);
        let of = &mut self.lines.all[line];
        of.entity = None;
        let starting = std::mem::take(&mut of.starting);
        let ending = std::mem::take(&mut of.ending);
        let waiters = starting.into_iter().chain(ending);
        for ((value, _), waiter) in waiters
            .filter(|of| self.counts_for(of.1))
            .collect::<Vec<_>>()
        {
            let watch = self.lines.await_end(line, value, waiter);
            let watch = watch.map(|point| Action::Watch { point });
            self.actions.extend(watch);
        }
        if self.lines.all[line].ending.is_empty() {
            self.lines.remove(line);
        }
    }
}
