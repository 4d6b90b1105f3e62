//! Recorded traces through the whole stack: library against component, and components that die.
//!
//! Plans are compared by the digest over all of them, so "equal" means byte for byte.
#![allow(clippy::unwrap_used)]

use gpumm::log::LogReader;
use gpumm::parts::{Parts, StrategySource};
use gpumm::wasm::{WasmMechanism, WasmStrategy};
use gpumm::{Error, LogReport, Pacing, Runtime, RuntimeBuilder, replay_log};
use gpumm_cli::replay::{self, Hooks, ReplayOptions, Summary, Verify};
use gpumm_components::{MECHANISM_TRAP, patch_trap, strategy_trap, trap_site as site};
use gpumm_hw::sim::{Sabotage, SimControl};
use gpumm_tests::life::Life;
use gpumm_tests::native;
use gpumm_tests::strategies::Fickle;
use gpumm_trace::{Options, Trace};
use serde_json::Value;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};

fn trace() -> Trace {
    let name = "cs336_forward_fp32_ctx128.csv.gz";
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("traces")
        .join(name);
    gpumm_trace::import(File::open(path).unwrap(), name, Options::default()).unwrap()
}

/// Six tenths of the live peak, and room for everything beside it.
fn options(trace: &Trace, verify: Verify) -> ReplayOptions {
    let peak = trace.stats().live_peak_bytes;
    let vram = peak * 6 / 10 / 4096 * 4096;
    ReplayOptions {
        verify,
        ..ReplayOptions::new("trace", vram, (peak * 2).next_multiple_of(4096))
    }
}

fn built_in(name: &str) -> Arc<WasmStrategy> {
    Arc::new(WasmStrategy::built_in(name).unwrap())
}

fn run(trace: &Trace, options: &ReplayOptions) -> Summary {
    let summary = replay::run(trace, options, Hooks::default()).unwrap();
    assert!(
        summary.evictions > 0 && summary.is_good(),
        "{}",
        json(&summary)
    );
    summary
}

/// The JSON without what may differ.
fn json_without(summary: &Summary, keys: &[&str]) -> Value {
    let mut value = json(summary);
    for key in keys.iter().chain(&["timing"]) {
        value.as_object_mut().unwrap().remove(*key).unwrap();
    }
    value
}

fn json(summary: &Summary) -> Value {
    serde_json::to_value(summary).unwrap()
}

#[test]
fn library_and_component_give_the_same_plans() {
    let trace = trace();
    for strategy in ["tlsf", "buddy"] {
        let wasm = ReplayOptions {
            strategy: strategy.into(),
            ..options(&trace, Verify::Off)
        };
        let native = ReplayOptions {
            parts: Some(native::parts(strategy)),
            ..wasm.clone()
        };
        assert_eq!(
            json_without(&run(&trace, &wasm), &[]),
            json_without(&run(&trace, &native), &[])
        );
    }
}

#[test]
fn a_mechanism_killed_between_calls_changes_only_the_restarts() {
    let trace = trace();
    let calm = run(&trace, &options(&trace, Verify::Off));
    for every in [1, 5] {
        let killed = ReplayOptions {
            restart_mechanism_every: Some(every),
            ..options(&trace, Verify::Off)
        };
        let killed = run(&trace, &killed);
        assert!(json(&killed)["restarts"].as_u64().unwrap() > 5);
        assert_eq!(
            json_without(&killed, &["restarts"]),
            json_without(&calm, &["restarts"])
        );
    }
}

#[test]
fn components_that_trap_inside_calls_lose_nothing() {
    let trace = trace();
    let calm = run(&trace, &options(&trace, Verify::Full));
    let mechanism = |at, countdown| {
        let bytes = patch_trap(MECHANISM_TRAP, at, countdown).unwrap();
        let mechanism = Arc::new(WasmMechanism::new("trapping", bytes));
        Parts {
            mechanism,
            strategy: built_in("tlsf"),
            fallback: built_in("tlsf"),
        }
    };
    let strategy = |at, countdown| {
        let bytes = patch_trap(strategy_trap("tlsf").unwrap(), at, countdown).unwrap();
        let strategy = Arc::new(WasmStrategy::new("trapping", bytes));
        let mechanism = Arc::new(WasmMechanism::built_in());
        Parts {
            mechanism,
            strategy,
            fallback: built_in("tlsf"),
        }
    };
    // Countdowns above what one request needs: a large buffer evicts dozens of small ones.
    let cases = [
        mechanism(site::MANAGER_EXECUTE, 11),
        mechanism(site::MANAGER_EXECUTED, 11),
        mechanism(site::MANAGER_BEFORE_SLOT, 200),
        mechanism(site::MANAGER_AFTER_SLOT, 200),
        mechanism(site::MANAGER_AFTER_TABLE, 1500),
        mechanism(site::TABLE_HOLD, 600),
        strategy(site::STRATEGY_EXECUTE, 20),
        strategy(site::STRATEGY_EXECUTED, 20),
    ];
    for parts in cases {
        let trapping = ReplayOptions {
            parts: Some(parts),
            ..options(&trace, Verify::Full)
        };
        let (once, twice) = (run(&trace, &trapping), run(&trace, &trapping));
        assert!(json(&once)["restarts"].as_u64().unwrap() > 0);
        assert_eq!(
            json_without(&once, &[]),
            json_without(&twice, &[]),
            "twice the same"
        );
        for key in [
            "failed_allocations",
            "failed_accesses",
            "corrupt_bytes",
            "allocations",
            "bytes_verified",
        ] {
            assert_eq!(json(&once)[key], json(&calm)[key], "{key}");
        }
    }
}

#[test]
fn a_sabotaged_device_is_seen_by_the_verification() {
    let trace = trace();
    for sabotage in [
        Sabotage::DropSegment {
            nth_command: 0,
            segment: 0,
        },
        Sabotage::DropSegment {
            nth_command: 5,
            segment: 0,
        },
    ] {
        let mut break_it = |control: SimControl| control.sabotage(sabotage).unwrap();
        let hooks = Hooks {
            device: Some(&mut break_it),
            ..Hooks::default()
        };
        let summary = replay::run(&trace, &options(&trace, Verify::Full), hooks).unwrap();
        assert!(
            summary.corrupt_bytes > 0 && !summary.is_good(),
            "{}",
            json(&summary)
        );
    }
}

/// A writer whose bytes the test keeps.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Replays a log as the command line does.
fn again(log: &[u8]) -> Result<LogReport, Error> {
    again_with(log, |builder| builder)
}

fn again_with(
    log: &[u8],
    more: impl FnOnce(RuntimeBuilder) -> RuntimeBuilder,
) -> Result<LogReport, Error> {
    let mut reader = LogReader::new(log)?;
    let header = reader.header();
    // A damaged header is not what this is about.
    let (vram, system) = (
        header.vram_bytes.min(1 << 30),
        header.system_bytes.min(1 << 30),
    );
    let (vram, system) = (vram.next_multiple_of(4096).max(4096), system.max(4096));
    let runtime = Runtime::builder()
        .sim(vram)
        .system_memory(system)
        .pacing(Pacing::Given);
    replay_log(&mut reader, &more(runtime).build()?, |_| {})
}

#[test]
fn a_strategy_that_answers_differently_the_next_time_is_found_by_its_log() {
    let parts = |strategy: &Arc<dyn StrategySource>| Parts {
        strategy: strategy.clone(),
        ..native::parts("range")
    };
    for (strategy, differs) in [
        (native::strategy("range"), false),
        (
            Arc::new(Fickle::new(native::strategy("range"))) as Arc<_>,
            true,
        ),
    ] {
        let kept = Kept::default();
        let builder = Runtime::builder()
            .sim(1 << 20)
            .system_memory(8 << 20)
            .log(kept.clone())
            .parts(parts(&strategy));
        let runtime = builder.pacing(Pacing::Window(2)).build().unwrap();
        let mut life = Life::new(&runtime, 11, 2, 100_000);
        (0..60).for_each(|_| life.step());
        let tally = life.end();
        let device = runtime.device(0).unwrap();
        device.drain().unwrap();
        device.end_log().unwrap();
        assert_eq!((tally.corrupt, device.strategy_fault_count()), (0, 0));
        let log = kept.0.lock().unwrap().clone();
        let report = again_with(&log, |builder| builder.parts(parts(&strategy))).unwrap();
        // It is told, and no byte is wrong for it.
        assert_eq!(report.different > 0, differs, "{report:?}");
        assert_eq!(report.first_different.is_some(), differs, "{report:?}");
        assert_eq!((report.corrupt_bytes, report.cut_short), (0, differs));
    }
}

#[test]
fn a_log_gives_the_same_plans_and_a_damaged_one_ends_in_an_error() {
    let kept = Kept::default();
    let builder = Runtime::builder()
        .sim(1 << 20)
        .system_memory(8 << 20)
        .log(kept.clone());
    let runtime = builder.pacing(Pacing::Window(2)).build().unwrap();
    let mut life = Life::new(&runtime, 11, 2, 300_000);
    (0..60).for_each(|_| life.step());
    life.end();
    runtime.device(0).unwrap().drain().unwrap();
    let digest = runtime.device(0).unwrap().report().unwrap().plans_digest;
    runtime.device(0).unwrap().end_log().unwrap();
    let log = kept.0.lock().unwrap().clone();
    let report = again(&log).unwrap();
    assert_eq!((report.different, report.device.plans_digest), (0, digest));
    assert!(report.batches > 60 && report.bytes_verified > 0 && report.corrupt_bytes == 0);
    let mut rng = fastrand::Rng::with_seed(1);
    for _ in 0..60 {
        let mut damaged = log.clone();
        let at = rng.usize(0..damaged.len());
        damaged[at] ^= 1 << rng.u32(0..8);
        // An error, a difference, or (in what is only content) neither: but an end, and no panic.
        let _ = again(&damaged);
    }
    for _ in 0..20 {
        let cut = rng.usize(0..log.len());
        assert!(
            matches!(again(&log[..cut]), Err(Error::Log(_))),
            "cut at {cut}"
        );
    }
}
