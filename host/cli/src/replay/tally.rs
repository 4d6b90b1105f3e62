//! What is added up during a replay, and the summary of it.

use super::summary::{AccessModel, Details, SCHEMA_VERSION, Source, Summary, Timing, hex};
use super::{ReplayOptions, Verify};
use gpumm::contract::plan::Status;
use gpumm::job::Check;
use gpumm::{DeviceReport, Error};
use gpumm_hw::CheckReport;
use gpumm_trace::Trace;

/// One block in so many is checked by [`Verify::Sample`].
const SAMPLE: u32 = 64;

/// What is added up on the way.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) failed_allocations: u64,
    pub(super) failed_accesses: u64,
    pub(super) device_faults: u64,
    checked: CheckReport,
    pub(super) empty: u64,
    pub(super) details: Details,
}

impl Tally {
    /// Remembers why the first request failed, and what would help.
    ///
    /// Errors: it failed because the device has stopped.
    pub(super) fn failed(
        &mut self,
        error: Error,
        what: impl FnOnce() -> String,
    ) -> Result<(), Error> {
        match error {
            Error::Stopped(_) => return Err(error),
            // There are buffers that could make room, had they somewhere to go.
            Error::Refused(Status::NoSpace { stuck, .. }) if stuck > 0 => {
                self.details.more_system = true;
            }
            Error::Refused(Status::NoSpace { .. } | Status::TooLarge { .. }) => {
                self.details.more_vram = true;
            }
            _ => {}
        }
        let text = || format!("{}: {error}", what());
        self.details.first_failure.get_or_insert_with(text);
        Ok(())
    }

    pub(super) fn compared(&mut self, report: &CheckReport) {
        self.checked.add(report);
    }

    fn note(&mut self, trace: &Trace) {
        let notes = &mut self.details.notes;
        notes.extend(trace.notes.iter().cloned());
        if self.empty > 0 {
            let empty = self.empty;
            notes.push(format!(
                "{empty} allocations have no bytes; they are counted, not placed"
            ));
        }
    }

    /// The summary of a run that took so many seconds to start and to do.
    pub(super) fn summary(
        mut self,
        trace: &Trace,
        options: &ReplayOptions,
        report: &DeviceReport,
        [startup, seconds]: [f64; 2],
    ) -> Summary {
        let stats = trace.stats();
        self.note(trace);
        let events = stats.allocations + stats.frees;
        let moved = report.counts.bytes_moved;
        let verified = self.checked.bytes_verified;
        let strategy = match &options.parts {
            Some(parts) => parts.strategy.name().to_owned(),
            None => options.strategy.clone(),
        };
        Summary {
            schema_version: SCHEMA_VERSION,
            source: Source {
                path: options.name.clone(),
                format: trace.format.to_string(),
                events: stats.events,
            },
            device: "sim".into(),
            strategy,
            vram_bytes: options.vram_bytes,
            system_bytes: options.system_bytes,
            access_model: AccessModel {
                touch: options.touch,
                before_free: true,
                at_end: true,
                verify: options.verify,
                tenants: options.tenants,
                batch_events: options.batch_events,
                window_batches: options.window_batches,
            },
            allocations: stats.allocations,
            frees: stats.frees,
            live_peak_bytes: stats.live_peak_bytes,
            live_peak_allocations: stats.live_peak_allocations,
            high_water_bytes: report.high_water_bytes,
            failed_allocations: self.failed_allocations,
            failed_accesses: self.failed_accesses,
            evictions: report.counts.evictions,
            swap_ins: report.counts.swap_ins,
            bytes_moved: moved,
            bytes_verified: verified,
            corrupt_bytes: self.checked.corrupt_bytes,
            device_faults: self.device_faults,
            crossings: report.crossings,
            plan_ops: report.counts.plan_ops,
            plans_digest: hex(&report.plans_digest),
            restarts: report.restarts,
            timing: Timing::new(startup, seconds, events, moved, verified),
            details: self.details,
        }
    }
}

/// How much of a buffer's content of this generation is compared. Samples look at other blocks
/// each time, and at the same ones in every run.
pub(super) fn check(verify: Verify, id: u64, generation: u64) -> Check {
    match verify {
        Verify::Off => Check::Off,
        Verify::Full => Check::Full,
        Verify::Sample => {
            let phase = id.wrapping_add(generation) % u64::from(SAMPLE);
            Check::Sample {
                one_in: SAMPLE,
                phase: phase as u32,
            }
        }
    }
}
