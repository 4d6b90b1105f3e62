//! Cases I-1 to I-16 of the reference: jobs on a ring; wall clocks are virtual ones here.
#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use gpumm_contract::Point;
use gpumm_scheduler::{
    EntityKey, JobDesc, JobError, Priority, RingConfig, RingId, RingSet, Verdict,
};

#[test]
fn i_1_submit() {
    let mut mock = Mock::simple();
    let [entity] = mock.entities();
    let point = mock.push(entity, None);
    assert_eq!(mock.fate(point).scheduled, Some(0));
    mock.run_for(SECOND / 2);
    assert!(!mock.finished(point));
    assert_eq!(mock.advance(1), 1);
    mock.assert_all_done();
}

/// Pushes 100 jobs of 1000 us in turn; in a chain each waits for the one before.
fn hundred(entities: usize, chain: bool) -> (Mock, Vec<EntityKey>, Vec<Point>) {
    let mut mock = Mock::simple();
    let all: Vec<_> = (0..entities)
        .map(|_| mock.entity(Priority::Normal))
        .collect();
    let mut points: Vec<Point> = Vec::new();
    for n in 0..100 {
        let last = points.last().copied().filter(|_| chain);
        let after = Vec::from_iter(last);
        points.push(mock.push_after(all[n % entities], Some(MS), &after));
    }
    (mock, all, points)
}

fn done_in_time(mut mock: Mock, points: &[Point]) {
    mock.run_for(SECOND);
    mock.assert_all_done();
    let last = mock.fate(*points.last().unwrap()).finished.unwrap();
    assert_eq!(last, 100 * MS, "the ring is never idle");
    assert!(mock.order.iter().eq(points), "in turn");
}

#[test]
fn i_2_one_entity() {
    let (mock, _, points) = hundred(1, false);
    done_in_time(mock, &points);
}

#[test]
fn i_3_one_entity_in_a_chain() {
    let (mock, _, points) = hundred(1, true);
    done_in_time(mock, &points);
}

#[test]
fn i_4_four_entities() {
    let (mock, _, points) = hundred(4, false);
    done_in_time(mock, &points);
}

#[test]
fn i_5_four_entities_in_a_chain() {
    let (mock, _, points) = hundred(4, true);
    done_in_time(mock, &points);
}

#[test]
fn i_6_ending_entities_in_the_middle() {
    let mut mock = Mock::new(&[ring(2)]);
    let all: [EntityKey; 4] = mock.entities();
    let mut points: Vec<Point> = Vec::new();
    for n in 0..100 {
        let after = Vec::from_iter(points.last().copied());
        points.push(mock.push_after(all[n % 4], Some(MS), &after));
    }
    while !mock.finished(points[49]) {
        mock.step(SECOND);
    }
    for entity in all {
        mock.scheduler.fini_entity(entity).unwrap();
    }
    mock.drain();
    mock.run_for(SECOND);
    assert_eq!((mock.scheduler.jobs(), mock.scheduler.entities()), (0, 0));
    // Those on the ring were kept, the others were not given to it.
    assert!(points[..52].iter().all(|&p| mock.error(p).is_none()));
    let killed = |&p: &Point| mock.error(p) == Some(JobError::Killed) && !mock.scheduled(p);
    assert!(points[52..].iter().all(killed));
}

#[test]
fn i_7_cancelled_at_the_end() {
    let mut mock = Mock::simple();
    let [entity] = mock.entities();
    let point = mock.push(entity, None);
    assert!(mock.scheduled(point));
    assert_eq!(mock.scheduler.fini(), 1, "an entity is left");
    mock.drain();
    assert!(mock.fate(point).cancelled);
    assert_eq!(mock.error(point), Some(JobError::Cancelled));
    assert_eq!(JobError::Cancelled.errno(), -125);
}

#[test]
fn i_8_timeout() {
    let mut mock = Mock::with_timeout(200 * MS);
    let [entity] = mock.entities();
    let point = mock.push(entity, None);
    mock.run_for(100 * MS);
    assert_eq!(mock.fate(point).timed_out, 0);
    mock.run_for(200 * MS);
    assert_eq!(mock.fate(point).timed_out, 1);
    assert!(!mock.finished(point));
}

/// The timer starts anew for the job that becomes the first, and on an empty ring.
#[test]
fn every_first_job_has_its_own_time() {
    let mut mock = Mock::with_timeout(200 * MS);
    let [entity] = mock.entities();
    let mut points = [(); 2].map(|()| mock.push(entity, None));
    mock.run_for(150 * MS);
    assert_eq!(mock.advance(1), 1);
    mock.run_for(199 * MS);
    assert_eq!(points.map(|p| mock.fate(p).timed_out), [0, 0]);
    assert_eq!(mock.advance(1), 1);
    assert_eq!(mock.scheduler.next_deadline(), None);
    mock.run_for(SECOND);
    points[0] = mock.push(entity, None);
    mock.run_for(199 * MS);
    assert_eq!(mock.fate(points[0]).timed_out, 0);
    mock.run_for(MS);
    assert_eq!(mock.fate(points[0]).timed_out, 1);
}

#[test]
fn i_9_no_hang() {
    let mut mock = Mock::with_timeout(200 * MS);
    mock.verdict = Some(Verdict::NoHang);
    let [entity] = mock.entities();
    let point = mock.push(entity, None);
    mock.run_for(400 * MS);
    // It has its time again, from the verdict on.
    assert_eq!(mock.fate(point).timed_out, 2);
    assert!(!mock.finished(point));
    assert_eq!(mock.advance(1), 1);
    mock.assert_all_done();
    assert!(!mock.scheduler.entity(entity).unwrap().guilty);
}

#[test]
fn i_10_priorities() {
    let mut mock = Mock::new(&[ring(1)]);
    let all = Priority::ALL.map(|priority| mock.entity(priority));
    for n in 0..100 {
        mock.push(all[n % 4], Some(MS));
    }
    mock.run_for(100 * MS);
    mock.assert_all_done();
}

#[test]
fn i_11_priorities_that_change() {
    let mut mock = Mock::new(&[ring(1)]);
    let all = Priority::ALL.map(|priority| mock.entity(priority));
    for n in 0..1000 {
        mock.push(all[n % 4], Some(MS));
        mock.run_for(500);
        let (entity, priority) = (all[n / 4 % 4], Priority::ALL[n % 4]);
        mock.scheduler.set_priority(entity, priority).unwrap();
        mock.drain();
        assert_eq!(mock.scheduler.entity(entity).unwrap().priority, priority);
    }
    mock.run_for(SECOND);
    mock.assert_all_done();
}

#[test]
fn i_12_rings_that_change() {
    let mut mock = Mock::new(&[ring(2), ring(2), ring(2)]);
    let all: [EntityKey; 13] = mock.entities();
    for n in 0..1000 {
        let entity = all[n % 13];
        let at = RingId((n % 3) as u8);
        mock.scheduler.set_rings(entity, at.into()).unwrap();
        let pushed = mock.submit(entity, JobDesc::new(Some(MS)));
        assert_eq!(pushed.ring, at, "only new jobs go there");
        mock.run_for(200);
    }
    mock.run_for(SECOND);
    mock.assert_all_done();
    assert!(mock.rings.iter().all(|ring| ring.worked.len() == 13));
    // The jobs of an entity never overlap on two rings.
    let mut end = std::collections::BTreeMap::new();
    for point in &mock.order {
        let fate = mock.fate(*point);
        let begun = fate.finished.unwrap() - MS;
        let before = end.insert(point.timeline, fate.finished.unwrap());
        assert!(before.is_none_or(|end| end <= begun));
    }
    // A load of its own: idle entities spread.
    let mut mock = Mock::new(&[ring(2), ring(2)]);
    let all: [EntityKey; 4] = mock.entities();
    let rings = all.map(|e| mock.submit(e, JobDesc::new(Some(MS))).ring.0);
    assert_eq!(rings, [0, 1, 0, 1]);
    let none = mock.scheduler.set_rings(all[0], RingSet::from(RingId(2)));
    assert_eq!(none, Err(gpumm_scheduler::Error::UnknownRing));
}

#[test]
fn i_13_credits() {
    let mut mock = Mock::new(&[ring(1)]);
    let [entity] = mock.entities();
    let points = [mock.push(entity, None), mock.push(entity, None)];
    mock.run_for(SECOND);
    assert_eq!(points.map(|p| mock.scheduled(p)), [true, false]);
    assert_eq!(mock.scheduler.used(RingId(0)), Some(1));
    assert_eq!(mock.advance(1), 1);
    assert!(mock.finished(points[0]) && mock.scheduled(points[1]));
    assert_eq!(mock.advance(1), 1);
    mock.assert_all_done();
    assert_eq!(mock.scheduler.used(RingId(0)), Some(0));
}

#[test]
fn i_14_in_parallel() {
    let mut mock = Mock::simple();
    let all: [EntityKey; 16] = mock.entities();
    for entity in all {
        for _ in 0..8 {
            let point = mock.push(entity, None);
            assert!(mock.scheduled(point));
        }
    }
    assert_eq!(mock.advance(128), 128);
    mock.assert_all_done();
}

#[test]
fn i_15_interleaved() {
    let mut mock = Mock::simple();
    let all: [EntityKey; 16] = mock.entities();
    while mock.now < SECOND {
        for (entity, n) in all.into_iter().zip(1..) {
            let status = mock.scheduler.entity(entity).unwrap();
            for _ in status.queued + status.running..8 {
                mock.push(entity, Some(100 * n));
            }
        }
        mock.step(SECOND);
    }
    mock.run_for(SECOND);
    mock.assert_all_done();
    // The ring was never idle meanwhile: that is as good as it gets.
    assert_eq!(mock.rings[0].worked.len(), 16);
    let worked: u64 = mock.rings[0].worked.values().sum();
    assert!(worked >= SECOND);
}

#[test]
fn i_16_overhead() {
    for entities in [1, 2] {
        let mut mock = Mock::new(&[RingConfig {
            credits: 1,
            timeout: None,
        }]);
        let all: [EntityKey; 2] = mock.entities();
        let mut last = mock.push(all[0], None);
        for n in 0..1000 {
            last = mock.push_after(all[n % entities], Some(MS), &[last]);
        }
        mock.run_for(MS);
        assert_eq!(mock.advance(1), 1);
        let begun = mock.now;
        mock.run_for(2 * SECOND);
        mock.assert_all_done();
        let took = mock.fate(last).finished.unwrap() - begun;
        assert_eq!(
            took,
            1000 * MS,
            "on virtual time nothing but the work takes time"
        );
    }
}
