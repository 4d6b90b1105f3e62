//! GPU virtual memory: address spaces, their mappings, and what binding makes of them.
//!
//! [`VirtualMemory`] is what a keeper of address spaces answers; [`packed`] is how the lists of
//! its hot call travel.
//!
//! Units: addresses, lengths and offsets are bytes, and multiples of [`PAGE`].

mod error;
mod op;
pub mod packed;

pub use error::{BindError, VmError};
pub use op::{Bind, Op, Remap, Steps, Unmap};

use crate::id::{BufferId, TableId};
use alloc::vec::Vec;
use core::fmt;

/// The smallest page of a device's page tables, in bytes.
pub const PAGE: u64 = 4096;

/// Attribute bit of a mapping: jobs may write there.
pub const WRITE: u8 = 1;

/// The most mappings that any address space may have.
pub const MAX_MAPPINGS: u32 = 1 << 28;

/// An address space of a device; never used twice in the life of a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VmId(pub u64);

impl fmt::Display for VmId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A range of virtual addresses.
///
/// Units: bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// The first address.
    pub start: u64,
    /// How many bytes.
    pub bytes: u64,
}

impl Span {
    /// The first address behind it, or `None` where the sum does not fit in 64 bits.
    #[inline]
    pub fn end(self) -> Option<u64> {
        self.start.checked_add(self.bytes)
    }

    /// The pages that it touches, as far as they end within 64 bits.
    pub fn whole_pages(self) -> Span {
        let start = self.start / PAGE * PAGE;
        let end = self.start.saturating_add(self.bytes);
        let up = end.checked_next_multiple_of(PAGE);
        let end = up.unwrap_or(end / PAGE * PAGE);
        Span {
            start,
            bytes: end - start,
        }
    }
}

/// A range of addresses that shows part of a buffer, or nothing.
///
/// Units: bytes. Bounds: as a request of [`Bind::Map`] it is judged; in an answer it is not empty,
/// in pages, and neither its end nor its part of the buffer exceeds 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// The addresses.
    pub at: Span,
    /// The buffer; `None` = sparse: reads give zero, writes are dropped.
    pub buffer: Option<BufferId>,
    /// The byte of the buffer that `at.start` shows; without meaning, but kept, when sparse.
    pub offset: u64,
    /// Access rights and caching in the device's own code: only ever compared.
    pub attributes: u8,
}

impl Mapping {
    /// The part of the mapping from one address to another.
    ///
    /// Bounds: `at.start <= start < end <=` its end.
    #[inline]
    pub fn part(&self, start: u64, end: u64) -> Mapping {
        let at = Span {
            start,
            bytes: end - start,
        };
        let offset = self.offset + (start - self.at.start);
        Mapping {
            at,
            offset,
            ..*self
        }
    }
}

/// What an address space is created with.
///
/// Units: bytes. Bounds: `range` and `kernel` end within 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VmConfig {
    /// The addresses that it has; not empty.
    pub range: Span,
    /// A part of it that is the kernel's: nothing is ever mapped there; empty = there is none.
    pub kernel: Span,
    /// The most mappings; 1 to [`MAX_MAPPINGS`].
    pub mappings: u32,
    /// The most mappings of one buffer; 1 to [`MAX_MAPPINGS`].
    pub mappings_per_buffer: u32,
}

impl VmConfig {
    /// The config as words of a request or a fact.
    pub(crate) fn words(&self) -> [u64; 6] {
        let (range, kernel) = (self.range, self.kernel);
        let limits = [self.mappings.into(), self.mappings_per_buffer.into()];
        let [mappings, per_buffer] = limits;
        [
            range.start,
            range.bytes,
            kernel.start,
            kernel.bytes,
            mappings,
            per_buffer,
        ]
    }

    /// The config of words; `None` when a limit is no 32-bit number.
    pub(crate) fn from_words(words: [u64; 6]) -> Option<Self> {
        let [start, bytes, kernel, kernel_bytes, mappings, per_buffer] = words;
        Some(VmConfig {
            range: Span { start, bytes },
            kernel: Span {
                start: kernel,
                bytes: kernel_bytes,
            },
            mappings: mappings.try_into().ok()?,
            mappings_per_buffer: per_buffer.try_into().ok()?,
        })
    }
}

/// A vm-bo as it stands: a buffer as a member of an address space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VmBo {
    /// The buffer.
    pub buffer: BufferId,
    /// Whether others use it too, so that jobs must name it beside the address space.
    pub external: bool,
    /// Whether it must be brought back before a job runs.
    pub evicted: bool,
    /// The table of the memory that the page tables show; `None` while they show none.
    pub table: Option<TableId>,
    /// How often it is held apart from its mappings.
    pub held: u32,
    /// How many mappings it has.
    pub mappings: u32,
}

/// What a job on an address space needs.
///
/// Invariants: every list is by buffer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Buffers to bring back first; while there are any, the job must not run.
    pub evicted: Vec<BufferId>,
    /// Buffers that others use too: the job's point goes to each of them.
    pub external: Vec<BufferId>,
    /// Buffers that only this address space uses: the job's point goes to them together.
    pub private: Vec<BufferId>,
    /// The tables that the job's memory is described by; it holds them until its point.
    pub tables: Vec<TableId>,
}

/// What a [`AddressSpaces::put`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The vm-bo: it had neither holders nor mappings any more.
    pub vm_bo: bool,
    /// The address space: it was closed, and this was its last vm-bo.
    pub vm: bool,
}

/// Keeps address spaces.
///
/// A *vm-bo* is the pair of an address space and a buffer. It lives while it is held or has
/// mappings, and alone keeps the address space: mappings belong to the address space and end with
/// it, so nothing refers in a circle. A buffer may be a member without being mapped.
///
/// Invariants: mappings of an address space are disjoint, inside its range and outside its kernel
/// area; one vm-bo per buffer and address space; a refused call changes nothing; equal calls give
/// equal answers, whatever way the same state was reached.
pub trait AddressSpaces {
    /// Forgets every address space.
    fn clear(&mut self);

    /// Makes an address space.
    ///
    /// Errors: [`VmError::VmExists`]; [`VmError::Empty`], [`VmError::Misaligned`],
    /// [`VmError::Range`] of its range or kernel area; [`VmError::Limits`].
    fn create(&mut self, vm: VmId, config: VmConfig) -> Result<(), VmError>;

    /// Ends all mappings of an address space, by address, and takes no new ones; whether it has
    /// ended, because no vm-bo was left. Otherwise it ends with the last [`AddressSpaces::put`].
    ///
    /// Errors: [`VmError::UnknownVm`], [`VmError::Closed`].
    fn close(&mut self, vm: VmId, steps: &mut Vec<Op>) -> Result<bool, VmError>;

    /// Makes a buffer a member of an address space, or holds it once more; how often it is held
    /// then. Once external, it stays so.
    ///
    /// Errors: [`VmError::UnknownVm`], [`VmError::Closed`], [`VmError::TooManyHolds`].
    fn obtain(&mut self, vm: VmId, buffer: BufferId, external: bool) -> Result<u32, VmError>;

    /// Ends one hold.
    ///
    /// Errors: [`VmError::UnknownVm`], [`VmError::UnknownBuffer`], [`VmError::NotHeld`].
    fn put(&mut self, vm: VmId, buffer: BufferId) -> Result<Ended, VmError>;

    /// [`VirtualMemory::bind`] with a packed list, and its answer as one, in the memory of `reuse`.
    ///
    /// Errors: as there; [`VmError::Wire`] where the list cannot be read.
    fn bind_packed(
        &mut self,
        vm: VmId,
        binds: &[u64],
        reuse: Vec<u64>,
    ) -> Result<Vec<u64>, BindError>;

    /// Files a mapping that another keeper had, without an answer to carry out.
    ///
    /// Errors: those of a map; [`VmError::Overlap`].
    fn adopt(&mut self, vm: VmId, mapping: Mapping) -> Result<(), VmError>;

    /// Ends every mapping of a buffer, by address, and then perhaps its vm-bo; appends what is to
    /// be done.
    ///
    /// Errors: [`VmError::UnknownVm`], [`VmError::UnknownBuffer`].
    /// Complexity: O(k log n) for k mappings.
    fn unmap_buffer(
        &mut self,
        vm: VmId,
        buffer: BufferId,
        steps: &mut Vec<Op>,
    ) -> Result<(), VmError>;

    /// The mappings of a buffer, by address.
    ///
    /// Errors: [`VmError::UnknownVm`], [`VmError::UnknownBuffer`].
    /// Complexity: O(k log k) for k mappings.
    fn mappings_of(&self, vm: VmId, buffer: BufferId) -> Result<Vec<Mapping>, VmError>;

    /// The mappings that overlap, by address, at most so many.
    fn find_range(&self, vm: VmId, at: Span, limit: usize) -> Vec<Mapping>;

    /// Marks a buffer as evicted: jobs need it brought back. Marking it twice is as once.
    ///
    /// Errors: [`VmError::UnknownVm`], [`VmError::UnknownBuffer`].
    fn evict(&mut self, vm: VmId, buffer: BufferId) -> Result<(), VmError>;

    /// Takes note of the memory that the page tables show of a buffer, which is evicted no more.
    ///
    /// Errors: [`VmError::UnknownVm`], [`VmError::UnknownBuffer`].
    fn show(&mut self, vm: VmId, buffer: BufferId, table: TableId) -> Result<(), VmError>;

    /// The vm-bos of an address space, by buffer; closed ones too.
    ///
    /// Errors: [`VmError::UnknownVm`].
    fn vm_bos(&self, vm: VmId) -> Result<Vec<VmBo>, VmError>;

    /// The address spaces that a buffer belongs to, ascending: who must hear of its eviction.
    fn vms_of(&self, buffer: BufferId) -> Vec<VmId>;
}

/// What else a keeper of address spaces is asked, by people, tests and other managers.
pub trait VirtualMemory: AddressSpaces {
    /// Maps and unmaps, in the order of the list, all or nothing; appends what is to be done.
    ///
    /// Shape of the answer: for each request, by address, an unmap or a remap of every mapping it
    /// overlaps, then its own map. At the end an [`Op::Ended`] for each vm-bo that has ended with
    /// its last mapping, by buffer.
    /// Errors: the first request that is refused, and why; nothing is appended.
    /// Complexity: O(log n + overlapped mappings) per request.
    fn bind(&mut self, vm: VmId, binds: &[Bind], steps: &mut Vec<Op>) -> Result<(), BindError>;

    /// The mapping of exactly these addresses.
    fn find(&self, vm: VmId, at: Span) -> Option<Mapping>;

    /// The lowest mapping that overlaps.
    fn find_first(&self, vm: VmId, at: Span) -> Option<Mapping>;

    /// The mapping that ends where `address` is.
    fn find_previous(&self, vm: VmId, address: u64) -> Option<Mapping>;

    /// The mapping that begins where `address` is.
    fn find_next(&self, vm: VmId, address: u64) -> Option<Mapping>;

    /// What a prefetch of these addresses means: each mapping that overlaps, whole, by address;
    /// sparse ones too.
    ///
    /// Errors: [`VmError::UnknownVm`], [`VmError::Closed`], and those of an unmap's range.
    fn prefetch(&self, vm: VmId, at: Span) -> Result<Vec<Mapping>, VmError>;

    /// Everything a job needs.
    ///
    /// Errors: [`VmError::UnknownVm`], [`VmError::Closed`].
    /// Complexity: O(vm-bos).
    fn validate(&self, vm: VmId) -> Result<Needs, VmError>;
}
