//! What replacing a strategy costs: how long requests wait for a swap while another client keeps
//! creating and releasing, and how long a strategy takes to start again from the facts.
//!
//! `swap/N` with N live allocations: `pause` is the planner's longest step for the swap, `whole`
//! the time until the newcomer serves, `back` the planner's step for the way back. `restart/N`:
//! a fresh instance takes a geometry and N live allocations, compiled before.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use common::{Row, finish};
use gpumm::parts::{Parts, StrategySource};
use gpumm::wasm::{WasmMechanism, WasmStrategy};
use gpumm::{Pacing, Runtime};
use gpumm_contract::{AllocationId, Extent, Extents, Geometry};
use gpumm_tests::crowd::create;
use gpumm_tests::native;
use serde_json::{Map, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

const LIVE: u64 = 100_000;
const PAGE: u64 = 4096;
const ROUNDS: usize = 10;
const RESTARTED: u64 = 10_000;
const STRATEGIES: [&str; 3] = ["tlsf", "buddy", "range"];

type Source = fn(&str) -> Arc<dyn StrategySource>;

fn component(name: &str) -> Arc<dyn StrategySource> {
    Arc::new(WasmStrategy::built_in(name).unwrap())
}

fn row(case: &str, subject: String, unit: &'static str, samples: Vec<f64>) -> Row {
    Row {
        bench: "swap",
        case: case.into(),
        subject,
        unit,
        samples,
        extra: Map::new(),
    }
}

/// Swaps between each strategy and `tlsf` under load, and back.
fn swaps(kind: &str, parts: Parts, source: Source) -> Vec<Row> {
    let runtime = Runtime::builder()
        .sim(2 * LIVE * PAGE)
        .system_memory(2 * LIVE * PAGE)
        .pacing(Pacing::Window(4))
        .parts(parts)
        .build()
        .unwrap();
    let device = runtime.device(0).unwrap();
    let held = create(&runtime.client(), LIVE, PAGE, false);
    let ended = AtomicBool::new(false);
    let mut rows = Vec::new();
    std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            let client = runtime.client();
            let mut batches = 0u64;
            while !ended.load(Ordering::Relaxed) {
                drop(create(&client, 64, 3 * PAGE, false));
                batches += 1;
            }
            batches
        });
        for name in STRATEGIES {
            let (mut pause, mut whole, mut back) = (Vec::new(), Vec::new(), Vec::new());
            let mut live = 0;
            for _ in 0..ROUNDS {
                let began = Instant::now();
                let swap = device.swap_strategy(source(name)).unwrap();
                whole.push(began.elapsed().as_secs_f64() * 1e6);
                pause.push(swap.pause.as_secs_f64() * 1e6);
                live = swap.live;
                back.push(device.roll_back_strategy().unwrap().pause.as_secs_f64() * 1e6);
            }
            let case = format!("swap/{LIVE}");
            let mut first = row(&case, format!("{kind}/tlsf->{name}/pause"), "us", pause);
            first.extra.insert("live".into(), json!(live));
            rows.push(first);
            rows.push(row(
                &case,
                format!("{kind}/tlsf->{name}/whole"),
                "us",
                whole,
            ));
            rows.push(row(&case, format!("{kind}/{name}->tlsf/back"), "us", back));
        }
        ended.store(true, Ordering::Relaxed);
        assert!(load.join().unwrap() > 0);
    });
    assert_eq!(device.strategy_fault_count(), 0);
    drop(held);
    rows
}

/// Starts a strategy again with live allocations that every second page separates.
fn restarts(kind: &str, source: Source) -> Vec<Row> {
    let live: Vec<(AllocationId, Extents)> = (0..RESTARTED)
        .map(|n| {
            let extent = Extent {
                offset: 2 * n * PAGE,
                bytes: PAGE,
            };
            (AllocationId(n as u32), Extents::one(extent))
        })
        .collect();
    let geometry = Geometry {
        size: 4 * RESTARTED * PAGE,
        granule: PAGE,
    };
    let restart = |name: &&str| {
        let source = source(name);
        let samples = (0..ROUNDS * 3).map(|_| {
            let began = Instant::now();
            let mut fresh = source.build().unwrap();
            fresh.restore(geometry, &live).unwrap();
            began.elapsed().as_secs_f64() * 1e6
        });
        let case = format!("restart/{RESTARTED}");
        row(&case, format!("{kind}/{name}"), "us", samples.collect())
    };
    STRATEGIES.iter().map(restart).collect()
}

fn main() {
    let components = Parts {
        mechanism: Arc::new(WasmMechanism::built_in()),
        strategy: component("tlsf"),
        fallback: component("tlsf"),
    };
    let mut rows = swaps("component", components, component);
    rows.extend(swaps("native", native::parts("tlsf"), native::strategy));
    rows.extend(restarts("component", component));
    rows.extend(restarts("native", native::strategy));
    finish(rows);
}
