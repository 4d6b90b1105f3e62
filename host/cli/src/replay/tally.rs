//! What is added up during a replay, and the summary of it.

use super::summary::{AccessModel, Details, SCHEMA_VERSION, Source, Summary, Timing, hex};
use super::{ReplayOptions, ShadowDone, StrategyFaultDone, SwapDone, Verify, VmDone, faults};
use crate::device::Adapter;
use gpumm::contract::plan::Status;
use gpumm::job::Check;
use gpumm::{DeviceReport, Error};
use gpumm_hw::sim::FaultRule;
use gpumm_hw::{CheckReport, DeviceError};
use gpumm_trace::Trace;

/// One block in so many is checked by [`Verify::Sample`].
const SAMPLE: u32 = 64;

/// What is added up on the way.
#[derive(Default)]
pub(super) struct Tally {
    /// What explains failures.
    rules: Vec<FaultRule>,
    pub(super) failed_allocations: u64,
    pub(super) failed_accesses: u64,
    mapping_failures: u64,
    pub(super) refused_accesses: u64,
    cancelled_jobs: u64,
    device_faults: u64,
    checked: CheckReport,
    pub(super) empty: u64,
    /// Allocations whose content was lost, ascending.
    pub(super) poisoned: Vec<u64>,
    pub(super) faults_injected: u64,
    pub(super) swaps: Vec<SwapDone>,
    pub(super) failed_swaps: u64,
    pub(super) pauses: Vec<u64>,
    pub(super) strategy_faults: Vec<StrategyFaultDone>,
    pub(super) shadow: Option<ShadowDone>,
    pub(super) vm: Option<VmDone>,
    pub(super) maps: Option<String>,
    pub(super) adapter: Option<Adapter>,
    pub(super) details: Details,
}

impl Tally {
    /// Nothing so far, on a device with these fault rules.
    pub(super) fn new(rules: &[FaultRule]) -> Self {
        Tally {
            rules: rules.to_vec(),
            ..Tally::default()
        }
    }

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
            Error::Refused(Status::Poisoned) if faults::lose_content(&self.rules) => return Ok(()),
            // What cannot be mapped cannot be moved out to make room either.
            Error::Refused(Status::NotMapped | Status::NoSpace { stuck: 1.., .. })
                if faults::fail_mappings(&self.rules) =>
            {
                self.mapping_failures += 1;
                return Ok(());
            }
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

    /// A job was accepted and has not run, or not to its end.
    pub(super) fn cancelled(&mut self, error: DeviceError) {
        let details = &mut self.details;
        match error {
            DeviceError::Lost => details.lost_jobs += 1,
            DeviceError::Poisoned => details.poisoned_jobs += 1,
            DeviceError::Injected | DeviceError::TimedOut => details.failed_jobs += 1,
            _ => return self.fault(error),
        }
        self.cancelled_jobs += 1;
        if !faults::explain(&self.rules, error) {
            let text = || format!("a job on the device: {error}");
            self.details.first_failure.get_or_insert_with(text);
        }
    }

    /// A command failed on the device.
    pub(super) fn fault(&mut self, error: DeviceError) {
        if !faults::explain(&self.rules, error) {
            self.device_faults += 1;
            let text = || format!("a command failed on the device: {error}");
            self.details.first_failure.get_or_insert_with(text);
        }
    }

    fn note(&mut self, trace: &Trace, report: &DeviceReport) {
        let notes = &mut self.details.notes;
        notes.extend(trace.notes.iter().cloned());
        if self.empty > 0 {
            let empty = self.empty;
            notes.push(format!(
                "{empty} allocations have no bytes; they are counted, not placed"
            ));
        }
        let unwritten = |problem: &String| format!("a capture is missing: {problem}");
        notes.extend(report.capture_problems.iter().map(unwritten));
        self.details.capture_problem = report.capture_problems.first().cloned();
    }

    /// The summary of a run that took so many seconds to start and to do.
    pub(super) fn summary(
        mut self,
        trace: &Trace,
        options: &ReplayOptions,
        report: DeviceReport,
        [startup, seconds]: [f64; 2],
    ) -> Summary {
        let stats = trace.stats();
        self.note(trace, &report);
        self.details.maps = self.maps.take();
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
            device: options.device.word().into(),
            adapter: self.adapter,
            strategy,
            vram_bytes: options.vram_bytes,
            system_bytes: options.system_bytes,
            gtt_bytes: options.gtt_bytes.unwrap_or(options.system_bytes),
            copy_engines: options.copy_engines,
            access_model: AccessModel {
                touch: options.touch,
                before_free: true,
                at_end: true,
                verify: options.verify,
                tenants: options.tenants,
                batch_events: options.batch_events,
                window_batches: options.window_batches,
            },
            faults: self.rules,
            fault_seed: options.fault_seed,
            allocations: stats.allocations,
            frees: stats.frees,
            live_peak_bytes: stats.live_peak_bytes,
            live_peak_allocations: stats.live_peak_allocations,
            high_water_bytes: report.high_water_bytes,
            failed_allocations: self.failed_allocations,
            failed_accesses: self.failed_accesses,
            mapping_failures: self.mapping_failures,
            evictions: report.counts.evictions,
            swap_ins: report.counts.swap_ins,
            bytes_moved: moved,
            bytes_verified: verified,
            corrupt_bytes: self.checked.corrupt_bytes,
            device_faults: self.device_faults,
            faults_injected: self.faults_injected,
            cpu_fallbacks: report.cpu_fallbacks,
            poisoned: self.poisoned,
            refused_accesses: self.refused_accesses,
            cancelled_jobs: self.cancelled_jobs,
            resets: report.resets,
            failed_operations: report.failed_operations,
            captures: report.captures,
            swaps: self.swaps,
            failed_swaps: self.failed_swaps,
            strategy_faults: self.strategy_faults,
            shadow: self.shadow,
            vm: self.vm,
            crossings: report.crossings,
            plan_ops: report.counts.plan_ops,
            plans_digest: hex(&report.plans_digest),
            restarts: report.restarts,
            timing: Timing {
                swap_pause_ns: self.pauses,
                ..Timing::new(startup, seconds, events, moved, verified)
            },
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
