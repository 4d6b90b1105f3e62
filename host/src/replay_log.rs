//! Planning a request log again and comparing every plan.

use crate::error::Error;
use crate::log::{LogReader, LoggedBatch};
use crate::planner::DeviceReport;
use crate::runtime::Runtime;
use gpumm_contract::request::Request;
use gpumm_hw as hw;
use std::collections::VecDeque;
use std::io::Read;
use std::sync::Arc;

/// What a replay of a log found.
#[derive(Clone, Debug)]
pub struct LogReport {
    /// Batches planned.
    pub batches: u64,
    /// Requests in them.
    pub requests: u64,
    /// Batches whose plans differ from the recorded ones.
    pub different: u64,
    /// The first of them, from 0.
    pub first_different: Option<u64>,
    /// Whether the rest of the log was left out, because it no longer fits the plans.
    pub cut_short: bool,
    /// Commands that failed on the device.
    pub device_faults: u64,
    /// Bytes compared by check jobs.
    pub bytes_verified: u64,
    /// Bytes that were not as they should be.
    pub corrupt_bytes: u64,
    /// What the device did.
    pub device: DeviceReport,
}

/// Plans every batch of a log on a fresh Runtime and compares the plans' digests.
///
/// The Runtime must have been built from the log's header with [`Pacing::Given`] and
/// [`RuntimeBuilder::grown_as`].
/// Errors: the log is damaged, or the device stops.
///
/// [`Pacing::Given`]: crate::Pacing::Given
/// [`RuntimeBuilder::grown_as`]: crate::RuntimeBuilder::grown_as
pub fn replay_log<R: Read>(
    reader: &mut LogReader<R>,
    runtime: &Runtime,
    mut progress: impl FnMut(u64),
) -> Result<LogReport, Error> {
    let mut report = LogReport {
        batches: 0,
        requests: 0,
        different: 0,
        first_different: None,
        cut_short: false,
        device_faults: 0,
        bytes_verified: 0,
        corrupt_bytes: 0,
        device: DeviceReport::default(),
    };
    let mut outstanding = VecDeque::new();
    let mut contents = true;
    while let Some(batch) = reader.next()? {
        report.requests += batch.requests.len() as u64;
        // A loss of the device happened to what it did then, not to what it does now: contents
        // are another's from here on.
        contents &= !batch.requests.contains(&Request::Lost);
        let (same, outcomes) = match plan_again(runtime, batch) {
            // Other plans submit other operations than those that the log waits for.
            Err(Error::Log(_)) if report.different > 0 => {
                report.cut_short = true;
                break;
            }
            planned => planned?,
        };
        if !same {
            report.different += 1;
            report.first_different.get_or_insert(report.batches);
        }
        report.batches += 1;
        if contents {
            outstanding.extend(outcomes);
        }
        fold(&mut report, &mut outstanding, false);
        progress(report.batches);
    }
    runtime.device(0)?.drain()?;
    fold(&mut report, &mut outstanding, true);
    report.device_faults = runtime.device(0)?.hardware().take_faults().len() as u64;
    report.device = runtime.device(0)?.report()?;
    Ok(report)
}

/// Adds up the outcomes that are there; `all` once nothing runs any more.
fn fold(report: &mut LogReport, outstanding: &mut VecDeque<Arc<hw::Outcome>>, all: bool) {
    while let Some(outcome) = outstanding.front() {
        match outcome.get() {
            Some(hw::OutcomeValue::Checked(check)) => {
                report.bytes_verified += check.bytes_verified;
                report.corrupt_bytes += check.corrupt_bytes;
            }
            Some(_) => {}
            // Without an outcome the job never ran: its access was refused.
            None if all => {}
            None => break,
        }
        outstanding.pop_front();
    }
}

fn plan_again(
    runtime: &Runtime,
    batch: LoggedBatch,
) -> Result<(bool, Vec<Arc<hw::Outcome>>), Error> {
    runtime.device(0)?.control(move |planner| {
        planner.await_retires(&batch.requests)?;
        planner.prepare_vms(&batch.requests)?;
        let mut outcomes = Vec::new();
        for (id, job) in batch.jobs {
            let outcome = Arc::new(hw::Outcome::new());
            outcomes.push(outcome.clone());
            planner.add_job(id, job, outcome);
        }
        planner.script(batch.failed_mappings, Some(batch.grown))?;
        planner.run(&batch.requests)?;
        planner.pass_jobs(&batch.requests);
        Ok((planner.last_digest() == batch.digest, outcomes))
    })?
}
