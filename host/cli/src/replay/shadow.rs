//! What a strategy would have done that decides beside the one that serves.

use gpumm::{Compared, ShadowReport};
use serde::Serialize;

/// One figure of both strategies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Both {
    /// Of the one that served.
    pub serving: u64,
    /// Of the one that decided beside.
    pub shadow: u64,
}

impl From<Compared> for Both {
    fn from(of: Compared) -> Self {
        Both {
            serving: of.serving,
            shadow: of.shadow,
        }
    }
}

/// How the two compare at the end of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ShadowDone {
    /// Who served.
    pub serving: String,
    /// Who decided beside.
    pub shadow: String,
    /// Wishes for memory that both were asked for.
    pub wishes: u64,
    /// Wishes that were refused.
    pub refusals: Both,
    /// Highest end of an extent.
    pub high_water_bytes: Both,
    /// Holes at the end.
    pub holes: Both,
    /// The largest hole at the end.
    pub largest_hole_bytes: Both,
    /// What the shadow did wrong; it was not asked any more then.
    pub fault: Option<String>,
}

impl From<ShadowReport> for ShadowDone {
    fn from(report: ShadowReport) -> Self {
        ShadowDone {
            serving: report.serving,
            shadow: report.shadow,
            wishes: report.wishes,
            refusals: report.refusals.into(),
            high_water_bytes: report.high_water_bytes.into(),
            holes: report.holes.into(),
            largest_hole_bytes: report.largest_hole_bytes.into(),
            fault: report.fault.map(|fault| fault.to_string()),
        }
    }
}
