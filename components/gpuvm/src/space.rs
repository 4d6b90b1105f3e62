//! One address space.

use crate::members::Members;
use crate::tree::{Entry, NONE, Tree};
use alloc::vec::Vec;
use gpumm_contract::BufferId;
use gpumm_contract::vm::{MAX_MAPPINGS, Mapping, Op, PAGE, Span, Steps, Unmap, VmConfig, VmError};

/// Bytes of a page count.
pub(crate) const fn bytes(pages: u64) -> u64 {
    pages * PAGE
}

/// The pages of a span.
///
/// Errors: [`VmError::Empty`], [`VmError::Misaligned`], [`VmError::Range`] (its end does not fit in
/// 64 bits).
#[inline]
pub(crate) fn pages(at: Span) -> Result<(u64, u64), VmError> {
    if at.bytes == 0 {
        return Err(VmError::Empty);
    }
    if !(at.start | at.bytes).is_multiple_of(PAGE) {
        return Err(VmError::Misaligned);
    }
    let end = at.end().ok_or(VmError::Range)?;
    Ok((at.start / PAGE, end / PAGE))
}

/// An address space.
///
/// Units: pages.
#[derive(Clone, Debug)]
pub(crate) struct Space {
    start: u64,
    end: u64,
    kernel_start: u64,
    kernel_end: u64,
    pub(crate) mappings: u32,
    pub(crate) mappings_per_buffer: u32,
    pub(crate) closed: bool,
    pub(crate) tree: Tree,
    pub(crate) members: Members,
    /// vm-bos that the call in progress has left without holders and mappings; perhaps they have
    /// some again by its end.
    pub(crate) idle: Vec<u32>,
}

impl Space {
    pub(crate) fn new(config: &VmConfig) -> Result<Self, VmError> {
        let (start, end) = pages(config.range)?;
        let (kernel_start, kernel_end) = match config.kernel.bytes {
            0 => (end, end),
            _ => pages(config.kernel)?,
        };
        if kernel_start < start || end < kernel_end {
            return Err(VmError::Range);
        }
        let limit = |limit: u32| (1..=MAX_MAPPINGS).contains(&limit);
        if !limit(config.mappings) || !limit(config.mappings_per_buffer) {
            return Err(VmError::Limits);
        }
        Ok(Space {
            start,
            end,
            kernel_start,
            kernel_end,
            mappings: config.mappings,
            mappings_per_buffer: config.mappings_per_buffer,
            closed: false,
            tree: Tree::default(),
            members: Members::default(),
            idle: Vec::new(),
        })
    }

    /// The pages of a span that may be mapped.
    #[inline]
    pub(crate) fn place(&self, at: Span) -> Result<(u64, u64), VmError> {
        let (start, end) = pages(at)?;
        if start < self.start || self.end < end {
            return Err(VmError::Range);
        }
        if start < self.kernel_end && self.kernel_start < end {
            return Err(VmError::KernelArea);
        }
        Ok((start, end))
    }

    /// A mapping as the tree keeps it.
    #[inline]
    pub(crate) fn entry(&self, mapping: &Mapping) -> Result<Entry, VmError> {
        let (start, end) = self.place(mapping.at)?;
        if !mapping.offset.is_multiple_of(PAGE) {
            return Err(VmError::Misaligned);
        }
        let shown = mapping.offset.checked_add(mapping.at.bytes);
        shown.ok_or(VmError::Range)?;
        Ok(Entry {
            start,
            end,
            offset: mapping.offset / PAGE,
            vm_bo: self.members.number_of(mapping.buffer)?,
            attributes: mapping.attributes,
        })
    }

    /// A mapping as others know it.
    pub(crate) fn mapping(&self, entry: &Entry) -> Mapping {
        mapping(&self.members, entry)
    }

    /// The mappings of a vm-bo, by address.
    pub(crate) fn mappings_of(&self, vm_bo: u32) -> Vec<Entry> {
        let mut all: Vec<Entry> = self.tree.of(vm_bo).collect();
        all.sort_unstable_by_key(|entry| entry.start);
        all
    }

    /// Ends mappings that are there, exactly, in their order.
    pub(crate) fn end_all(&mut self, entries: &[Entry], steps: &mut Vec<Op>) {
        for entry in entries {
            steps.push(Op::Unmap(Unmap {
                mapping: self.mapping(entry),
                keep: false,
            }));
            self.tree.replace(entry.start, entry.end, None, |_| ());
            if let Some(bo) = self.members.get_mut(entry.vm_bo) {
                bo.mappings -= 1;
                if bo.mappings == 0 {
                    self.idle.push(entry.vm_bo);
                }
            }
        }
    }

    /// Ends the vm-bos that nothing keeps any more; those that have ended, by buffer.
    pub(crate) fn end_idle(&mut self, steps: &mut impl Steps) -> Vec<BufferId> {
        if self.idle.is_empty() {
            return Vec::new();
        }
        let idle = core::mem::take(&mut self.idle);
        let ended = idle.iter().filter_map(|&number| self.members.end(number));
        let mut ended: Vec<BufferId> = ended.collect();
        ended.sort_unstable();
        ended.iter().for_each(|&b| steps.push(Op::Ended(b)));
        self.idle = idle;
        self.idle.clear();
        ended
    }

    pub(crate) fn validate(&self) -> Result<(), &'static str> {
        let entries = self.tree.validate()?;
        self.members.validate()?;
        if !self.idle.is_empty() || (self.closed && !entries.is_empty()) {
            return Err("a call has left something undone");
        }
        let inside = |e: &Entry| {
            let kernel = e.start < self.kernel_end && self.kernel_start < e.end;
            self.start <= e.start && e.start < e.end && e.end <= self.end && !kernel
        };
        if !entries.iter().all(inside) || entries.len() > self.mappings as usize {
            return Err("a mapping is out of bounds");
        }
        let mut owned = 0;
        for (number, bo) in self.members.iter() {
            let count = self.tree.of(number).count();
            owned += count;
            if count != bo.mappings as usize || bo.mappings > self.mappings_per_buffer {
                return Err("a vm-bo's count is wrong");
            }
        }
        match owned == entries.iter().filter(|e| e.vm_bo != NONE).count() {
            true => Ok(()),
            false => Err("a mapping's vm-bo is unknown"),
        }
    }
}

/// A mapping as others know it.
#[inline]
pub(crate) fn mapping(members: &Members, entry: &Entry) -> Mapping {
    Mapping {
        at: Span {
            start: bytes(entry.start),
            bytes: bytes(entry.end - entry.start),
        },
        buffer: members.get(entry.vm_bo).map(|bo| bo.buffer),
        offset: bytes(entry.offset),
        attributes: entry.attributes,
    }
}
