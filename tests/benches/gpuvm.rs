//! What virtual memory costs: binding, page-table updates, and jobs on what is bound.
//!
//! `--part maps|ptes|jobs` runs a part alone.
//!
//! - `maps`, here: random overlapping maps in a space of 47 bits with N mappings present.
//! - `ptes`: page-table updates of the simulated device beside a loop that writes as many words.
//! - `jobs`: submitting jobs through the public API beside the device's own queue, and how many get
//!   through.
//!
//! # Maps
//!
//! Starts are uniform, lengths uniform in 4 KiB to four times the space over N, so that the number
//! of mappings stays near N: a map overlaps two to three. Each one goes as a packed request, is
//! applied, and its packed steps are decoded, all inside the time; subject `S/64` sends 64 in one
//! call. There is a buffer for each 64 mappings. `bytes/N` is the heap that the address space takes.
//! For it every allocation is counted, in all parts: two atomic additions per block.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;
#[path = "gpuvm/jobs.rs"]
mod jobs;
#[path = "gpuvm/ptes.rs"]
mod ptes;

use cap::Cap;
use common::{Row, finish_with, option};
use gpumm_contract::BufferId;
use gpumm_contract::vm::packed::{StepsReader, encode_binds};
use gpumm_contract::vm::{
    Bind, MAX_MAPPINGS, Mapping, Op, PAGE, Span, VirtualMemory, VmConfig, VmId,
};
use gpumm_gpuvm::GpuVm;
use gpumm_tests::vms::VmComponent;
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

/// Fills an address space with about so many mappings.
fn fill(vms: &mut dyn VirtualMemory, rng: &mut fastrand::Rng, count: u64) {
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
    for _ in 0..count.div_ceil(16) {
        steps.clear();
        let binds: Vec<Bind> = (0..64).map(|_| random(rng, count)).collect();
        vms.bind(VM, &binds, &mut steps).unwrap();
    }
}

/// Maps everything in lists of a length, and reads the steps; how many there were.
fn bind(
    vms: &mut dyn VirtualMemory,
    all: &[Bind],
    batch: usize,
    memory: &mut (Vec<u64>, Vec<u64>),
) -> usize {
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

pub(crate) fn row(
    case: impl Into<String>,
    subject: &str,
    unit: &'static str,
    samples: Vec<f64>,
) -> Row {
    Row {
        bench: "gpuvm",
        case: case.into(),
        subject: subject.into(),
        unit,
        samples,
        extra: Map::new(),
    }
}

fn maps() -> Vec<Row> {
    let mut rows = Vec::new();
    for (name, count) in SIZES {
        let mut rng = fastrand::Rng::with_seed(count);
        let before = HEAP.allocated();
        let mut library = GpuVm::default();
        fill(&mut library, &mut rng, count);
        let bytes = HEAP.allocated().saturating_sub(before) as f64;
        let each = bytes / library.mappings(VM) as f64;
        let case = format!("bytes/{name}");
        rows.push(row(case, "gpuvm/native", "B/mapping", vec![each]));
        let mut component = VmComponent::built();
        fill(&mut component, &mut rng, count);
        let keepers: [(&str, &mut dyn VirtualMemory); 2] =
            [("native", &mut library), ("component", &mut component)];
        for (kind, vms) in keepers {
            for batch in [1, 64] {
                let mut memory = (Vec::new(), Vec::new());
                let (mut samples, mut ended) = (Vec::new(), 0);
                for _ in 0..ROUNDS {
                    let all: Vec<Bind> = (0..MAPS).map(|_| random(&mut rng, count)).collect();
                    let start = Instant::now();
                    ended += bind(vms, &all, batch, &mut memory);
                    samples.push(start.elapsed().as_nanos() as f64 / MAPS as f64);
                }
                let subject = format!("gpuvm/{kind}/{batch}");
                let mut row = row(format!("sm-bind/{name}"), &subject, "ns/map", samples);
                let overlapped = ended as f64 / (ROUNDS * MAPS) as f64;
                row.extra.insert("overlapped".into(), overlapped.into());
                rows.push(row);
            }
        }
    }
    rows
}

/// Measures a part.
type Part = fn() -> Vec<Row>;

const PARTS: [(&str, Part); 3] = [("maps", maps), ("ptes", ptes::rows), ("jobs", jobs::rows)];

fn main() {
    let part = option("--part");
    let wanted = |name: &str| part.as_deref().is_none_or(|part| part == name);
    let parts = PARTS.iter().filter(|(name, _)| wanted(name));
    let rows: Vec<Row> = parts.flat_map(|(_, rows)| rows()).collect();
    assert!(!rows.is_empty(), "--part is one of maps, ptes and jobs");
    finish_with(rows, &["--part"]);
}
