//! Residency: which buffer lives where, who is evicted, and in which order things happen.
//!
//! The way of a request: [`Manager::execute`] reads the batch, `create.rs`, `access.rs`,
//! `retire.rs` and `loss.rs` answer a verb or two each, `evict.rs` decides who makes room,
//! `relocate.rs` plans the move of one buffer, `dma.rs` lets the device reach host memory,
//! `vm/` shows buffers in address spaces, `share.rs` tells other devices that read a buffer, `strategy.rs` asks the strategy slot, `order.rs` plans waits. Everything
//! is answered as a plan; nothing is done here.
//!
//! Invariants: equal inputs give equal plans; the state is rebuilt from facts by `restore.rs`.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod access;
mod ahead;
mod create;
mod dma;
mod evict;
mod loss;
mod lru;
mod memory;
mod order;
mod relocate;
mod restore;
mod retire;
mod share;
mod state;
mod strategy;
mod vm;

pub use restore::RestoreError;

use alloc::vec::Vec;
use gpumm_contract::plan::{Op, Status};
use gpumm_contract::request::{Batch, Request};
use gpumm_contract::table::Tables;
use gpumm_contract::vm::AddressSpaces;
use gpumm_contract::wire::{Kind, Writer};
use gpumm_contract::{AllocationId, BufferId, MemoryTypeId};
use order::Context;
use state::State;

/// The strategy slots of the device, answered by the host's broker.
pub trait Slots {
    /// Has a memory type's strategy execute a packed command list.
    ///
    /// Shape: commands in, answers out, as [`gpumm_contract::allocator`].
    fn allocate(&mut self, memory: MemoryTypeId, commands: &[u64]) -> Vec<u64>;

    /// Gives the device's DMA access to allocations of host memory; for each, `true` when it
    /// worked.
    fn map_dma(&mut self, allocations: &[AllocationId]) -> Vec<bool>;
}

/// Plans for one device.
#[derive(Clone, Debug, Default)]
pub struct Manager<T, V, S> {
    tables: T,
    vms: V,
    slots: S,
    state: State,
}

impl<T: Tables, V: AddressSpaces, S: Slots> Manager<T, V, S> {
    /// A manager that knows nothing yet; a restore makes it serve.
    pub fn new(tables: T, vms: V, slots: S) -> Self {
        Manager {
            tables,
            vms,
            slots,
            state: State::default(),
        }
    }

    /// Plans a packed batch of requests and returns the packed plan.
    ///
    /// Errors: a batch that cannot be read gives a plan without answers, which the host refuses.
    pub fn execute(&mut self, requests: &[u64]) -> Vec<u64> {
        let Ok(batch) = Batch::decode(requests) else {
            return Writer::new(Kind::Plan).finish();
        };
        let mut ctx = Context::new(batch.grants, batch.requests.len());
        let mut rest = batch.requests.as_slice();
        let mut number = 0;
        while let Some(first) = rest.first() {
            if !matches!(first, Request::Access(_)) {
                self.return_ready(&mut ctx);
            }
            let taken = if let Request::Create(_) = first {
                self.create_run(rest, number, &mut ctx)
            } else {
                let status = match first {
                    Request::Access(access) => {
                        self.room_ahead(rest, &mut ctx);
                        self.access(access, &mut ctx)
                    }
                    Request::Release(buffer) => self.release(*buffer, &mut ctx),
                    Request::Retire(point) => self.retire(*point, &mut ctx),
                    Request::Poisoned(buffer) => self.poisoned(*buffer, &mut ctx),
                    Request::Lost => self.lost(&mut ctx),
                    Request::Attach(attach) => self.attach(attach, &mut ctx),
                    Request::Detach(detach) => self.detach(detach, &mut ctx),
                    Request::CreateVm(create) => self.create_vm(create),
                    Request::CloseVm(close) => self.close_vm(close, &mut ctx),
                    Request::Bind(bind) => self.bind(bind, &mut ctx),
                    Request::Submit(submit) => self.submit(submit, &mut ctx),
                    Request::Used(used) => self.used(used),
                    Request::Create(_) => Status::InvalidAccess,
                };
                ctx.answer(number, status);
                1
            };
            number += taken as u32;
            rest = &rest[taken..];
        }
        self.return_ready(&mut ctx);
        self.flush_frees();
        ctx.finish()
    }

    /// Buffers by id with the memory type they live in, for people and tests.
    pub fn residency(&self) -> impl Iterator<Item = (BufferId, MemoryTypeId)> + '_ {
        self.state
            .buffers
            .iter()
            .map(|(id, b)| (BufferId(id), b.home.memory))
    }

    /// Who answers for the strategy slots.
    pub fn slots_mut(&mut self) -> &mut S {
        &mut self.slots
    }

    /// The keeper of address spaces.
    pub fn vms(&self) -> &V {
        &self.vms
    }

    /// The sg-table keeper.
    pub fn tables(&self) -> &T {
        &self.tables
    }
}

impl Context {
    /// Ends a request's operations.
    fn answer(&mut self, request: u32, status: Status) {
        self.stuck.clear();
        self.emit(&Op::Answer { request, status });
    }
}
