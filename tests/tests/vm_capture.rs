//! The capture of a job on addresses: what its address space was when it was submitted.
#![allow(clippy::unwrap_used)]

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use gpumm::capture::{Capture, Operation};
use gpumm::hw::DeviceError;
use gpumm::{BufferDesc, Error, Pacing, Priority, Rights, VmDesc};
use gpumm_tests::fixture;
use gpumm_tests::vm_client::*;
use std::time::Duration;

#[test]
fn a_job_that_hangs_is_captured_with_what_it_could_see() {
    let folder = tempfile::tempdir().unwrap();
    let dir = Dir::open_ambient_dir(folder.path(), ambient_authority()).unwrap();
    let (runtime, sim) = fixture::with_queues(4 * MIB, 64 * MIB, None, Pacing::Eager, |b| {
        b.job_timeout(Duration::from_millis(100)).captures(dir, "")
    });
    let client = runtime.client();
    let vm = client.create_vm(VmDesc::default()).unwrap();
    let queue = client.queue(Priority::Normal).unwrap();
    let buffer = client.create(BufferDesc::new(4 * PAGE)).unwrap();
    let other = client.create(BufferDesc::new(PAGE)).unwrap();
    vm.map(AT, &buffer, PAGE, 2 * PAGE, Rights::ReadWrite)
        .unwrap();
    vm.map(2 * AT, &other, 0, PAGE, Rights::ReadOnly).unwrap();
    queue
        .submit(&vm, fill(AT, PAGE, 1), &[])
        .unwrap()
        .wait()
        .unwrap();
    sim.inject("hang job 1".parse().unwrap());
    let hung = queue.submit(&vm, fill(AT, PAGE, 2), &[]).unwrap();
    // What is mapped now is not what was mapped when the job was submitted.
    vm.unmap(2 * AT, PAGE).unwrap();
    let ended = hung.outcome();
    let timed_out = matches!(ended, Err(Error::Device(DeviceError::TimedOut)));
    assert!(timed_out, "{ended:?}");
    let device = runtime.device(0).unwrap();
    device.drain().unwrap();
    let files = device.report().unwrap().captures;
    assert_eq!(files.len(), 1);
    let text = std::fs::read(folder.path().join(&files[0])).unwrap();
    let capture = Capture::from_json(&text).unwrap();
    assert_eq!(capture.failed.operation, Operation::Job);
    assert_eq!(
        capture.failed.job.as_deref(),
        Some(&*format!("fill of vm {}", vm.id()))
    );
    let seen = capture.vm.unwrap();
    assert_eq!((seen.vm, seen.left_out), (vm.id().0, 0));
    let ranges: Vec<_> = seen
        .mappings
        .iter()
        .map(|m| (m.address, m.bytes, m.offset, m.write))
        .collect();
    assert_eq!(
        ranges,
        [(AT, 2 * PAGE, PAGE, true), (2 * AT, PAGE, 0, false)]
    );
    assert_eq!(seen.mappings[0].buffer, Some(buffer.id().0));
    let table = seen.mappings[0].table.unwrap();
    assert!(
        seen.tables
            .iter()
            .any(|t| t.table == table && t.buffer == buffer.id().0)
    );
    assert_eq!(
        capture.tables.len(),
        1,
        "what the job names, with its content"
    );
    assert_eq!(capture.tables[0].table, table);
}
