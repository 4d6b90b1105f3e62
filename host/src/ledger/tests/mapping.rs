//! Lies about what the device's DMA reaches.

use super::*;

/// Buffer 2 goes to host memory as well, for a buffer 3.
fn second_eviction() -> Case {
    Case {
        requests: vec![create(3, 7)],
        granted: vec![
            (4, SYSTEM, vec![extent(16384, 8192)]),
            (3, VRAM, vec![extent(0, 8192)]),
        ],
        freed: vec![(2, VRAM)],
        mapped: vec![4],
        ops: vec![
            unmap(1),
            place(4, SYSTEM, 2, &[extent(16384, 8192)]),
            table(4, 4, BASE + 16384, 8192),
            map(4),
            wait(COPY, at(RUN, 2)),
            copy(2, 2, 4),
            unplace(2, &[at(COPY, 2), at(RUN, 2)]),
            place(3, VRAM, 3, &[extent(0, 8192)]),
            table(3, 3, 0, 8192),
            answer(0, Status::Good),
        ],
    }
}

/// The aperture holds one buffer.
fn tight() -> Ledger {
    after(ledger_with(8192), &[birth, eviction, arrival])
}

#[test]
fn lies_about_mappings_are_named() {
    refused(
        born,
        eviction,
        &[
            (
                "a copy to memory that is not mapped",
                |c| {
                    c.ops.remove(2);
                    c.mapped.clear();
                },
                |r| matches!(r, Refusal::NotMapped(TableId(1))),
            ),
            (
                "mapped by the host, but not by the plan",
                |c| _ = c.ops.remove(2),
                |r| matches!(r, Refusal::NotMapped(TableId(1))),
            ),
            (
                "mapped by the plan, but not by the host",
                |c| c.mapped.clear(),
                |r| matches!(r, Refusal::NoMapping(TableId(1))),
            ),
            (
                "mapped twice",
                |c| c.ops.insert(3, map(1)),
                |r| matches!(r, Refusal::NoMapping(TableId(1))),
            ),
            (
                "device memory mapped",
                |c| c.ops.insert(2, map(0)),
                |r| matches!(r, Refusal::NoMapping(TableId(0))),
            ),
            (
                "unmapped before it is mapped",
                |c| c.ops.insert(2, unmap(1)),
                |r| matches!(r, Refusal::NoMapping(TableId(1))),
            ),
            (
                "device memory unmapped",
                |c| c.ops.insert(2, unmap(0)),
                |r| matches!(r, Refusal::NoMapping(TableId(0))),
            ),
            (
                "a table of nobody mapped",
                |c| c.ops.insert(2, map(8)),
                |r| matches!(r, Refusal::Unknown("table", 8)),
            ),
            (
                "unmapped under a copy",
                |c| c.ops.insert(5, unmap(1)),
                |r| matches!(r, Refusal::TableInUse(TableId(1))),
            ),
        ],
    );
}

#[test]
fn the_aperture_holds_no_more_than_its_size() {
    refused(
        tight,
        second_eviction,
        &[
            (
                "nobody makes room",
                |c| _ = c.ops.remove(0),
                |r| matches!(r, Refusal::ApertureFull(GTT)),
            ),
            (
                "room is made too late",
                |c| {
                    let late = c.ops.remove(0);
                    c.ops.insert(3, late);
                },
                |r| matches!(r, Refusal::ApertureFull(GTT)),
            ),
            (
                "unmapped twice",
                |c| c.ops.insert(1, unmap(1)),
                |r| matches!(r, Refusal::NoMapping(TableId(1))),
            ),
        ],
    );
    // The first copy has not been delivered as reached: its table is in use.
    let mut busy = after(ledger_with(8192), &[birth, eviction]);
    let refusal = second_eviction().check(&mut busy).map(|_| ());
    assert_eq!(refusal, Err(Refusal::TableInUse(TableId(1))));
    // In a wide aperture both stay mapped.
    let mut wide = arrived();
    let mut both = second_eviction();
    both.ops.remove(0);
    both.check(&mut wide).expect("a true plan");
}

/// Buffer 1 is released where it lies in host memory.
fn release_of_mapped() -> Case {
    Case {
        requests: vec![Request::Release(BufferId(1))],
        freed: vec![(1, SYSTEM)],
        ops: vec![
            unplace(1, &[]),
            unmap(1),
            drop_table(1),
            answer(0, Status::Good),
        ],
        ..Case::default()
    }
}

#[test]
fn a_mapping_ends_before_its_table() {
    refused(
        arrived,
        release_of_mapped,
        &[
            (
                "dropped while mapped",
                |c| _ = c.ops.remove(1),
                |r| matches!(r, Refusal::StillMapped(TableId(1))),
            ),
            (
                "unmapped after its end",
                |c| c.ops.swap(1, 2),
                |r| matches!(r, Refusal::StillMapped(TableId(1))),
            ),
            (
                "unmapped and kept",
                |c| _ = c.ops.remove(2),
                |r| matches!(r, Refusal::TableLeaked(TableId(1))),
            ),
        ],
    );
    let mut ledger = arrived();
    let accepted = release_of_mapped().check(&mut ledger).expect("true");
    assert!(matches!(accepted.ops[..], [DeviceOp::Unmap { .. }]));
    assert_eq!(ledger.mapped_bytes.get(&GTT), Some(&0));
}

#[test]
fn the_cpu_needs_no_mapping_and_a_job_does() {
    let used = |timeline| Case {
        requests: vec![access_on(timeline, 1, 6, Intent::Read)],
        ops: vec![
            unmap(1),
            run_at(at(timeline, if timeline == RUN { 3 } else { 1 }), 6, &[1]),
            answer(0, Status::Good),
        ],
        ..Case::default()
    };
    let refusal = used(RUN).check(&mut arrived()).map(|_| ());
    assert_eq!(refusal, Err(Refusal::NotMapped(TableId(1))));
    used(CPU).check(&mut arrived()).expect("a true plan");
}
