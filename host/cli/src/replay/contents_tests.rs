#![allow(clippy::unwrap_used)]

use super::*;

/// A buffer with so many accepted jobs, none of which has ended.
fn queued(jobs: usize) -> (Contents, Vec<Change>) {
    let mut contents = Contents::default();
    contents.add(7);
    let changes: Vec<Change> = (0..jobs).map(|_| contents.change(7).unwrap()).collect();
    for change in &changes {
        contents.answered(change, true);
    }
    (contents, changes)
}

#[test]
fn jobs_that_run_find_what_those_before_them_wrote() {
    let (mut contents, changes) = queued(3);
    for (n, change) in (0..).zip(&changes) {
        assert_eq!((change.old, change.new), (Some(n), n + 1));
        assert!(contents.ended(change, End::Ran));
    }
    assert_eq!(contents.change(7).unwrap().old, Some(3));
}

#[test]
fn a_failed_job_leaves_the_content_unknown_until_the_next_one() {
    let (mut contents, changes) = queued(3);
    assert!(contents.ended(&changes[0], End::Ran));
    contents.ended(&changes[1], End::Failed);
    assert!(!contents.ended(&changes[2], End::Ran), "nobody knows");
    assert_eq!(contents.change(7).unwrap().old, Some(3));
    let (mut contents, changes) = queued(1);
    contents.ended(&changes[0], End::Failed);
    let next = contents.change(7).unwrap();
    assert_eq!((next.old, next.new), (None, 2));
}

#[test]
fn jobs_that_have_not_run_leave_the_content_of_the_last_one_that_did() {
    let (mut contents, changes) = queued(3);
    assert!(contents.ended(&changes[0], End::Ran));
    contents.ended(&changes[1], End::NotRun);
    // Made for what the second one would have written.
    assert!(!contents.ended(&changes[2], End::Ran));
    let (mut contents, changes) = queued(2);
    assert!(contents.ended(&changes[0], End::Ran));
    contents.ended(&changes[1], End::NotRun);
    let next = contents.change(7).unwrap();
    assert_eq!((next.old, next.new), (Some(1), 3));
}

#[test]
fn a_refused_request_changes_nothing() {
    let (mut contents, _) = queued(0);
    let changes = [0; 3].map(|_| contents.change(7).unwrap());
    for (change, accepted) in changes.iter().zip([true, false, true]) {
        contents.answered(change, accepted);
    }
    assert!(contents.ended(&changes[0], End::Ran));
    assert!(!contents.ended(&changes[2], End::Ran));
    assert_eq!(contents.change(7).unwrap().old, Some(3));
}

#[test]
fn buffers_are_forgotten_after_their_last_job() {
    let (mut contents, changes) = queued(2);
    contents.forget(7);
    assert!(contents.ended(&changes[0], End::Ran));
    assert!(contents.ended(&changes[1], End::Ran));
    assert!(contents.0.is_empty());
    contents.add(8);
    contents.forget(8);
    assert!(contents.0.is_empty() && contents.change(8).is_none());
}
