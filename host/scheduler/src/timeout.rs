//! Jobs that hang.

use crate::ring::micros;
use crate::{Action, Error, JobError, JobKey, Priority, RingId, Scheduler};
use std::time::Duration;

/// What the caller makes of a job that has had its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It does not hang: it goes on, and has the same time again.
    NoHang,
    /// It hung, and was taken off the ring; the others on the ring go on. It ends
    /// [`TimedOut`](JobError::TimedOut). If its entity is guilty now, the entity's other jobs on
    /// the ring are cancelled.
    Reset,
    /// It hung, and the ring was reset as a whole: nothing is left on it. Its jobs are given to it
    /// again, the one that hung too, unless that has hung more often than the hang limit: then it
    /// ends [`TimedOut`](JobError::TimedOut), and its entity's others on the ring
    /// [`Cancelled`](JobError::Cancelled).
    Resubmit,
    /// The device is gone, as with [`device_lost`](Scheduler::device_lost).
    Gone,
}

impl<J> Scheduler<J> {
    /// Tells the time: rings whose first job has had its time say so.
    ///
    /// Complexity: O(rings).
    pub fn tick(&mut self, now: Duration) {
        let now = micros(now);
        for (ring, id) in self.rings.iter_mut().zip(0..) {
            if ring.deadline().is_some_and(|deadline| deadline <= now) {
                let job = ring.first;
                ring.expired = Some(job);
                let generation = self.jobs.generation(job).unwrap_or_default();
                self.actions.push_back(Action::TimedOut {
                    ring: RingId(id),
                    key: JobKey {
                        index: job,
                        generation,
                    },
                });
            }
        }
    }

    /// When `tick` has to be called next; `None` = not before something else is.
    ///
    /// Complexity: O(rings).
    pub fn next_deadline(&self) -> Option<Duration> {
        let all = self.rings.iter().filter_map(|ring| ring.deadline());
        all.min().map(Duration::from_micros)
    }

    /// Says what to do about a job that has timed out.
    ///
    /// A hang raises the job's karma and counts against its entity, but for those of
    /// [`Kernel`](Priority::Kernel) priority. An entity with as many hangs as the hang limit is
    /// guilty: its jobs are handed out to be skipped from then on.
    ///
    /// Errors: [`Error::UnknownJob`] if no verdict on the job is due, as when it ended meanwhile.
    pub fn timeout_verdict(
        &mut self,
        job: JobKey,
        verdict: Verdict,
        now: Duration,
    ) -> Result<(), Error> {
        let number = self.find_running(job)?;
        let at = self.jobs[number].ring;
        let ring = &mut self.rings[usize::from(at.0)];
        if ring.expired != Some(number) {
            return Err(Error::UnknownJob);
        }
        let micros = micros(now);
        let time = micros.saturating_sub(ring.since);
        ring.expired = None;
        ring.since = micros;
        self.dirty |= 1 << at.0;
        match verdict {
            Verdict::NoHang => {}
            Verdict::Reset => {
                let guilty = self.blame(number);
                self.end(number, Some(JobError::TimedOut), time, micros);
                let owner = self.jobs[number].entity;
                if guilty {
                    for other in self.fellows(at, owner) {
                        self.cancel(other);
                    }
                }
            }
            Verdict::Resubmit => {
                self.blame(number);
                let owner = self.jobs[number].entity;
                if self.jobs[number].karma > self.hang_limit {
                    self.end(number, Some(JobError::TimedOut), time, micros);
                    for other in self.fellows(at, owner) {
                        self.end(other, Some(JobError::Cancelled), 0, micros);
                    }
                }
                let left = self.rings[usize::from(at.0)].jobs(&self.jobs);
                for other in left.collect::<Vec<_>>() {
                    let rerun = Action::Rerun {
                        ring: at,
                        key: self.job_key(other),
                        guilty: self.jobs[other].error.is_some(),
                    };
                    self.actions.push_back(rerun);
                }
            }
            Verdict::Gone => self.device_lost(now),
        }
        self.settle();
        Ok(())
    }

    /// Counts a hang; answers whether the job's entity is guilty.
    fn blame(&mut self, number: u32) -> bool {
        self.counts.hangs += 1;
        let job = &mut self.jobs[number];
        let entity = &mut self.entities[job.entity];
        if entity.priority != Priority::Kernel {
            job.karma += 1;
            entity.hangs += 1;
            entity.guilty |= entity.hangs >= self.hang_limit;
        }
        entity.guilty
    }

    /// An entity's jobs on a ring.
    fn fellows(&self, ring: RingId, entity: u32) -> Vec<u32> {
        let all = self.rings[usize::from(ring.0)].jobs(&self.jobs);
        all.filter(|&job| self.jobs[job].entity == entity).collect()
    }
}
