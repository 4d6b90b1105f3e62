//! Lies about what is written to page tables, and about memory that they show.

use super::vm::*;
use super::*;
use gpumm_contract::PointSet;
use gpumm_contract::facts::Content;
use gpumm_contract::plan::SPARSE_PTES;
use gpumm_contract::request::CloseVm;
use gpumm_contract::vm::{PAGE, VmId};

fn wrong(refusal: &Refusal) -> bool {
    matches!(refusal, Refusal::WrongPtes { vm: VM, .. })
}

#[test]
fn lies_about_page_table_writes_are_named() {
    fn flagged(case: &mut Case, more: u64) {
        if let Op::UpdatePtes { flags, .. } = &mut case.ops[1] {
            *flags |= more;
        }
    }
    refused(
        || told_up_to(2),
        bound,
        &[
            (
                "half a page",
                |c| c.ops[1] = show(at(BIND, 1), HERE + 8, 4096, 0, 0),
                wrong,
            ),
            (
                "half a page long",
                |c| c.ops[1] = clear(at(BIND, 1), HERE, 8),
                wrong,
            ),
            (
                "from half a page",
                |c| c.ops[1] = show(at(BIND, 1), HERE, 4096, 0, 8),
                wrong,
            ),
            ("nothing", |c| c.ops[1] = clear(at(BIND, 1), HERE, 0), wrong),
            (
                "outside",
                |c| c.ops[1] = clear(at(BIND, 1), START - PAGE, PAGE),
                wrong,
            ),
            (
                "without end",
                |c| c.ops[1] = clear(at(BIND, 1), HERE, !0xfff),
                wrong,
            ),
            ("sparse memory", |c| flagged(c, SPARSE_PTES), wrong),
            ("a flag that means nothing", |c| flagged(c, 1 << 9), wrong),
            (
                "by an engine that runs jobs",
                |c| {
                    c.ops.remove(0);
                    c.ops[0] = show(at(RUN, 2), HERE, 8192, 0, 0);
                },
                |r| *r == Refusal::NotAnEngine(RUN),
            ),
            (
                "by nobody",
                |c| c.ops[1] = invalidate(at(TimelineId(99), 1)),
                |r| *r == Refusal::Unknown("timeline", 99),
            ),
            (
                "of nobody",
                |c| {
                    let at = at(BIND, 1);
                    c.ops[1] = Op::InvalidateTlb { at, vm: VmId(5) };
                },
                |r| *r == Refusal::Unknown("vm", 5),
            ),
            (
                "out of turn",
                |c| c.ops[1] = show(at(BIND, 2), HERE, 8192, 0, 0),
                |r| matches!(r, Refusal::WrongValue { timeline: BIND, .. }),
            ),
            (
                "a table of nothing",
                |c| c.ops[1] = show(at(BIND, 1), HERE, 8192, 8, 0),
                |r| *r == Refusal::Unknown("table", 8),
            ),
            (
                "more than there is",
                |c| c.ops[1] = show(at(BIND, 1), HERE, 8192, 0, 4096),
                |r| *r == Refusal::OutsideTable(TableId(0)),
            ),
            (
                "before the content is there",
                |c| _ = c.ops.remove(0),
                |r| matches!(r, Refusal::NotOrdered { timeline: BIND, .. }),
            ),
        ],
    );
}

#[test]
fn lies_about_a_shown_buffer_that_moves_are_named() {
    refused(
        || told_up_to(4),
        hidden,
        &[
            (
                "under the hands of a job",
                |c| _ = c.ops.remove(3),
                |r| {
                    let (vm, timeline) = (VM, COPY);
                    let point = at(JOB, 1);
                    *r == Refusal::VmNotOrdered {
                        vm,
                        timeline,
                        point,
                    }
                },
            ),
            (
                "at the same time as another write",
                |c| _ = c.ops.remove(4),
                |r| {
                    let (vm, timeline) = (VM, COPY);
                    let point = at(BIND, 2);
                    *r == Refusal::VmNotOrdered {
                        vm,
                        timeline,
                        point,
                    }
                },
            ),
            (
                "still shown",
                |c| c.ops[5] = signal(at(COPY, 1)),
                |r| {
                    let (vm, table) = (VM, TableId(0));
                    *r == Refusal::StillShown { vm, table }
                },
            ),
            (
                "remembered",
                |c| c.ops[6] = signal(at(COPY, 2)),
                |r| *r == Refusal::StaleTlb(VM),
            ),
            (
                "given up before it is forgotten",
                |c| c.ops[8] = unplace(0, &[at(COPY, 1), at(RUN, 1), at(JOB, 1), at(BIND, 3)]),
                |r| matches!(r, Refusal::EndsTooEarly { .. }),
            ),
            (
                "shown where it was",
                |c| {
                    c.ops[5] = signal(at(COPY, 1));
                    c.ops[6] = show(at(COPY, 2), HERE, 8192, 0, 0);
                },
                |r| {
                    let (vm, table) = (VM, TableId(0));
                    *r == Refusal::NotHome { vm, table }
                },
            ),
            (
                "shown before it is there",
                |c| c.ops.insert(8, show(at(BIND, 4), HERE, 8192, 1, 0)),
                |r| matches!(r, Refusal::ContentLost(_) | Refusal::VmNotOrdered { .. }),
            ),
        ],
    );
}

#[test]
fn lies_about_the_end_of_what_is_shown_are_named() {
    refused(
        || told_up_to(7),
        released,
        &[
            (
                "still shown",
                |c| c.ops[2] = signal(at(COPY, 5)),
                |r| matches!(r, Refusal::StillShown { vm: VM, .. }),
            ),
            (
                "under the hands of a job",
                |c| _ = c.ops.remove(0),
                |r| matches!(r, Refusal::NotOrdered { point, .. } if *point == at(JOB, 2)),
            ),
            (
                "half shown",
                |c| c.ops[2] = clear(at(COPY, 5), HERE, 4096),
                |r| matches!(r, Refusal::StillShown { vm: VM, .. }),
            ),
        ],
    );
    refused(
        || told_up_to(8),
        closed,
        &[
            (
                "not empty",
                |c| c.ops[0] = clear(at(COPY, 7), SPARSE_AT, 4096),
                |r| *r == Refusal::PtesLeft(VM),
            ),
            (
                "remembered",
                |c| _ = c.ops.remove(1),
                |r| *r == Refusal::StaleTlb(VM),
            ),
            (
                "another one",
                |c| {
                    c.requests = vec![Request::CloseVm(CloseVm {
                        vm: VmId(9),
                        after: PointSet::new(),
                    })]
                },
                |r| *r == Refusal::Unknown("vm", 9),
            ),
        ],
    );
}

/// A list of binds waits for jobs only if its client wants that.
#[test]
fn a_client_may_unmap_under_a_job() {
    let case = Case {
        requests: vec![binds(&[gpumm_contract::vm::Bind::Unmap(span(HERE, 8192))])],
        ops: vec![
            clear(at(BIND, 4), HERE, 8192),
            invalidate(at(BIND, 5)),
            answer(0, Status::Good),
        ],
        ..Case::default()
    };
    let mut ledger = told_up_to(4);
    case.check(&mut ledger).expect("a true plan");
    assert!(ledger.shown.is_empty() && ledger.members.is_empty());
    let mut other = case;
    other.requests = vec![binds_of(VmId(5), &[])];
    let refusal = other.check(&mut told_up_to(4)).map(|_| ());
    assert!(matches!(refusal, Err(Refusal::VmNotOrdered { .. })));
}

/// Buffer 1 in host memory is shown there.
fn shown_in_host_memory() -> Case {
    Case {
        requests: vec![submit(2, &[(HERE, 1, Intent::Read)])],
        ops: vec![show(at(BIND, 4), HERE, 8192, 1, 0), answer(0, Status::Good)],
        ..Case::default()
    }
}

#[test]
fn host_memory_is_shown_while_it_is_mapped() {
    let unmapped = || {
        let mut case = told(vec![Request::Retire(at(COPY, 3))]);
        case.ops.insert(0, unmap(1));
        case
    };
    let mut ledger = after(told_up_to(6), &[unmapped]);
    let refusal = shown_in_host_memory().check(&mut ledger).map(|_| ());
    assert_eq!(refusal, Err(Refusal::NotMapped(TableId(1))));
    let written = || told(vec![Request::Retire(at(BIND, 4))]);
    let mut ledger = after(told_up_to(6), &[shown_in_host_memory, written]);
    let refusal = unmapped().check(&mut ledger).map(|_| ());
    let (vm, table) = (VM, TableId(1));
    assert_eq!(refusal, Err(Refusal::StillShown { vm, table }));
    let mut stale = unmapped();
    let ops = [wait(COPY, at(JOB, 2)), clear(at(COPY, 4), HERE, 8192)];
    stale.ops.splice(0..0, ops);
    let refusal = stale.check(&mut ledger).map(|_| ());
    assert_eq!(refusal, Err(Refusal::StaleTlb(VM)));
    stale.ops.insert(2, invalidate(at(COPY, 5)));
    let refusal = stale.check(&mut ledger).map(|_| ());
    assert_eq!(refusal, Err(Refusal::TableInUse(TableId(1))));
}

/// Buffer 2 has no content yet where tenant 7's buffer 1 was.
fn heir(tenant: u32) -> Case {
    Case {
        requests: vec![Request::Release(BufferId(1)), create(2, tenant)],
        granted: vec![(2, VRAM, vec![extent(0, 8192)])],
        freed: vec![(0, VRAM)],
        ops: vec![
            unplace(0, &[at(RUN, 1)]),
            answer(0, Status::Good),
            place(2, VRAM, 2, &[extent(0, 8192)]),
            table(2, 2, 0, 8192),
            answer(1, Status::Good),
        ],
        ..Case::default()
    }
}

/// The heir's address space shows it.
fn inherited() -> Case {
    Case {
        requests: vec![binds(&[shows(HERE, 8192, 2, 0)])],
        ops: vec![
            wait(BIND, at(RUN, 1)),
            show(at(BIND, 1), HERE, 8192, 2, 0),
            answer(0, Status::Good),
        ],
        ..Case::default()
    }
}

#[test]
fn page_tables_show_no_bytes_of_others() {
    let of_other = || {
        let mut case = made();
        if let Request::CreateVm(create) = &mut case.requests[0] {
            create.tenant = TenantId(8);
        }
        case
    };
    let mut ledger = after(born(), &[|| heir(8), of_other]);
    let refusal = inherited().check(&mut ledger).map(|_| ());
    assert_eq!(refusal, Err(Refusal::ForeignBytes(BufferId(2))));
    let mut cleared = inherited();
    cleared.ops.insert(0, fill(2, 2, 0));
    cleared.ops[1] = wait(BIND, at(RUN, 2));
    cleared.check(&mut ledger).expect("a true plan");
    let mut ledger = after(born(), &[|| heir(7), made]);
    let mut early = inherited();
    early.ops.remove(0);
    let refusal = early.check(&mut ledger).map(|_| ());
    assert!(matches!(refusal, Err(Refusal::NotOrdered { .. })));
    inherited().check(&mut ledger).expect("a true plan");
    // A job may have written from now on.
    assert_eq!(ledger.content_of(BufferId(2)), Some(Content::Valid));
}
