//! GPU virtual memory: address spaces, their mappings, and what binding makes of them.
//!
//! [`GpuVm`] keeps the address spaces of a device and answers bind requests with the steps that
//! carry them out. It knows buffers by number, and nothing of page tables.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod bind;
mod members;
mod space;
mod tree;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use gpumm_contract::vm::packed::{Binds, Writer};
use gpumm_contract::vm::{
    AddressSpaces, Bind, BindError, Ended, Mapping, Needs, Op, Span, VirtualMemory, VmBo, VmConfig,
    VmError, VmId,
};
use gpumm_contract::{BufferId, TableId};
use space::Space;

/// The address spaces of a device.
///
/// Complexity: bind O(log n + overlapped mappings) per request for n mappings; finds O(log n);
/// the rest as [`VirtualMemory`] says.
/// Invariants: `members` has a pair for each vm-bo; a closed address space has a vm-bo.
#[derive(Clone, Debug, Default)]
pub struct GpuVm {
    spaces: BTreeMap<VmId, Box<Space>>,
    /// Which address spaces a buffer belongs to.
    members: BTreeSet<(BufferId, VmId)>,
}

impl GpuVm {
    /// How many address spaces live, closed ones included.
    pub fn len(&self) -> usize {
        self.spaces.len()
    }

    /// Whether no address space lives.
    pub fn is_empty(&self) -> bool {
        self.spaces.is_empty()
    }

    /// How many mappings an address space has; 0 where there is none.
    pub fn mappings(&self, vm: VmId) -> usize {
        self.spaces.get(&vm).map_or(0, |space| space.tree.len())
    }

    /// Checks every invariant.
    ///
    /// Complexity: everything there is; it serves tests.
    pub fn validate_structure(&self) -> Result<(), &'static str> {
        let mut pairs = BTreeSet::new();
        for (&vm, space) in &self.spaces {
            space.validate()?;
            if space.closed && space.members.is_empty() {
                return Err("an address space has not ended");
            }
            pairs.extend(space.members.iter().map(|(_, bo)| (bo.buffer, vm)));
        }
        match pairs == self.members {
            true => Ok(()),
            false => Err("a buffer's address spaces are wrong"),
        }
    }

    #[inline]
    fn space(&self, vm: VmId) -> Result<&Space, VmError> {
        self.spaces.get(&vm).map(|s| &**s).ok_or(VmError::UnknownVm)
    }

    #[inline]
    fn space_mut(&mut self, vm: VmId) -> Result<&mut Space, VmError> {
        let space = self.spaces.get_mut(&vm);
        space.map(|s| &mut **s).ok_or(VmError::UnknownVm)
    }

    fn open(&self, vm: VmId) -> Result<&Space, VmError> {
        let space = self.space(vm)?;
        (!space.closed).then_some(space).ok_or(VmError::Closed)
    }

    /// Forgets the address spaces of vm-bos that ended with their last mapping.
    fn forget(&mut self, vm: VmId, steps: &[Op]) {
        for op in steps {
            if let Op::Ended(buffer) = op {
                self.members.remove(&(*buffer, vm));
            }
        }
    }
}

impl AddressSpaces for GpuVm {
    fn clear(&mut self) {
        *self = GpuVm::default();
    }

    fn create(&mut self, vm: VmId, config: VmConfig) -> Result<(), VmError> {
        if self.spaces.contains_key(&vm) {
            return Err(VmError::VmExists);
        }
        let space = Space::new(&config)?;
        self.spaces.insert(vm, Box::new(space));
        Ok(())
    }

    fn close(&mut self, vm: VmId, steps: &mut Vec<Op>) -> Result<bool, VmError> {
        self.open(vm)?;
        let before = steps.len();
        let space = self.space_mut(vm)?;
        let mut all = Vec::with_capacity(space.tree.len());
        space.tree.visit(0, u64::MAX, |entry| {
            all.push(*entry);
            true
        });
        space.end_all(&all, steps);
        space.end_idle(steps);
        space.closed = true;
        let ended = space.members.is_empty();
        if ended {
            self.spaces.remove(&vm);
        }
        self.forget(vm, &steps[before..]);
        Ok(ended)
    }

    fn obtain(&mut self, vm: VmId, buffer: BufferId, external: bool) -> Result<u32, VmError> {
        self.open(vm)?;
        let space = self.space_mut(vm)?;
        let number = match space.members.number(buffer) {
            Ok(number) => number,
            Err(_) => {
                let number = space.members.begin(buffer);
                space.tree.track(number);
                number
            }
        };
        let members = &mut space.members;
        let bo = members.get_mut(number).ok_or(VmError::UnknownBuffer)?;
        let held = bo.held.checked_add(1).ok_or(VmError::TooManyHolds)?;
        bo.held = held;
        if external && !bo.external {
            bo.external = true;
            members.external.insert(buffer);
        }
        self.members.insert((buffer, vm));
        Ok(held)
    }

    fn put(&mut self, vm: VmId, buffer: BufferId) -> Result<Ended, VmError> {
        let space = self.space_mut(vm)?;
        let number = space.members.number(buffer)?;
        let bo = space.members.get_mut(number);
        let bo = bo.ok_or(VmError::UnknownBuffer)?;
        bo.held = bo.held.checked_sub(1).ok_or(VmError::NotHeld)?;
        let vm_bo = space.members.end(number).is_some();
        let ended = Ended {
            vm_bo,
            vm: space.closed && space.members.is_empty(),
        };
        if ended.vm_bo {
            self.members.remove(&(buffer, vm));
        }
        if ended.vm {
            self.spaces.remove(&vm);
        }
        Ok(ended)
    }

    fn bind_packed(
        &mut self,
        vm: VmId,
        binds: &[u64],
        reuse: Vec<u64>,
    ) -> Result<Vec<u64>, BindError> {
        let refused = |why| BindError { request: 0, why };
        let space = self.space_mut(vm).map_err(refused)?;
        let mut binds = Binds::new(binds).map_err(|why| refused(why.into()))?;
        let mut steps = Writer::reuse(reuse);
        let ended = space.bind(|| Ok(binds.next()?), &mut steps)?;
        for buffer in ended {
            self.members.remove(&(buffer, vm));
        }
        Ok(steps.finish())
    }

    fn adopt(&mut self, vm: VmId, mapping: Mapping) -> Result<(), VmError> {
        self.open(vm)?.entry(&mapping)?;
        if self.find_first(vm, mapping.at).is_some() {
            return Err(VmError::Overlap);
        }
        let filed = self.bind(vm, &[Bind::Map(mapping)], &mut Vec::new());
        filed.map_err(|error| error.why)
    }

    fn unmap_buffer(
        &mut self,
        vm: VmId,
        buffer: BufferId,
        steps: &mut Vec<Op>,
    ) -> Result<(), VmError> {
        let before = steps.len();
        let space = self.space_mut(vm)?;
        let number = space.members.number(buffer)?;
        let all = space.mappings_of(number);
        space.end_all(&all, steps);
        space.end_idle(steps);
        self.forget(vm, &steps[before..]);
        Ok(())
    }

    fn mappings_of(&self, vm: VmId, buffer: BufferId) -> Result<Vec<Mapping>, VmError> {
        let space = self.space(vm)?;
        let all = space.mappings_of(space.members.number(buffer)?);
        Ok(all.iter().map(|entry| space.mapping(entry)).collect())
    }

    fn find_range(&self, vm: VmId, at: Span, limit: usize) -> Vec<Mapping> {
        let mut found = Vec::new();
        if let (Ok(space), Ok((start, end)), 1..) = (self.space(vm), space::pages(at), limit) {
            space.tree.visit(start, end, |entry| {
                found.push(space.mapping(entry));
                found.len() < limit
            });
        }
        found
    }

    fn evict(&mut self, vm: VmId, buffer: BufferId) -> Result<(), VmError> {
        let members = &mut self.space_mut(vm)?.members;
        let number = members.number(buffer)?;
        if let Some(bo) = members.get_mut(number) {
            (bo.evicted, bo.table) = (true, None);
        }
        members.evicted.insert(buffer);
        Ok(())
    }

    fn show(&mut self, vm: VmId, buffer: BufferId, table: TableId) -> Result<(), VmError> {
        let members = &mut self.space_mut(vm)?.members;
        let number = members.number(buffer)?;
        if let Some(bo) = members.get_mut(number) {
            (bo.evicted, bo.table) = (false, Some(table));
        }
        members.evicted.remove(&buffer);
        Ok(())
    }

    fn vm_bos(&self, vm: VmId) -> Result<Vec<VmBo>, VmError> {
        let members = &self.space(vm)?.members;
        Ok(members.iter().map(|(_, bo)| *bo).collect())
    }

    fn vms_of(&self, buffer: BufferId) -> Vec<VmId> {
        let from = (buffer, VmId(0))..=(buffer, VmId(u64::MAX));
        self.members.range(from).map(|&(_, vm)| vm).collect()
    }
}

impl VirtualMemory for GpuVm {
    fn bind(&mut self, vm: VmId, binds: &[Bind], steps: &mut Vec<Op>) -> Result<(), BindError> {
        let refused = |why| BindError { request: 0, why };
        let space = self.space_mut(vm).map_err(refused)?;
        let mut binds = binds.iter().copied();
        let ended = space.bind(|| Ok(binds.next()), steps)?;
        for buffer in ended {
            self.members.remove(&(buffer, vm));
        }
        Ok(())
    }

    fn find(&self, vm: VmId, at: Span) -> Option<Mapping> {
        self.find_first(vm, at).filter(|mapping| mapping.at == at)
    }

    fn find_first(&self, vm: VmId, at: Span) -> Option<Mapping> {
        self.find_range(vm, at, 1).pop()
    }

    fn find_previous(&self, vm: VmId, address: u64) -> Option<Mapping> {
        let space = self.space(vm).ok()?;
        let page = (address / space::bytes(1)).checked_sub(1)?;
        let entry = space.tree.last_at(page)?;
        Some(space.mapping(&entry)).filter(|m| m.at.end() == Some(address))
    }

    fn find_next(&self, vm: VmId, address: u64) -> Option<Mapping> {
        let space = self.space(vm).ok()?;
        let entry = space.tree.last_at(address / space::bytes(1))?;
        Some(space.mapping(&entry)).filter(|m| m.at.start == address)
    }

    fn prefetch(&self, vm: VmId, at: Span) -> Result<Vec<Mapping>, VmError> {
        self.open(vm)?.place(at)?;
        Ok(self.find_range(vm, at, usize::MAX))
    }

    fn validate(&self, vm: VmId) -> Result<Needs, VmError> {
        let members = &self.open(vm)?.members;
        let mut needs = Needs {
            evicted: members.evicted.iter().copied().collect(),
            external: members.external.iter().copied().collect(),
            ..Needs::default()
        };
        for (_, bo) in members.iter() {
            if !bo.external {
                needs.private.push(bo.buffer);
            }
            needs.tables.extend(bo.table);
        }
        Ok(needs)
    }
}
