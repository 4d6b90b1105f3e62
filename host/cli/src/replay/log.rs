//! Replaying a request log: every batch is planned again, and every plan must be equal.

use super::summary::hex;
use super::{SCHEMA_VERSION, finish, report};
use crate::args::Replay;
use crate::exit::{Exit, Failure};
use crate::files::{Input, Whole};
use crate::progress::Progress;
use crate::size::{LARGEST, human};
use gpumm::log::{LogHeader, LogReader};
use gpumm::{Error, LogReport, Pacing, Runtime, replay_log};
use gpumm_hw::sim::{Sim, SimConfig};
use serde::Serialize;
use std::io::{BufReader, Read};
use std::time::Instant;

/// What the replay of a request log found. As JSON: the fields in this order; all but `timing`
/// is equal in two runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct LogSummary {
    pub(super) schema_version: u32,
    /// `log`, which tells it from a trace's.
    pub(super) kind: &'static str,
    pub(super) source: LogSource,
    pub(super) device: String,
    pub(super) strategy: String,
    pub(super) vram_bytes: u64,
    pub(super) system_bytes: u64,
    pub(super) batches: u64,
    pub(super) requests: u64,
    pub(super) different_batches: u64,
    /// From 0.
    pub(super) first_different_batch: Option<u64>,
    /// Whether the rest was left out, because it no longer fits the plans.
    pub(super) cut_short: bool,
    pub(super) high_water_bytes: u64,
    pub(super) evictions: u64,
    pub(super) swap_ins: u64,
    pub(super) bytes_moved: u64,
    pub(super) bytes_verified: u64,
    pub(super) corrupt_bytes: u64,
    pub(super) device_faults: u64,
    pub(super) crossings: u64,
    pub(super) plan_ops: u64,
    pub(super) plans_digest: String,
    pub(super) restarts: u64,
    pub(super) timing: LogTiming,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct LogSource {
    pub(super) path: String,
    pub(super) format: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct LogTiming {
    pub(super) seconds: f64,
    pub(super) startup_seconds: f64,
}

/// Counts what is read of a log, for the progress bar.
struct Counted<R> {
    inner: R,
    bar: Progress,
    read: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.read += n as u64;
        self.bar.set(self.read);
        Ok(n)
    }
}

/// The command, on an input that begins as a log.
pub(super) fn command(args: &Replay, input: Input) -> Result<(), Failure> {
    if let Some(option) = args.not_for_logs() {
        let line = format!(
            "{}: {option} makes no sense for a request log, which says itself how it was made",
            input.name
        );
        return Err(Failure::new(Exit::Usage, line));
    }
    let json = args.json.as_deref().map(Whole::prepare).transpose()?;
    let name = input.name.clone();
    let summary = replay(input).map_err(|failure| failure.of(&name))?;
    finish(&summary, &report::log_text(&summary), json)?;
    match summary.different_batches + summary.corrupt_bytes + summary.device_faults {
        0 => Ok(()),
        _ => Err(Failure::new(Exit::Found, report::log_verdict(&summary)).of(&name)),
    }
}

fn replay(input: Input) -> Result<LogSummary, Failure> {
    let began = Instant::now();
    let content = Counted {
        inner: input.content,
        bar: Progress::bytes("replay", input.len),
        read: 0,
    };
    let failed = |error: Error| Failure::of_runtime(&error);
    let mut reader = LogReader::new(BufReader::new(content)).map_err(failed)?;
    let header = reader.header().clone();
    check(&header)?;
    let runtime = runtime(&header)
        // Not the command line's fault, as for a trace: the log is.
        .map_err(|error| match failed(error) {
            failure if failure.exit == Exit::Usage => failure.with(Exit::File),
            failure => failure,
        })?;
    let startup = began.elapsed().as_secs_f64();
    let began = Instant::now();
    let report = replay_log(&mut reader, &runtime, |_| {}).map_err(failed)?;
    let timing = LogTiming {
        seconds: began.elapsed().as_secs_f64(),
        startup_seconds: startup,
    };
    Ok(summary(input.name, header, &report, timing))
}

/// Refuses what no device was made with, before memory is reserved for it.
fn check(header: &LogHeader) -> Result<(), Failure> {
    let wrong = |why: String| Err(Failure::new(Exit::File, format!("request log: {why}")));
    // Plans do not depend on the device, so those of a GPU are made again on the simulated one.
    if !["sim", "wgpu"].contains(&header.device.as_str()) {
        return wrong(format!(
            "it is of a device '{}'; only those of sim and wgpu can be replayed",
            header.device
        ));
    }
    let memories = [
        ("device memory", header.vram_bytes),
        ("system memory", header.system_bytes),
    ];
    for (what, bytes) in memories {
        if bytes == 0 || bytes > LARGEST {
            let largest = human(LARGEST);
            return wrong(format!(
                "its header claims {bytes} bytes of {what}; it may be 1 byte to {largest}"
            ));
        }
    }
    let granule = header.granule;
    if !granule.is_power_of_two() || !header.vram_bytes.is_multiple_of(granule) {
        return wrong(format!(
            "its header claims a granule of {granule} bytes for device memory of {} bytes",
            header.vram_bytes
        ));
    }
    if !(1..=64).contains(&header.copy_engines) {
        let engines = header.copy_engines;
        return wrong(format!("its header claims {engines} copy engines"));
    }
    if header.contexts > 4096 {
        let contexts = header.contexts;
        return wrong(format!("its header claims {contexts} contexts"));
    }
    Ok(())
}

fn runtime(header: &LogHeader) -> Result<Runtime, Error> {
    let config = SimConfig::new("sim", header.vram_bytes);
    let mut config = config.copy_engines(header.copy_engines);
    if header.contexts > 0 {
        config = config.rings(1).bind_engine();
    }
    config.granule = header.granule;
    Runtime::builder()
        .device(move |timelines, system| Sim::new(config, timelines, system))
        .system_memory(header.system_bytes)
        .gtt(header.gtt_bytes)
        .contexts(header.contexts as usize)
        .strategy(&header.strategy)
        .grown_as(header)
        .pacing(Pacing::Given)
        .build()
}

fn summary(path: String, header: LogHeader, report: &LogReport, timing: LogTiming) -> LogSummary {
    let device = &report.device;
    LogSummary {
        schema_version: SCHEMA_VERSION,
        kind: "log",
        source: LogSource {
            path,
            format: "gpumm request log",
        },
        device: "sim".into(),
        strategy: header.strategy,
        vram_bytes: header.vram_bytes,
        system_bytes: header.system_bytes,
        batches: report.batches,
        requests: report.requests,
        different_batches: report.different,
        first_different_batch: report.first_different,
        cut_short: report.cut_short,
        high_water_bytes: device.high_water_bytes,
        evictions: device.counts.evictions,
        swap_ins: device.counts.swap_ins,
        bytes_moved: device.counts.bytes_moved,
        bytes_verified: report.bytes_verified,
        corrupt_bytes: report.corrupt_bytes,
        device_faults: report.device_faults,
        crossings: device.crossings,
        plan_ops: device.counts.plan_ops,
        plans_digest: hex(&device.plans_digest),
        restarts: device.restarts,
        timing,
    }
}
