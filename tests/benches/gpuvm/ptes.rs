//! Page-table updates of the simulated device: 256 MiB behind the same addresses again and again,
//! each time other memory.
//!
//! The two lists that take turns have the same pages, each in a random order, so nothing merges
//! into larger ones. The tables are reserved before, as the host does. A sample is as many
//! remappings as make 65,536 entries, from the first submission until the last has ended: a single
//! one of 128 large pages would show two threads waking each other. `plain loop` goes over the same
//! lists and writes one word per page into a `Vec`; the device also checks each list, and a page of
//! 64 KiB is sixteen words in its tables.

use crate::common::Row;
use crate::row;
use gpumm_hw::sim::{Sim, SimConfig};
use gpumm_hw::{
    Backing, Command, Device, EngineId, EngineKind, Outcome, OutcomeValue, PteWrite, Segment,
    Submission, SystemMemory, Timelines, VmId,
};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

const REMAPPED: u64 = 256 << 20;
/// Where; as aligned as the largest page.
const AT: u64 = 1 << 30;
const VM: VmId = VmId(1);
/// Entries per sample, and samples.
const ENTRIES: u64 = REMAPPED / 4096;
const ROUNDS: usize = 60;

const CASES: [(&str, u64); 3] = [
    ("ptes/4k-scattered", 4 << 10),
    ("ptes/64k", 64 << 10),
    ("ptes/2m", 2 << 20),
];

/// All pages of the memory, in an order of their own.
fn shuffled(page: u64, random: &mut fastrand::Rng) -> Arc<[Segment]> {
    let mut pages: Vec<_> = (0..REMAPPED / page)
        .map(|n| Segment::vram(n * page, page))
        .collect();
    random.shuffle(&mut pages);
    pages.into()
}

fn write(list: &Arc<[Segment]>) -> Arc<[PteWrite]> {
    let write = PteWrite {
        address: AT,
        bytes: REMAPPED,
        backing: Backing::Memory {
            segments: Arc::clone(list),
            offset: 0,
            write: true,
        },
    };
    [write].into()
}

/// Remaps everything so many times, beginning with the one list or the other.
fn remap(sim: &Sim, engine: EngineId, lists: &[Arc<[PteWrite]>; 2], first: usize, times: usize) {
    let outcome = Arc::new(Outcome::new());
    for n in first..first + times {
        let writes = Arc::clone(&lists[n % 2]);
        let mut submission = Submission::new(Command::WritePtes { vm: VM, writes });
        if n + 1 == first + times {
            submission = submission.outcome(&outcome);
        }
        sim.submit(engine, submission).unwrap();
    }
    assert_eq!(outcome.wait(None), Some(&OutcomeValue::Done));
}

/// What is left of that without a device.
fn fill(table: &mut [u64], lists: &[Arc<[Segment]>; 2], first: usize, times: usize) {
    for n in first..first + times {
        let entries = table.iter_mut().zip(lists[n % 2].iter());
        entries.for_each(|(entry, page)| *entry = page.offset | 3);
        // Otherwise only the last time would be left.
        black_box(&mut *table);
    }
}

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    let mut random = fastrand::Rng::with_seed(7);
    for (name, page) in CASES {
        let memory = Arc::new(SystemMemory::new(4096).unwrap());
        let config = SimConfig::new("sim", REMAPPED).bind_engine();
        let sim = Sim::new(config, Arc::new(Timelines::new()), memory).unwrap();
        let (engine, _) = sim.properties().engine(EngineKind::Bind).unwrap();
        sim.create_vm(VM, 0, 1 << 47).unwrap();
        sim.reserve_ptes(VM, AT, REMAPPED).unwrap();
        let lists = [(); 2].map(|()| shuffled(page, &mut random));
        let writes = [write(&lists[0]), write(&lists[1])];
        let pages = REMAPPED / page;
        let times = (ENTRIES / pages) as usize;
        let mut table = vec![0; pages as usize];
        // Both tables have their memory then.
        remap(&sim, engine, &writes, 0, 1);
        fill(&mut table, &lists, 0, 1);
        let (mut device, mut plain) = (Vec::new(), Vec::new());
        for round in 1..=ROUNDS {
            let start = Instant::now();
            remap(&sim, engine, &writes, round, times);
            device.push(start.elapsed().as_nanos() as f64 / ENTRIES as f64);
            let start = Instant::now();
            fill(&mut table, &lists, round, times);
            plain.push(start.elapsed().as_nanos() as f64 / ENTRIES as f64);
        }
        let report = sim.vm_report(VM).unwrap();
        let written = [report.ptes_4k, report.ptes_64k, report.ptes_2m];
        let expected = CASES.map(|(_, size)| if size == page { pages } else { 0 });
        assert_eq!(written, expected, "{name}");
        assert!(sim.take_faults().is_empty());
        rows.push(row(name, "sim", "ns/PTE", device));
        rows.push(row(name, "plain loop", "ns/PTE", plain));
    }
    rows
}
