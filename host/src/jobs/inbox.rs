//! What has happened, and how the ring hears of it.

use super::launch::Launched;
use super::ring::{FAILED, State, Todo};
use super::told::Told;
use gpumm_contract::Point;
use gpumm_scheduler::{Dependency, EntityKey, JobDesc, JobError, JobKey, Verdict};
use std::sync::atomic::{AtomicUsize, Ordering};
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
pub(super) struct Inbox {
    news: Mutex<Vec<News>>,
    /// How many there are, so that nobody takes the lock to find none.
    waiting: AtomicUsize,
}

impl Inbox {
    fn news(&self) -> MutexGuard<'_, Vec<News>> {
        self.news.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn put(&self, news: News) {
        let mut all = self.news();
        all.push(news);
        self.waiting.fetch_add(1, Ordering::AcqRel);
    }

    /// Whether there is nothing.
    ///
    /// ORDER: a change of the number, and not only a look at it. So either what was put is seen
    /// here, or whoever put it sees what was done here before: the ring's lock let go.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.fetch_or(0, Ordering::AcqRel) == 0
    }

    /// Takes everything, in exchange for an empty list to fill.
    pub(super) fn take(&self, empty: &mut Vec<News>) {
        debug_assert!(empty.is_empty());
        // What is put meanwhile is heard of later.
        if self.waiting.load(Ordering::Acquire) > 0 {
            let mut all = self.news();
            std::mem::swap(&mut *all, empty);
            self.waiting.fetch_sub(empty.len(), Ordering::AcqRel);
        }
    }
}

impl State {
    /// Lets the scheduler know what has happened.
    pub(super) fn hear(&mut self, news: News, now: Duration, todo: &mut Todo) {
        let scheduler = &mut self.scheduler;
        match news {
            News::Pushed { entity, after, job } => self.take_up(entity, &after, &job, todo),
            News::Ended {
                key,
                failed,
                hung,
                time,
            } => {
                let result = if failed { Err(FAILED) } else { Ok(()) };
                let judged = hung && scheduler.timeout_verdict(key, Verdict::Reset, now).is_ok();
                let ended = match judged {
                    true => Ok(()),
                    false => scheduler.ended(key, result, time, now),
                };
                debug_assert!(ended.is_ok());
            }
            News::Reached(point) => scheduler.reached(point),
        }
    }

    /// A queue has another job.
    pub(super) fn take_up(
        &mut self,
        entity: EntityKey,
        after: &[Dependency],
        job: &Arc<Launched>,
        todo: &mut Todo,
    ) {
        let desc = JobDesc {
            payload: job.clone(),
            credits: 1,
            dependencies: after,
            value: Some(job.at.value),
        };
        if let Err(error) = self.scheduler.push(entity, desc) {
            // The point must be reached whatever happens.
            tracing::error!(%error, "a job was not taken");
            todo.told.push(Told {
                point: job.at,
                job: Some(job.clone()),
                error: Some(JobError::Killed),
            });
        }
    }
}
