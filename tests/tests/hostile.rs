//! What a hostile tenant may try with addresses, buffers, address spaces and queues, and the named
//! error that each attempt gets.
#![allow(clippy::unwrap_used)]

use gpumm::contract::plan::Status;
use gpumm::contract::vm::{Span, VmError};
use gpumm::hw::DeviceError;
use gpumm::{
    BufferDesc, Client, Error, Fence, Priority, Queue, Rights, Runtime, Vm, VmBind, VmDesc,
};
use gpumm_tests::vm_client::*;

/// Two clients of a device, each with an address space, a queue and a mapped page.
struct Two {
    runtime: Runtime,
    honest: (Client, Vm, Queue, gpumm::Buffer),
    hostile: (Client, Vm, Queue, gpumm::Buffer),
}

fn two() -> Two {
    let (runtime, _) = runtime(4 * MIB);
    let mut sides = (0..2u64).map(|n| {
        let client = runtime.client();
        let (vm, queue) = (space(&client), queue(&client));
        let buffer = client.create(BufferDesc::new(PAGE)).unwrap();
        vm.map(AT, &buffer, 0, PAGE, Rights::ReadWrite).unwrap();
        queue
            .submit(&vm, fill(AT, PAGE, 0x5eed + n), &[])
            .unwrap()
            .wait()
            .unwrap();
        (client, vm, queue, buffer)
    });
    Two {
        honest: sides.next().unwrap(),
        hostile: sides.next().unwrap(),
        runtime: runtime.clone(),
    }
}

impl Two {
    /// The honest client's byte are as they were, and nothing was replaced.
    fn unharmed(&self) {
        let (_, vm, queue, buffer) = &self.honest;
        assert_eq!(buffer.read(0, 8).unwrap(), 0x5eedu64.to_le_bytes());
        queue
            .submit(vm, fill(AT, 8, 0x5eed), &[])
            .unwrap()
            .wait()
            .unwrap();
        assert_eq!(
            self.runtime.device(0).unwrap().report().unwrap().restarts,
            0
        );
    }
}

#[test]
fn hostile_a_guessed_address_is_a_fault() {
    let two = two();
    let (_, vm, queue, _) = &two.hostile;
    for address in [AT + PAGE, 0, PAGE, u64::MAX - 64, 1 << 47, AT - 8] {
        let job = queue.submit(vm, fill(address, 16, 1), &[]).unwrap();
        assert!(
            matches!(fault_of(&job), DeviceError::VmFault { .. }),
            "{address:#x}"
        );
    }
    two.unharmed();
}

#[test]
fn hostile_a_foreign_buffer_is_not_mapped() {
    let two = two();
    let (_, vm, ..) = &two.hostile;
    let stolen = vm.map(2 * AT, &two.honest.3, 0, PAGE, Rights::ReadOnly);
    let told = stolen.unwrap_err().to_string();
    assert!(told.contains("not a live buffer of this client"), "{told}");
    two.unharmed();
}

#[test]
fn hostile_a_foreign_address_space_takes_no_job_and_no_bind() {
    let two = two();
    let (client, _, queue, buffer) = &two.hostile;
    let told = queue
        .submit(&two.honest.1, fill(AT, 8, 1), &[])
        .unwrap_err();
    assert!(
        told.to_string()
            .contains("not a live address space of this client"),
        "{told}"
    );
    let mut batch = client.batch();
    let map = VmBind::Map {
        address: AT,
        buffer,
        offset: 0,
        bytes: PAGE,
        rights: Rights::ReadWrite,
    };
    let slot = batch.bind(&two.honest.1, &[map], &[]);
    let told = batch.submit().unwrap().take(slot).unwrap_err();
    assert!(
        told.to_string()
            .contains("not a live address space of this client"),
        "{told}"
    );
    two.unharmed();
}

#[test]
fn hostile_a_closed_address_space_is_dead() {
    let two = two();
    let (client, ..) = &two.hostile;
    let vm = space(client);
    let (id, queue) = (vm.id(), queue(client));
    let buffer = client.create(BufferDesc::new(PAGE)).unwrap();
    vm.map(AT, &buffer, 0, PAGE, Rights::ReadWrite).unwrap();
    let job = queue.submit(&vm, fill(AT, 8, 1), &[]).unwrap();
    // A close while jobs run waits for them.
    vm.close().unwrap();
    job.wait().unwrap();
    let again = space(client);
    assert_ne!(again.id(), id, "numbers are never used twice");
    let fault = queue.submit(&again, fill(AT, 8, 1), &[]).unwrap();
    assert!(matches!(fault_of(&fault), DeviceError::VmFault { .. }));
    two.unharmed();
}

#[test]
fn hostile_a_released_buffer_is_gone_from_page_tables() {
    let two = two();
    let (client, vm, queue, _) = &two.hostile;
    let buffer = client.create(BufferDesc::new(PAGE)).unwrap();
    vm.map(2 * AT, &buffer, 0, PAGE, Rights::ReadWrite).unwrap();
    queue
        .submit(vm, fill(2 * AT, 8, 1), &[])
        .unwrap()
        .wait()
        .unwrap();
    drop(buffer);
    // Somebody else may have the memory by now.
    let taken = two.honest.0.create(BufferDesc::new(PAGE)).unwrap();
    taken.fill(0).unwrap();
    let late = queue.submit(vm, fill(2 * AT, 8, 0xbad), &[]).unwrap();
    assert!(matches!(fault_of(&late), DeviceError::VmFault { .. }));
    assert_eq!(taken.read(0, 8).unwrap(), [0; 8]);
    two.unharmed();
}

#[test]
fn hostile_a_mapping_does_not_leave_its_buffer_or_its_address_space() {
    let two = two();
    let (client, vm, ..) = &two.hostile;
    let buffer = client.create(BufferDesc::new(2 * PAGE)).unwrap();
    let told = |offset, bytes| {
        let map = vm.map(2 * AT, &buffer, offset, bytes, Rights::ReadWrite);
        map.unwrap_err().to_string()
    };
    assert!(told(0, 3 * PAGE).contains("leaves buffer"));
    assert!(told(PAGE, 2 * PAGE).contains("leaves buffer"));
    assert!(told(u64::MAX - PAGE + 1, PAGE).contains("leaves buffer"));
    assert!(told(8, PAGE).contains("no multiple of the page"));
    assert!(told(0, 100).contains("no multiple of the page"));
    assert!(told(0, 0).contains("no bytes"));
    for address in [0, (1 << 47) - PAGE, u64::MAX - PAGE + 1] {
        let map = vm.map(address, &buffer, 0, 2 * PAGE, Rights::ReadWrite);
        let why = Status::Vm {
            why: VmError::Range,
            bind: 0,
        };
        assert!(
            matches!(&map, Err(Error::Refused(status)) if *status == why),
            "{address:#x}: {map:?}"
        );
    }
    two.unharmed();
}

#[test]
fn hostile_the_kernel_area_is_taken() {
    let two = two();
    let (client, _, queue, buffer) = &two.hostile;
    let kernel = Span {
        start: AT,
        bytes: MIB,
    };
    let vm = client
        .create_vm(VmDesc {
            kernel,
            ..VmDesc::default()
        })
        .unwrap();
    let map = vm.map(AT + PAGE, buffer, 0, PAGE, Rights::ReadWrite);
    assert!(map.unwrap_err().to_string().contains("kernel's area"));
    let job = queue.submit(&vm, fill(AT + PAGE, 8, 1), &[]).unwrap();
    assert!(matches!(fault_of(&job), DeviceError::VmFault { .. }));
    two.unharmed();
}

#[test]
fn hostile_limits_on_mappings_hold() {
    let two = two();
    let (client, _, _, buffer) = &two.hostile;
    let desc = VmDesc {
        mappings: 4,
        mappings_per_buffer: 3,
        ..VmDesc::default()
    };
    let vm = client.create_vm(desc).unwrap();
    for n in 0..3 {
        vm.map(AT + 2 * n * PAGE, buffer, 0, PAGE, Rights::ReadWrite)
            .unwrap();
    }
    let map = vm.map(AT + 8 * PAGE, buffer, 0, PAGE, Rights::ReadWrite);
    assert!(
        map.unwrap_err()
            .to_string()
            .contains("the buffer has as many mappings")
    );
    let sparse = |n: u64| VmBind::Sparse {
        address: 2 * AT + n * 2 * PAGE,
        bytes: PAGE,
    };
    let list = vm.bind(&[sparse(0), sparse(1)], &[]).unwrap_err();
    assert!(
        list.to_string()
            .starts_with("bind request 1: the address space has as many"),
        "{list}"
    );
    let all = Span {
        start: 0,
        bytes: 1 << 46,
    };
    assert_eq!(
        vm.mappings(all).unwrap().len(),
        3,
        "a refused list has no effect"
    );
    two.unharmed();
}

#[test]
fn hostile_contexts_run_out_by_name() {
    let two = two();
    let (client, ..) = &two.hostile;
    let queues: Vec<Queue> = std::iter::from_fn(|| client.queue(Priority::High).ok()).collect();
    assert_eq!(queues.len(), 6);
    let told = client.queue(Priority::High).unwrap_err().to_string();
    assert_eq!(
        told,
        "all 8 contexts of the device are in use; drop a queue first"
    );
    two.unharmed();
    drop(queues);
    client.queue(Priority::High).unwrap();
}

#[test]
fn hostile_close_races_submit() {
    for _ in 0..50 {
        let two = two();
        let (client, _, queue, buffer) = &two.hostile;
        let vm = space(client);
        vm.map(AT, buffer, 0, PAGE, Rights::ReadWrite).unwrap();
        let jobs = std::thread::scope(|scope| {
            let vm = &vm;
            let jobs = scope.spawn(move || -> Vec<Fence> {
                let jobs = (0..40).map(|n| queue.submit(vm, fill(AT, 8, n), &[]));
                jobs.map(Result::unwrap).collect()
            });
            // Another client's plans go on beside.
            two.honest.3.fill(0x5eed).unwrap();
            jobs.join().unwrap()
        });
        vm.close().unwrap();
        assert!(jobs.iter().all(|job| job.wait().is_ok()));
        two.unharmed();
    }
}

#[test]
fn hostile_a_bind_that_waits_for_nothing_known_is_refused() {
    let two = two();
    let (_, other) = (runtime(MIB), runtime(MIB).0);
    let client = other.client();
    let buffer = client.create(BufferDesc::new(PAGE)).unwrap();
    let foreign = (0..20)
        .map(|n| buffer.fill(n).unwrap())
        .next_back()
        .unwrap();
    let (_, vm, _, own) = &two.hostile;
    let map = VmBind::Map {
        address: 2 * AT,
        buffer: own,
        offset: 0,
        bytes: PAGE,
        rights: Rights::ReadOnly,
    };
    // The other Runtime's timelines have numbers of their own: what this one has not given out is
    // refused, so nothing can wait for ever.
    let bound = vm.bind(&[map], &[&foreign]);
    assert!(bound.is_ok() || bound.unwrap_err().to_string().contains("another device"));
    two.unharmed();
}
