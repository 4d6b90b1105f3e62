//! Lies about what a move carries: content goes on from where it is, whole, and nothing else is
//! copied.

use super::*;

/// Buffer 1, on its way back and written again, is evicted once more.
fn once_more() -> Case {
    Case {
        requests: vec![access(2, 9)],
        granted: vec![(4, SYSTEM, vec![extent(16384, 8192)])],
        freed: vec![(3, VRAM)],
        mapped: vec![4],
        ops: vec![
            place(4, SYSTEM, 1, &[extent(16384, 8192)]),
            table(4, 4, BASE + 16384, 8192),
            map(4),
            wait(COPY, at(RUN, 3)),
            copy(3, 3, 4),
            unplace(3, &[at(COPY, 3), at(RUN, 3)]),
            run(4, 9, &[2]),
            answer(0, Status::Good),
        ],
    }
}

#[test]
fn lies_about_what_a_move_carries_are_named() {
    refused(
        fetching,
        once_more,
        &[
            (
                "from where the content was once",
                |c| c.ops[4] = copy(3, 1, 4),
                |r| matches!(r, Refusal::ContentLost(BufferId(1))),
            ),
            (
                "half of it",
                |c| c.ops[4] = copy_of(3, 3, 4, 4000),
                |r| matches!(r, Refusal::ContentLost(BufferId(1))),
            ),
            (
                "twice",
                |c| c.ops.insert(5, copy(4, 3, 4)),
                |r| matches!(r, Refusal::ContentLost(BufferId(1))),
            ),
            (
                "onto memory that is given back",
                |c| c.ops.insert(6, copy(4, 4, 3)),
                |r| matches!(r, Refusal::ContentLost(BufferId(1))),
            ),
            (
                "from memory that is given back",
                |c| {
                    c.ops.remove(4);
                    c.ops.insert(5, copy(3, 3, 4));
                    c.ops[4] = unplace(3, &[at(COPY, 2), at(RUN, 3)]);
                },
                |r| matches!(r, Refusal::ContentLost(BufferId(1))),
            ),
        ],
    );
}

/// Buffer 1 is asked for after its place changed without a copy.
fn left_behind() -> Case {
    let mut case = fetch();
    case.ops.remove(2);
    case.ops[2] = unplace(1, &[]);
    case.ops[3] = wait(RUN, at(COPY, 1));
    case
}

#[test]
fn a_job_does_not_see_a_place_that_the_content_never_reached() {
    let refusal = left_behind().check(&mut arrived()).map(|_| ());
    assert_eq!(refusal, Err(Refusal::ContentLost(BufferId(1))));
}

/// Buffer 3 is made and read, never written.
fn unwritten() -> Case {
    Case {
        requests: vec![create(3, 7), access_on(CPU, 3, 6, Intent::Read)],
        granted: vec![(3, VRAM, vec![extent(65536, 8192)])],
        ops: vec![
            place(3, VRAM, 3, &[extent(65536, 8192)]),
            table(3, 3, 65536, 8192),
            answer(0, Status::Good),
            run_at(at(CPU, 1), 6, &[3]),
            answer(1, Status::Good),
        ],
        ..Case::default()
    }
}

/// It moves, and has nothing to carry.
fn empty_move() -> Case {
    Case {
        requests: vec![access(2, 9)],
        granted: vec![(4, SYSTEM, vec![extent(16384, 8192)])],
        freed: vec![(3, VRAM)],
        mapped: vec![4],
        ops: vec![
            place(4, SYSTEM, 3, &[extent(16384, 8192)]),
            table(4, 4, BASE + 16384, 8192),
            map(4),
            unplace(3, &[at(CPU, 1)]),
            run(3, 9, &[2]),
            answer(0, Status::Good),
        ],
    }
}

#[test]
fn memory_without_content_is_not_copied_and_not_cleared_when_given_back() {
    refused(
        || after(ledger(), &[birth, eviction, arrival, unwritten]),
        empty_move,
        &[
            (
                "a copy of what nobody wrote",
                |c| {
                    c.ops.insert(3, copy(2, 3, 4));
                    c.ops[4] = unplace(3, &[at(CPU, 1), at(COPY, 2)]);
                },
                |r| matches!(r, Refusal::ContentLost(BufferId(3))),
            ),
            (
                "a clear of memory that is given back",
                |c| {
                    c.ops.insert(4, wait(RUN, at(CPU, 1)));
                    c.ops.insert(5, fill(3, 3, 0));
                    c.ops[6] = run(4, 9, &[2]);
                },
                |r| matches!(r, Refusal::ContentLost(BufferId(3))),
            ),
        ],
    );
}

#[test]
fn a_fill_destroys_nothing_and_is_zero() {
    let mut ledger = born();
    let mut over = Case {
        requests: vec![access(1, 4)],
        ops: vec![fill(2, 0, 0), run(3, 4, &[0]), answer(0, Status::Good)],
        ..Case::default()
    };
    let refusal = over.check(&mut ledger).map(|_| ());
    assert_eq!(refusal, Err(Refusal::ContentLost(BufferId(1))));
    over.ops.remove(0);
    over.ops[0] = run(2, 4, &[0]);
    over.check(&mut ledger).expect("a true plan");
    // Nothing but zeros hides what was there.
    let mut first = birth();
    first.ops[3] = run(2, 3, &[0]);
    first.ops.insert(3, fill(1, 0, 1));
    let refusal = first.check(&mut self::ledger()).map(|_| ());
    assert_eq!(refusal, Err(Refusal::ContentLost(BufferId(1))));
    first.ops[3] = fill(1, 0, 0);
    first.check(&mut self::ledger()).expect("a true plan");
}
