//! Entities: a queue, a timeline and an account of virtual time each.

use crate::queue::Rank;
use crate::{JobError, Priority, RingId, RingSet};
use std::collections::VecDeque;

/// How an entity is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntityConfig {
    /// How urgent its jobs are.
    pub priority: Priority,
    /// Where they may run; may be empty for now.
    pub rings: RingSet,
    /// The value at which its timeline stands already.
    pub last: u64,
}

impl EntityConfig {
    /// A normal entity with a new timeline.
    pub fn new(rings: impl Into<RingSet>) -> Self {
        EntityConfig {
            priority: Priority::default(),
            rings: rings.into(),
            last: 0,
        }
    }
}

/// What can be seen of an entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntityStatus {
    /// How urgent its jobs are.
    pub priority: Priority,
    /// Where new ones may run.
    pub rings: RingSet,
    /// Jobs that were not given to a ring.
    pub queued: usize,
    /// Jobs on a ring.
    pub running: usize,
    /// The value that its timeline has reached.
    pub reached: u64,
    /// The last value given out.
    pub last: u64,
    /// Found guilty of hangs.
    pub guilty: bool,
    /// What jobs end with that were not given to a ring.
    pub ending: Option<JobError>,
}

/// An entity.
#[derive(Debug)]
pub(crate) struct Entity {
    pub(crate) line: u32,
    pub(crate) priority: Priority,
    pub(crate) rings: RingSet,
    /// The last value given out.
    pub(crate) last: u64,
    /// Jobs by value: first those that were handed out (or ended without), then the queue.
    pub(crate) jobs: VecDeque<(u64, u32)>,
    /// How many of the jobs are not in the queue any more.
    pub(crate) handed: usize,
    /// How many are on a ring.
    pub(crate) running: usize,
    /// The ring that it was given jobs to last, on whose clock its virtual time is.
    pub(crate) home: RingId,
    /// The ring in whose run queue it is.
    pub(crate) joined: Option<RingId>,
    pub(crate) virtual_time: i64,
    /// How long its jobs take, in microseconds.
    pub(crate) average: u64,
    pub(crate) hangs: u32,
    pub(crate) guilty: bool,
    /// What its queued jobs end with, once it was killed or the device lost.
    pub(crate) ending: Option<JobError>,
    /// Goes when its last job is finished.
    pub(crate) leaving: bool,
}

impl Entity {
    pub(crate) fn new(line: u32, config: &EntityConfig) -> Self {
        Entity {
            line,
            priority: config.priority,
            rings: config.rings,
            last: config.last,
            jobs: VecDeque::new(),
            handed: 0,
            running: 0,
            home: RingId(0),
            joined: None,
            virtual_time: 0,
            average: 0,
            hangs: 0,
            guilty: false,
            ending: None,
            leaving: false,
        }
    }

    /// The first job that was not handed out.
    #[inline]
    pub(crate) fn head(&self) -> Option<u32> {
        Some(self.jobs.get(self.handed)?.1)
    }

    /// Where in `jobs` the first one is that reaches a value.
    pub(crate) fn reaching(&self, value: u64) -> usize {
        self.jobs.partition_point(|&(of, _)| of < value)
    }

    /// The virtual time of a time on a ring. A job takes a microsecond at least, so that jobs too
    /// short to be measured take turns as well.
    #[inline]
    pub(crate) fn price(&self, micros: u64) -> i64 {
        const LONGEST: u64 = 1 << 40;
        (micros.clamp(1, LONGEST) << self.priority.shift()) as i64
    }

    /// Where it stands in a run queue.
    #[inline]
    pub(crate) fn rank(&self, turn: u64) -> Rank {
        const LONGEST: u64 = (1 << 56) - 1;
        Rank {
            virtual_time: self.virtual_time,
            tie: (self.priority as u64) << 56 | self.average.min(LONGEST),
            turn,
        }
    }
}

/// A running average that forgets a quarter with every sample.
#[inline]
pub(crate) fn average(old: u64, sample: u64) -> u64 {
    match old {
        0 => sample,
        _ => old - old / 4 + sample / 4,
    }
}
