//! Address spaces and jobs of clients: what works, what is refused and in which words, and what
//! never reaches the planner.
#![allow(clippy::unwrap_used)]

use gpumm::contract::vm::Span;
use gpumm::hw::{DeviceError, EngineId, OutcomeValue};
use gpumm::{BufferDesc, Error, Fence, Rights, VmBind, VmKernel};
use gpumm_tests::vm_client::*;
use std::time::Duration;

#[test]
fn jobs_write_and_read_by_address() {
    let (runtime, _sim) = runtime(4 * MIB);
    let client = runtime.client();
    let (vm, queue) = (space(&client), queue(&client));
    let buffer = client.create(BufferDesc::new(MIB)).unwrap();
    vm.map(AT, &buffer, 0, MIB, Rights::ReadWrite).unwrap();
    queue.submit(&vm, fill(AT, MIB, 7), &[]).unwrap();
    let (x, y) = (AT, AT + MIB / 2);
    let sum = VmKernel::Checksum {
        src: x,
        bytes: MIB / 2,
        dst: y,
    };
    let sum = queue.submit(&vm, sum, &[]).unwrap().outcome().unwrap();
    let right = 7 * (MIB / 2 / 8);
    assert_eq!(sum, OutcomeValue::Checksum(right));
    assert_eq!(buffer.read(MIB / 2, 8).unwrap(), right.to_le_bytes());
    assert_eq!(buffer.read(8, 8).unwrap(), 7u64.to_le_bytes());
    // The same buffer elsewhere, and nothing where it was.
    let unmap = VmBind::Unmap {
        address: AT,
        bytes: MIB,
    };
    let map = VmBind::Map {
        address: 4 * AT,
        buffer: &buffer,
        offset: 4 * PAGE,
        bytes: PAGE,
        rights: Rights::ReadOnly,
    };
    vm.bind(&[unmap, map], &[]).unwrap();
    let maps = vm
        .mappings(Span {
            start: 0,
            bytes: 1 << 40,
        })
        .unwrap();
    assert_eq!(maps.len(), 1);
    assert_eq!((maps[0].at.start, maps[0].offset), (4 * AT, 4 * PAGE));
    let gone = queue.submit(&vm, fill(AT, 8, 1), &[]).unwrap();
    assert!(matches!(
        fault_of(&gone),
        DeviceError::VmFault { address: AT, .. }
    ));
    let read_only = queue.submit(&vm, fill(4 * AT, 8, 1), &[]).unwrap();
    let told = fault_of(&read_only).to_string();
    assert!(
        told.contains("cannot write") && told.contains("may not be written"),
        "{told}"
    );
}

#[test]
fn what_was_evicted_is_shown_again_when_a_job_names_it() {
    let (runtime, sim) = runtime(2 * MIB);
    let client = runtime.client();
    let (vm, queue) = (space(&client), queue(&client));
    let buffers: Vec<_> = (0..6u64)
        .map(|n| {
            let buffer = client.create(BufferDesc::new(512 << 10)).unwrap();
            let at = AT + n * MIB;
            vm.map(at, &buffer, 0, 512 << 10, Rights::ReadWrite)
                .unwrap();
            queue.submit(&vm, fill(at, 512 << 10, n), &[]).unwrap();
            buffer
        })
        .collect();
    for round in 0..3 {
        for n in 0..6 {
            let sum = VmKernel::Checksum {
                src: AT + n * MIB,
                bytes: 512 << 10,
                dst: AT + n * MIB,
            };
            let job = queue.submit(&vm, sum, &[]).unwrap();
            if round == 0 {
                let right = OutcomeValue::Checksum(n * (64 << 10));
                assert_eq!(job.outcome().unwrap(), right);
            }
        }
    }
    drop(buffers);
    let device = runtime.device(0).unwrap();
    device.drain().unwrap();
    let counts = device.report().unwrap().counts;
    assert!(counts.evictions >= 12 && counts.rebinds >= 12, "{counts:?}");
    let mmu = sim.statistics().mmu;
    assert_eq!((mmu.faults, mmu.stale_accesses), (0, 0));
    assert_eq!(device.report().unwrap().restarts, 0);
    assert!(device.hardware().take_faults().is_empty());
}

#[test]
fn g_30_a_job_on_a_ready_address_space_asks_nobody_and_is_waited_for() {
    let (runtime, _sim) = runtime(4 * MIB);
    let client = runtime.client();
    let (vm, queue) = (space(&client), queue(&client));
    let buffer = client.create(BufferDesc::new(MIB)).unwrap();
    vm.map(AT, &buffer, 0, MIB, Rights::ReadWrite).unwrap();
    queue.submit(&vm, fill(AT, MIB, 0), &[]).unwrap();
    let device = runtime.device(0).unwrap();
    let before = device.report().unwrap().crossings;
    let jobs: Vec<Fence> = (0..1000)
        .map(|n| {
            queue
                .submit(&vm, fill(AT + n % 256 * PAGE, 64, n), &[])
                .unwrap()
        })
        .collect();
    assert!(jobs.iter().all(|job| job.wait().is_ok()));
    assert_eq!(device.report().unwrap().crossings, before);
    // A plan knows of them all the same: what reads the buffer comes after them.
    assert_eq!(buffer.read(231 * PAGE, 8).unwrap(), 999u64.to_le_bytes());
}

#[test]
fn no_dependency_of_a_hundred_thousand_jobs_is_lost() {
    const THREADS: u64 = 8;
    const JOBS: u64 = 12_500;
    let (runtime, _sim) = runtime(16 * MIB);
    let device = runtime.device(0).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let client = device.client();
            scope.spawn(move || {
                let (vm, queue) = (space(&client), queue(&client));
                let buffer = client.create(BufferDesc::new(PAGE)).unwrap();
                vm.map(AT, &buffer, 0, PAGE, Rights::ReadWrite).unwrap();
                // Each job reads the word that the one before has written, and writes the next.
                queue.submit(&vm, fill(AT, PAGE, thread + 1), &[]).unwrap();
                let mut last: Option<Fence> = None;
                for n in 0..JOBS {
                    let (from, to) = (n % 512, (n + 1) % 512);
                    let copy = VmKernel::Copy {
                        src: AT + from * 8,
                        dst: AT + to * 8,
                        bytes: 8,
                    };
                    let fence = queue.submit(&vm, copy, &[]).unwrap();
                    if let Some(last) = &last {
                        assert!(last.point().value < fence.point().value);
                    }
                    last = Some(fence);
                }
                last.unwrap().wait().unwrap();
                let word = (thread + 1).to_le_bytes();
                assert_eq!(buffer.read(JOBS % 512 * 8, 8).unwrap(), word);
            });
        }
    });
    device.drain().unwrap();
    assert!(device.hardware().take_faults().is_empty());
}

#[test]
fn queues_wait_for_each_other_by_fences() {
    let (runtime, _sim) = runtime(4 * MIB);
    let client = runtime.client();
    let vm = space(&client);
    let queues = [queue(&client), queue(&client), queue(&client)];
    let buffer = client.create(BufferDesc::new(PAGE)).unwrap();
    vm.map(AT, &buffer, 0, PAGE, Rights::ReadWrite).unwrap();
    let mut last = queues[0].submit(&vm, fill(AT, 8, 42), &[]).unwrap();
    for n in 0..300u64 {
        let copy = VmKernel::Copy {
            src: AT + n % 512 * 8,
            dst: AT + (n + 1) % 512 * 8,
            bytes: 8,
        };
        last = queues[(n % 3) as usize]
            .submit(&vm, copy, &[&last])
            .unwrap();
    }
    last.wait().unwrap();
    assert_eq!(buffer.read(300 * 8, 8).unwrap(), 42u64.to_le_bytes());
}

#[test]
fn later_jobs_see_what_was_bound_however_late_it_is_written() {
    /// The engine that writes page tables, behind copy, compute and ring.
    const BIND: EngineId = EngineId(3);
    let (runtime, sim) = runtime(4 * MIB);
    let client = runtime.client();
    let (vm, queue) = (space(&client), queue(&client));
    let buffer = client.create(BufferDesc::new(2 * PAGE)).unwrap();
    vm.map(AT, &buffer, 0, 2 * PAGE, Rights::ReadWrite).unwrap();
    let first = queue.submit(&vm, fill(AT, 2 * PAGE, 1), &[]).unwrap();
    first.wait().unwrap();
    sim.hold(BIND).unwrap();
    let (address, bytes) = (AT + PAGE, PAGE);
    vm.bind(&[VmBind::Sparse { address, bytes }], &[]).unwrap();
    let dropped = queue.submit(&vm, fill(address, PAGE, 2), &[]).unwrap();
    vm.unmap(AT, PAGE).unwrap();
    let faults = queue.submit(&vm, fill(AT, 2 * PAGE, 3), &[]).unwrap();
    assert!(!dropped.wait_for(Duration::from_millis(50)).unwrap());
    sim.release(BIND).unwrap();
    dropped.wait().unwrap();
    assert!(matches!(
        fault_of(&faults),
        DeviceError::VmFault { address: AT, .. }
    ));
    assert_eq!(buffer.read(0, 8).unwrap(), 1u64.to_le_bytes());
    assert_eq!(buffer.read(PAGE, 8).unwrap(), 1u64.to_le_bytes());
}

#[test]
fn a_job_that_hangs_is_ended_and_its_queue_answers_for_it() {
    let (runtime, sim) = runtime(4 * MIB);
    let (guilty, other) = (runtime.client(), runtime.client());
    let mut made = Vec::new();
    for client in [&guilty, &other] {
        let (vm, queue) = (space(client), queue(client));
        let buffer = client.create(BufferDesc::new(PAGE)).unwrap();
        vm.map(AT, &buffer, 0, PAGE, Rights::ReadWrite).unwrap();
        queue
            .submit(&vm, fill(AT, PAGE, 1), &[])
            .unwrap()
            .wait()
            .unwrap();
        made.push((vm, queue, buffer));
    }
    let [(vm, queue, _a), (their_vm, theirs, buffer)] = &made[..] else {
        panic!("two");
    };
    sim.inject("hang job 1".parse().unwrap());
    let hung = queue.submit(vm, fill(AT, PAGE, 2), &[]).unwrap();
    let behind = queue.submit(vm, fill(AT, PAGE, 3), &[]).unwrap();
    let good = theirs.submit(their_vm, fill(AT, PAGE, 4), &[]).unwrap();
    assert_eq!(fault_of(&hung), DeviceError::TimedOut);
    good.wait().unwrap();
    assert_eq!(buffer.read(0, 8).unwrap(), 4u64.to_le_bytes());
    assert!(queue.is_guilty() && !theirs.is_guilty());
    let told = behind.outcome();
    assert!(
        matches!(told, Ok(_) | Err(Error::Device(DeviceError::Cancelled))),
        "{told:?}"
    );
    let later = queue.submit(vm, fill(AT, PAGE, 5), &[]).unwrap();
    assert_eq!(fault_of(&later), DeviceError::Cancelled);
    theirs
        .submit(their_vm, fill(AT, PAGE, 6), &[])
        .unwrap()
        .wait()
        .unwrap();
}

#[test]
fn a_killed_queue_ends_what_waits() {
    let (runtime, sim) = runtime(4 * MIB);
    let client = runtime.client();
    let (vm, queue) = (space(&client), queue(&client));
    let buffer = client.create(BufferDesc::new(PAGE)).unwrap();
    vm.map(AT, &buffer, 0, PAGE, Rights::ReadWrite).unwrap();
    queue
        .submit(&vm, fill(AT, 8, 1), &[])
        .unwrap()
        .wait()
        .unwrap();
    sim.inject("hang job 1".parse().unwrap());
    let hung = queue.submit(&vm, fill(AT, 8, 2), &[]).unwrap();
    let waits = queue.submit(&vm, fill(AT, 8, 3), &[&hung]).unwrap();
    queue.kill().unwrap();
    let refused = queue.submit(&vm, fill(AT, 8, 4), &[]).unwrap();
    assert_eq!(fault_of(&hung), DeviceError::TimedOut);
    // What the device had already is not taken back.
    let word = match waits.outcome() {
        Ok(_) => 3u64,
        Err(error) => {
            let ended = matches!(
                error,
                Error::Device(DeviceError::Killed | DeviceError::Cancelled)
            );
            assert!(ended, "{error}");
            1
        }
    };
    assert_eq!(fault_of(&refused), DeviceError::Killed);
    assert_eq!(buffer.read(0, 8).unwrap(), word.to_le_bytes());
}
