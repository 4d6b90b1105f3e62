//! Address spaces: translations that stay, page table writes that fail, and everything that ends.

#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use gpumm_hw::sim::{Sabotage, SimConfig};
use gpumm_hw::{
    Access, Backing, Command, Device, DeviceError, ListSide, MemorySpace, OutcomeValue, PteEntry,
    PteTarget, Segment, Submission, VmFaultReason, VmId, VmKernel,
};

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
