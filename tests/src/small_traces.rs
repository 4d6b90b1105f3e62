//! Replays of recorded traces with buffers of a 128th of their size: as many requests, less to copy.

use gpumm_cli::replay::{self, Hooks, ReplayOptions, Summary, Verify};
use gpumm_hw::sim::FaultRule;
use gpumm_trace::{Options, Trace};
use serde_json::Value;
use std::fs::File;
use std::path::Path;
use std::time::Duration;

/// 1,499 events; its jobs, copies and fills are about 5,000 operations.
pub const FORWARD: &str = "cs336_forward_fp32_ctx128.csv.gz";
/// 8,376 events.
pub const TRAINING: &str = "torch_cpu_resnet18_train.csv.gz";

/// A trace by the name of its file.
pub fn trace(name: &str) -> Trace {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("traces")
        .join(name);
    let mut trace = gpumm_trace::import(File::open(path).unwrap(), name, Options::default());
    for event in trace.iter_mut().flat_map(|t| &mut t.events) {
        event.bytes = (event.bytes / 128).max(1);
    }
    trace.unwrap()
}

/// So many per cent of the live peak, and faults.
pub fn options(trace: &Trace, percent: u64, rules: &[&str]) -> ReplayOptions {
    let peak = trace.stats().live_peak_bytes;
    let vram = (peak * percent / 100).next_multiple_of(4096);
    ReplayOptions {
        verify: Verify::Full,
        faults: rules.iter().map(|r| r.parse().unwrap()).collect(),
        patience: Some(Duration::from_millis(20)),
        ..ReplayOptions::new("trace", vram, (peak * 3).next_multiple_of(4096))
    }
}

/// Runs twice; both must say the same, no byte may be corrupt, no component may have failed, and
/// the faults must explain everything.
#[track_caller]
pub fn run(trace: &Trace, options: &ReplayOptions) -> Summary {
    let once = replay::run(trace, options, Hooks::default()).unwrap();
    let twice = replay::run(trace, options, Hooks::default()).unwrap();
    let rules: Vec<String> = options.faults.iter().map(FaultRule::to_string).collect();
    assert_eq!(
        json(&once, &[]),
        json(&twice, &[]),
        "twice the same: {rules:?}"
    );
    assert_eq!(once.corrupt_bytes, 0, "{rules:?}");
    assert!(once.is_good(), "{rules:?}: {:?}", once.details);
    if options.restart_mechanism_every.is_none() {
        assert_eq!(once.restarts, 0, "{rules:?}");
    }
    once
}

/// The JSON without what may differ.
pub fn json(summary: &Summary, keys: &[&str]) -> Value {
    let mut value = serde_json::to_value(summary).unwrap();
    for key in keys.iter().chain(&["timing"]) {
        value.as_object_mut().unwrap().remove(*key).unwrap();
    }
    value
}
