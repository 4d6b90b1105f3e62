//! The way of a job: ready, handed out, ended, finished.

use crate::entity::average;
use crate::job::State;
use crate::ring::micros;
use crate::{Action, Error, JobError, JobKey, RingId, Scheduler};
use gpumm_contract::Point;
use std::time::Duration;

impl<J> Scheduler<J> {
    /// A job has ended on its ring; its finish follows that of its entity's jobs before it.
    ///
    /// `time` is how long the ring has worked on it. A code is handed on as
    /// [`JobError::Failed`], unless it was settled before what the job ends with.
    ///
    /// Errors: [`Error::UnknownJob`].
    pub fn ended(
        &mut self,
        job: JobKey,
        result: Result<(), i32>,
        time: Duration,
        now: Duration,
    ) -> Result<(), Error> {
        let job = self.find_running(job)?;
        let error = result.err().map(JobError::Failed);
        self.end(job, error, micros(time), micros(now));
        self.settle();
        Ok(())
    }

    pub(crate) fn end(&mut self, number: u32, error: Option<JobError>, time: u64, now: u64) {
        let job = &mut self.jobs[number];
        job.error = job.error.or(error);
        job.state = State::Ended;
        let (index, at, charged) = (job.entity, job.ring, job.charged);
        let succeeded = job.error.is_none();
        let ring = &mut self.rings[usize::from(at.0)];
        ring.unlink(&mut self.jobs, number, now);
        ring.load -= 1;
        self.dirty |= 1 << at.0;
        let entity = &mut self.entities[index];
        entity.running -= 1;
        // What was charged in advance was a guess.
        let owed = entity.price(time) - charged;
        entity.virtual_time = entity.virtual_time.saturating_add(owed);
        if succeeded {
            // What failed or was skipped says nothing about the next.
            entity.average = average(entity.average, time);
            ring.average = average(ring.average, time);
        }
        if owed != 0 {
            self.rerank(index);
        }
        self.wake.push(index);
    }

    /// Sees to everybody for whom something has changed.
    #[inline]
    pub(crate) fn settle(&mut self) {
        let mut next = 0;
        while let Some(&entity) = self.wake.get(next) {
            next += 1;
            if self.entities.generation(entity).is_some() {
                self.refresh(entity);
                self.finish(entity);
            }
        }
        self.wake.clear();
        if self.early && self.jobs.len() == 0 {
            self.early = false;
        }
    }

    /// Brings an entity into the run queue of its first job's ring if that job is ready, or out
    /// of it; if the entity is ending, what is ready has ended.
    pub(crate) fn refresh(&mut self, index: u32) {
        loop {
            let entity = &mut self.entities[index];
            let Some(head) = entity.head() else { break };
            let job = &mut self.jobs[head];
            if job.waits > 0 {
                break;
            }
            if let Some(error) = entity.ending {
                job.error = Some(error);
                job.state = State::Ended;
                entity.handed += 1;
                self.rings[usize::from(job.ring.0)].load -= 1;
                continue;
            }
            // ORDER: dependencies on the own entity are ignored because the ring keeps the order;
            // between two rings nobody would.
            if entity.running > 0 && entity.home != job.ring {
                break;
            }
            let ring = job.ring;
            if entity.joined != Some(ring) {
                self.leave(index);
                self.join(index, ring);
            }
            return;
        }
        self.leave(index);
    }

    fn join(&mut self, index: u32, at: RingId) {
        let old = self.rings[usize::from(self.entities[index].home.0)].least();
        let ring = &mut self.rings[usize::from(at.0)];
        let least = ring.least();
        let first = ring.queue.first().map(|(_, first)| first);
        let behind = first.is_some_and(|first| {
            let (own, other) = (&self.entities[index], &self.entities[first]);
            own.priority > other.priority
        });
        let entity = &mut self.entities[index];
        if entity.home != at {
            let offset = entity.virtual_time.saturating_sub(old);
            entity.virtual_time = least.saturating_add(offset);
            entity.home = at;
        }
        // Nobody saves time up by not using it; what is left of a lead stays.
        entity.virtual_time = entity.virtual_time.max(least);
        if behind {
            let wait = entity.price(1 + entity.average + ring.average);
            entity.virtual_time = entity.virtual_time.max(least.saturating_add(wait));
        }
        self.turn += 1;
        ring.queue.set(index, entity.rank(self.turn));
        entity.joined = Some(at);
        self.dirty |= 1 << at.0;
    }

    #[inline]
    pub(crate) fn leave(&mut self, index: u32) {
        if let Some(ring) = self.entities[index].joined.take() {
            self.rings[usize::from(ring.0)].queue.remove(index);
            self.dirty |= 1 << ring.0;
        }
    }

    /// Files an entity anew after what its rank is made of has changed.
    #[inline]
    pub(crate) fn rerank(&mut self, index: u32) {
        let entity = &self.entities[index];
        if let Some(ring) = entity.joined {
            self.turn += 1;
            let queue = &mut self.rings[usize::from(ring.0)].queue;
            queue.set(index, entity.rank(self.turn));
            self.dirty |= 1 << ring.0;
        }
    }

    /// Gives the next job to a ring. Where the first one does not fit, nobody else's is given: else
    /// small jobs would keep a large one waiting for ever.
    #[inline]
    pub(crate) fn hand_out(&mut self, at: usize, now: u64) -> Option<Action<J>> {
        let ring = &mut self.rings[at];
        if ring.expired.is_some() {
            return None;
        }
        let (rank, index) = ring.queue.first()?;
        let entity = &mut self.entities[index];
        let number = entity.head()?;
        let job = &mut self.jobs[number];
        if job.credits > ring.limit - ring.used {
            return None;
        }
        let payload = job.payload.take()?;
        let guilty = entity.guilty;
        job.error = guilty.then_some(JobError::Cancelled);
        job.state = State::Running;
        // Paid in advance, so that a ring with many credits is shared as well.
        job.charged = entity.price(entity.average);
        entity.virtual_time = entity.virtual_time.saturating_add(job.charged);
        let (value, id) = (job.value, job.ring);
        entity.handed += 1;
        entity.running += 1;
        let line = entity.line;
        ring.clock = ring.clock.max(rank.virtual_time);
        ring.link(&mut self.jobs, number, now);
        self.has_started(line, value, id, guilty);
        self.refresh(index);
        self.rerank(index);
        self.settle();
        Some(Action::Run {
            ring: id,
            key: self.job_key(number),
            entity: self.entity_key(index),
            payload,
            guilty,
        })
    }

    /// Finishes an entity's ended jobs, as far as all before them have ended.
    fn finish(&mut self, index: u32) {
        loop {
            let entity = &mut self.entities[index];
            let Some(&(value, number)) = entity.jobs.front() else {
                break;
            };
            let job = &mut self.jobs[number];
            if job.state != State::Ended {
                break;
            }
            entity.jobs.pop_front();
            entity.handed -= 1;
            let line = entity.line;
            let (error, payload) = (job.error, job.payload.take());
            let key = self.job_key(number);
            let timeline = self.lines.all[line].id;
            self.jobs.remove(number);
            self.counts.finished += 1;
            self.actions.push_back(Action::Finish {
                entity: self.entity_key(index),
                key,
                point: Point { timeline, value },
                error,
                payload,
            });
            self.advance(line, value);
        }
        let entity = &self.entities[index];
        if entity.leaving && entity.jobs.is_empty() {
            self.drop_entity(index);
        }
    }
}
