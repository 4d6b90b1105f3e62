//! Dependencies: what a job waits for, and when it does not any more.

use crate::job::{Awaited, State};
use crate::line::Waiter;
use crate::{Action, RingId, Scheduler};
use gpumm_contract::{Point, TimelineId};

/// What a job still needs of a dependency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    Nothing,
    /// That a job is given to its ring.
    Start,
    /// That the point is reached.
    End,
}

impl<J> Scheduler<J> {
    /// A timeline that no entity owns has reached a point, and with it all before it.
    ///
    /// It is remembered, whether somebody waits or not, until [`forget`](Scheduler::forget).
    /// What is said of an entity's timeline is ignored: the scheduler itself moves that.
    pub fn reached(&mut self, point: Point) {
        let line = self.lines.obtain(point.timeline);
        if self.lines.all[line].entity.is_none() {
            self.advance(line, point.value);
            self.settle();
        }
    }

    /// A timeline that no entity owns has ended: all its points count as reached, and nothing of it
    /// is remembered.
    pub fn forget(&mut self, timeline: TimelineId) {
        let Some(line) = self.lines.find(timeline) else {
            return;
        };
        if self.lines.all[line].entity.is_none() {
            self.advance(line, u64::MAX);
            self.lines.remove(line);
            self.settle();
        }
    }

    /// Of each timeline that no entity owns and somebody waits for, the next point awaited.
    ///
    /// Complexity: O(timelines).
    pub fn awaited(&self) -> impl Iterator<Item = Point> + '_ {
        let foreign = self.lines.all.iter().map(|(_, line)| line);
        let foreign = foreign.filter(|line| line.entity.is_none());
        foreign.filter_map(|line| {
            let (&(value, _), _) = line.ending.first_key_value()?;
            let timeline = line.id;
            Some(Point { timeline, value })
        })
    }

    /// What a queued job needs of a dependency.
    pub(crate) fn need(&self, job: u32, of: &Awaited) -> Need {
        let Some(line) = self.lines.find(of.timeline).map(|l| &self.lines.all[l]) else {
            return Need::Nothing;
        };
        if line.reached >= of.value {
            return Need::Nothing;
        }
        let Some(entity) = line.entity.map(|entity| &self.entities[entity]) else {
            return Need::End;
        };
        if of.finished || self.ending(job).is_some() {
            return Need::End;
        }
        let at = entity.reaching(of.value);
        if at >= entity.handed {
            return Need::Start;
        }
        let other = &self.jobs[entity.jobs[at].1];
        if other.ring == self.jobs[job].ring && other.error.is_none() {
            Need::Nothing
        } else {
            Need::End
        }
    }

    /// Files a queued job under everything that it waits for; what was filed before is void.
    pub(crate) fn enroll(&mut self, number: u32) {
        let again = self.jobs[number].ticket > 0;
        let key = self.job_key(number);
        let job = &mut self.jobs[number];
        job.ticket += 1;
        job.waits = 0;
        let waiter = Waiter {
            job: key,
            ticket: job.ticket,
        };
        let dependencies = std::mem::take(&mut job.dependencies);
        let mut waits = 0;
        for of in dependencies.as_slice() {
            // What was known and is not any more was forgotten, which only what is reached is.
            if again && self.lines.find(of.timeline).is_none() {
                continue;
            }
            let line = self.lines.obtain(of.timeline);
            let need = self.need(number, of);
            let owner = self.lines.all[line].entity;
            self.early |= owner.is_some_and(|owner| self.entities[owner].last < of.value);
            match need {
                Need::Nothing => continue,
                Need::Start => self.lines.await_start(line, of.value, waiter),
                Need::End => {
                    let watch = self.lines.await_end(line, of.value, waiter);
                    let watch = watch.map(|point| Action::Watch { point });
                    self.actions.extend(watch);
                }
            }
            waits += 1;
        }
        let job = &mut self.jobs[number];
        job.dependencies = dependencies;
        job.waits = waits;
    }

    /// A job that reaches a value was given to a ring.
    #[inline]
    pub(crate) fn has_started(&mut self, line: u32, value: u64, ring: RingId, guilty: bool) {
        while let Some((at, waiter)) = self.lines.started(line, value) {
            let other = self.jobs[waiter.job.index].ring != ring;
            if !self.counts_for(waiter) {
                continue;
            }
            if guilty || other {
                // An entity's own line, which nobody else has to watch.
                self.lines.await_end(line, at, waiter);
            } else {
                self.release(waiter);
            }
        }
    }

    /// A timeline has come to a value.
    #[inline]
    pub(crate) fn advance(&mut self, line: u32, value: u64) {
        let of = &mut self.lines.all[line];
        of.reached = of.reached.max(value);
        while let Some(waiter) = self.lines.ended(line, value) {
            if self.counts_for(waiter) {
                self.release(waiter);
            }
        }
    }

    pub(crate) fn counts_for(&self, waiter: Waiter) -> bool {
        let Waiter { job, ticket } = waiter;
        self.jobs.is_live(job.index, job.generation)
            && self.jobs[job.index].ticket == ticket
            && self.jobs[job.index].state == State::Queued
    }

    fn release(&mut self, waiter: Waiter) {
        let job = &mut self.jobs[waiter.job.index];
        job.waits -= 1;
        if job.waits == 0 {
            self.wake.push(job.entity);
        }
    }
}
