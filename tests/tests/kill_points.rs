//! A mechanism that dies at a thousand random points between calls of a replayed trace changes
//! nothing that anybody can see, with and without faults of the device.
#![allow(clippy::unwrap_used)]

use gpumm::parts::Parts;
use gpumm_cli::replay::{self, Hooks, ReplayOptions, Summary, Verify};
use gpumm_tests::killing::Killing;
use gpumm_tests::{moves, native};
use gpumm_trace::{Options, Trace};
use serde_json::Value;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// A recorded trace of smaller buffers, so that content is compared in full.
fn trace() -> Trace {
    let name = "cs336_forward_fp32_ctx128.csv.gz";
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("traces")
        .join(name);
    let file = File::open(path).unwrap();
    let mut trace = gpumm_trace::import(file, name, Options::default()).unwrap();
    for event in &mut trace.events {
        event.bytes = event.bytes.div_ceil(128);
    }
    trace
}

fn replayed(trace: &Trace, parts: Parts, rules: &[&str], batch_events: u32) -> Summary {
    let peak = trace.stats().live_peak_bytes;
    let options = ReplayOptions {
        verify: Verify::Full,
        batch_events,
        parts: Some(parts),
        faults: rules.iter().map(|rule| rule.parse().unwrap()).collect(),
        patience: Some(Duration::from_millis(20)),
        ..ReplayOptions::new(
            "trace",
            (peak * 6 / 10).next_multiple_of(4096),
            (peak * 3).next_multiple_of(4096) + (1 << 20),
        )
    };
    replay::run(trace, &options, Hooks::default()).unwrap()
}

/// The JSON without what may differ.
fn json(summary: &Summary) -> Value {
    let mut value = serde_json::to_value(summary).unwrap();
    value.as_object_mut().unwrap().remove("timing").unwrap();
    value
}

/// Compares runs with deaths with one without; returns how many deaths there were.
fn deaths(parts: &Parts, rules: &[&str], batch: u32, seeds: std::ops::Range<u64>) -> u64 {
    let trace = trace();
    let calm = replayed(&trace, parts.clone(), rules, batch);
    assert!(
        calm.evictions > 50 && calm.corrupt_bytes == 0,
        "{}",
        json(&calm)
    );
    let mut died = 0;
    for seed in seeds {
        let mechanism = Killing::new(parts.mechanism.clone(), seed);
        let deaths = mechanism.deaths();
        let mortal = Parts {
            mechanism: Arc::new(mechanism),
            ..parts.clone()
        };
        let killed = replayed(&trace, mortal, rules, batch);
        assert_eq!(json(&killed), json(&calm), "{rules:?}, seed {seed}");
        died += deaths.load(Ordering::Relaxed);
    }
    died
}

#[test]
fn a_component_killed_at_a_thousand_points_changes_nothing() {
    let died = deaths(&moves::components(), &[], 2, 0..3);
    assert!(died >= 1000, "{died}");
}

#[test]
fn a_library_killed_at_a_thousand_points_changes_nothing() {
    let died = deaths(&native::parts("buddy"), &[], 2, 0..3);
    assert!(died >= 1000, "{died}");
}

#[test]
fn with_faults_a_thousand_deaths_change_nothing_either() {
    let faults: [&[&str]; 4] = [
        &["fail copy every 7"],
        &["refuse fallback", "fail copy 5%", "fail job every 200"],
        &["lose device after 900 ops", "lose device after 2500 ops"],
        &[
            "fail dma map every 9",
            "fail allocation of fallback every 5",
            "hang copy 20",
            "lose device after 1500 ops",
        ],
    ];
    let mut died = 0;
    for (rules, seed) in faults.iter().zip(10..) {
        died += deaths(&moves::components(), rules, 2, seed..seed + 1);
        died += deaths(&native::parts("tlsf"), rules, 2, seed..seed + 1);
    }
    assert!(died >= 1000, "{died}");
}

#[test]
fn deaths_beside_a_loss_of_the_device_change_nothing() {
    // Large batches: the loss finds moves in both directions that have not run.
    for after in (150..4500).step_by(150) {
        let rule = format!("lose device after {after} ops");
        let rules = ["fail copy every 9", &rule];
        assert!(deaths(&native::parts("tlsf"), &rules, 32, after..after + 2) > 20);
    }
    let rules = ["lose device after 2100 ops"];
    assert!(deaths(&moves::components(), &rules, 32, 0..2) > 20);
}
