//! What has happened and the ring has not heard of.

use super::launch::Launched;
use gpumm_contract::Point;
use gpumm_scheduler::{Dependency, EntityKey, JobKey};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Something that the scheduler must be told.
pub(super) enum News {
    /// A queue has another job.
    Pushed {
        entity: EntityKey,
        after: Vec<Dependency>,
        job: Arc<Launched>,
    },
    /// The device has ended a job.
    Ended {
        key: JobKey,
        failed: bool,
        /// It was found hanging.
        hung: bool,
        /// How long the device has worked on it.
        time: Duration,
    },
    /// A point is reached that some job waits for.
    Reached(Point),
}

/// News in the order in which they came. Nobody works with this lock held.
#[derive(Default)]
pub(super) struct Inbox(Mutex<Vec<News>>);

impl Inbox {
    fn news(&self) -> MutexGuard<'_, Vec<News>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn put(&self, news: News) {
        self.news().push(news);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.news().is_empty()
    }

    /// Takes everything, in exchange for an empty list to fill.
    pub(super) fn take(&self, empty: &mut Vec<News>) {
        debug_assert!(empty.is_empty());
        std::mem::swap(&mut *self.news(), empty);
    }
}
