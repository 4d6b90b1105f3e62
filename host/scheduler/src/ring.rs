//! Rings: credits, the jobs given to them, and the timer of the first.

use crate::job::{Job, NONE};
use crate::queue::RunQueue;
use crate::slab::Slab;
use std::time::Duration;

/// How a ring is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingConfig {
    /// How many credits the jobs on it may take together.
    pub credits: u32,
    /// How long the first job on it may take; `None` = for ever.
    pub timeout: Option<Duration>,
}

/// A ring.
///
/// Invariants: `used` is the sum of the credits of the jobs on it, and not above `limit`.
#[derive(Debug)]
pub(crate) struct Ring {
    pub(crate) limit: u32,
    pub(crate) timeout: Option<u64>,
    pub(crate) used: u32,
    /// Jobs that were pushed for it and have not ended.
    pub(crate) load: usize,
    pub(crate) queue: RunQueue,
    /// The virtual time of the latest that was handed out.
    pub(crate) clock: i64,
    /// How long its jobs take, in microseconds.
    pub(crate) average: u64,
    /// The jobs on it, in the order in which they were given to it.
    pub(crate) first: u32,
    pub(crate) last: u32,
    /// When the first job became the first, or was found not to hang.
    pub(crate) since: u64,
    /// The job whose verdict is due.
    pub(crate) expired: Option<u32>,
}

impl Ring {
    pub(crate) fn new(config: &RingConfig) -> Self {
        Ring {
            limit: config.credits,
            timeout: config.timeout.map(micros),
            used: 0,
            load: 0,
            queue: RunQueue::default(),
            clock: 0,
            average: 0,
            first: NONE,
            last: NONE,
            since: 0,
            expired: None,
        }
    }

    /// The smallest virtual time among those that may run.
    #[inline]
    pub(crate) fn least(&self) -> i64 {
        let first = self.queue.first();
        first.map_or(self.clock, |(rank, _)| rank.virtual_time)
    }

    /// When the first job will have had its time.
    pub(crate) fn deadline(&self) -> Option<u64> {
        let waits = self.first != NONE && self.expired.is_none();
        let timeout = self.timeout.filter(|_| waits)?;
        Some(self.since.saturating_add(timeout))
    }

    /// Takes a job up as the last one.
    #[inline]
    pub(crate) fn link<J>(&mut self, jobs: &mut Slab<Job<J>>, job: u32, now: u64) {
        jobs[job].before = self.last;
        jobs[job].behind = NONE;
        if self.last == NONE {
            self.first = job;
            self.since = now;
        } else {
            jobs[self.last].behind = job;
        }
        self.last = job;
        self.used += jobs[job].credits;
    }

    /// Lets go of a job; the timer of the next one starts if this was the first.
    #[inline]
    pub(crate) fn unlink<J>(&mut self, jobs: &mut Slab<Job<J>>, job: u32, now: u64) {
        let (before, behind) = (jobs[job].before, jobs[job].behind);
        if before == NONE {
            self.first = behind;
            self.since = now;
        } else {
            jobs[before].behind = behind;
        }
        if behind == NONE {
            self.last = before;
        } else {
            jobs[behind].before = before;
        }
        self.used -= jobs[job].credits;
        if self.expired == Some(job) {
            self.expired = None;
        }
    }

    /// The jobs on it.
    pub(crate) fn jobs<'a, J>(&self, jobs: &'a Slab<Job<J>>) -> impl Iterator<Item = u32> + 'a {
        let mut next = self.first;
        std::iter::from_fn(move || {
            let job = next;
            (job != NONE).then(|| {
                next = jobs[job].behind;
                job
            })
        })
    }
}

/// Whole microseconds, counted in 64 bits because it is done several times for every job.
#[inline]
pub(crate) fn micros(time: Duration) -> u64 {
    let seconds = time.as_secs().saturating_mul(1_000_000);
    seconds.saturating_add(time.subsec_micros().into())
}
