//! The vm-bos of an address space.

use crate::tree::NONE;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use gpumm_contract::BufferId;
use gpumm_contract::paged::Paged;
use gpumm_contract::vm::{VmBo, VmError};

/// The vm-bos, by a small number of their own, so that a mapping refers to one with 32 bits.
///
/// Invariants: `numbers` has exactly the numbers of `all` that are not in `spare`; `evicted` and
/// `external` have exactly the buffers whose vm-bo says so.
#[derive(Clone, Debug, Default)]
pub(crate) struct Members {
    all: Vec<VmBo>,
    spare: Vec<u32>,
    numbers: Paged<u32>,
    pub(crate) evicted: BTreeSet<BufferId>,
    pub(crate) external: BTreeSet<BufferId>,
}

impl Members {
    pub(crate) fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    /// The number of a buffer's vm-bo.
    #[inline]
    pub(crate) fn number(&self, buffer: BufferId) -> Result<u32, VmError> {
        let number = self.numbers.get(buffer.0).copied();
        number.ok_or(VmError::UnknownBuffer)
    }

    /// The number of a mapping's vm-bo.
    #[inline]
    pub(crate) fn number_of(&self, buffer: Option<BufferId>) -> Result<u32, VmError> {
        match buffer {
            Some(buffer) => self.number(buffer),
            None => Ok(NONE),
        }
    }

    /// A vm-bo; `None` for the number of sparse mappings.
    #[inline]
    pub(crate) fn get(&self, number: u32) -> Option<&VmBo> {
        self.all.get(number as usize)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, number: u32) -> Option<&mut VmBo> {
        self.all.get_mut(number as usize)
    }

    /// A new vm-bo, which its caller is about to hold; its number.
    pub(crate) fn begin(&mut self, buffer: BufferId) -> u32 {
        let new = VmBo {
            buffer,
            external: false,
            evicted: false,
            table: None,
            held: 0,
            mappings: 0,
        };
        let number = match self.spare.pop() {
            Some(number) => {
                self.all[number as usize] = new;
                number
            }
            None => {
                self.all.push(new);
                self.all.len() as u32 - 1
            }
        };
        self.numbers.insert(buffer.0, number);
        number
    }

    /// Ends a vm-bo if nothing keeps it; its buffer, if it has ended.
    pub(crate) fn end(&mut self, number: u32) -> Option<BufferId> {
        let bo = *self.get(number)?;
        if bo.held != 0 || bo.mappings != 0 || self.numbers.get(bo.buffer.0) != Some(&number) {
            return None;
        }
        self.numbers.remove(bo.buffer.0);
        self.spare.push(number);
        self.evicted.remove(&bo.buffer);
        self.external.remove(&bo.buffer);
        Some(bo.buffer)
    }

    /// The numbers, by buffer.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &VmBo)> {
        let numbers = self.numbers.iter();
        numbers.filter_map(|(_, &number)| Some((number, self.get(number)?)))
    }

    pub(crate) fn validate(&self) -> Result<(), &'static str> {
        if self.numbers.len() + self.spare.len() != self.all.len() {
            return Err("a vm-bo is lost");
        }
        for (_, bo) in self.iter() {
            if bo.held == 0 && bo.mappings == 0 {
                return Err("a vm-bo lives without need");
            }
            if self.evicted.contains(&bo.buffer) != bo.evicted
                || self.external.contains(&bo.buffer) != bo.external
            {
                return Err("a vm-bo is in the wrong lists");
            }
        }
        let known = |buffer: &BufferId| self.number(*buffer).is_ok();
        let listed = self.evicted.iter().chain(&self.external);
        match listed.into_iter().all(known) {
            true => Ok(()),
            false => Err("a list names a buffer that is no member"),
        }
    }
}
