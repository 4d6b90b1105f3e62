//! What ends jobs and address spaces, and what happens under jobs at work.

#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use common::*;
use gpumm_hw::sim::{Sabotage, SimConfig};
use gpumm_hw::{
    Backing, Command, Device, DeviceError, EngineId, EngineKind, OutcomeValue, Segment, Submission,
    VmKernel,
};

#[test]
fn what_is_destroyed_is_unknown_and_its_memory_is_free() {
    let sim = device();
    let control = sim.control();
    let pages = two_pages(&sim);
    map(&sim, &[backed(0, &pages, true)]);
    control.hold(COMPUTE).unwrap();
    let queued = submit(&sim, COMPUTE, job(put(0, 9)));
    sim.destroy_vm(VM).unwrap();
    control.release(COMPUTE).unwrap();
    let unknown = DeviceError::UnknownVm(VM);
    assert_eq!(*queued.wait(TIME).unwrap(), failed(unknown));
    assert_eq!(perform(&sim, COPY, write_ptes(&[])), failed(unknown));
    for result in [
        sim.destroy_vm(VM),
        sim.reserve_ptes(VM, 0, PAGE),
        sim.vm_report(VM).map(|_| ()),
        sim.page_table(VM, 1).map(|_| ()),
        sim.cpu().perform(&write_ptes(&[])).map(|_| ()),
    ] {
        assert_eq!(result, Err(unknown));
    }
    sim.create_vm(VM, 0, SPAN).unwrap();
    assert_eq!(get(&sim, 0), unmapped(0));
}

#[test]
fn loss_and_reset_empty_tables_and_keep_what_was_reserved() {
    let sim = device();
    let control = sim.control();
    let pages = two_pages(&sim);
    map(&sim, &[backed(0, &pages, true)]);
    assert_eq!(get(&sim, 0), OutcomeValue::Checksum(1));
    let before = sim.vm_report(VM).unwrap();
    control.lose();
    let value = perform(&sim, COMPUTE, job(put(0, 1)));
    assert_eq!(value, failed(DeviceError::Lost));
    let value = sim.cpu().perform(&write_ptes(&[]));
    assert_eq!(value, Err(DeviceError::Lost));
    sim.reset().unwrap();
    let after = sim.vm_report(VM).unwrap();
    assert_eq!((after.ptes_4k, before.ptes_4k), (0, 3));
    assert_eq!(after.table_bytes, before.table_bytes);
    assert_eq!(get(&sim, 0), unmapped(0));
}

#[test]
fn jobs_are_kept_from_bytes_in_use_and_from_what_is_not_mapped_for_dma() {
    let machine = Machine::new();
    let (sim, _) = machine.sim_unmapped(SimConfig::new("sim", MEMORY));
    sim.create_vm(VM, 0, SPAN).unwrap();
    sim.map_dma(&[Segment::system(0, PAGE)]).unwrap();
    map(&sim, &[backed(0, &[Segment::system(0, 2 * PAGE)], true)]);
    assert_eq!(run(&sim, put(PAGE - 8, 3)), OutcomeValue::Done);
    let error = DeviceError::IommuFault {
        offset: PAGE,
        bytes: 4,
    };
    assert_eq!(run(&sim, put(PAGE - 4, 4)), failed(error));
    let mut word = [0; 8];
    machine.system.read(PAGE - 8, &mut word).unwrap();
    assert_eq!(u64::from_le_bytes(word), 3);
}

#[test]
fn a_job_fails_and_hangs_by_rule() {
    let mut config = SimConfig::new("sim", MEMORY).rings(2).bind_engine();
    config.timeout = Duration::from_secs(3600);
    let (sim, control) = Machine::new().sim_with(config);
    let names: Vec<_> = sim.properties().engines.iter().map(|e| &*e.name).collect();
    assert_eq!(names, ["copy", "compute", "ring0", "ring1", "bind"]);
    let (bind, _) = sim.properties().engine(EngineKind::Bind).unwrap();
    assert_eq!(bind, EngineId(4));
    sim.create_vm(VM, 0, SPAN).unwrap();
    map(&sim, &[backed(0, &[Segment::vram(0, PAGE)], true)]);
    control.inject("fail job 1".parse().unwrap());
    control.inject("hang job 2".parse().unwrap());
    let fill = VmKernel::Fill {
        dst: 16,
        bytes: 32,
        pattern: 1,
    };
    let ring = EngineId(2);
    assert_eq!(
        perform(&sim, ring, job(fill.clone())),
        failed(DeviceError::Injected)
    );
    let bytes = bytes_of(&sim, &[Segment::vram(0, 64)]);
    assert!(bytes[16..32].iter().all(|byte| *byte == 0xdb) && bytes[32..] == [0; 32]);
    // Nothing in progress.
    sim.reset_engine(ring).unwrap();
    let hung = submit(&sim, ring, job(fill.clone()));
    let behind = submit(&sim, ring, job(fill.clone()));
    until(|| control.hung(ring).unwrap());
    sim.reset_engine(COPY).unwrap();
    assert!(hung.get().is_none());
    sim.reset_engine(ring).unwrap();
    assert_eq!(*hung.wait(TIME).unwrap(), failed(DeviceError::Reset));
    assert_eq!(*behind.wait(TIME).unwrap(), OutcomeValue::Done);
    let unknown = DeviceError::UnknownEngine(EngineId(5));
    assert_eq!(sim.reset_engine(EngineId(5)), Err(unknown));
}

#[test]
fn an_engine_reset_ends_a_job_at_work_and_no_copy() {
    let machine = Machine::new();
    let (sim, control) = machine.sim_with(SimConfig::new("sim", 64 << 20));
    sim.create_vm(VM, 0, 1 << 40).unwrap();
    // Far more than it can do in the time: all of it sparse.
    map(&sim, &[ptes(0, 1 << 38, Backing::Sparse)]);
    let fill = VmKernel::CheckPattern {
        src: 0,
        bytes: 1 << 38,
        key: gpumm_hw::PatternKey {
            buffer: 0,
            generation: 0,
        },
    };
    let outcome = submit(&sim, COMPUTE, job(fill.clone()));
    let behind = submit(&sim, COMPUTE, Command::Nop);
    until(|| sim.statistics().engines[1].bytes_run > 0);
    // Page tables change and translations are forgotten while it works.
    map(&sim, &[ptes(1 << 39, PAGE, Backing::Sparse)]);
    assert!(outcome.get().is_none());
    sim.reset_engine(COMPUTE).unwrap();
    assert_eq!(*outcome.wait(TIME).unwrap(), failed(DeviceError::Reset));
    assert_eq!(*behind.wait(TIME).unwrap(), OutcomeValue::Done);
    // The destruction of its address space ends it too.
    let outcome = submit(&sim, COMPUTE, job(fill.clone()));
    until(|| control.queued(COMPUTE).unwrap() == 0);
    sim.destroy_vm(VM).unwrap();
    assert_eq!(
        *outcome.wait(TIME).unwrap(),
        failed(DeviceError::UnknownVm(VM))
    );
    let zero = [Segment::vram(0, 32 << 20)];
    let copied = submit(&sim, COPY, fill_of(&zero));
    sim.reset_engine(COPY).unwrap();
    assert_eq!(*copied.wait(TIME).unwrap(), OutcomeValue::Done);
}

fn fill_of(list: &[Segment]) -> Command {
    fill(list, 0x0102_0304_0506_0708)
}

/// Pages are moved under a job again and again: with invalidations no byte is ever wrong.
#[test]
fn pages_move_under_jobs() {
    let config = SimConfig::new("sim", MEMORY).rings(1).bind_engine();
    let machine = Machine::new();
    let (sim, control) = machine.sim_with(config);
    let (ring, bind) = (EngineId(2), EngineId(3));
    sim.create_vm(VM, 0, SPAN).unwrap();
    let key = gpumm_hw::PatternKey {
        buffer: 3,
        generation: 3,
    };
    let (pages, bytes) = (32, 32 * PAGE);
    // Two copies of the same words.
    let homes = [Segment::vram(0, bytes), Segment::vram(512 << 10, bytes)];
    for home in homes {
        perform(&sim, COPY, write_pattern(&[home], key));
    }
    map(&sim, &[backed(0, &homes[..1], true)]);
    let check = VmKernel::CheckPattern { src: 0, bytes, key };
    let mut value = 0;
    for honest in [true, false] {
        control
            .sabotage(Sabotage::IgnoreInvalidations(!honest))
            .unwrap();
        let before = stale(&sim);
        let mut wrong = 0;
        for round in 0..200_u64 {
            let next = homes[(round % 2) as usize];
            let jobs: Vec<_> = (0..3)
                .map(|_| submit(&sim, ring, job(check.clone())))
                .collect();
            let order: Vec<u64> = (0..pages).map(|n| (n * 7 + round) % pages).collect();
            for n in order {
                let page = Segment::vram(next.offset + n * PAGE, PAGE);
                submit(&sim, bind, write_ptes(&[backed(n * PAGE, &[page], true)]));
            }
            let forget = Submission::new(Command::InvalidateTlb { vm: VM });
            value += 1;
            sim.submit(bind, forget.signal(value)).unwrap();
            let forgotten = point(&sim, bind, value);
            assert_eq!(machine.timelines.wait(forgotten, TIME), Ok(()));
            // The old home is spoiled, whatever was at work, and made good again.
            let other = homes[(round + 1) as usize % 2];
            for job in jobs {
                let done = job.wait(TIME).unwrap().clone();
                assert!(matches!(done, OutcomeValue::Checked(report) if report.is_clean()));
            }
            perform(&sim, COPY, fill(&[other], 0));
            if let OutcomeValue::Checked(report) = perform(&sim, ring, job(check.clone())) {
                wrong += report.corrupt_bytes;
            }
            perform(&sim, COPY, write_pattern(&[other], key));
        }
        assert_eq!(wrong > 0, !honest);
        assert!(honest || stale(&sim) > before);
    }
}
