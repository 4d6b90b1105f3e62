//! What a call is refused for, and what a job ends with.

use gpumm_contract::{Point, TimelineId};

/// Why a call is refused. A refused call changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A scheduler has between 1 and 64 rings, each with credits.
    #[error("a scheduler needs 1 to 64 rings with at least one credit each")]
    BadRings,
    /// The set names a ring that is not there.
    #[error("no such ring")]
    UnknownRing,
    /// The entity is gone.
    #[error("no such entity")]
    UnknownEntity,
    /// The job is finished, is not on a ring, or did not time out.
    #[error("no such job in this state")]
    UnknownJob,
    /// The entity may use no ring.
    #[error("the entity may use no ring")]
    NoRing,
    /// A job takes at least one credit.
    #[error("a job takes at least one credit")]
    NoCredits,
    /// The value is not behind those that the timeline has given out.
    #[error("{point:?} does not come after {last}, the last value given out")]
    NotAhead {
        /// What was asked for.
        point: Point,
        /// The last value of the timeline.
        last: u64,
    },
    /// Another entity owns the timeline.
    #[error("timeline {0} is owned by another entity")]
    TimelineInUse(TimelineId),
    /// The scheduler takes no more entities.
    #[error("the scheduler is closed")]
    Closed,
}

/// What a job that did not succeed ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum JobError {
    /// The ring says so; the code is the caller's.
    #[error("failed with code {0}")]
    Failed(i32),
    /// Its entity is guilty of hangs, or the scheduler was closed while it was on a ring.
    #[error("cancelled")]
    Cancelled,
    /// Its entity was killed before it was given to a ring.
    #[error("its entity was killed")]
    Killed,
    /// It hung and was reset.
    #[error("timed out")]
    TimedOut,
    /// The device is gone.
    #[error("the device is lost")]
    Lost,
}

impl JobError {
    /// The kernel's number for it, negative; a ring's code as it is.
    pub const fn errno(self) -> i32 {
        match self {
            JobError::Failed(code) => code,
            JobError::Cancelled => -125,
            JobError::Killed => -3,
            JobError::TimedOut => -62,
            JobError::Lost => -19,
        }
    }
}
