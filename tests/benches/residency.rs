//! What residency costs: evicting and bringing back 10,000 buffers of 64 KiB, the time of the
//! mechanism and its slots beside that of the copies; and the memory that a live buffer takes.
//!
//! `evict+return` fills device memory with 10,000 buffers, pushes them out with 10,000 others and
//! uses them again, in batches of 64. `planning` is the CPU time inside the mechanism's calls
//! (the broker and the strategy included) per move, `copies` the copy engine's busy time per move.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use common::{Row, finish};
use cpu_time::ThreadTime;
use gpumm::parts::{Executed, Mechanism, MechanismSource, Parts, SlotDesk};
use gpumm::wasm::{WasmMechanism, WasmStrategy};
use gpumm::{Batch, Client, ComponentFault, Job, Pacing, Runtime};
use gpumm_hw::sim::{Sim, SimConfig, SimControl};
use gpumm_tests::crowd::{BATCH, create};
use gpumm_tests::native;
use serde_json::{Map, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;

const BUFFERS: u64 = 10_000;
const SIZE: u64 = 64 << 10;
const ROUNDS: usize = 5;

/// Passes calls on and adds up their time.
#[derive(Debug)]
struct Timed {
    inner: Arc<dyn MechanismSource>,
    nanos: Arc<AtomicU64>,
}

struct Running(Box<dyn Mechanism>, Arc<AtomicU64>);

impl MechanismSource for Timed {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn build(&self) -> Result<Box<dyn Mechanism>, ComponentFault> {
        Ok(Box::new(Running(self.inner.build()?, self.nanos.clone())))
    }
}

impl Mechanism for Running {
    fn restore(&mut self, facts: &[Vec<u64>]) -> Result<(), ComponentFault> {
        self.0.restore(facts)
    }

    fn execute(&mut self, requests: &[u64], desk: Box<dyn SlotDesk>) -> Executed {
        // The thread's own time: engines and planner share the cores.
        let begin = ThreadTime::now();
        let executed = self.0.execute(requests, desk);
        let nanos = begin.elapsed().as_nanos() as u64;
        self.1.fetch_add(nanos, Ordering::Relaxed);
        executed
    }
}

fn runtime(parts: Parts, vram: u64) -> (Runtime, SimControl) {
    let (give, take) = channel();
    let runtime = Runtime::builder()
        .system_memory(4 * BUFFERS * SIZE)
        .pacing(Pacing::Window(4))
        .parts(parts)
        .device(move |timelines, memory| {
            let sim = Sim::new(SimConfig::new("sim", vram), timelines, memory)?;
            give.send(sim.control()).unwrap();
            Ok(sim)
        })
        .build()
        .unwrap();
    (runtime, take.recv().unwrap())
}

fn in_batches<T>(client: &Client, items: &[T], mut ask: impl FnMut(&mut Batch, &T)) {
    for part in items.chunks(BATCH) {
        let mut batch = client.batch();
        part.iter().for_each(|item| ask(&mut batch, item));
        batch.submit().unwrap();
    }
}

fn moves(subject: &str, parts: Parts) -> Vec<Row> {
    let nanos = Arc::new(AtomicU64::new(0));
    let mechanism = Arc::new(Timed {
        inner: parts.mechanism.clone(),
        nanos: nanos.clone(),
    });
    let (runtime, control) = runtime(Parts { mechanism, ..parts }, BUFFERS * SIZE);
    let client = runtime.client();
    let device = runtime.device(0).unwrap();
    let first = create(&client, BUFFERS, SIZE, true);
    let second = create(&client, BUFFERS, SIZE, true);
    let copying = || -> u64 { control.statistics().engines[0].busy.as_nanos() as u64 };
    let (mut planning, mut copies, mut shares) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS * 2 {
        device.drain().unwrap();
        let before = device.report().unwrap().counts;
        let (plans, copied) = (nanos.load(Ordering::Relaxed), copying());
        let back = if round % 2 == 0 { &first } else { &second };
        in_batches(&client, back, |batch, buffer| {
            batch.access(Job::Nothing, &[buffer], false);
        });
        device.drain().unwrap();
        let after = device.report().unwrap().counts;
        let moved = after.evictions + after.swap_ins - before.evictions - before.swap_ins;
        assert_eq!(moved, 2 * BUFFERS);
        let per_move = |n: u64| n as f64 / moved as f64;
        planning.push(per_move(nanos.load(Ordering::Relaxed) - plans));
        copies.push(per_move(copying() - copied));
        shares.push(planning[round] / copies[round]);
    }
    shares.sort_by(f64::total_cmp);
    let mut extra = Map::new();
    extra.insert("planning/copies".into(), json!(shares[shares.len() / 2]));
    let row = |what: &str, samples, extra| Row {
        bench: "residency",
        case: "evict+return/10000x64KiB".into(),
        subject: format!("{subject}/{what}"),
        unit: "ns/move",
        samples,
        extra,
    };
    vec![
        row("planning", planning, extra),
        row("copies", copies, Map::new()),
    ]
}

fn main() {
    let component = Parts {
        mechanism: Arc::new(WasmMechanism::built_in()),
        strategy: Arc::new(WasmStrategy::built_in("tlsf").unwrap()),
        fallback: Arc::new(WasmStrategy::built_in("tlsf").unwrap()),
    };
    let mut rows = moves("component", component);
    rows.extend(moves("native", native::parts("tlsf")));
    finish(rows);
}
