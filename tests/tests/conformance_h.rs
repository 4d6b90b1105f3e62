//! Part H of the reference: moves that run late and survive failures, and captures. Every case
//! runs with the native libraries and with the built components.
#![allow(clippy::unwrap_used)]

use gpumm::capture::{BufferState, Component, Operation, Repaired, Role};
use gpumm::contract::facts::Content;
use gpumm::contract::plan::Status;
use gpumm::contract::request::{Intent, Pass, Place, Request};
use gpumm::contract::table::Holder;
use gpumm::contract::{BufferId, Point, PointSet, TimelineId};
use gpumm::hw::DeviceError;
use gpumm::parts::Parts;
use gpumm::{BufferDesc, Error, Health, Job, VRAM};
use gpumm_tests::moves::{self, COPIES, Held, JOBS, OBJECT, Object, Rig, three_queued, whole};
use gpumm_tests::planning::{self, COPY, RUN, STAGING, copies, memory, places, waits};
use std::time::Duration;

fn is_poisoned<T: std::fmt::Debug>(ended: &Result<T, Error>) -> bool {
    matches!(ended, Err(Error::Refused(Status::Poisoned)))
}

#[test]
fn h_1_create_and_migrate() {
    moves::both(|parts| {
        let rig = Rig::new(parts, OBJECT);
        let object = rig.object(OBJECT);
        for round in 1..=2 {
            rig.away().unwrap();
            assert!(!object.is_in_vram());
            rig.assert_whole(&object);
            rig.back(&object.buffer).unwrap();
            assert!(object.is_in_vram());
            rig.assert_whole(&object);
            // To where it is: nothing moves.
            rig.back(&object.buffer).unwrap();
            assert_eq!(rig.report().counts.bytes_moved, 2 * round * OBJECT);
        }
    });
}

/// Five moves to and fro of an object of 2 MiB, while copies fail, while there is no memory to
/// remember how to redo them, while the CPU may not redo them.
fn failsafe(parts: &Parts, fail_copy: bool, fail_allocation: bool, refuse: bool) {
    let rig = Rig::new(parts, OBJECT);
    let object = rig.object(OBJECT);
    object.written.wait().unwrap();
    for (chosen, rule) in [
        (fail_copy, "fail copy"),
        (fail_allocation, "fail allocation of fallback"),
        (refuse, "refuse fallback"),
    ] {
        if chosen {
            rig.inject(rule);
        }
    }
    let lost = fail_copy && refuse;
    for turn in 0..5 {
        if turn % 2 == 0 {
            // A move that was planned never fails, whatever becomes of its copy.
            rig.away().unwrap();
        } else {
            let back = rig.back(&object.buffer);
            assert_eq!(is_poisoned(&back), lost, "{back:?}");
        }
        rig.device.drain().unwrap();
        if lost {
            assert!(is_poisoned(&rig.look(&object)));
        } else {
            assert_eq!(object.is_in_vram(), turn % 2 == 1);
            rig.assert_whole(&object);
        }
    }
    let report = rig.report();
    let failed = if lost { 1 } else { 5 * u64::from(fail_copy) };
    assert_eq!(report.failed_operations, failed);
    assert_eq!(report.cpu_fallbacks, if lost { 0 } else { failed });
    // What is performed without hooks stands in the device's log.
    let logged = rig.device.hardware().take_faults().len() as u64;
    assert_eq!(logged, if fail_allocation { failed } else { 0 });
    let gone = Vec::from_iter(lost.then_some(object.buffer.id()));
    assert_eq!(report.poisoned, gone);
    assert_eq!(object.state().content == Content::Poisoned, lost);
    assert_eq!(rig.device.health(), Health::Good);
    // What was lost is shown to nobody, and the device serves on.
    drop(object);
    let other = rig.device.client();
    let fresh = other.create(BufferDesc::new(OBJECT)).unwrap();
    assert!(fresh.read(0, OBJECT).unwrap().iter().all(|&b| b == 0));
    fresh.fill(7).unwrap().wait().unwrap();
    assert_eq!(fresh.read(OBJECT - 8, 8).unwrap(), 7u64.to_le_bytes());
}

#[test]
fn h_2_nothing_fails() {
    moves::both(|parts| failsafe(parts, false, false, false));
}

#[test]
fn h_3_a_refused_redo_that_nobody_needs() {
    moves::both(|parts| failsafe(parts, false, false, true));
}

#[test]
fn h_4_no_memory_for_a_redo_that_nobody_needs() {
    moves::both(|parts| failsafe(parts, false, true, false));
}

#[test]
fn h_5_no_memory_and_a_refused_redo_that_nobody_needs() {
    moves::both(|parts| failsafe(parts, false, true, true));
}

#[test]
fn h_6_failed_copies_are_redone() {
    moves::both(|parts| failsafe(parts, true, false, false));
}

#[test]
fn h_7_a_refused_redo_costs_the_content() {
    moves::both(|parts| failsafe(parts, true, false, true));
}

#[test]
fn h_8_without_memory_failed_copies_are_redone_at_once() {
    moves::both(|parts| failsafe(parts, true, true, false));
}

#[test]
fn h_9_without_memory_a_refused_redo_costs_the_content() {
    moves::both(|parts| failsafe(parts, true, true, true));
}

#[test]
fn h_10_async_while_the_engine_is_held() {
    moves::both(|parts| {
        for (fail, refuse) in [(false, false), (false, true), (true, false), (true, true)] {
            let rig = Rig::new(parts, OBJECT);
            rig.sim.hold(JOBS).unwrap();
            let object = rig.object(OBJECT);
            if fail {
                rig.inject("fail copy");
            }
            if refuse {
                rig.inject("refuse fallback");
            }
            let mut fences = vec![rig.look(&object).unwrap()];
            for turn in 0..5 {
                if turn % 2 == 0 {
                    rig.away().unwrap();
                } else {
                    fences.push(rig.back(&object.buffer).unwrap());
                }
                assert_eq!(object.is_in_vram(), turn % 2 == 1);
                fences.push(rig.look(&object).unwrap());
            }
            std::thread::sleep(Duration::from_millis(10));
            assert!(fences.iter().all(|f| !f.is_reached()));
            assert!(!object.written.is_reached());
            rig.sim.release(JOBS).unwrap();
            object.written.wait().unwrap();
            // Before the first move it was seen as it was written, whatever fails later.
            whole(&fences[0], OBJECT);
            if fail && refuse {
                for late in &fences[1..] {
                    let ended = late.outcome();
                    let spared = matches!(ended, Err(Error::Device(DeviceError::Poisoned)));
                    assert!(spared, "{ended:?}");
                }
                assert!(is_poisoned(&rig.look(&object)));
            } else {
                rig.assert_whole(&object);
                fences.iter().for_each(|f| f.wait().unwrap());
            }
            let report = rig.report();
            let redone = if fail && !refuse { 5 } else { 0 };
            assert_eq!(report.cpu_fallbacks, redone);
        }
    });
}

#[test]
fn h_11_dependencies_keep_the_later_point_of_a_timeline() {
    let at = |timeline, value| Point {
        timeline: TimelineId(timeline),
        value,
    };
    let mut before = PointSet::new();
    for point in [at(0, 5), at(1, 1), at(0, 3), at(0, 9)] {
        before.add(point);
    }
    assert!(before.iter().eq([at(0, 9), at(1, 1)]));
    (0..10).for_each(|n| before.add(at(n, 9)));
    assert_eq!(before.len(), 10);
    before.retire(|p| p.timeline.0 % 2 == 0);
    assert_eq!(before.len(), 5, "what is reached is not waited for");
}

#[test]
fn h_12_a_large_copy_is_redone_whole() {
    const LARGE: u64 = 20 << 20;
    moves::both(|parts| {
        let rig = Rig::new(parts, LARGE);
        let object = rig.object(LARGE);
        // The device writes half of it, as garbage.
        rig.inject("fail copy 1");
        rig.away().unwrap();
        rig.assert_whole(&object);
        let report = rig.report();
        assert_eq!(
            (report.cpu_fallbacks, report.counts.bytes_moved),
            (1, LARGE)
        );
    });
}

#[test]
fn h_13_later_copies_see_recovered_data() {
    moves::both(|parts| {
        for failing in 1..=3 {
            let rig = three_queued(parts, &[&format!("fail copy {failing}")]).0;
            assert_eq!(rig.report().cpu_fallbacks, 1);
        }
        let (rig, object) = three_queued(parts, &["fail copy"]);
        assert_eq!(rig.report().cpu_fallbacks, 3);
        assert_eq!(object.state().content, Content::Valid);
    });
}

fn at(timeline: TimelineId, value: u64) -> Point {
    Point { timeline, value }
}

/// The holders of the tables, stage by stage, while an object goes away and comes back: table 0
/// is that of its first place, 1 of its second, 2 of its third.
fn stages() -> [Vec<Held>; 5] {
    use Holder::{Access, Copy, CpuFallback};
    let copy = |value| [(Copy, at(COPY, value)), (CpuFallback, at(COPY, value))];
    let job = |value| [(Access, at(RUN, value))];
    let written = Held::new(0, true, &job(1));
    let first = Held::new(0, false, &[&job(1)[..], &copy(1)].concat());
    let second = Held::new(1, true, &copy(1));
    let left = Held::new(1, false, &[copy(1), copy(2)].concat());
    let third = Held::new(2, true, &[&copy(2)[..], &job(2)].concat());
    let behind = Held::new(1, false, &copy(2));
    [
        vec![written],
        vec![first.clone(), second],
        vec![first, left, third.clone()],
        // The first copy is over, and with it whatever came before.
        vec![behind, third],
        vec![Held::new(2, true, &[])],
    ]
}

#[test]
fn h_14_holders_at_each_stage() {
    let stages = stages();
    moves::both(|parts| {
        let rig = Rig::new(parts, OBJECT);
        rig.sim.hold_all();
        let object = rig.object(OBJECT);
        assert_eq!(rig.holders(), stages[0]);
        rig.away().unwrap();
        assert_eq!(rig.holders(), stages[1]);
        let back = rig.back(&object.buffer).unwrap();
        assert_eq!(rig.holders(), stages[2]);
        rig.sim.release(JOBS).unwrap();
        rig.sim.step(COPIES, 1).unwrap();
        moves::until(|| {
            // Points are delivered with the next batch.
            _ = rig.client.create(BufferDesc::new(0));
            rig.holders() == stages[3]
        });
        rig.sim.release(COPIES).unwrap();
        back.wait().unwrap();
        rig.device.drain().unwrap();
        assert_eq!(rig.holders(), stages[4]);
        drop(object);
        rig.report();
        assert_eq!(rig.holders(), []);
    });
    // The keeper itself has the same holders.
    let types = [
        memory(planning::SYSTEM, 64 << 20),
        memory(planning::VRAM, OBJECT),
        memory(planning::GTT, 64 << 20),
    ];
    let mut manager = planning::native(&types);
    manager.written(1, OBJECT);
    assert_eq!(manager.holders(), stages[0]);
    let place = Place {
        memory: planning::VRAM,
        pass: Pass::Both,
    };
    let rival = manager.create(2, OBJECT, &[place]);
    manager.good(rival);
    manager.good(Request::Release(BufferId(2)));
    assert_eq!(manager.holders(), stages[1]);
    manager.renumber_tables(2);
    let back = manager.access(Intent::Read, &[1]);
    manager.good(back);
    assert_eq!(manager.holders(), stages[2]);
    manager.retire(RUN, 1);
    manager.retire(COPY, 1);
    assert_eq!(manager.holders(), stages[3]);
    manager.retire(COPY, 2);
    manager.retire(RUN, 2);
    assert_eq!(manager.holders(), stages[4]);
}

#[test]
fn h_15_copies_to_the_host_are_repaired_as_well() {
    moves::both(|parts| {
        let rig = Rig::new(parts, OBJECT);
        let object = rig.object(OBJECT);
        rig.inject("fail copy 1");
        rig.away().unwrap();
        rig.assert_whole(&object);
        assert!(!object.is_in_vram());
        assert_eq!(rig.report().cpu_fallbacks, 1);
    });
}

#[test]
fn h_19_a_capture_has_the_tables_as_they_were_submitted() {
    moves::both(|parts| {
        let folder = tempfile::tempdir().unwrap();
        let rig = Rig::capturing(parts, OBJECT, folder.path());
        let object = rig.object(OBJECT);
        object.written.wait().unwrap();
        let source = rig.buffer(&object.buffer);
        rig.sim.hold(COPIES).unwrap();
        rig.inject("fail copy 1");
        rig.away().unwrap();
        let target = rig.buffer(&object.buffer);
        // By the time the copy fails, the object is two moves ahead.
        rig.back(&object.buffer).unwrap();
        rig.away().unwrap();
        rig.sim.release(COPIES).unwrap();
        rig.assert_whole(&object);
        rig.device.drain().unwrap();
        let captures = Rig::captures(folder.path());
        let [capture] = &captures[..] else {
            panic!("{} captures", captures.len());
        };
        assert_eq!(capture.failed.operation, Operation::Copy);
        assert_eq!(capture.failed.repaired, Repaired::ByCpu);
        assert_eq!(capture.buffers[0].state, Some(BufferState::Repaired));
        for (table, (role, of)) in capture
            .tables
            .iter()
            .zip([(Role::Source, &source), (Role::Target, &target)])
        {
            assert_eq!((table.role, table.table), (role, of.table.0));
            assert_eq!(table.allocation, of.allocation.0);
            let bytes: u64 = table.segments.iter().map(|s| s.bytes).sum();
            assert_eq!((bytes, table.bytes), (OBJECT, OBJECT));
        }
        assert_eq!(capture.tables.len(), 2);
        // The source is as it was written; the target was written by half.
        assert_eq!(capture.tables[0].sha256, Some(hash_of(&object)));
        assert_ne!(capture.tables[0].sha256, capture.tables[1].sha256);
    });
}

/// The hash of what an object must contain.
fn hash_of(object: &Object) -> String {
    let bytes = object.buffer.read(0, object.buffer.bytes()).unwrap();
    // A component is named by the same hash.
    Component::new("", None, &bytes).sha256
}

#[test]
fn h_20_a_capture_reads_memory_whose_buffer_was_released() {
    moves::both(|parts| {
        let folder = tempfile::tempdir().unwrap();
        let rig = Rig::capturing(parts, OBJECT, folder.path());
        let object = rig.object(OBJECT);
        let hash = hash_of(&object);
        let place = rig.buffer(&object.buffer);
        rig.inject("hang job 1");
        let job = Job::Read {
            offset: 0,
            bytes: 8,
        };
        let hung = rig.client.run(job, &[&object.buffer]).unwrap();
        drop(object);
        // The range is another buffer's already, whose job waits.
        let next = rig.client.create(BufferDesc::new(OBJECT)).unwrap();
        assert_eq!(rig.buffer(&next).extents, place.extents);
        let filled = next.fill(5).unwrap();
        moves::until(|| rig.sim.hung(JOBS).unwrap());
        assert!(!filled.is_reached());
        rig.sim.time_out(JOBS).unwrap();
        let ended = hung.outcome();
        assert!(
            matches!(ended, Err(Error::Device(DeviceError::TimedOut))),
            "{ended:?}"
        );
        filled.wait().unwrap();
        assert_eq!(next.read(OBJECT - 8, 8).unwrap(), 5u64.to_le_bytes());
        let captures = Rig::captures(folder.path());
        assert_eq!(captures.len(), 1);
        let [table] = &captures[0].tables[..] else {
            panic!("{:?}", captures[0].tables);
        };
        assert_eq!((table.table, table.role), (place.table.0, Role::Buffer));
        assert_eq!(table.sha256, Some(hash));
    });
}

#[test]
fn h_21_a_poisoned_object_is_not_used() {
    moves::both(|parts| {
        let rig = Rig::new(parts, OBJECT);
        let object = rig.object(OBJECT);
        rig.inject("fail copy 1");
        rig.inject("refuse fallback");
        rig.sim.hold(COPIES).unwrap();
        rig.away().unwrap();
        // Queued before anybody knows: they are kept from running.
        let read = Job::Read {
            offset: 0,
            bytes: 8,
        };
        let queued = [
            rig.look(&object).unwrap(),
            rig.client.run(read, &[&object.buffer]).unwrap(),
            object.buffer.fill(3).unwrap(),
        ];
        rig.sim.release(COPIES).unwrap();
        for fence in &queued {
            let ended = fence.outcome();
            let kept = matches!(ended, Err(Error::Device(DeviceError::Poisoned)));
            assert!(kept, "{ended:?}");
        }
        rig.device.drain().unwrap();
        // Afterwards they are refused, also those that would overwrite everything.
        assert!(is_poisoned(&rig.look(&object)));
        assert!(is_poisoned(&object.buffer.fill(3)));
        assert!(is_poisoned(
            &object.buffer.cpu_access(false, gpumm::OnMove::Wait)
        ));
        assert!(object.state().is_poisoned());
    });
}

#[test]
fn h_22_what_nobody_wrote_is_not_copied() {
    moves::both(|parts| {
        let rig = Rig::new(parts, OBJECT);
        let buffer = rig.client.create(BufferDesc::new(OBJECT)).unwrap();
        for _ in 0..2 {
            rig.away().unwrap();
            assert_ne!(buffer.state().unwrap().place, VRAM);
            rig.back(&buffer).unwrap().wait().unwrap();
        }
        let report = rig.report();
        assert_eq!((report.counts.evictions, report.counts.swap_ins), (2, 2));
        assert_eq!(report.counts.bytes_moved, 0);
        // Nor is what was lost.
        let object = rig.object(OBJECT);
        rig.inject("fail copy 1");
        rig.inject("refuse fallback");
        rig.away().unwrap();
        rig.device.drain().unwrap();
        assert!(object.state().is_poisoned());
        assert_eq!(rig.report().counts.bytes_moved, OBJECT);
    });
}

#[test]
fn h_23_a_hop() {
    let staging = |mut kind: gpumm::contract::facts::MemoryType| {
        kind.hop = (kind.id == planning::VRAM).then_some(STAGING);
        kind
    };
    let types = [
        memory(planning::SYSTEM, 64 << 20),
        memory(planning::VRAM, OBJECT),
        memory(planning::GTT, 64 << 20),
        memory(STAGING, OBJECT),
    ]
    .map(staging);
    planning::both(&types, |mut manager| {
        manager.written(1, OBJECT);
        let place = Place {
            memory: planning::VRAM,
            pass: Pass::Both,
        };
        let rival = manager.create(2, OBJECT, &[place]);
        let out = manager.good(rival);
        let path: Vec<_> = places(&out).iter().map(|p| (p.0, p.1)).collect();
        let [hop, system, own] = [(1, STAGING), (1, planning::SYSTEM), (2, planning::VRAM)];
        assert_eq!(path, [hop, system, own]);
        assert_eq!(copies(&out), [OBJECT, OBJECT]);
        // It is left again, after what brought it in and took it out.
        assert_eq!(waits(&out), [(COPY, at(RUN, 1))]);
        let back = manager.access(Intent::Write, &[1]);
        let back = manager.good(back);
        // The rival, which nobody wrote, needs no copy and so no hop.
        let path: Vec<_> = places(&back).iter().map(|p| (p.0, p.1)).collect();
        assert_eq!(
            path,
            [(2, planning::SYSTEM), (1, STAGING), (1, planning::VRAM)]
        );
        assert_eq!(copies(&back), [OBJECT, OBJECT]);
    });
}

#[test]
fn h_24_unwritten_memory_is_cleared_and_not_copied() {
    moves::both(|parts| {
        let rig = Rig::new(parts, OBJECT);
        // Somebody else's bytes.
        let other = rig.device.client().create(BufferDesc::new(OBJECT)).unwrap();
        other.fill(u64::MAX).unwrap().wait().unwrap();
        drop(other);
        let buffer = rig.client.create(BufferDesc::new(OBJECT)).unwrap();
        let shown = buffer.read(0, OBJECT).unwrap();
        assert!(shown.iter().all(|&b| b == 0));
        let counts = rig.report().counts;
        assert_eq!((counts.bytes_cleared, counts.bytes_moved), (OBJECT, 0));
    });
}
