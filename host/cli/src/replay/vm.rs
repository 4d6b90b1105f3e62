//! Replaying through address spaces: buffers are mapped, and jobs write and check them by address.
//!
//! Each tenant has one address space and one queue. A buffer is mapped when it is made, as large
//! pages as its size allows, and its mapping ends with it.

use gpumm::contract::vm::{PAGE, Span};
use gpumm::job::{Check, PatternKey};
use gpumm::{Batch, Buffer, Client, DeviceHandle, Error, Priority, Queue, Rights, Slot, Vm};
use gpumm::{VmBind, VmDesc, VmKernel};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// What a job does with a buffer.
#[derive(Clone, Copy, Debug)]
pub(super) enum Use {
    /// It writes a new generation.
    Write(PatternKey),
    /// It compares the old generation and writes a new one.
    Rewrite {
        old: PatternKey,
        new: PatternKey,
        check: Check,
    },
}

/// What came of a replay through address spaces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct VmDone {
    /// Mappings made.
    pub binds: u64,
    /// Mappings ended.
    pub unbinds: u64,
    /// Mappings shown again after their buffer had been moved.
    pub rebinds: u64,
    /// Jobs on addresses that were accepted.
    pub jobs: u64,
    /// Accesses of jobs that found no page, or one they may not write.
    pub faults: u64,
    /// Translations that the device remembered and that were wrong by then.
    pub stale_accesses: u64,
}

/// A tenant's address space.
struct Space {
    vm: Vm,
    queue: Queue,
    /// The first address that was never given out.
    next: u64,
}

/// The address spaces of a replay.
pub(super) struct Spaces {
    spaces: BTreeMap<u32, Space>,
    addresses: BTreeMap<u64, u64>,
    pub(super) jobs: u64,
}

impl Spaces {
    pub(super) fn new() -> Self {
        Spaces {
            spaces: BTreeMap::new(),
            addresses: BTreeMap::new(),
            jobs: 0,
        }
    }

    /// Asks for a new buffer's mapping, in the batch that makes it.
    ///
    /// Errors: the tenant gets no address space or no queue.
    pub(super) fn map(
        &mut self,
        batch: &mut Batch,
        (tenant, client): (u32, &Client),
        (id, buffer): (u64, &Buffer),
    ) -> Result<Slot, Error> {
        let space = match self.spaces.entry(tenant) {
            std::collections::btree_map::Entry::Occupied(space) => space.into_mut(),
            std::collections::btree_map::Entry::Vacant(none) => none.insert(Space {
                vm: client.create_vm(VmDesc::default())?,
                queue: client.queue(Priority::Normal)?,
                next: LARGE,
            }),
        };
        let bytes = buffer.bytes().next_multiple_of(PAGE);
        let page = [LARGE, MEDIUM, PAGE]
            .into_iter()
            .find(|page| bytes >= *page);
        let address = space.next.next_multiple_of(page.unwrap_or(PAGE));
        // A page that is never mapped lies between any two buffers.
        space.next = address + bytes + PAGE;
        self.addresses.insert(id, address);
        let map = VmBind::Map {
            address,
            buffer,
            offset: 0,
            bytes,
            rights: Rights::ReadWrite,
        };
        Ok(batch.bind(&space.vm, &[map], &[]))
    }

    /// Asks for a job on a buffer, by its address.
    pub(super) fn submit(
        &mut self,
        batch: &mut Batch,
        tenant: u32,
        id: u64,
        bytes: u64,
        what: Use,
    ) -> Option<Slot> {
        let (space, &at) = (self.spaces.get(&tenant)?, self.addresses.get(&id)?);
        let kernel = match what {
            Use::Write(key) => VmKernel::WritePattern {
                dst: at,
                bytes,
                key,
            },
            Use::Rewrite { old, new, check } => VmKernel::Rewrite {
                at,
                bytes,
                old,
                new,
                check,
            },
        };
        self.jobs += 1;
        Some(batch.submit_job(&space.queue, &space.vm, kernel, &[]))
    }

    /// Forgets a buffer, whose mapping ends with it.
    pub(super) fn forget(&mut self, id: u64) {
        self.addresses.remove(&id);
    }

    /// The mappings of every address space, as a debugger of a kernel would list them.
    ///
    /// Errors: the planner has ended.
    pub(super) fn maps(&self) -> Result<String, Error> {
        let mut text = String::new();
        for (tenant, space) in &self.spaces {
            let all = Span {
                start: 0,
                bytes: u64::MAX / PAGE * PAGE,
            };
            let mappings = space.vm.mappings(all)?;
            let range = VmDesc::default().range;
            let end = range.start + range.bytes;
            // Writing to a text cannot fail.
            let _ = writeln!(
                text,
                "VM {} of tenant {tenant}: [{:#014x}, {end:#014x}), {} mappings",
                space.vm.id(),
                range.start,
                mappings.len()
            );
            let _ = writeln!(
                text,
                "  {:>14} {:>14} {:>14} {:>10} {:>14} rights",
                "start", "end", "bytes", "buffer", "offset"
            );
            for m in mappings {
                let buffer = m.buffer.map_or("sparse".into(), |b| b.to_string());
                let rights = if m.attributes & 1 != 0 { "rw" } else { "ro" };
                let _ = writeln!(
                    text,
                    "  {:#014x} {:#014x} {:>14} {buffer:>10} {:#014x} {rights}",
                    m.at.start,
                    m.at.start + m.at.bytes,
                    m.at.bytes,
                    m.offset
                );
            }
        }
        Ok(text)
    }

    /// What came of it.
    ///
    /// Errors: the planner has ended.
    pub(super) fn done(&self, device: &DeviceHandle) -> Result<VmDone, Error> {
        let counts = device.report()?.counts;
        let mmu = device.hardware().statistics().mmu;
        Ok(VmDone {
            binds: counts.binds,
            unbinds: counts.unbinds,
            rebinds: counts.rebinds,
            jobs: self.jobs,
            faults: mmu.faults,
            stale_accesses: mmu.stale_accesses,
        })
    }
}

/// What the device maps with one entry where addresses and memory allow it.
const LARGE: u64 = 2 << 20;
const MEDIUM: u64 = 64 << 10;
