//! Whose bytes free memory shows.

use super::*;

/// The end of buffer `buffer` in device memory, where everything has run.
fn release(buffer: u64, allocation: u32, reached: u64) -> Case {
    Case {
        requests: vec![
            Request::Retire(at(RUN, reached)),
            Request::Release(BufferId(buffer)),
        ],
        freed: vec![(allocation, VRAM)],
        ops: vec![
            answer(0, Status::Good),
            unplace(allocation, &[]),
            drop_table(allocation),
            answer(1, Status::Good),
        ],
        ..Case::default()
    }
}

/// Buffer `buffer` of a tenant in the same bytes, used at a point of the job timeline.
fn next(buffer: u64, tenant: u32, value: u64, intent: Intent) -> Case {
    Case {
        requests: vec![
            create(buffer, tenant),
            Request::Access(Access {
                anywhere: false,
                ..match access_on(RUN, buffer, 3, intent) {
                    Request::Access(access) => access,
                    _ => unreachable!("made above"),
                }
            }),
        ],
        ops: vec![
            place(0, VRAM, buffer, &[extent(0, 8192)]),
            table(0, 0, 0, 8192),
            answer(0, Status::Good),
            run(value, 3, &[0]),
            answer(1, Status::Good),
        ],
        ..birth()
    }
}

/// The same, cleared before.
fn cleared(buffer: u64, tenant: u32, value: u64, intent: Intent) -> Case {
    let mut case = next(buffer, tenant, value + 1, intent);
    case.ops.insert(3, fill(value, 0, 0));
    case
}

#[track_caller]
fn foreign(case: &Case, ledger: &mut Ledger, buffer: u64) {
    let refusal = case.check(ledger).map(|_| ());
    assert_eq!(refusal, Err(Refusal::ForeignBytes(BufferId(buffer))));
}

#[track_caller]
fn good(case: Case, ledger: &mut Ledger) {
    case.check(ledger).expect("a true plan");
}

#[test]
fn another_tenants_bytes_must_be_cleared_first() {
    let mut ledger = born();
    good(release(1, 0, 1), &mut ledger);
    foreign(&next(2, 8, 2, Intent::Write), &mut ledger, 2);
    good(next(2, 7, 2, Intent::Write), &mut ledger);
    good(release(2, 0, 2), &mut ledger);
    good(cleared(3, 8, 3, Intent::Write), &mut ledger);
}

#[test]
fn memory_that_nobody_wrote_shows_what_it_showed_before() {
    let mut ledger = born();
    good(release(1, 0, 1), &mut ledger);
    // Tenant 8 has the bytes and does not look at them.
    let mut idle = next(2, 8, 2, Intent::Read);
    idle.requests.truncate(1);
    idle.ops.truncate(3);
    good(idle, &mut ledger);
    good(release(2, 0, 1), &mut ledger);
    foreign(&next(3, 8, 2, Intent::Read), &mut ledger, 3);
    good(next(4, 7, 2, Intent::Read), &mut ledger);
}

#[test]
fn memory_that_was_only_cleared_is_clean() {
    let mut ledger = born();
    good(release(1, 0, 1), &mut ledger);
    good(whole(cleared(2, 8, 2, Intent::Read)), &mut ledger);
    good(release(2, 0, 3), &mut ledger);
    good(next(3, 9, 4, Intent::Read), &mut ledger);
}

#[test]
fn the_rest_of_the_last_granule_shows_what_it_showed_before() {
    let mut ledger = born();
    good(release(1, 0, 1), &mut ledger);
    // 8000 of 8192 bytes are cleared; the rest is still tenant 7's.
    good(cleared(2, 8, 2, Intent::Read), &mut ledger);
    good(release(2, 0, 3), &mut ledger);
    foreign(&next(3, 9, 4, Intent::Read), &mut ledger, 3);
    // Beside tenant 9's bytes it is nobody's: not even tenant 9 sees it.
    good(cleared(3, 9, 4, Intent::Write), &mut ledger);
    good(release(3, 0, 5), &mut ledger);
    foreign(&next(4, 9, 6, Intent::Read), &mut ledger, 4);
}

/// The same with a buffer that fills its last granule.
fn whole(mut case: Case) -> Case {
    for request in &mut case.requests {
        if let Request::Create(create) = request {
            create.bytes = 8192;
        }
    }
    for op in &mut case.ops {
        if let Op::Fill { bytes, .. } = op {
            *bytes = 8192;
        }
    }
    case
}

#[test]
fn memory_of_a_lost_content_is_nobodys() {
    let mut ledger = born();
    let poisoned = Case {
        requests: vec![Request::Poisoned(BufferId(1))],
        ops: vec![poison(1), answer(0, Status::Good)],
        ..Case::default()
    };
    good(poisoned, &mut ledger);
    good(release(1, 0, 1), &mut ledger);
    // Not even its own tenant sees what is there: it may be anybody's.
    foreign(&next(2, 7, 2, Intent::Write), &mut ledger, 2);
    good(cleared(2, 7, 2, Intent::Write), &mut ledger);
}

#[test]
fn a_lost_device_shows_nothing() {
    let mut ledger = born();
    good(release(1, 0, 1), &mut ledger);
    let lost = Case {
        requests: vec![Request::Lost],
        ops: vec![answer(0, Status::Good)],
        ..Case::default()
    };
    good(lost, &mut ledger);
    good(next(2, 8, 2, Intent::Read), &mut ledger);
}
