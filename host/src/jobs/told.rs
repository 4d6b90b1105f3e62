//! How jobs end: those that hang, and what everybody is told.

use super::launch::Launched;
use super::ring::Ring;
use crate::executor::hardware_point;
use gpumm_contract::Point;
use gpumm_hw as hw;
use gpumm_scheduler::{JobError, JobKey, Verdict};
use std::sync::Arc;

/// A job that has ended: what is told without the lock.
pub(super) struct Told {
    pub(super) job: Option<Arc<Launched>>,
    pub(super) point: Point,
    pub(super) error: Option<JobError>,
}

impl Ring {
    /// A job makes no progress: the device ends it alone, and its queue answers for it.
    pub(super) fn hangs(&self, key: JobKey) {
        // One that works is never ended, however long it takes.
        let engine = self.site.engine;
        if self.site.device.is_hung(engine) {
            tracing::warn!(?key, "a job hangs; it is ended");
            self.change(|state, _| {
                if let Some(job) = state.running.get(key) {
                    job.hangs();
                }
            });
            // Its hooks are called with the error, and with them the capture is made.
            if let Err(error) = self.site.device.reset_engine(engine) {
                tracing::error!(%error, "a job that hangs cannot be ended");
            }
        } else {
            self.change(|state, now| {
                // It may have ended by itself meanwhile.
                let _ = state.scheduler.timeout_verdict(key, Verdict::NoHang, now);
            });
        }
    }

    /// Tells how a job ended, and reaches its point.
    pub(super) fn tell(&self, told: Told) {
        if let Some(job) = &told.job {
            let value = match told.error {
                None => job.value().unwrap_or(hw::OutcomeValue::Done),
                Some(JobError::Failed(_)) => {
                    let bug = hw::DeviceError::Bug("a job failed without an error");
                    job.value().unwrap_or(hw::OutcomeValue::Failed(bug))
                }
                Some(JobError::Cancelled) => hw::OutcomeValue::Failed(hw::DeviceError::Cancelled),
                Some(JobError::Killed) => hw::OutcomeValue::Failed(hw::DeviceError::Killed),
                Some(JobError::TimedOut) => hw::OutcomeValue::Failed(hw::DeviceError::TimedOut),
                Some(JobError::Lost) => hw::OutcomeValue::Failed(hw::DeviceError::Lost),
            };
            job.let_go();
            job.outcome().fill(value);
        }
        let at = hardware_point(told.point);
        // A later job of the queue may have been told by another thread by now.
        let _ = self.site.timelines.advance(at.timeline, at.value);
    }
}
