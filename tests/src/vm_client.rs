//! A client with an address space and a queue, as the tests of both use it.

use crate::fixture;
use gpumm::hw::DeviceError;
use gpumm::{Client, Error, Fence, Pacing, Priority, Queue, Runtime, Vm, VmDesc, VmKernel};
use gpumm_hw::sim::SimControl;
use std::time::Duration;

/// Bytes of a page.
pub const PAGE: u64 = 4096;
/// Bytes of a mebibyte.
pub const MIB: u64 = 1 << 20;
/// Where tests map.
pub const AT: u64 = 64 * MIB;

/// A runtime with queues, whose jobs may take 200 ms.
pub fn runtime(vram: u64) -> (Runtime, SimControl) {
    fixture::with_queues(vram, 64 * MIB, None, Pacing::Eager, |b| {
        b.job_timeout(Duration::from_millis(200))
    })
}

/// A queue of normal priority.
pub fn queue(client: &Client) -> Queue {
    client.queue(Priority::Normal).unwrap()
}

/// An address space of the usual size.
pub fn space(client: &Client) -> Vm {
    client.create_vm(VmDesc::default()).unwrap()
}

/// A kernel that fills.
pub fn fill(dst: u64, bytes: u64, pattern: u64) -> VmKernel {
    VmKernel::Fill {
        dst,
        bytes,
        pattern,
    }
}

/// What the device said of a job that failed.
pub fn fault_of(fence: &Fence) -> DeviceError {
    match fence.outcome() {
        Err(Error::Device(error)) => error,
        other => panic!("{other:?}"),
    }
}
