//! Recorded traces whose strategy is replaced on the way, with every byte verified.
#![allow(clippy::unwrap_used)]

use gpumm::parts::{Parts, StrategySource};
use gpumm::wasm::{WasmMechanism, WasmStrategy};
use gpumm_cli::replay::{self, Hooks, ReplayOptions, StrategyFaultDone, SwapAt, SwapTo};
use gpumm_components::{patch_trap, strategy_trap, trap_site};
use gpumm_tests::program::call;
use gpumm_tests::small_traces::{FORWARD, TRAINING, json, options, run, trace};
use gpumm_trace::Trace;
use std::path::Path;
use std::sync::Arc;

/// Those that serve wishes of any size.
const GENERAL: [&str; 3] = ["tlsf", "range", "buddy"];

fn strategy(name: &str) -> Arc<dyn StrategySource> {
    Arc::new(WasmStrategy::built_in(name).unwrap())
}

fn to(part: f64, name: &str) -> SwapAt {
    let by = SwapTo::Strategy(strategy(name));
    SwapAt { part, by }
}

fn back(part: f64) -> SwapAt {
    let by = SwapTo::Back;
    SwapAt { part, by }
}

fn swapping(trace: &Trace, first: &str, swaps: Vec<SwapAt>, rules: &[&str]) -> ReplayOptions {
    ReplayOptions {
        strategy: first.into(),
        swaps,
        ..options(trace, 60, rules)
    }
}

#[test]
fn strategies_take_over_in_the_middle_of_a_trace() {
    for (name, rules) in [
        (FORWARD, &[][..]),
        (TRAINING, &[]),
        (
            FORWARD,
            &["fail copy every 9", "lose device after 2500 ops"],
        ),
    ] {
        let trace = trace(name);
        for (at, first) in GENERAL.iter().enumerate() {
            let (second, third) = (GENERAL[(at + 1) % 3], GENERAL[(at + 2) % 3]);
            let swaps = vec![back(0.9), to(0.3, second), to(0.6, third)];
            let summary = run(&trace, &swapping(&trace, first, swaps, rules));
            let made: Vec<(&str, &str)> = summary
                .swaps
                .iter()
                .map(|s| (s.from.as_str(), s.to.as_str()))
                .collect();
            assert_eq!(made, [(*first, second), (second, third), (third, second)]);
            assert!(
                summary
                    .swaps
                    .iter()
                    .all(|s| !s.rolled_back && s.reason.is_none())
            );
            assert!(
                summary.swaps.iter().any(|s| s.live > 8),
                "{:?}",
                summary.swaps
            );
            assert_eq!(summary.timing.swap_pause_ns.len(), 3);
            assert!(summary.timing.swap_pause_ns.iter().all(|&ns| ns > 0));
            assert_eq!((summary.failed_swaps, summary.failed_allocations), (0, 0));
            assert_eq!(summary.strategy_faults, []);
        }
    }
}

#[test]
fn a_swap_to_itself_changes_no_plan_where_the_layout_says_everything() {
    // What range answers depends on the age of its holes, and tlsf's on the order of its lists.
    let trace = trace(FORWARD);
    let calm = run(&trace, &swapping(&trace, "buddy", vec![], &[]));
    let swapped = run(
        &trace,
        &swapping(&trace, "buddy", vec![to(0.5, "buddy")], &[]),
    );
    assert_eq!(json(&swapped, &["swaps"]), json(&calm, &["swaps"]));
}

#[test]
fn a_newcomer_that_fails_is_sent_back_and_the_report_says_so() {
    let trace = trace(TRAINING);
    let site = trap_site::STRATEGY_EXECUTE;
    let bytes = patch_trap(strategy_trap("range").unwrap(), site, 7).unwrap();
    let bad = SwapAt {
        part: 0.25,
        by: SwapTo::Strategy(Arc::new(WasmStrategy::new("bad", bytes))),
    };
    let options = swapping(&trace, "tlsf", vec![bad], &[]);
    let once = replay::run(&trace, &options, Hooks::default()).unwrap();
    let twice = replay::run(&trace, &options, Hooks::default()).unwrap();
    assert_eq!(json(&once, &[]), json(&twice, &[]));
    assert!(once.is_good() && once.restarts == 1, "{:?}", once.details);
    let [swap] = &once.swaps[..] else {
        panic!("{:?}", once.swaps);
    };
    assert!(swap.rolled_back && swap.reason.as_deref().unwrap().contains("trap"));
    let [fault] = &once.strategy_faults[..] else {
        panic!("{:?}", once.strategy_faults);
    };
    let StrategyFaultDone {
        name,
        error,
        at_event,
        fallback,
    } = fault;
    assert_eq!((name.as_str(), fallback.as_str()), ("bad", "tlsf"));
    assert!(error.starts_with("it trapped"), "{error}");
    assert!(*at_event >= swap.at_event, "{at_event} {swap:?}");
}

#[test]
fn a_strategy_that_always_fails_gives_way_to_the_built_in_one() {
    let trace = trace(FORWARD);
    let site = trap_site::STRATEGY_EXECUTE;
    let bytes = patch_trap(strategy_trap("buddy").unwrap(), site, 3).unwrap();
    let parts = Parts {
        mechanism: Arc::new(WasmMechanism::built_in()),
        strategy: Arc::new(WasmStrategy::new("bad", bytes)),
        fallback: strategy("tlsf"),
    };
    let options = ReplayOptions {
        parts: Some(parts),
        ..options(&trace, 60, &[])
    };
    let summary = replay::run(&trace, &options, Hooks::default()).unwrap();
    assert!(summary.is_good() && summary.corrupt_bytes == 0);
    let fallbacks: Vec<&str> = summary
        .strategy_faults
        .iter()
        .map(|fault| fault.fallback.as_str())
        .collect();
    assert!(fallbacks.contains(&"bad"), "{fallbacks:?}");
}

#[test]
fn a_shadow_is_compared_and_changes_nothing() {
    let trace = trace(TRAINING);
    let calm = run(&trace, &options(&trace, 60, &[]));
    let beside = ReplayOptions {
        shadow: Some(strategy("buddy")),
        ..options(&trace, 60, &[])
    };
    let beside = run(&trace, &beside);
    assert_eq!(json(&beside, &["shadow"]), json(&calm, &["shadow"]));
    let shadow = beside.shadow.unwrap();
    assert_eq!(
        (shadow.serving.as_str(), shadow.shadow.as_str()),
        ("tlsf", "buddy")
    );
    assert!(
        shadow.fault.is_none() && shadow.wishes >= calm.allocations,
        "{shadow:?}"
    );
}

#[test]
fn the_program_swaps_and_says_how_to_go_back() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("traces/cs336_weighted_sum.csv.gz");
    let path = path.to_string_lossy();
    let swaps = [
        "--vram",
        "1.5x",
        "--verify",
        "off",
        "--swap",
        "50%:buddy",
        "--swap",
        "75%:back",
    ];
    let called = call(&[&["replay", &path], &swaps[..]].concat());
    assert_eq!(called.status, 0, "{}", called.err);
    assert!(called.out.contains("tlsf -> buddy, "), "{}", called.out);
    assert!(called.out.contains("buddy -> tlsf, "), "{}", called.out);
    assert!(called.out.contains("--swap P%:back"), "{}", called.out);
    for (wrong, line) in [
        (&["--swap", "50%:nope"][..], "there is no strategy 'nope'"),
        (&["--swap", "50%"], "expected P%:STRATEGY"),
        (&["--shadow", "nope"], "there is no strategy 'nope'"),
        (&["--shadow", "./none.wasm"], "none.wasm"),
        (
            &["--swap", "5%:buddy", "--log", "x.log"],
            "--log keeps requests",
        ),
    ] {
        let called = call(&[&["replay", &path], wrong].concat());
        assert!(called.status == 2 || called.status == 3, "{wrong:?}");
        assert!(called.err.contains(line), "{wrong:?}: {}", called.err);
        assert_eq!(called.err.trim_end().lines().count(), 1, "{}", called.err);
    }
    // Back from nowhere is a finding.
    let called = call(&["replay", &*path, "--vram", "1.5x", "--swap", "50%:back"]);
    assert_eq!(called.status, 1);
    assert!(called.out.contains("did not take over"), "{}", called.out);
}
