//! A recorded trace, replayed on the device.

use super::Row;
use gpumm_cli::DeviceKind;
use gpumm_cli::replay::{self, Hooks, ReplayOptions};
use gpumm_tests::small_traces::{self, FORWARD};
use serde_json::Map;
use std::time::Instant;

/// Samples of each case.
const ROUNDS: usize = 5;

pub(crate) fn run(device: &str, only: &str) -> Vec<Row> {
    let kind = match device.split_once(':').unwrap_or((device, "")) {
        ("wgpu", "") => DeviceKind::Wgpu(None),
        ("wgpu", name) => DeviceKind::Wgpu(Some(name.into())),
        _ => DeviceKind::Sim,
    };
    let subjects = [
        (device.to_owned(), kind),
        ("sim".to_owned(), DeviceKind::Sim),
    ];
    let count = if device == "sim" { 1 } else { 2 };
    let trace = small_traces::trace(FORWARD);
    let events = trace.events.len() as f64;
    let mut rows = Vec::new();
    for (case, percent, vm) in [
        ("replay/1.5x", 150, false),
        ("replay/0.6x", 60, false),
        ("replay/0.6x-vm", 60, true),
    ] {
        if !case.contains(only) {
            continue;
        }
        let mut samples = vec![Vec::new(); count];
        for _ in 0..ROUNDS {
            for ((_, device), samples) in subjects.iter().zip(&mut samples) {
                let options = ReplayOptions {
                    device: device.clone(),
                    vm,
                    ..small_traces::options(&trace, percent, &[])
                };
                let start = Instant::now();
                let summary = replay::run(&trace, &options, Hooks::default()).unwrap();
                samples.push(events / start.elapsed().as_secs_f64());
                assert_eq!(summary.corrupt_bytes, 0);
            }
        }
        rows.extend(
            subjects
                .iter()
                .zip(samples)
                .map(|((name, _), samples)| Row {
                    bench: "device",
                    case: case.into(),
                    subject: name.clone(),
                    unit: "events/s",
                    samples,
                    extra: Map::new(),
                }),
        );
    }
    rows
}
