//! Lies about lost content: what the host has seen go must be given up, and nothing else.

use super::*;
use gpumm_contract::facts::Content;

fn content(ledger: &Ledger, buffer: u64) -> Option<Content> {
    ledger.content_of(BufferId(buffer))
}

/// A copy of buffer 1 failed, and so did its redo.
fn given_up() -> Case {
    Case {
        requests: vec![Request::Poisoned(BufferId(1))],
        ops: vec![poison(1), answer(0, Status::Good)],
        ..Case::default()
    }
}

#[test]
fn lies_about_a_lost_content_are_named() {
    refused(
        evicted,
        given_up,
        &[
            (
                "not given up",
                |c| _ = c.ops.remove(0),
                |r| matches!(r, Refusal::FalsePoison(BufferId(1))),
            ),
            (
                "not given up, and said so",
                |c| {
                    c.ops.remove(0);
                    c.ops[0] = answer(0, Status::Poisoned);
                },
                |r| matches!(r, Refusal::FalsePoison(BufferId(1))),
            ),
            (
                "given up, and denied",
                |c| c.ops[1] = answer(0, Status::Poisoned),
                |r| matches!(r, Refusal::FalseAnswer { request: 0, .. }),
            ),
            (
                "given up too late",
                |c| c.ops.swap(0, 1),
                |r| matches!(r, Refusal::FalsePoison(BufferId(1))),
            ),
            (
                "another one with it",
                |c| c.ops.insert(0, poison(2)),
                |r| matches!(r, Refusal::FalsePoison(BufferId(2))),
            ),
            (
                "twice",
                |c| c.ops.insert(1, poison(1)),
                |r| matches!(r, Refusal::FalsePoison(BufferId(1))),
            ),
            (
                "nobody",
                |c| c.ops[0] = poison(9),
                |r| matches!(r, Refusal::Unknown("buffer", 9)),
            ),
        ],
    );
}

#[test]
fn nothing_is_given_up_without_a_loss() {
    let mut ledger = born();
    let mut case = Case {
        requests: vec![access(1, 4)],
        ops: vec![poison(1), answer(0, Status::Poisoned)],
        ..Case::default()
    };
    let refusal = case.check(&mut ledger).map(|_| ());
    assert_eq!(refusal, Err(Refusal::FalsePoison(BufferId(1))));
    case.ops = vec![run(2, 4, &[0]), answer(0, Status::Good)];
    case.check(&mut ledger).expect("a true plan");
}

#[test]
fn a_poisoned_buffer_is_used_no_more_and_stays_poisoned() {
    let mut ledger = born();
    let accepted = given_up().check(&mut ledger).expect("a true plan");
    assert_eq!(accepted.poisoned, [BufferId(1)]);
    assert_eq!(content(&ledger, 1), Some(Content::Poisoned));
    refused(
        || after(born(), &[given_up]),
        || Case {
            requests: vec![access(1, 4)],
            ops: vec![answer(0, Status::Poisoned)],
            ..Case::default()
        },
        &[
            (
                "a job",
                |c| c.ops = vec![run(2, 4, &[0]), answer(0, Status::Good)],
                |r| matches!(r, Refusal::Poisoned(BufferId(1))),
            ),
            (
                "a clear, and a job",
                |c| c.ops = vec![fill(2, 0, 0), run(3, 4, &[0]), answer(0, Status::Good)],
                |r| matches!(r, Refusal::ContentLost(BufferId(1))),
            ),
            (
                "a second loss",
                |c| c.ops.insert(0, poison(1)),
                |r| matches!(r, Refusal::FalsePoison(BufferId(1))),
            ),
        ],
    );
    // Told again, or told of a buffer that was released meanwhile, there is nothing to give up.
    for buffer in [1, 9] {
        let told = Case {
            requests: vec![Request::Poisoned(BufferId(buffer))],
            ops: vec![answer(0, Status::Good)],
            ..Case::default()
        };
        let accepted = told.check(&mut ledger).expect("a true plan");
        assert!(accepted.poisoned.is_empty());
    }
}

/// The device is lost while buffer 1 is on its way back: it is copied again; buffer 2 is lost.
fn loss() -> Case {
    Case {
        requests: vec![
            Request::Lost,
            Request::Retire(at(COPY, 2)),
            Request::Retire(at(RUN, 3)),
        ],
        ops: vec![
            wait(COPY, at(RUN, 3)),
            copy(3, 1, 3),
            poison(2),
            answer(0, Status::Good),
            answer(1, Status::Good),
            answer(2, Status::Good),
        ],
        ..Case::default()
    }
}

#[test]
fn lies_after_a_loss_of_the_device_are_named() {
    refused(
        fetching,
        loss,
        &[
            (
                "neither saved nor given up",
                |c| _ = c.ops.drain(0..2),
                |r| matches!(r, Refusal::FalsePoison(BufferId(1))),
            ),
            (
                "given up although it can be copied again",
                |c| _ = c.ops.splice(0..2, [poison(1)]),
                |r| matches!(r, Refusal::FalsePoison(BufferId(1))),
            ),
            (
                "not given up",
                |c| _ = c.ops.remove(2),
                |r| matches!(r, Refusal::FalsePoison(BufferId(2))),
            ),
            (
                "copied again without waiting for the job that had not run",
                |c| _ = c.ops.remove(0),
                |r| {
                    let point = at(RUN, 3);
                    *r == Refusal::NotOrdered {
                        allocation: AllocationId(3),
                        timeline: COPY,
                        point,
                    }
                },
            ),
            (
                "half copied again",
                |c| c.ops[1] = copy_of(3, 1, 3, 4000),
                |r| matches!(r, Refusal::ContentLost(BufferId(1))),
            ),
            (
                "copied again and given up",
                |c| c.ops.insert(2, poison(1)),
                |r| matches!(r, Refusal::FalsePoison(BufferId(1))),
            ),
            (
                "copied again too late",
                |c| {
                    let copy = c.ops.remove(1);
                    c.ops.insert(3, copy);
                },
                |r| {
                    matches!(
                        r,
                        Refusal::FalsePoison(BufferId(1)) | Refusal::ContentLost(_)
                    )
                },
            ),
            (
                "denied",
                |c| c.ops[3] = answer(0, Status::Poisoned),
                |r| matches!(r, Refusal::FalseAnswer { request: 0, .. }),
            ),
        ],
    );
}

#[test]
fn what_left_host_memory_is_copied_again_after_every_loss() {
    let mut ledger = fetching();
    let accepted = loss().check(&mut ledger).expect("a true plan");
    assert_eq!(accepted.poisoned, [BufferId(2)]);
    assert_eq!(content(&ledger, 1), Some(Content::Valid));
    // The second copy is lost as well: its source has not gone back to the host.
    let again = Case {
        requests: vec![Request::Lost, Request::Retire(at(COPY, 3))],
        ops: vec![
            copy(4, 1, 3),
            answer(0, Status::Good),
            answer(1, Status::Good),
        ],
        ..Case::default()
    };
    again.check(&mut ledger).expect("a true plan");
    // The last one runs: the source is given back, and the content can be lost now.
    let arrived = Case {
        requests: vec![Request::Retire(at(COPY, 4)), Request::Lost],
        ops: vec![
            unmap(1),
            drop_table(1),
            answer(0, Status::Good),
            poison(1),
            answer(1, Status::Good),
        ],
        ..Case::default()
    };
    let accepted = arrived.check(&mut ledger).expect("a true plan");
    assert_eq!((accepted.ended.len(), accepted.ops.len()), (1, 1));
    assert_eq!(content(&ledger, 1), Some(Content::Poisoned));
}

#[test]
fn what_has_arrived_in_host_memory_survives_and_what_has_not_is_lost() {
    let lost = |poisoned: &[u64]| Case {
        requests: vec![Request::Lost],
        ops: poisoned
            .iter()
            .map(|&b| poison(b))
            .chain([answer(0, Status::Good)])
            .collect(),
        ..Case::default()
    };
    lost(&[2]).check(&mut arrived()).expect("a true plan");
    let refusal = lost(&[1, 2]).check(&mut arrived()).map(|_| ());
    assert_eq!(refusal, Err(Refusal::FalsePoison(BufferId(1))));
    lost(&[1, 2]).check(&mut evicted()).expect("a true plan");
    let refusal = lost(&[2]).check(&mut evicted()).map(|_| ());
    assert_eq!(refusal, Err(Refusal::FalsePoison(BufferId(1))));
    // Without content there is nothing to lose.
    let unwritten = || {
        let mut case = birth();
        case.requests.truncate(1);
        case.ops.truncate(3);
        case
    };
    let mut ledger = after(ledger(), &[unwritten]);
    let refusal = lost(&[1]).check(&mut ledger).map(|_| ());
    assert_eq!(refusal, Err(Refusal::FalsePoison(BufferId(1))));
    lost(&[]).check(&mut ledger).expect("a true plan");
}

#[test]
fn facts_tell_a_restored_mechanism_what_can_be_copied_again() {
    use gpumm_contract::facts::Fact;
    let leaving = |ledger: &Ledger| {
        let all = ledger.facts();
        let leaving = all.filter(|f| matches!(f, Fact::Leaving { .. }));
        leaving.collect::<Vec<_>>()
    };
    assert_eq!(leaving(&evicted()), []);
    let table = TableId(1);
    let expected = Fact::Leaving {
        table,
        buffer: BufferId(1),
        arrives: Some(at(COPY, 1)),
        left: at(COPY, 2),
        after: [at(COPY, 2)].into_iter().collect(),
    };
    assert_eq!(leaving(&fetching()), [expected]);
    let expected = Fact::Leaving {
        table,
        buffer: BufferId(1),
        arrives: Some(at(COPY, 1)),
        left: at(COPY, 3),
        after: [at(COPY, 3)].into_iter().collect(),
    };
    let mut ledger = fetching();
    loss().check(&mut ledger).expect("a true plan");
    assert_eq!(leaving(&ledger), [expected]);
}
