//! Cases I-27 to I-34 of the reference, and what it leaves open: errors, guilt, ends, credits,
//! dependencies.
#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use gpumm_contract::{Point, TimelineId};
use gpumm_scheduler::{
    Action, Dependency, EntityConfig, Error, JobDesc, JobError, Priority, RingConfig, RingId,
    RingSet, Scheduler, Verdict,
};

fn at(timeline: u32, value: u64) -> Point {
    Point {
        timeline: TimelineId(timeline),
        value,
    }
}

fn job(dependencies: &[Dependency]) -> JobDesc<'_, Work> {
    JobDesc {
        payload: None,
        credits: 1,
        dependencies,
        value: None,
    }
}

#[test]
fn i_27_dependencies() {
    let mut mock = Mock::simple();
    let [entity] = mock.entities();
    // None; one of its own entity, past or to come; one that is reached already.
    mock.scheduler.reached(at(90, 5));
    let first = mock.push_after(entity, None, &[]);
    let own = Point { value: 9, ..first };
    let ready = mock.push_after(entity, None, &[first, own, at(90, 5), at(90, 4)]);
    assert!(mock.scheduled(ready));
    assert!(mock.watched.is_empty());
    // Of several of one timeline the later one counts.
    let late = mock.push_after(
        entity,
        None,
        &[at(91, 7), at(92, 1), at(91, 9), at(91, 8), at(93, 1)],
    );
    assert_eq!(mock.watched, [at(91, 9), at(92, 1), at(93, 1)]);
    let awaited: Vec<Point> = mock.scheduler.awaited().collect();
    assert_eq!(awaited.len(), 3);
    for point in [at(92, 4), at(93, 1), at(91, 8)] {
        mock.scheduler.reached(point);
        mock.drain();
        assert!(!mock.scheduled(late));
    }
    // A second one that waits for the same point asks for nothing new.
    let [other] = mock.entities();
    let too = mock.push_after(other, None, &[at(91, 9)]);
    assert_eq!(mock.watched.len(), 3);
    mock.scheduler.reached(at(91, 9));
    mock.drain();
    assert!(mock.scheduled(late) && mock.scheduled(too));
    // What ended is not remembered; all its points count as reached.
    let last = mock.push_after(entity, None, &[at(91, 10)]);
    mock.scheduler.forget(TimelineId(91));
    mock.drain();
    assert!(mock.scheduled(last));
    assert_eq!(mock.advance(9), 5);
    mock.assert_all_done();
}

#[test]
fn i_28_rings_that_fail_or_have_nothing_to_do() {
    let mut mock = Mock::simple();
    let [entity] = mock.entities();
    let [bad, good] = [(); 2].map(|()| mock.push(entity, None));
    mock.faults.insert(bad, -5);
    assert_eq!(mock.advance(2), 2);
    assert_eq!(mock.error(bad), Some(JobError::Failed(-5)));
    assert_eq!(mock.error(bad).unwrap().errno(), -5);
    assert_eq!(mock.error(good), None);
    // An answer on the spot, without a ring having worked.
    let mut scheduler = Scheduler::new(&[ring(1)]).unwrap();
    let config = EntityConfig::new(RingId(0));
    let entity = scheduler.add_entity(TimelineId(1), &config).unwrap();
    for (result, expected) in [(Ok(()), None), (Err(-5), Some(JobError::Failed(-5)))] {
        scheduler.push(entity, JobDesc::new(())).unwrap();
        let Some(Action::Run { key, .. }) = scheduler.poll(us(0)) else {
            panic!()
        };
        scheduler.ended(key, result, us(0), us(0)).unwrap();
        let again = scheduler.ended(key, result, us(0), us(0));
        assert_eq!(again, Err(Error::UnknownJob), "once only");
        let Some(Action::Finish { error, .. }) = scheduler.poll(us(0)) else {
            panic!()
        };
        assert_eq!(error, expected);
    }
}

#[test]
fn i_29_karma() {
    let mut mock = Mock::with_timeout(MS);
    let [one, other] = mock.entities();
    let hangs = mock.push(one, None);
    let fellow = mock.push(one, None);
    let bystander = mock.push(other, None);
    let later = mock.push_after(one, Some(9), &[at(90, 1)]);
    mock.run_for(MS);
    mock.judge_now(hangs, Verdict::Reset);
    assert_eq!(mock.error(hangs), Some(JobError::TimedOut));
    assert!(mock.fate(fellow).cancelled);
    assert_eq!(mock.error(fellow), Some(JobError::Cancelled));
    assert!(!mock.finished(bystander), "the others go on");
    assert!(mock.scheduler.entity(one).unwrap().guilty);
    // It is handed out, to be skipped.
    mock.scheduler.reached(at(90, 1));
    mock.drain();
    assert!(mock.scheduled(later) && mock.fate(later).guilty);
    assert_eq!(mock.advance(2), 2);
    assert_eq!(mock.error(later), Some(JobError::Cancelled));
    assert_eq!(mock.error(bystander), None);
    // The system's own work is never guilty.
    let kernel = mock.entity(Priority::Kernel);
    let [hangs, fine] = [(); 2].map(|()| mock.push(kernel, None));
    mock.run_for(MS);
    mock.judge_now(hangs, Verdict::Reset);
    assert_eq!(mock.error(hangs), Some(JobError::TimedOut));
    assert!(!mock.scheduler.entity(kernel).unwrap().guilty);
    assert_eq!(mock.advance(1), 1);
    assert_eq!(mock.error(fine), None);
    assert_eq!(mock.scheduler.counts().hangs, 2);
}

#[test]
fn i_29_resubmission_and_the_hang_limit() {
    for limit in 0..3 {
        let mut mock = Mock::with_timeout(MS);
        mock.scheduler.set_hang_limit(limit);
        let [one, other] = mock.entities();
        let points = [one, one, other].map(|entity| mock.push(entity, None));
        for hang in 0..=limit {
            assert!(!mock.finished(points[0]));
            assert_eq!(mock.fate(points[0]).reruns, hang);
            mock.run_for(MS);
            mock.judge_now(points[0], Verdict::Resubmit);
            let guilty = hang + 1 >= limit;
            assert_eq!(mock.scheduler.entity(one).unwrap().guilty, guilty);
        }
        assert_eq!(mock.error(points[0]), Some(JobError::TimedOut));
        assert_eq!(mock.error(points[1]), Some(JobError::Cancelled));
        assert_eq!(mock.fate(points[2]).reruns, limit + 1);
        assert_eq!(mock.advance(1), 1);
        assert_eq!(mock.error(points[2]), None);
    }
}

#[test]
fn i_30_killed() {
    let mut mock = Mock::new(&[ring(2)]);
    let [one, other, third] = mock.entities();
    let [running, pipelined] = [one, other].map(|entity| mock.push(entity, None));
    // It would run as soon as there are credits, being ordered behind `pipelined` on the ring.
    let queued = mock.push_after(one, None, &[pipelined]);
    let foreign = mock.push_after(one, None, &[at(90, 1)]);
    let last = mock.push(one, None);
    let awaits = mock.push_after(third, None, &[queued]);
    mock.scheduler.kill(one).unwrap();
    mock.drain();
    let open = |mock: &Mock, points: &[Point]| {
        points.iter().map(|&p| mock.finished(p)).collect::<Vec<_>>()
    };
    assert_eq!(open(&mock, &[running, queued]), [false, false]);
    // A push afterwards is finished as soon as those before it are, whatever it waits for.
    let pushed = mock.push_after(one, None, &[at(91, 1)]);
    assert_eq!(mock.advance(1), 1);
    // What ran is kept and good; the next one waits for the end of what it was ordered behind.
    assert_eq!(mock.error(running), None);
    assert!(!mock.finished(queued));
    assert!(!mock.scheduled(awaits));
    assert_eq!(mock.advance(1), 1);
    assert_eq!(mock.error(queued), Some(JobError::Killed));
    assert_eq!(open(&mock, &[foreign, last, pushed]), [false; 3]);
    assert!(mock.scheduled(awaits));
    mock.scheduler.reached(at(90, 1));
    mock.drain();
    for point in [foreign, last, pushed] {
        assert_eq!(mock.error(point), Some(JobError::Killed));
        assert!(!mock.scheduled(point));
    }
    assert_eq!(JobError::Killed.errno(), -3);
    let at_once = mock.push(one, None);
    assert_eq!(mock.error(at_once), Some(JobError::Killed));
    // Gone, it is not known any more, and its timeline is free.
    mock.scheduler.fini_entity(one).unwrap();
    mock.drain();
    let gone = mock.scheduler.push(one, job(&[]));
    assert_eq!(gone, Err(Error::UnknownEntity));
    let config = EntityConfig {
        last: at_once.value,
        ..EntityConfig::new(RingId(0))
    };
    mock.scheduler
        .add_entity(at_once.timeline, &config)
        .unwrap();
    assert_eq!(mock.advance(1), 1);
}

#[test]
fn i_31_more_credits_than_there_are() {
    let mut mock = Mock::new(&[ring(4)]);
    let [entity] = mock.entities();
    let large = JobDesc {
        credits: 9,
        ..JobDesc::new(None)
    };
    let pushed = mock.submit(entity, large);
    assert_eq!(pushed.clamped, Some(4));
    assert_eq!(mock.scheduler.counts().clamped, 1);
    assert!(mock.scheduled(pushed.point));
    assert_eq!(mock.scheduler.used(RingId(0)), Some(4));
    let next = mock.push(entity, None);
    assert!(!mock.scheduled(next));
    assert_eq!(mock.advance(1), 1);
    assert!(mock.scheduled(next));
}

#[test]
fn i_32_refusals() {
    let mut mock = Mock::simple();
    let [entity, other] = mock.entities();
    let scheduler = &mut mock.scheduler;
    let no_credits = JobDesc {
        credits: 0,
        ..job(&[])
    };
    assert_eq!(scheduler.push(entity, no_credits), Err(Error::NoCredits));
    scheduler.set_rings(entity, RingSet::EMPTY).unwrap();
    assert_eq!(scheduler.push(entity, job(&[])), Err(Error::NoRing));
    scheduler.set_rings(entity, RingId(0).into()).unwrap();
    let valued = |value| JobDesc {
        value: Some(value),
        ..job(&[])
    };
    let pushed = scheduler.push(entity, valued(5)).unwrap();
    let last = 5;
    for value in [5, 4, 0] {
        let point = Point {
            value,
            ..pushed.point
        };
        let refused = scheduler.push(entity, valued(value));
        assert_eq!(refused, Err(Error::NotAhead { point, last }));
    }
    assert_eq!(scheduler.push(entity, job(&[])).unwrap().point.value, 6);
    let timeline = pushed.point.timeline;
    let config = EntityConfig::new(RingId(0));
    let twice = scheduler.add_entity(timeline, &config);
    assert_eq!(twice, Err(Error::TimelineInUse(timeline)));
    let config = EntityConfig::new(RingId(1));
    let no_ring = scheduler.add_entity(TimelineId(99), &config);
    assert_eq!(no_ring, Err(Error::UnknownRing));
    for bad in [&[][..], &[ring(0)], &[ring(1); 65]] {
        assert_eq!(Scheduler::<()>::new(bad).err(), Some(Error::BadRings));
    }
    let counts = scheduler.counts();
    assert_eq!(
        (counts.pushed, counts.finished),
        (2, 0),
        "no refusal counts"
    );
    scheduler.fini_entity(other).unwrap();
    assert_eq!(scheduler.kill(other), Err(Error::UnknownEntity));
    assert_eq!(scheduler.fini(), 1);
    let config = EntityConfig::new(RingId(0));
    let closed = scheduler.add_entity(TimelineId(99), &config);
    assert_eq!(closed, Err(Error::Closed));
}

#[test]
fn i_33_nobody_passes_the_first() {
    let mut mock = Mock::new(&[ring(4)]);
    let [one, other, third] = mock.entities();
    let running = mock.push(one, None);
    let large = JobDesc {
        credits: 4,
        ..job(&[])
    };
    let head = mock.submit(other, large).point;
    let small = mock.push(third, None);
    assert!(!mock.scheduled(head) && !mock.scheduled(small));
    assert_eq!(mock.advance(1), 1);
    assert!(mock.finished(running) && mock.scheduled(head));
    assert!(!mock.scheduled(small));
    assert_eq!(mock.advance(1), 1);
    assert!(mock.scheduled(small));
}

#[test]
fn i_34_behind_a_job_of_the_same_ring() {
    let mut mock = Mock::new(&[ring(9), ring(9)]);
    let [one, other, third] = mock.entities();
    let gate = at(90, 1);
    let mut on = |entity, ring, dependencies: &[Dependency]| {
        let ring = RingSet::from(RingId(ring));
        mock.scheduler.set_rings(entity, ring).unwrap();
        mock.submit(entity, job(dependencies)).point
    };
    let first = on(one, 0, &[gate.into()]);
    let behind = on(other, 0, &[first.into()]);
    let after = on(other, 0, &[Dependency::finished(first)]);
    let elsewhere = on(third, 1, &[first.into()]);
    let open = |mock: &Mock| [behind, after, elsewhere].map(|p| mock.scheduled(p));
    assert_eq!(open(&mock), [false; 3]);
    mock.scheduler.reached(gate);
    mock.drain();
    assert_eq!(open(&mock), [true, false, false], "given to the ring");
    assert_eq!(mock.order, [first, behind]);
    assert_eq!(mock.advance(1), 1);
    assert_eq!(open(&mock), [true; 3], "finished");
}

#[test]
fn i_34_behind_a_job_that_will_fail() {
    let mut mock = Mock::with_timeout(MS);
    let [one, other] = mock.entities();
    let hangs = mock.push(one, None);
    mock.run_for(MS);
    mock.judge_now(hangs, Verdict::Reset);
    // Handed out with its error settled, it is nothing to be ordered behind.
    let gate = [at(90, 1)];
    let skipped = mock.push_after(one, None, &gate);
    let before = mock.push_after(other, None, &[skipped]);
    mock.scheduler.reached(gate[0]);
    mock.drain();
    let after = mock.push_after(other, None, &[skipped]);
    assert!(mock.scheduled(skipped) && mock.fate(skipped).guilty);
    assert!(!mock.scheduled(before) && !mock.scheduled(after));
    assert_eq!(mock.advance(1), 1);
    assert!(mock.scheduled(before) && mock.scheduled(after));
}

/// Jobs may end out of order, points are not reached out of order.
#[test]
fn points_are_held_back_until_those_before_them_are_reached() {
    let mut scheduler = Scheduler::new(&[ring(9)]).unwrap();
    let config = EntityConfig::new(RingId(0));
    let entity = scheduler.add_entity(TimelineId(1), &config).unwrap();
    let mut keys = Vec::new();
    for n in 0..3 {
        scheduler.push(entity, JobDesc::new(n)).unwrap();
        if let Some(Action::Run { key, .. }) = scheduler.poll(us(0)) {
            keys.push(key);
        }
    }
    for n in [2, 1] {
        scheduler.ended(keys[n], Ok(()), us(1), us(1)).unwrap();
        assert_eq!(scheduler.poll(us(1)), None);
        assert_eq!(scheduler.validate(), Ok(()));
    }
    scheduler.ended(keys[0], Err(7), us(1), us(2)).unwrap();
    let mut values = Vec::new();
    while let Some(Action::Finish { point, error, .. }) = scheduler.poll(us(2)) {
        values.push((point.value, error));
    }
    let failed = Some(JobError::Failed(7));
    assert_eq!(values, [(1, failed), (2, None), (3, None)]);
}

#[test]
fn a_lost_device_ends_everything() {
    let timeout = Some(us(MS));
    let config = RingConfig {
        credits: 2,
        timeout,
    };
    let mut mock = Mock::new(&[config, config]);
    let all: [_; 3] = mock.entities();
    let points: Vec<Point> = (0..9).map(|n| mock.push(all[n % 3], None)).collect();
    mock.run_for(MS);
    let hung = points.iter().find(|&&p| mock.fate(p).timed_out > 0);
    mock.judge_now(*hung.unwrap(), Verdict::Gone);
    assert!(
        points
            .iter()
            .all(|&p| mock.error(p) == Some(JobError::Lost))
    );
    let later = mock.push(all[0], None);
    assert_eq!(mock.error(later), Some(JobError::Lost));
}

/// A job that ends while the verdict on it is due ends as it ends.
#[test]
fn a_job_that_ends_before_its_verdict() {
    let mut mock = Mock::with_timeout(MS);
    let [entity] = mock.entities();
    let late = mock.push(entity, None);
    mock.run_for(MS);
    assert_eq!(mock.fate(late).timed_out, 1);
    let next = mock.push(entity, None);
    assert!(!mock.scheduled(next), "nothing new before the verdict");
    let key = mock.key(late);
    assert_eq!(mock.advance(1), 1);
    let verdict = mock
        .scheduler
        .timeout_verdict(key, Verdict::Reset, us(mock.now));
    assert_eq!(verdict, Err(Error::UnknownJob));
    assert_eq!(mock.error(late), None);
    assert!(mock.scheduled(next));
}

/// Jobs that wait for each other wait until one side is killed, whichever it is.
#[test]
fn a_kill_ends_waiting_in_a_circle() {
    for victim in 0..2 {
        let mut mock = Mock::simple();
        let all: [_; 3] = mock.entities();
        let beside = mock.push(all[2], None);
        let waits = [at(2, 2), at(90, 1), beside];
        let first = mock.push_after(all[0], None, &waits);
        let before = mock.push(all[1], None);
        let second = mock.push_after(all[1], None, &[first]);
        mock.scheduler.kill(all[victim]).unwrap();
        mock.drain();
        // Dependencies that are in no circle are waited for.
        mock.scheduler.reached(at(90, 1));
        mock.drain();
        assert!(!mock.finished(first) && !mock.finished(second));
        assert_eq!(mock.advance(1), 1);
        assert!(mock.finished(beside) && !mock.finished(before));
        // A killed `first` waited for the end of `beside`, a killed `second` waits for `first`
        // and for `before`, which it comes behind.
        assert_eq!(mock.finished(first), victim == 0);
        while mock.advance(9) > 0 {}
        let killed = |n: usize| (n == victim).then_some(JobError::Killed);
        assert_eq!(mock.error(first), killed(0));
        assert_eq!(mock.error(second), killed(1));
        assert_eq!((mock.error(before), mock.error(beside)), (None, None));
    }
}

/// The circle may close after the kill.
#[test]
fn a_circle_that_closes_after_the_kill() {
    let mut mock = Mock::simple();
    let [one, other] = mock.entities();
    let first = mock.push_after(one, None, &[at(2, 1)]);
    mock.scheduler.kill(one).unwrap();
    mock.drain();
    assert!(!mock.finished(first));
    let second = mock.push_after(other, None, &[first]);
    assert_eq!(mock.error(first), Some(JobError::Killed));
    assert!(mock.scheduled(second));
    // Who waits for a value that is never pushed is referred to the caller.
    let [third] = mock.entities();
    let waits = mock.push_after(third, None, &[at(2, 7)]);
    mock.scheduler.fini_entity(other).unwrap();
    mock.drain();
    assert_eq!(mock.advance(1), 1);
    assert_eq!(mock.watched, [at(2, 7)]);
    mock.scheduler.reached(at(2, 7));
    mock.drain();
    assert!(mock.scheduled(waits));
}
