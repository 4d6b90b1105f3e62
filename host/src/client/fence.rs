//! Fences.

use crate::error::Error;
use crate::executor::hardware_point;
use crate::jobs::Launched;
use crate::runtime::DeviceShared;
use gpumm_contract::{Point, TimelineId};
use gpumm_hw as hw;
use std::sync::Arc;
use std::time::Duration;

/// A point that a device will reach, and the outcome of the job that reaches it.
#[derive(Clone)]
pub struct Fence {
    device: Arc<DeviceShared>,
    point: Point,
    told: Told,
}

/// Where the outcome is told.
#[derive(Clone)]
enum Told {
    Alone(Arc<hw::Outcome>),
    /// In the block of a job that went without the planner.
    With(Arc<Launched>),
}

impl std::fmt::Debug for Fence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fence")
            .field("point", &self.point)
            .finish_non_exhaustive()
    }
}

impl Fence {
    pub(super) fn new(device: Arc<DeviceShared>, point: Point, outcome: Arc<hw::Outcome>) -> Self {
        Fence {
            device,
            point,
            told: Told::Alone(outcome),
        }
    }

    /// The fence of a job that went without the planner.
    pub(super) fn of_job(device: Arc<DeviceShared>, job: Arc<Launched>) -> Self {
        Fence {
            device,
            point: job.at,
            told: Told::With(job),
        }
    }

    fn told(&self) -> &hw::Outcome {
        match &self.told {
            Told::Alone(outcome) => outcome,
            Told::With(job) => job.outcome(),
        }
    }

    /// The fence of page-table writes; of none, one that is reached.
    pub(super) fn bound(device: Arc<DeviceShared>, point: Option<Point>) -> Self {
        let outcome = hw::Outcome::new();
        // A write that fails is done again by the CPU; if that fails too, jobs say so.
        outcome.fill(hw::OutcomeValue::Done);
        let reached = Point {
            timeline: TimelineId(0),
            value: 0,
        };
        Fence::new(device, point.unwrap_or(reached), Arc::new(outcome))
    }

    /// The point.
    pub fn point(&self) -> Point {
        self.point
    }

    /// Whether the point is reached.
    pub fn is_reached(&self) -> bool {
        self.device.timelines.reached(hardware_point(self.point))
    }

    /// Waits for the point.
    ///
    /// Errors: the job failed, or the device has stopped.
    pub fn wait(&self) -> Result<(), Error> {
        self.outcome().map(|_| ())
    }

    /// Waits for the point, but not longer than this; whether it is reached.
    ///
    /// Errors: the device has stopped.
    pub fn wait_for(&self, timeout: Duration) -> Result<bool, Error> {
        let point = hardware_point(self.point);
        match self.device.timelines.wait(point, Some(timeout)) {
            Ok(()) => Ok(true),
            Err(hw::WaitError::TimedOut) => Ok(false),
            Err(error) => Err(Error::System(error.to_string())),
        }
    }

    /// Waits for the point and says how the job ended.
    ///
    /// Errors: the job failed, or the device has stopped.
    pub fn outcome(&self) -> Result<hw::OutcomeValue, Error> {
        let point = hardware_point(self.point);
        self.device
            .timelines
            .wait(point, None)
            .map_err(|e| Error::System(e.to_string()))?;
        match self.told().wait(None) {
            Some(hw::OutcomeValue::Failed(error)) => Err(Error::Device(*error)),
            Some(value) => Ok(value.clone()),
            None => Err(Error::System("the job's outcome is missing".into())),
        }
    }

    /// How the job ended, if it has.
    pub fn try_outcome(&self) -> Option<&hw::OutcomeValue> {
        self.told().get()
    }
}
