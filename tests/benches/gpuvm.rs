//! What binding costs: random overlapping maps in a space of 47 bits with N mappings present.
//!
//! Starts are uniform, lengths uniform in 4 KiB to four times the space over N, so that the number
//! of mappings stays near N: a map overlaps two to three. Each one goes as a packed request, is
//! applied, and its packed steps are decoded, all inside the time; subject `S/64` sends 64 in one
//! call. There is a buffer for each 64 mappings. `bytes/N` is the heap that the address space takes.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use cap::Cap;
use common::{Row, finish};
use gpumm_contract::BufferId;
use gpumm_contract::vm::packed::{StepsReader, encode_binds};
use gpumm_contract::vm::{
    Bind, MAX_MAPPINGS, Mapping, Op, PAGE, Span, VirtualMemory, VmConfig, VmId,
};
use gpumm_gpuvm::GpuVm;
use serde_json::Map;
use std::alloc::System;
use std::hint::black_box;
use std::time::Instant;

#[global_allocator]
static HEAP: Cap<System> = Cap::new(System, usize::MAX);

const SIZES: [(&str, u64); 4] = [
    ("1k", 1_000),
    ("10k", 10_000),
    ("100k", 100_000),
    ("1M", 1_000_000),
];
const SPACE: u64 = 1 << 47;
const VM: VmId = VmId(1);
/// Maps per sample, and samples.
const MAPS: usize = 4096;
const ROUNDS: usize = 60;

fn random(rng: &mut fastrand::Rng, count: u64) -> Bind {
    let bytes = rng.u64(1..=4 * SPACE / count / PAGE) * PAGE;
    let start = rng.u64(0..=(SPACE - bytes) / PAGE) * PAGE;
    Bind::Map(Mapping {
        at: Span { start, bytes },
        buffer: Some(BufferId(rng.u64(0..buffers(count)))),
        offset: rng.u64(0..1 << 20) * PAGE,
        attributes: 0,
    })
}

fn buffers(count: u64) -> u64 {
    (count / 64).max(16)
}

/// An address space with about so many mappings.
fn filled(rng: &mut fastrand::Rng, count: u64) -> GpuVm {
    let mut vms = GpuVm::default();
    let config = VmConfig {
        range: Span {
            start: 0,
            bytes: SPACE,
        },
        kernel: Span::default(),
        mappings: MAX_MAPPINGS,
        mappings_per_buffer: MAX_MAPPINGS,
    };
    vms.create(VM, config).unwrap();
    for buffer in 0..buffers(count) {
        vms.obtain(VM, BufferId(buffer), false).unwrap();
    }
    let mut steps = Vec::new();
    for _ in 0..4 * count {
        steps.clear();
        vms.bind(VM, &[random(rng, count)], &mut steps).unwrap();
    }
    vms
}

/// Maps everything in lists of a length, and reads the steps; how many there were.
fn bind(vms: &mut GpuVm, all: &[Bind], batch: usize, memory: &mut (Vec<u64>, Vec<u64>)) -> usize {
    let mut count = 0;
    for list in all.chunks(batch) {
        let binds = encode_binds(list, std::mem::take(&mut memory.0));
        let steps = vms
            .bind_packed(VM, &binds, std::mem::take(&mut memory.1))
            .unwrap();
        let mut reader = StepsReader::new(&steps).unwrap();
        while let Some(op) = reader.next().unwrap() {
            count += usize::from(matches!(black_box(op), Op::Unmap(_) | Op::Remap(_)));
        }
        *memory = (binds, steps);
    }
    count
}

fn main() {
    let mut rows = Vec::new();
    let row = |case: String, subject: &str, unit, samples| Row {
        bench: "gpuvm",
        case,
        subject: subject.into(),
        unit,
        samples,
        extra: Map::new(),
    };
    for (name, count) in SIZES {
        let mut rng = fastrand::Rng::with_seed(count);
        let before = HEAP.allocated();
        let mut vms = filled(&mut rng, count);
        let bytes = HEAP.allocated().saturating_sub(before) as f64;
        let each = bytes / vms.mappings(VM) as f64;
        let case = format!("bytes/{name}");
        rows.push(row(case, "gpuvm/native", "B/mapping", vec![each]));
        let mut memory = (Vec::new(), Vec::new());
        for (subject, batch) in [("gpuvm/native", 1), ("gpuvm/native/64", 64)] {
            let (mut samples, mut ended) = (Vec::new(), 0);
            for _ in 0..ROUNDS {
                let all: Vec<Bind> = (0..MAPS).map(|_| random(&mut rng, count)).collect();
                let start = Instant::now();
                ended += bind(&mut vms, &all, batch, &mut memory);
                samples.push(start.elapsed().as_nanos() as f64 / MAPS as f64);
            }
            let mut row = row(format!("sm-bind/{name}"), subject, "ns/map", samples);
            let overlapped = ended as f64 / (ROUNDS * MAPS) as f64;
            row.extra.insert("overlapped".into(), overlapped.into());
            row.extra.insert("mappings".into(), vms.mappings(VM).into());
            rows.push(row);
        }
    }
    finish(rows);
}
