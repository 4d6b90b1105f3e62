//! Address spaces: translations that stay, page table writes that fail, and everything that ends.

#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use common::*;
use gpumm_hw::sim::{Sabotage, Sim, SimConfig};
use gpumm_hw::{
    Access, Backing, Command, Device, DeviceError, EngineId, EngineKind, ListSide, MemorySpace,
    OutcomeValue, PteEntry, PteTarget, Segment, Submission, VmFaultReason, VmId, VmKernel,
};

const SPAN: u64 = 1 << 24;

fn device() -> Sim {
    let (sim, _) = Machine::new().sim("sim");
    sim.create_vm(VM, 0, SPAN).unwrap();
    sim
}

fn put(dst: u64, pattern: u64) -> VmKernel {
    VmKernel::Fill {
        dst,
        bytes: 8,
        pattern,
    }
}

fn get(sim: &Sim, src: u64) -> OutcomeValue {
    let sum = VmKernel::Checksum {
        src,
        bytes: 8,
        dst: SPAN - 8,
    };
    run(sim, sum)
}

fn unmapped(address: u64) -> OutcomeValue {
    vm_fault(address, Access::Read, VmFaultReason::Unmapped)
}

/// A page for what checksums write, and two pages with words of their own.
fn two_pages(sim: &Sim) -> [Segment; 2] {
    let pages = [Segment::vram(0, PAGE), Segment::vram(65536, PAGE)];
    map(
        sim,
        &[backed(SPAN - PAGE, &[Segment::vram(PAGE, PAGE)], true)],
    );
    for (word, page) in (1..).zip(pages) {
        perform(sim, COPY, fill(&[page], word));
    }
    pages
}

fn stale(sim: &Sim) -> u64 {
    sim.statistics().mmu.stale_accesses
}

#[test]
fn a_translation_stays_until_it_is_invalidated() {
    let sim = device();
    let control = sim.control();
    let pages = two_pages(&sim);
    for (round, ignore) in (0..).zip([false, true, false]) {
        let sabotage = Sabotage::IgnoreInvalidations(ignore);
        map(&sim, &[backed(0, &pages[..1], true)]);
        assert_eq!(get(&sim, 0), OutcomeValue::Checksum(1), "{round}");
        let before = stale(&sim);
        control.sabotage(sabotage).unwrap();
        // The table says something else, and the device goes on as before.
        perform(&sim, COPY, write_ptes(&[backed(0, &pages[1..], true)]));
        assert_eq!(get(&sim, 0), OutcomeValue::Checksum(1));
        assert_eq!(stale(&sim), before + 1);
        perform(&sim, COPY, write_ptes(&[ptes(0, PAGE, Backing::Invalid)]));
        assert_eq!(get(&sim, 0), OutcomeValue::Checksum(1));
        assert_eq!(stale(&sim), before + 2);
        perform(&sim, COPY, write_ptes(&[backed(0, &pages[1..], true)]));
        perform(&sim, COPY, Command::InvalidateTlb { vm: VM });
        let sum = if ignore { 1 } else { 2 };
        assert_eq!(get(&sim, 0), OutcomeValue::Checksum(sum));
        assert_eq!(stale(&sim), before + if ignore { 3 } else { 2 });
        control
            .sabotage(Sabotage::IgnoreInvalidations(false))
            .unwrap();
        map(&sim, &[]);
    }
}

#[test]
fn what_is_unmapped_is_not_kept_and_what_stays_is_not_stale() {
    let sim = device();
    let pages = two_pages(&sim);
    assert_eq!(get(&sim, 0), unmapped(0));
    perform(&sim, COPY, write_ptes(&[backed(0, &pages, true)]));
    assert_eq!(get(&sim, 0), OutcomeValue::Checksum(1));
    assert_eq!(get(&sim, PAGE), OutcomeValue::Checksum(2));
    // Rights are kept as well: until then it is written as before.
    perform(&sim, COPY, write_ptes(&[backed(0, &pages, false)]));
    assert_eq!(run(&sim, put(0, 5)), OutcomeValue::Done);
    assert_eq!(stale(&sim), 1);
    perform(&sim, COPY, Command::InvalidateTlb { vm: VM });
    let read_only = vm_fault(0, Access::Write, VmFaultReason::ReadOnly);
    assert_eq!(run(&sim, put(0, 6)), read_only);
    assert_eq!(get(&sim, 0), OutcomeValue::Checksum(5));
    // A change elsewhere makes nothing stale; the same again neither.
    let hits = sim.statistics().mmu.tlb_hits;
    let elsewhere = ptes(1 << 20, PAGE, Backing::Sparse);
    perform(
        &sim,
        COPY,
        write_ptes(&[elsewhere, backed(0, &pages, false)]),
    );
    assert_eq!(get(&sim, 0), OutcomeValue::Checksum(5));
    assert_eq!(stale(&sim), 1);
    assert_eq!(sim.statistics().mmu.tlb_hits, hits + 2);
}

#[test]
fn large_pages_are_split_and_stay_stale_where_they_differ() {
    let machine = Machine::new();
    let (sim, _) = machine.sim_with(SimConfig::new("sim", 8 << 20));
    sim.create_vm(VM, 0, SPAN).unwrap();
    let large = 2 << 20;
    let list = [
        Segment::vram(0, large),
        Segment::vram(2 * large, 3 * 65536 + PAGE),
    ];
    map(&sim, &[backed(large, &list, true)]);
    let report = sim.vm_report(VM).unwrap();
    assert_eq!((report.ptes_4k, report.ptes_64k, report.ptes_2m), (1, 3, 1));
    let written = sim.statistics().mmu;
    assert_eq!(
        (written.ptes_4k, written.ptes_64k, written.ptes_2m),
        (1, 3, 1)
    );
    let check = |bytes| {
        run(
            &sim,
            VmKernel::Fill {
                dst: large,
                bytes,
                pattern: 1,
            },
        )
    };
    assert_eq!(check(large), OutcomeValue::Done);
    // One page in the middle of it goes; the others are what they were.
    let hole = large + 40 * PAGE;
    perform(
        &sim,
        COPY,
        write_ptes(&[ptes(hole, PAGE, Backing::Invalid)]),
    );
    let report = sim.vm_report(VM).unwrap();
    assert_eq!(
        (report.ptes_4k, report.ptes_64k, report.ptes_2m),
        (16, 34, 0)
    );
    assert_eq!(check(large), OutcomeValue::Done);
    assert_eq!(stale(&sim), 1);
    perform(&sim, COPY, Command::InvalidateTlb { vm: VM });
    let fault = vm_fault(hole, Access::Write, VmFaultReason::Unmapped);
    assert_eq!(check(large), fault);
    let entries = sim.page_table(VM, 3).unwrap();
    let entry = |address, bytes, offset| PteEntry {
        address,
        bytes,
        target: PteTarget::Memory {
            memory: MemorySpace::Vram,
            offset,
            write: true,
        },
    };
    let expected = [
        entry(large, 65536, 0),
        entry(large + 65536, 65536, 65536),
        entry(large + 131_072, PAGE, 131_072),
    ];
    assert_eq!(entries, expected);
    assert_eq!(sim.page_table(VM, usize::MAX).unwrap().len(), 50);
}

#[test]
fn a_failed_write_of_entries_is_redone_by_the_cpu() {
    let sim = device();
    let control = sim.control();
    let pages = two_pages(&sim);
    control.inject("fail pte write 1".parse().unwrap());
    control.inject("fail pte write 2".parse().unwrap());
    control.inject("fail pte write 4".parse().unwrap());
    let writes = write_ptes(&[backed(0, &pages, true)]);
    // Half is written.
    assert_eq!(
        perform(&sim, COPY, writes.clone()),
        failed(DeviceError::Injected)
    );
    assert_eq!(get(&sim, 0), OutcomeValue::Checksum(1));
    assert_eq!(get(&sim, PAGE), unmapped(PAGE));
    let hook = Hook::redo(&writes);
    assert_eq!(
        perform_with(&sim, COPY, writes.clone(), &hook),
        OutcomeValue::Done
    );
    assert_eq!(hook.errors(), [DeviceError::Injected]);
    assert_eq!(get(&sim, PAGE), OutcomeValue::Checksum(2));
    perform(&sim, COPY, writes.clone());
    control.inject("refuse fallback".parse().unwrap());
    let value = perform_with(&sim, COPY, writes.clone(), &Hook::redo(&writes));
    assert_eq!(value, failed(DeviceError::CpuRefused));
    // Only that is refused, and jobs always are.
    assert_eq!(
        sim.cpu().perform(&Command::InvalidateTlb { vm: VM }),
        Ok(OutcomeValue::Done)
    );
    assert_eq!(
        sim.cpu().perform(&job(put(0, 1))),
        Err(DeviceError::CpuRefused)
    );
}

#[test]
fn a_refused_reservation_changes_nothing() {
    let machine = Machine::new();
    let mut config = SimConfig::new("sim", MEMORY);
    config.page_table_bytes = 64 << 10;
    let (sim, control) = machine.sim_with(config);
    sim.create_vm(VM, 0, 1 << 40).unwrap();
    control.inject("fail pte reservation 2".parse().unwrap());
    let reserve = |address, bytes| sim.reserve_ptes(VM, address, bytes);
    reserve(0, 4 * PAGE).unwrap();
    let before = sim.vm_report(VM).unwrap();
    assert_eq!(reserve(1 << 30, PAGE), Err(DeviceError::PageTableMemory));
    assert_eq!(control.faults_injected(), 1);
    assert_eq!(reserve(0, 1 << 40), Err(DeviceError::PageTableMemory));
    assert_eq!(sim.vm_report(VM).unwrap(), before);
    assert_eq!(reserve(5, PAGE), Err(DeviceError::NotAPage { value: 5 }));
    assert_eq!(reserve(0, 7), Err(DeviceError::NotAPage { value: 7 }));
    let outside = DeviceError::OutsideVm {
        vm: VM,
        address: (1 << 40) - PAGE,
        bytes: 2 * PAGE,
    };
    assert_eq!(reserve((1 << 40) - PAGE, 2 * PAGE), Err(outside));
    // All memory is gone, but what was reserved is not.
    while sim
        .create_vm(VmId(sim.statistics().mmu.walks + 100), 0, PAGE)
        .is_ok()
    {
        let _ = run(&sim, put(0, 1));
    }
    map(&sim, &[backed(0, &[Segment::vram(0, 4 * PAGE)], true)]);
    let beyond = write_ptes(&[ptes(1 << 35, PAGE, Backing::Sparse)]);
    assert_eq!(
        perform(&sim, COPY, beyond),
        failed(DeviceError::PageTableMemory)
    );
    assert_eq!(sim.vm_report(VM).unwrap().table_bytes, before.table_bytes);
}

#[test]
fn submit_refuses_what_is_no_page_or_no_memory() {
    let sim = device();
    let refused = |write| {
        let submission = Submission::new(write_ptes(&[write]));
        sim.submit(COPY, submission).unwrap_err()
    };
    let not = |value| DeviceError::NotAPage { value };
    let page = [Segment::vram(0, PAGE)];
    assert_eq!(refused(ptes(8, PAGE, Backing::Invalid)), not(8));
    assert_eq!(refused(ptes(0, 9, Backing::Sparse)), not(9));
    assert_eq!(
        refused(backed(0, &[Segment::vram(12, PAGE)], true)),
        not(12)
    );
    let cut = [Segment::vram(0, 100), Segment::system(0, PAGE - 100)];
    assert_eq!(refused(backed(0, &cut, true)), not(100));
    let mut window = backed(0, &page, true);
    window.bytes = 2 * PAGE;
    let short = DeviceError::ListTooShort {
        side: ListSide::Source,
        needed: 2 * PAGE,
        available: PAGE,
    };
    assert_eq!(refused(window), short);
    let segment = Segment::vram(MEMORY, PAGE);
    let out = DeviceError::SegmentOutOfBounds {
        side: ListSide::Source,
        index: 0,
        segment,
        size: MEMORY,
    };
    assert_eq!(refused(backed(0, &[segment], true)), out);
    // Neighbours that are pages only together are.
    let together = [Segment::vram(0, 100), Segment::vram(100, PAGE - 100)];
    map(&sim, &[backed(0, &together, true)]);
    let error = sim.create_vm(VM, 0, PAGE);
    assert_eq!(error, Err(DeviceError::VmExists(VM)));
    assert_eq!(sim.create_vm(VmId(2), 1, PAGE), Err(not(1)));
    let outside = DeviceError::OutsideVm {
        vm: VmId(2),
        address: PAGE,
        bytes: 1 << 48,
    };
    assert_eq!(sim.create_vm(VmId(2), PAGE, 1 << 48), Err(outside));
    let outside = DeviceError::OutsideVm {
        vm: VM,
        address: SPAN,
        bytes: PAGE,
    };
    let value = perform(&sim, COPY, write_ptes(&[ptes(SPAN, PAGE, Backing::Sparse)]));
    assert_eq!(value, failed(outside));
}

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
        perform(&sim, ring, job(fill)),
        failed(DeviceError::Injected)
    );
    let bytes = bytes_of(&sim, &[Segment::vram(0, 64)]);
    assert!(bytes[16..32].iter().all(|byte| *byte == 0xdb) && bytes[32..] == [0; 32]);
    // Nothing in progress.
    sim.reset_engine(ring).unwrap();
    let hung = submit(&sim, ring, job(fill));
    let behind = submit(&sim, ring, job(fill));
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
    let outcome = submit(&sim, COMPUTE, job(fill));
    let behind = submit(&sim, COMPUTE, Command::Nop);
    until(|| sim.statistics().engines[1].bytes_run > 0);
    // Page tables change and translations are forgotten while it works.
    map(&sim, &[ptes(1 << 39, PAGE, Backing::Sparse)]);
    assert!(outcome.get().is_none());
    sim.reset_engine(COMPUTE).unwrap();
    assert_eq!(*outcome.wait(TIME).unwrap(), failed(DeviceError::Reset));
    assert_eq!(*behind.wait(TIME).unwrap(), OutcomeValue::Done);
    // The destruction of its address space ends it too.
    let outcome = submit(&sim, COMPUTE, job(fill));
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
            let jobs: Vec<_> = (0..3).map(|_| submit(&sim, ring, job(check))).collect();
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
            if let OutcomeValue::Checked(report) = perform(&sim, ring, job(check)) {
                wrong += report.corrupt_bytes;
            }
            perform(&sim, COPY, write_pattern(&[other], key));
        }
        assert_eq!(wrong > 0, !honest);
        assert!(honest || stale(&sim) > before);
    }
}
