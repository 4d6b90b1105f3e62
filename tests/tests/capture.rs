//! A capture of a hung job: what it worked on, as it was when it was submitted, whatever was
//! planned since.
#![allow(clippy::unwrap_used)]

use gpumm::capture::{Capture, Component, Operation, Repaired, Role};
use gpumm::contract::facts::{BufferFact, Fact};
use gpumm::hw::DeviceError;
use gpumm::parts::Parts;
use gpumm::{Error, Job};
use gpumm_tests::moves::{self, COPIES, JOBS, OBJECT, Rig, whole};

/// A job that reads an object hangs; three moves of the object are queued behind it. Returns its
/// capture, and the object's place and content when it was submitted.
fn hung(parts: &Parts, hold_copies: bool) -> (Capture, BufferFact, Fact, String) {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::capturing(parts, OBJECT, folder.path());
    let object = rig.object(OBJECT);
    let bytes = object.buffer.read(0, OBJECT).unwrap();
    rig.device.drain().unwrap();
    let place = rig.buffer(&object.buffer);
    let table = rig
        .facts()
        .into_iter()
        .find(|fact| matches!(fact, Fact::Table { table, .. } if *table == place.table));
    rig.sim.hold(JOBS).unwrap();
    if hold_copies {
        rig.sim.hold(COPIES).unwrap();
    }
    rig.inject("hang job 1");
    let job = Job::Read {
        offset: 8,
        bytes: 16,
    };
    let fence = rig.client.run(job, &[&object.buffer]).unwrap();
    rig.away().unwrap();
    let back = rig.back(&object.buffer).unwrap();
    rig.away().unwrap();
    let moved = rig.buffer(&object.buffer);
    assert_ne!(moved.table, place.table, "the state is three moves ahead");
    rig.sim.release(JOBS).unwrap();
    moves::until(|| rig.sim.hung(JOBS).unwrap());
    assert!(!fence.is_reached() && !back.is_reached());
    rig.sim.time_out(JOBS).unwrap();
    let ended = fence.outcome();
    assert!(
        matches!(ended, Err(Error::Device(DeviceError::TimedOut))),
        "{ended:?}"
    );
    rig.sim.release(COPIES).unwrap();
    // The moves behind it are as good as any.
    whole(&rig.look(&object).unwrap(), OBJECT);
    let report = rig.report();
    assert_eq!((report.failed_operations, report.cpu_fallbacks), (1, 0));
    assert!(report.poisoned.is_empty() && report.capture_problems.is_empty());
    let mut captures = Rig::captures(folder.path());
    assert_eq!((captures.len(), report.captures.len()), (1, 1));
    let hash = Component::new("", None, &bytes).sha256;
    (captures.remove(0), place, table.unwrap(), hash)
}

#[test]
fn a_hung_job_is_captured_as_it_was_submitted() {
    moves::both(|parts| {
        for hold_copies in [true, false] {
            let (capture, place, table, hash) = hung(parts, hold_copies);
            assert_eq!(capture.failed.operation, Operation::Job);
            assert_eq!(capture.failed.repaired, Repaired::NotNeeded);
            assert_eq!(capture.failed.cause, "timed-out");
            assert_eq!(capture.failed.job.as_deref(), Some("read"));
            let [captured] = &capture.tables[..] else {
                panic!("{:?}", capture.tables);
            };
            assert_eq!(captured.role, Role::Buffer);
            assert_eq!(
                (captured.buffer, captured.tenant),
                (place.buffer.0, place.tenant.0)
            );
            assert_eq!(captured.table, place.table.0);
            assert_eq!(captured.allocation, place.allocation.0);
            assert_eq!((&captured.memory[..], captured.bytes), ("vram", OBJECT));
            let Fact::Table { segments, .. } = table else {
                panic!("{table:?}");
            };
            let segments = segments.iter().map(|s| (s.address, s.bytes));
            assert!(
                captured
                    .segments
                    .iter()
                    .map(|s| (s.address, s.bytes))
                    .eq(segments)
            );
            assert_eq!(captured.sha256, Some(hash));
            // The plan that ran it is among those kept, and so is the first move behind it.
            let failed = capture.plans.iter().position(|p| p.failed.is_some());
            let failed = failed.expect("the job's plan");
            assert!(capture.plans.len() > failed + 1, "{:?}", capture.plans);
            let fence = capture
                .fences
                .iter()
                .find(|f| f.timeline == capture.failed.at.timeline);
            assert!(fence.unwrap().completed < capture.failed.at.value);
            // Libraries have no bytes to name.
            assert_eq!(
                capture.components.is_empty(),
                parts.mechanism.name() == "native"
            );
        }
    });
}
