//! Jobs: as callers describe them, and as they are kept.

use crate::{EntityKey, JobError, JobKey, RingId};
use gpumm_contract::{Point, TimelineId};

/// A point that a job waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dependency {
    /// The point.
    pub point: Point,
    /// Whether the job of the point must be finished also where it would do that it was given to
    /// the same ring before (the kernel's DONT_PIPELINE).
    pub finished: bool,
}

impl Dependency {
    /// Waits until the point is reached, on the same ring too.
    pub const fn finished(point: Point) -> Self {
        let finished = true;
        Dependency { point, finished }
    }
}

impl From<Point> for Dependency {
    fn from(point: Point) -> Self {
        let finished = false;
        Dependency { point, finished }
    }
}

/// A job to push.
#[derive(Debug)]
pub struct JobDesc<'a, J> {
    /// What is handed back with [`Run`](crate::Action::Run).
    pub payload: J,
    /// How much of the ring's credits it takes while it is there; more than the ring has is clamped.
    pub credits: u32,
    /// What it waits for; points of its own entity are ignored, as they come before it anyway.
    pub dependencies: &'a [Dependency],
    /// The value it gets on its entity's timeline; `None` = one more than the last.
    pub value: Option<u64>,
}

impl<J> JobDesc<'static, J> {
    /// A job of one credit that waits for nothing.
    pub const fn new(payload: J) -> Self {
        JobDesc {
            payload,
            credits: 1,
            dependencies: &[],
            value: None,
        }
    }
}

/// What a push came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// The job.
    pub key: JobKey,
    /// Reached when the job is finished.
    pub point: Point,
    /// The ring it will be given to.
    pub ring: RingId,
    /// A warning: the ring has only so many credits, and the job takes them all.
    pub clamped: Option<u32>,
}

/// What the caller has to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Action<J> {
    /// Give a job to its ring: it is scheduled. Answered by `ended`.
    Run {
        /// The ring.
        ring: RingId,
        /// The job.
        key: JobKey,
        /// Whose it is.
        entity: EntityKey,
        /// What was pushed.
        payload: J,
        /// The entity is guilty: skip the work and call `ended` as if it were done; the job ends
        /// [`Cancelled`](JobError::Cancelled) whatever the call says.
        guilty: bool,
    },
    /// Give a job to its ring again, which has forgotten it in a reset. Answered by `ended`.
    Rerun {
        /// The ring.
        ring: RingId,
        /// The job.
        key: JobKey,
        /// As in [`Run`](Action::Run).
        guilty: bool,
    },
    /// The entity's timeline has reached a point.
    Finish {
        /// The entity.
        entity: EntityKey,
        /// The job, whose name is now void.
        key: JobKey,
        /// The point: those of an entity come in the order of their values.
        point: Point,
        /// What went wrong.
        error: Option<JobError>,
        /// What was pushed, if it never was given to a ring.
        payload: Option<J>,
    },
    /// The first job of a ring has had its time. Answered by `timeout_verdict`; until then the
    /// ring gets nothing new.
    TimedOut {
        /// The ring.
        ring: RingId,
        /// The job.
        key: JobKey,
    },
    /// Take a job off its ring, if that can be done; it ends [`Cancelled`](JobError::Cancelled),
    /// but no earlier than `ended` says that the ring has left it.
    Cancel {
        /// The ring.
        ring: RingId,
        /// The job.
        key: JobKey,
    },
    /// Somebody now waits for this point of a timeline that no entity owns: `reached` is to be
    /// called once it, or a later one, is reached.
    Watch {
        /// The point.
        point: Point,
    },
}

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Waits in its entity's queue.
    Queued,
    /// Was given to its ring.
    Running,
    /// Is done, and finishes after those before it.
    Ended,
}

/// No job.
pub(crate) const NONE: u32 = u32::MAX;

/// A job from its push until it is finished.
#[derive(Debug)]
pub(crate) struct Job<J> {
    /// INVARIANT: here exactly until the job is given to its ring.
    pub(crate) payload: Option<J>,
    pub(crate) value: u64,
    pub(crate) entity: u32,
    pub(crate) credits: u32,
    pub(crate) ring: RingId,
    pub(crate) state: State,
    /// What it ends with, which may be certain before it ends.
    pub(crate) error: Option<JobError>,
    /// How often it was found hanging.
    pub(crate) karma: u32,
    /// How many dependencies it waits for.
    pub(crate) waits: u32,
    /// Which of the waits filed under its name count.
    pub(crate) ticket: u32,
    /// The virtual time that its entity has paid in advance.
    pub(crate) charged: i64,
    /// Neighbours among the jobs of its ring.
    pub(crate) before: u32,
    pub(crate) behind: u32,
    pub(crate) dependencies: Dependencies,
}

/// A dependency as it is kept.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Awaited {
    pub(crate) timeline: TimelineId,
    pub(crate) finished: bool,
    pub(crate) value: u64,
}

const FEW: usize = 2;

/// Dependencies of a job, at most one per timeline; a few take no heap block.
#[derive(Debug, Default)]
pub(crate) struct Dependencies {
    few: [Awaited; FEW],
    len: u8,
    /// INVARIANT: nothing, or all of them.
    #[expect(clippy::box_collection, reason = "a thin pointer keeps jobs small")]
    many: Option<Box<Vec<Awaited>>>,
}

impl Dependencies {
    /// Keeps what `wanted` says is needed, the later of two points of a timeline; it has to be
    /// finished if either has to.
    ///
    /// Complexity: O(n log n).
    pub(crate) fn new(all: &[Dependency], wanted: impl Fn(Point) -> bool) -> Self {
        let mut kept = Dependencies::default();
        let all = all.iter().filter(|dependency| wanted(dependency.point));
        for &Dependency { point, finished } in all {
            let new = Awaited {
                timeline: point.timeline,
                finished,
                value: point.value,
            };
            let len = usize::from(kept.len);
            let mut few = kept.few[..len].iter_mut();
            if let Some(many) = &mut kept.many {
                many.push(new);
            } else if let Some(old) = few.find(|old| old.timeline == new.timeline) {
                old.join(new);
            } else if len < FEW {
                kept.few[len] = new;
                kept.len += 1;
            } else {
                let [one, other] = kept.few;
                kept.many = Some(Box::new(vec![one, other, new]));
            }
        }
        if let Some(many) = &mut kept.many {
            many.sort_by_key(|awaited| awaited.timeline);
            many.dedup_by(|later, first| {
                let same = later.timeline == first.timeline;
                if same {
                    first.join(*later);
                }
                same
            });
        }
        kept
    }

    #[inline]
    pub(crate) fn as_slice(&self) -> &[Awaited] {
        match &self.many {
            None => &self.few[..usize::from(self.len)],
            Some(many) => many,
        }
    }

    /// Forgets some.
    pub(crate) fn retain(&mut self, keep: impl Fn(&Awaited) -> bool) {
        let kept: Vec<Awaited> = self.as_slice().iter().copied().filter(keep).collect();
        self.len = 0;
        self.many = Some(Box::new(kept));
    }
}

impl Awaited {
    fn join(&mut self, other: Awaited) {
        self.value = self.value.max(other.value);
        self.finished |= other.finished;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn equals_a_map() {
        let mut rng = fastrand::Rng::with_seed(7);
        for _ in 0..2_000 {
            let random = |rng: &mut fastrand::Rng| Dependency {
                point: Point {
                    timeline: TimelineId(rng.u32(0..6)),
                    value: rng.u64(1..9),
                },
                finished: rng.bool(),
            };
            let all: Vec<_> = (0..rng.usize(0..9)).map(|_| random(&mut rng)).collect();
            let mut map = BTreeMap::new();
            for d in all.iter().filter(|d| d.point.value != 4) {
                let (value, finished) = map.entry(d.point.timeline).or_insert((0, false));
                *value = d.point.value.max(*value);
                *finished |= d.finished;
            }
            let mut kept = Dependencies::new(&all, |point| point.value != 4);
            let found = |kept: &Dependencies| -> BTreeMap<_, _> {
                let each = kept.as_slice().iter();
                each.map(|d| (d.timeline, (d.value, d.finished))).collect()
            };
            assert_eq!(kept.as_slice().len(), map.len());
            assert_eq!(found(&kept), map);
            kept.retain(|d| d.value != 2);
            map.retain(|_, (value, _)| *value != 2);
            assert_eq!(found(&kept), map);
        }
    }
}
