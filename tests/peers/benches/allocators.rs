//! Strategies and the allocators of others on the same operations, in one process.
//!
//! `W1`..`W6` are the workloads of `gpumm_tests::workloads`; `live/N` is a free and an allocation
//! at N live ones; a row in bytes is the highest byte that a recorded trace needs. See the README
//! of tests/benches.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../../benches/common/mod.rs"]
mod common;

use common::{Row, finish_with, option};
use gpumm::wasm::WasmStrategy;
use gpumm_allocator_buddy::Buddy;
use gpumm_allocator_range::RangeManager;
use gpumm_allocator_tlsf::Tlsf;
use gpumm_contract::Geometry;
use gpumm_contract::allocator::Mode;
use gpumm_peers::growth::Steady;
use gpumm_peers::places::Places;
use gpumm_peers::recorded::{self, ARENA, REFERENCE};
use gpumm_peers::{
    BuddySystem, Native, OffsetAllocator, RangeAlloc, Slot, Subject, VirtualBlock, heap,
};
use gpumm_tests::workloads::{CAPACITY, NAMES, OPS, Op, SEED, Workload};
use serde_json::{Map, Value, json};
use std::time::{Duration, Instant};

/// Rounds over all subjects; each subject is timed once in each.
const ROUNDS: usize = 7;
/// Who needed longer than this is not timed again.
const SLOW: Duration = Duration::from_secs(4);

/// Makes a subject for ids below a bound.
type Make = fn(usize) -> Box<dyn Subject>;

/// A strategy as a component.
fn slot(name: &str, batch: usize, ids: usize) -> Box<dyn Subject> {
    Box::new(Slot::new(
        &WasmStrategy::built_in(name).unwrap(),
        batch,
        ids,
    ))
}

/// Who is compared, in the order of the rows.
const SUBJECTS: &[(&str, Make)] = &[
    ("tlsf/native", |ids| Box::new(Native::<Tlsf>::new(ids))),
    ("tlsf/component/1", |ids| slot("tlsf", 1, ids)),
    ("tlsf/component/64", |ids| slot("tlsf", 64, ids)),
    ("tlsf/component/1024", |ids| slot("tlsf", 1024, ids)),
    ("buddy/native", |ids| Box::new(Native::<Buddy>::new(ids))),
    ("buddy/component/1", |ids| slot("buddy", 1, ids)),
    ("buddy/component/64", |ids| slot("buddy", 64, ids)),
    ("buddy/component/1024", |ids| slot("buddy", 1024, ids)),
    ("range/native", |ids| {
        Box::new(Native::<RangeManager>::new(ids))
    }),
    ("range/component/1", |ids| slot("range", 1, ids)),
    ("range/component/64", |ids| slot("range", 64, ids)),
    ("range/component/1024", |ids| slot("range", 1024, ids)),
    ("peer/vma", |ids| Box::new(VirtualBlock::new(ids))),
    ("peer/offset-allocator", |ids| {
        Box::new(OffsetAllocator::new(ids))
    }),
    ("peer/range-alloc", |ids| Box::new(RangeAlloc::new(ids))),
    ("peer/buddy_system_allocator", |ids| {
        Box::new(BuddySystem::new(ids))
    }),
];

/// The modes that the recordings' documentation knows, for the marks.
const MODES: &[(&str, Make)] = &[
    ("range/low", |ids| moded(ids, Mode::Low)),
    ("range/best-low", |ids| moded(ids, Mode::BestLow)),
];

fn moded(ids: usize, mode: Mode) -> Box<dyn Subject> {
    Box::new(Native::<RangeManager>::with_mode(ids, mode))
}

/// The bound of the ids of operations.
fn ids(ops: &[Op]) -> usize {
    ops.iter().map(|op| op.id as usize + 1).max().unwrap_or(0)
}

fn row(case: &str, subject: &str, unit: &'static str, samples: Vec<f64>) -> Row {
    Row {
        bench: "allocators",
        case: case.into(),
        subject: subject.into(),
        unit,
        samples,
        extra: Map::new(),
    }
}

/// Replays once without a clock and says how well the memory was used.
fn quality(make: Make, arena: Geometry, ops: &[Op]) -> Map<String, Value> {
    let mut subject = make(ids(ops));
    let mut places = Places::new(arena, ids(ops));
    let before = heap::used();
    subject.start(arena);
    subject.watch(ops, &mut |_, _| ());
    let after = heap::used();
    subject = make(ids(ops));
    subject.start(arena);
    subject.watch(ops, &mut |op, extents| places.see(op, extents));
    let metadata = after
        .zip(before)
        .map(|(after, before)| after.saturating_sub(before));
    let value = json!({
        "refusals": places.refusals,
        "refusals_with_room": places.refusals_with_room,
        "external_fragmentation": places.external_fragmentation(),
        "metadata_bytes": metadata,
    });
    value.as_object().cloned().unwrap()
}

fn timed(make: Make, arena: Geometry, ops: &[Op], prefill: usize) -> Duration {
    let mut subject = make(ids(ops));
    subject.start(arena);
    subject.run(&ops[..prefill]);
    let begin = Instant::now();
    subject.run(&ops[prefill..]);
    begin.elapsed()
}

fn workload_rows(name: &str, rows: &mut Vec<Row>) {
    let (ops, prefill) = Workload::named(name, SEED, OPS).unwrap().collect_all();
    let arena = Geometry {
        size: CAPACITY,
        granule: if name == "W2" { 256 } else { 4096 },
    };
    let mut samples = vec![Vec::new(); SUBJECTS.len()];
    let mut slow = vec![false; SUBJECTS.len()];
    // Subjects take turns, so that a busy neighbour hits all of them.
    for _ in 0..ROUNDS {
        for (at, (_, make)) in SUBJECTS.iter().enumerate() {
            if !slow[at] {
                let time = timed(*make, arena, &ops, prefill);
                samples[at].push(time.as_nanos() as f64 / OPS as f64);
                slow[at] = time > SLOW;
            }
        }
    }
    for ((subject, make), samples) in SUBJECTS.iter().zip(samples) {
        let mut row = row(name, subject, "ns/op", samples);
        row.extra = quality(*make, arena, &ops);
        if subject.contains("component") {
            // Its metadata is in the component's memory.
            row.extra["metadata_bytes"] = Value::Null;
        }
        rows.push(row);
    }
}

/// Numbers of live allocations.
const LIVE: [u32; 4] = [1_000, 10_000, 100_000, 1_000_000];
/// Pairs of operations in a sample, samples at most, and how long a subject may take for them.
const PAIRS: usize = 4096;
const SAMPLES: usize = 32;
const BUDGET: Duration = Duration::from_secs(2);

/// What a free and an allocation cost, the more there is live.
fn growth_rows(rows: &mut Vec<Row>) {
    for live in LIVE {
        for (subject, make) in SUBJECTS {
            let mut steady = Steady::new(live);
            let arena = Geometry {
                size: steady.arena(),
                granule: 4096,
            };
            let mut who = make(live as usize);
            who.start(arena);
            who.run(&steady.prefill());
            // Scatters the holes before anything is timed.
            who.run(&steady.pairs((2 * live as usize).min(200_000)));
            let (begin, mut samples) = (Instant::now(), Vec::new());
            while samples.len() < SAMPLES && (begin.elapsed() < BUDGET || samples.len() < 3) {
                let ops = steady.pairs(PAIRS);
                let start = Instant::now();
                who.run(&ops);
                samples.push(start.elapsed().as_nanos() as f64 / ops.len() as f64);
            }
            rows.push(row(&format!("live/{live}"), subject, "ns/op", samples));
        }
    }
}

/// The highest byte that a recorded trace reaches.
fn high_water_rows(rows: &mut Vec<Row>) {
    let Some(folder) = std::env::var_os("GPUMM_TRACES") else {
        eprintln!("bench: GPUMM_TRACES names no folder: no high-water marks");
        return;
    };
    let traces = recorded::traces(folder.as_ref()).unwrap();
    for (trace, ops) in &traces {
        let subjects = SUBJECTS.iter().filter(|(name, _)| marks(name));
        for (subject, make) in subjects.chain(MODES) {
            let mut places = Places::new(ARENA, ids(ops));
            let mut who = make(ids(ops));
            who.start(ARENA);
            who.watch(ops, &mut |op, extents| places.see(op, extents));
            let mut row = row(trace, subject, "bytes", vec![places.high_water as f64]);
            let (_, first_fit, best_fit) = REFERENCE.iter().find(|r| r.0 == *trace).unwrap();
            let extra = json!({
                "live_peak": places.peak, "of_peak": places.high_water as f64 / places.peak as f64,
                "first_fit": first_fit, "best_fit": best_fit,
            });
            row.extra = extra.as_object().cloned().unwrap();
            rows.push(row);
        }
    }
}

/// Answers do not depend on the batch, nor on being a component.
fn marks(subject: &str) -> bool {
    !subject.contains("component")
}

fn main() {
    let only = option("--workload");
    if let Some(name) = &only
        && !NAMES.contains(&name.as_str())
    {
        eprintln!(
            "bench: there is no workload {name}; there is: {}",
            NAMES.join(", ")
        );
        std::process::exit(2);
    }
    let mut rows = Vec::new();
    for name in NAMES {
        if only.as_deref().is_none_or(|only| only == name) {
            workload_rows(name, &mut rows);
        }
    }
    if only.is_none() {
        growth_rows(&mut rows);
        high_water_rows(&mut rows);
    }
    finish_with(rows, &["--workload"]);
}
