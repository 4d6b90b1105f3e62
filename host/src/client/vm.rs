//! Address spaces: what jobs see of a client's buffers, and where.

use super::{Batch, Buffer, Client, Fence};
use crate::error::Error;
use crate::planner::{Message, Planner, Verb};
use gpumm_contract::vm::{Bind, Mapping, PAGE, Span, VmConfig, VmId, WRITE};

/// What a new address space is to be.
///
/// Units: bytes, in pages of 4 KiB.
#[derive(Clone, Copy, Debug)]
pub struct VmDesc {
    /// The addresses that it has; from the second page to 2^47 unless said otherwise.
    pub range: Span,
    /// A part of them where nothing is ever mapped; none unless said otherwise.
    pub kernel: Span,
    /// The most mappings; 2^20 unless said otherwise.
    pub mappings: u32,
    /// The most mappings of one buffer; 2^16 unless said otherwise.
    pub mappings_per_buffer: u32,
}

impl Default for VmDesc {
    fn default() -> Self {
        VmDesc {
            range: Span {
                start: PAGE,
                bytes: (1 << 47) - PAGE,
            },
            kernel: Span::default(),
            mappings: 1 << 20,
            mappings_per_buffer: 1 << 16,
        }
    }
}

/// What jobs may do with what is mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rights {
    /// Read.
    ReadOnly,
    /// Read and write.
    ReadWrite,
}

/// A request to map or unmap; addresses, sizes and offsets are whole pages.
#[derive(Clone, Copy, Debug)]
pub enum VmBind<'a> {
    /// Show part of a buffer, whatever was there before.
    Map {
        /// The first address.
        address: u64,
        /// The buffer.
        buffer: &'a Buffer,
        /// The byte of the buffer that the first address shows.
        offset: u64,
        /// How many bytes; the last page of a buffer may be mapped as a whole.
        bytes: u64,
        /// What jobs may do there.
        rights: Rights,
    },
    /// Show zeros that take no memory, and drop what is written there.
    Sparse {
        /// The first address.
        address: u64,
        /// How many bytes.
        bytes: u64,
    },
    /// Show nothing.
    Unmap {
        /// The first address.
        address: u64,
        /// How many bytes.
        bytes: u64,
    },
}

impl VmBind<'_> {
    pub(super) fn packed(&self) -> Bind {
        let span = |start, bytes| Span { start, bytes };
        match *self {
            VmBind::Map {
                address,
                buffer,
                offset,
                bytes,
                rights,
            } => Bind::Map(Mapping {
                at: span(address, bytes),
                buffer: Some(buffer.id),
                offset,
                attributes: match rights {
                    Rights::ReadOnly => 0,
                    Rights::ReadWrite => WRITE,
                },
            }),
            VmBind::Sparse { address, bytes } => Bind::Map(Mapping {
                at: span(address, bytes),
                buffer: None,
                offset: 0,
                attributes: WRITE,
            }),
            VmBind::Unmap { address, bytes } => Bind::Unmap(span(address, bytes)),
        }
    }
}

/// An address space of a client; dropping it closes it once its jobs are over.
///
/// Buffers are shown at addresses by binds; jobs name addresses, never buffers. A buffer that has
/// to leave device memory is taken out of the page tables and shown again when a job names it.
pub struct Vm {
    pub(super) client: Client,
    pub(super) id: VmId,
    /// Whether a close is due when it is dropped.
    pub(super) alive: bool,
}

impl std::fmt::Debug for Vm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vm")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl Vm {
    /// The address space's number on its device.
    pub fn id(&self) -> VmId {
        self.id
    }

    /// Maps part of a buffer, whatever was mapped there before.
    ///
    /// Errors: as [`Vm::bind`].
    pub fn map(
        &self,
        address: u64,
        buffer: &Buffer,
        offset: u64,
        bytes: u64,
        rights: Rights,
    ) -> Result<Fence, Error> {
        let map = VmBind::Map {
            address,
            buffer,
            offset,
            bytes,
            rights,
        };
        self.bind(&[map], &[])
    }

    /// Maps nothing.
    ///
    /// Errors: as [`Vm::bind`].
    pub fn unmap(&self, address: u64, bytes: u64) -> Result<Fence, Error> {
        self.bind(&[VmBind::Unmap { address, bytes }], &[])
    }

    /// Maps and unmaps in order, wholly or not at all, once the fences are reached. Jobs that are
    /// submitted later see all of it, without waiting for the fence.
    ///
    /// Errors: a buffer is not this client's, a mapping leaves it or the address space, there are
    /// as many mappings as there may be, or the device has no memory for page tables.
    pub fn bind(&self, binds: &[VmBind<'_>], after: &[&Fence]) -> Result<Fence, Error> {
        let mut batch = self.client.batch();
        let at = batch.bind(self, binds, after);
        batch.submit()?.take(at)
    }

    /// The mappings that overlap a range of addresses, by address.
    ///
    /// Errors: the planner has ended.
    pub fn mappings(&self, at: Span) -> Result<Vec<Mapping>, Error> {
        let (tenant, vm) = (self.client.tenant, self.id);
        let ask = move |planner: &mut Planner| planner.vm_mappings(tenant, vm, at);
        self.client.device.control(ask)?
    }

    /// Ends the address space; waits until that is planned, not until its jobs are over.
    ///
    /// Errors: the device has stopped.
    pub fn close(mut self) -> Result<(), Error> {
        self.alive = false;
        let mut replies = self.client.device.ask(vec![self.close_verb()], false)?;
        replies.pop().map_or(Ok(()), |reply| reply.map(|_| ()))
    }

    fn close_verb(&self) -> Verb {
        Verb::CloseVm {
            tenant: self.client.tenant,
            vm: self.id,
        }
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        if self.alive {
            let (reply, _) = std::sync::mpsc::channel();
            let verbs = vec![self.close_verb()];
            // A planner that has ended has nothing left to close.
            let _ = self.client.device.send(Message::Verbs {
                verbs,
                exact: false,
                reply,
            });
        }
    }
}

impl Client {
    /// A new address space.
    ///
    /// Errors: the device has no page tables, or the description is out of bounds.
    pub fn create_vm(&self, desc: VmDesc) -> Result<Vm, Error> {
        let mut vm = Vm {
            client: self.clone(),
            id: self.device.new_vm(),
            alive: false,
        };
        let verb = Verb::CreateVm {
            tenant: self.tenant,
            vm: vm.id,
            config: VmConfig {
                range: desc.range,
                kernel: desc.kernel,
                mappings: desc.mappings,
                mappings_per_buffer: desc.mappings_per_buffer,
            },
        };
        let mut replies = self.device.ask(vec![verb], false)?;
        let unanswered = || Error::System("a request was not answered".into());
        replies.pop().ok_or_else(unanswered)??;
        vm.alive = true;
        Ok(vm)
    }
}

impl Batch {
    /// Asks to map and unmap in order, wholly or not at all, once the fences are reached.
    pub fn bind(&mut self, vm: &Vm, binds: &[VmBind<'_>], after: &[&Fence]) -> super::Slot {
        let verb = Verb::Bind {
            tenant: self.client.tenant,
            vm: vm.id,
            binds: binds.iter().map(VmBind::packed).collect(),
            after: after.iter().map(|fence| fence.point()).collect(),
        };
        self.push(verb, None)
    }
}
