//! What always holds.

use crate::job::State;
use crate::{EntityKey, JobKey, RingId, Scheduler};
use gpumm_contract::TimelineId;
use std::collections::BTreeMap;

/// An invariant that does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// The credits taken are not those of the jobs on the ring, or too many.
    Credits(RingId),
    /// The list of the jobs on the ring, or their number.
    List(RingId),
    /// The run queue's order.
    Queue(RingId),
    /// A job that could run does not, and nobody was asked to look.
    Idle(RingId),
    /// An entity's jobs: values, states, order.
    Jobs(EntityKey),
    /// Ready and not in the run queue, or the other way round, or at the wrong place.
    Ready(EntityKey),
    /// What a job waits for is not what is filed.
    Waits(JobKey),
    /// Handed out and kept, or neither.
    Payload(JobKey),
    /// A timeline that has passed somebody who waits, or whose entity disagrees.
    Line(TimelineId),
    /// Jobs of no entity, or work left over between two calls.
    Leftover,
}

impl<J> Scheduler<J> {
    /// Checks that: each ring's credits taken are the sum of those of the jobs on it and not
    /// more than it has; jobs of an entity are handed out and finished in the order of their
    /// strictly ascending values; exactly entities with a ready first job are in a run queue; a
    /// job waits exactly for what it is filed under; no timeline has passed who waits for it;
    /// and no job that fits is kept from its ring.
    ///
    /// Errors: the first one that does not hold.
    /// Complexity: O(everything).
    pub fn validate(&self) -> Result<(), Broken> {
        let check = |holds: bool, broken| if holds { Ok(()) } else { Err(broken) };
        check(self.wake.is_empty(), Broken::Leftover)?;
        let ending = self.entities.iter().filter(|(_, of)| of.ending.is_some());
        check(ending.count() == self.endings, Broken::Leftover)?;
        let jobs: usize = self.entities.iter().map(|(_, of)| of.jobs.len()).sum();
        check(jobs == self.jobs.len(), Broken::Leftover)?;
        self.validate_rings()?;
        self.validate_entities()?;
        self.validate_waits()
    }

    fn validate_rings(&self) -> Result<(), Broken> {
        for (ring, id) in self.rings.iter().zip(0..) {
            let at = RingId(id);
            let on_it: Vec<u32> = ring.jobs(&self.jobs).collect();
            let used: u64 = on_it.iter().map(|&j| u64::from(self.jobs[j].credits)).sum();
            if used != u64::from(ring.used) || ring.used > ring.limit {
                return Err(Broken::Credits(at));
            }
            let runs = |&(_, job): &(u32, &crate::job::Job<J>)| {
                job.ring == at && job.state == State::Running
            };
            let mut running: Vec<u32> = self.jobs.iter().filter(runs).map(|(j, _)| j).collect();
            let load = |job: &crate::job::Job<J>| job.ring == at && job.state != State::Ended;
            let load = self.jobs.iter().filter(|(_, job)| load(job)).count();
            let mut listed = on_it.clone();
            listed.sort_unstable();
            running.sort_unstable();
            let expired = ring.expired.is_none_or(|job| on_it.first() == Some(&job));
            let last = on_it.last().copied().unwrap_or(crate::job::NONE);
            if listed != running || load != ring.load || !expired || last != ring.last {
                return Err(Broken::List(at));
            }
            let joined = self.entities.iter().filter(|(_, of)| of.joined == Some(at));
            if !ring.queue.is_sound() || joined.count() != ring.queue.len() {
                return Err(Broken::Queue(at));
            }
            let first = ring.queue.first().and_then(|of| self.entities[of.1].head());
            let fits = first.is_some_and(|job| self.jobs[job].credits <= ring.limit - ring.used);
            if fits && ring.expired.is_none() && self.dirty >> id & 1 == 0 {
                return Err(Broken::Idle(at));
            }
        }
        Ok(())
    }

    fn validate_entities(&self) -> Result<(), Broken> {
        for (index, of) in self.entities.iter() {
            let key = self.entity_key(index);
            let reached = self.lines.all[of.line].reached;
            let values = of.jobs.iter().map(|job| job.0);
            let ascending = values.clone().zip(values.clone().skip(1));
            let ordered = ascending.clone().all(|(one, next)| one < next)
                && values.clone().next().is_none_or(|first| first > reached)
                && values
                    .clone()
                    .next_back()
                    .is_none_or(|last| last == of.last);
            let state = |job: &(u64, u32)| self.jobs[job.1].state;
            let handed = of.jobs.iter().take(of.handed).map(state);
            let queue = of.jobs.iter().skip(of.handed).map(state);
            let running = handed.clone().filter(|&state| state == State::Running);
            let right = handed.clone().all(|state| state != State::Queued)
                && handed.clone().next() != Some(State::Ended)
                && queue.clone().all(|state| state == State::Queued)
                && running.count() == of.running
                && of.jobs.iter().all(|&(value, job)| {
                    let job = &self.jobs[job];
                    let at_home = job.state != State::Running || job.ring == of.home;
                    job.entity == index && job.value == value && at_home
                });
            if !ordered || !right || (of.leaving && of.jobs.is_empty()) {
                return Err(Broken::Jobs(key));
            }
            let head = of.head().map(|head| &self.jobs[head]);
            let ready = head.filter(|job| job.waits == 0);
            let free = ready.filter(|job| of.running == 0 || job.ring == of.home);
            let expected = free.map(|job| job.ring);
            let rank = of.joined.and_then(|ring| {
                let rank = self.rings[usize::from(ring.0)].queue.rank(index)?;
                Some(rank.virtual_time)
            });
            let placed = of.joined.is_none() || rank == Some(of.virtual_time);
            let ended = of.ending.is_some() && ready.is_some();
            if of.joined != expected || !placed || ended {
                return Err(Broken::Ready(key));
            }
        }
        Ok(())
    }

    fn validate_waits(&self) -> Result<(), Broken> {
        let mut filed = BTreeMap::new();
        for (_, line) in self.lines.all.iter() {
            let waiters = line.starting.iter().chain(&line.ending);
            let passed = waiters
                .clone()
                .any(|((value, _), _)| *value <= line.reached);
            let owner = line.entity.map(|entity| &self.entities[entity]);
            let owned = owner.is_none_or(|of| self.lines.all[of.line].id == line.id);
            let foreign = owner.is_none() && !line.starting.is_empty();
            if passed || !owned || foreign {
                return Err(Broken::Line(line.id));
            }
            for (_, waiter) in waiters.filter(|(_, waiter)| self.counts_for(**waiter)) {
                *filed.entry(waiter.job.index).or_insert(0) += 1;
            }
        }
        for (index, job) in self.jobs.iter() {
            let key = self.job_key(index);
            let filed = filed.get(&index).copied().unwrap_or(0);
            let needs = job.dependencies.as_slice().iter();
            let needs = needs.filter(|of| self.need(index, of) != crate::wait::Need::Nothing);
            let queued = job.state == State::Queued;
            // A start that was seen stays seen, also when the job fails afterwards.
            if filed != job.waits || (queued && (needs.count() as u32) < filed) {
                return Err(Broken::Waits(key));
            }
            if queued && job.payload.is_none()
                || job.state == State::Running && job.payload.is_some()
            {
                return Err(Broken::Payload(key));
            }
        }
        Ok(())
    }
}
