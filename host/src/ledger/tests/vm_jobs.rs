//! Lies about jobs on address spaces: what they use is shown, and there when they begin.

use super::vm::*;
use super::*;
use gpumm_contract::facts::Content;

fn not_shown(refusal: &Refusal) -> bool {
    let (vm, buffer) = (VM, BufferId(1));
    *refusal == Refusal::NotShown { vm, buffer }
}

fn not_ready(refusal: &Refusal, point: Point) -> bool {
    *refusal == Refusal::NotReady { vm: VM, point }
}

/// Another engine writes the buffer that is bound.
fn written() -> Case {
    Case {
        requests: vec![access(1, 9)],
        ops: vec![
            wait(RUN, at(BIND, 1)),
            run(2, 9, &[0]),
            answer(0, Status::Good),
        ],
        ..Case::default()
    }
}

fn submitted_after_a_write() -> Case {
    let mut case = submitted();
    case.ops.insert(0, wait(BIND, at(RUN, 2)));
    case
}

#[test]
fn lies_about_a_ready_address_space_are_named() {
    refused(
        || {
            let mut ledger = told_up_to(3);
            written().check(&mut ledger).expect("a true plan");
            ledger
        },
        submitted_after_a_write,
        &[
            (
                "nothing to wait for",
                |c| _ = c.ops.drain(0..2),
                |r| not_ready(r, at(RUN, 2)),
            ),
            (
                "a point that comes before",
                |c| _ = c.ops.remove(0),
                |r| not_ready(r, at(RUN, 2)),
            ),
        ],
    );
    refused(
        || told_up_to(3),
        submitted,
        &[
            (
                "the job's point taken",
                |c| c.ops[0] = signal(at(JOB, 2)),
                |r| *r == Refusal::NotAnEngine(JOB),
            ),
            (
                "the job's timeline waits",
                |c| c.ops.insert(0, wait(JOB, at(RUN, 1))),
                |r| *r == Refusal::NotAnEngine(JOB),
            ),
            (
                "a job of no job's timeline",
                |c| {
                    let Request::Submit(submit) = &mut c.requests[0] else {
                        return;
                    };
                    submit.at = at(RUN, 2);
                },
                |r| matches!(r, Refusal::FalseAnswer { request: 0, .. }),
            ),
            (
                "a wait for a later job",
                |c| c.ops.insert(0, wait(COPY, at(JOB, 2))),
                |r| *r == Refusal::WaitsForever(at(JOB, 2)),
            ),
        ],
    );
    refused(
        || told_up_to(6),
        returned,
        &[
            ("not shown again", |c| _ = c.ops.remove(5), not_shown),
            (
                "not brought back",
                |c| {
                    (c.granted, c.freed) = (Vec::new(), Vec::new());
                    c.ops.drain(0..6);
                },
                not_shown,
            ),
            (
                "shown before it is there",
                |c| _ = c.ops.remove(4),
                |r| matches!(r, Refusal::NotOrdered { timeline: BIND, .. }),
            ),
        ],
    );
}

/// What is bound was written before, and later jobs of the address space come after that.
#[test]
fn a_job_after_a_bind_needs_nothing_more() {
    let mut case = submitted();
    case.ops.remove(0);
    let accepted = case.check(&mut told_up_to(3)).expect("a true plan");
    assert_eq!(accepted.fences, [(0, at(BIND, 2))]);
}

#[test]
fn a_job_that_names_nothing_there_waits_for_page_tables_only() {
    let case = |ops: &[Op<'static>]| Case {
        requests: vec![submit(2, &[(SPARSE_AT, 8, Intent::Write)])],
        ops: [ops, &[answer(0, Status::Good)]].concat(),
        ..Case::default()
    };
    let refusal = case(&[]).check(&mut told_up_to(5)).map(|_| ());
    assert!(not_ready(&refusal.expect_err("in flight"), at(COPY, 2)));
    let waits = case(&[wait(BIND, at(COPY, 2)), signal(at(BIND, 4))]);
    waits.check(&mut told_up_to(5)).expect("a true plan");
    let mut rested_ledger = told_up_to(6);
    case(&[]).check(&mut rested_ledger).expect("a true plan");
}

/// The host reaches the points of jobs: they are there whatever is answered.
#[test]
fn jobs_count_whatever_is_answered() {
    let mut ledger = told_up_to(3);
    let case = Case {
        requests: vec![submit(5, &[])],
        ops: vec![answer(0, Status::Poisoned)],
        ..Case::default()
    };
    let accepted = case.check(&mut ledger).expect("a true plan");
    assert!(accepted.fences.is_empty());
    assert_eq!(ledger.next_points().last(), Some(&at(JOB, 6)));
    let waits = Case {
        requests: vec![access(1, 9)],
        ops: vec![
            wait(RUN, at(JOB, 5)),
            wait(RUN, at(BIND, 1)),
            run(2, 9, &[0]),
            answer(0, Status::Good),
        ],
        ..Case::default()
    };
    waits.check(&mut ledger).expect("a true plan");
}

/// What other engines do with a buffer makes its next job ask; what jobs do, does not.
#[test]
fn only_what_jobs_do_not_order_makes_a_member_ask_again() {
    let mut ledger = told_up_to(4);
    let fresh = |ledger: &Ledger| ledger.vm(VM).expect("open").all_fresh();
    for request in [used(2, Some(1), Intent::Read), used(3, None, Intent::Read)] {
        let accepted = told(vec![request]).check(&mut ledger);
        accepted.expect("a true plan");
        assert!(fresh(&ledger));
    }
    let uses = ledger.uses_of(AllocationId(0));
    assert!(uses.readers.iter().any(|p| p == at(JOB, 2)));
    assert!(uses.writers.iter().any(|p| p == at(JOB, 3)), "may write");
    let other = Case {
        requests: vec![access_on(RUN, 1, 9, Intent::Read)],
        ops: vec![
            wait(RUN, at(JOB, 3)),
            run(2, 9, &[0]),
            answer(0, Status::Good),
        ],
        ..Case::default()
    };
    let accepted = other.check(&mut ledger).expect("a true plan");
    assert!(!fresh(&ledger) && accepted.vms.len() == 1);
    // A job that only reads need not wait for one that only reads.
    let case = Case {
        requests: vec![submit(4, &[(HERE, 4, Intent::Read)])],
        ops: vec![answer(0, Status::Good)],
        ..Case::default()
    };
    case.check(&mut ledger).expect("a true plan");
    assert!(!fresh(&ledger), "the next one may write");
    let mut case = case;
    case.requests = vec![submit(5, &[(HERE, 4, Intent::Write)])];
    let refusal = case.check(&mut ledger).map(|_| ()).expect_err("a lie");
    assert!(not_ready(&refusal, at(RUN, 2)));
    case.ops
        .splice(0..0, [wait(BIND, at(RUN, 2)), signal(at(BIND, 4))]);
    case.check(&mut ledger).expect("a true plan");
    assert!(fresh(&ledger));
}

#[test]
fn a_use_of_nothing_is_no_lie() {
    let mut ledger = told_up_to(2);
    let mut nowhere = used(1, None, Intent::Write);
    if let Request::Used(used) = &mut nowhere {
        used.vm.0 += 1;
    }
    let requests = vec![used(2, Some(77), Intent::Write), nowhere];
    told(requests).check(&mut ledger).expect("a true plan");
    let denied = Case {
        requests: vec![used(3, None, Intent::Read)],
        ops: vec![answer(0, Status::UnknownBuffer)],
        ..Case::default()
    };
    let refusal = denied.check(&mut ledger).map(|_| ()).expect_err("a lie");
    assert!(matches!(refusal, Refusal::FalseAnswer { request: 0, .. }));
}

#[test]
fn lost_content_is_neither_shown_nor_used() {
    let mut ledger = told_up_to(4);
    let lost = Case {
        requests: vec![Request::Poisoned(BufferId(1))],
        ops: vec![poison(1), answer(0, Status::Good)],
        ..Case::default()
    };
    lost.check(&mut ledger).expect("a true plan");
    assert!(!ledger.vm(VM).expect("open").all_fresh());
    let mut case = submitted();
    case.requests = vec![submit(2, &[])];
    case.ops[0] = signal(at(BIND, 4));
    let refusal = case.check(&mut ledger).map(|_| ());
    assert_eq!(refusal, Err(Refusal::Poisoned(BufferId(1))));
    case.requests = vec![binds(&[shows(HERE, 8192, 1, 0)])];
    case.ops[0] = show(at(BIND, 4), HERE, 8192, 0, 0);
    let refusal = case.check(&mut ledger).map(|_| ());
    assert_eq!(refusal, Err(Refusal::Poisoned(BufferId(1))));
    assert_eq!(ledger.content_of(BufferId(1)), Some(Content::Poisoned));
    // A job that was on its way makes nothing of it whole again.
    let late = told(vec![used(3, Some(1), Intent::Write)]);
    late.check(&mut ledger).expect("a true plan");
    assert_eq!(ledger.content_of(BufferId(1)), Some(Content::Poisoned));
}
