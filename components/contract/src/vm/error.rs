//! Why an address space refuses.

use crate::wire::WireError;
use core::fmt;

/// Why a request on an address space is refused; then nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VmError {
    /// There is no such address space: never made, or ended.
    UnknownVm,
    /// The number is in use.
    VmExists,
    /// The address space is closed: what is left only waits for its vm-bos to be put.
    Closed,
    /// The range has no bytes.
    Empty,
    /// An address, a length or an offset is no multiple of the page.
    Misaligned,
    /// The range, or the part of the buffer, does not fit in 64 bits, or the range leaves the
    /// address space.
    Range,
    /// The range touches the kernel's area.
    KernelArea,
    /// A limit on mappings is 0 or above what any address space may have.
    Limits,
    /// The buffer is no member of the address space: obtain it first.
    UnknownBuffer,
    /// The vm-bo is not held apart from its mappings.
    NotHeld,
    /// More holds of a vm-bo than are counted.
    TooManyHolds,
    /// The address space would have more mappings than its limit; unmap some first.
    TooManyMappings,
    /// The buffer would have more mappings than the limit for one buffer; unmap some first.
    TooManyOfBuffer,
    /// Something is mapped there.
    Overlap,
    /// The packed list cannot be read.
    Wire(WireError),
}

impl VmError {
    /// Those that a plan can tell, by code.
    const CODES: [VmError; 14] = [
        VmError::UnknownVm,
        VmError::VmExists,
        VmError::Closed,
        VmError::Empty,
        VmError::Misaligned,
        VmError::Range,
        VmError::KernelArea,
        VmError::Limits,
        VmError::UnknownBuffer,
        VmError::NotHeld,
        VmError::TooManyHolds,
        VmError::TooManyMappings,
        VmError::TooManyOfBuffer,
        VmError::Overlap,
    ];

    /// The code of an error in a plan; `None` of a list that cannot be read, which is told
    /// otherwise.
    pub(crate) fn code(self) -> Option<u64> {
        let at = Self::CODES.iter().position(|&e| e == self);
        at.map(|at| at as u64)
    }

    /// The error of a code.
    pub(crate) fn from_code(code: u64) -> Option<Self> {
        Self::CODES.get(usize::try_from(code).ok()?).copied()
    }
}

impl fmt::Display for VmError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            VmError::UnknownVm => "there is no such address space",
            VmError::VmExists => "the address space exists",
            VmError::Closed => "the address space is closed",
            VmError::Empty => "the range has no bytes",
            VmError::Misaligned => "an address, a length or an offset is no multiple of the page",
            VmError::Range => "the range does not lie in the address space",
            VmError::KernelArea => "the range touches the kernel's area",
            VmError::Limits => "a limit on mappings is out of bounds",
            VmError::UnknownBuffer => "the buffer is no member of the address space",
            VmError::NotHeld => "the buffer is not held in the address space",
            VmError::TooManyHolds => "the buffer is held too often in the address space",
            VmError::TooManyMappings => "the address space has as many mappings as it may",
            VmError::TooManyOfBuffer => "the buffer has as many mappings as it may",
            VmError::Overlap => "something is mapped there",
            VmError::Wire(why) => return why.fmt(f),
        })
    }
}

impl core::error::Error for VmError {}

impl From<WireError> for VmError {
    fn from(why: WireError) -> Self {
        VmError::Wire(why)
    }
}

/// Which request of a list is refused, and why; then none of the list has had an effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BindError {
    /// The request's number in the list, from 0.
    pub request: u32,
    /// Why.
    pub why: VmError,
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bind request {}: {}", self.request, self.why)
    }
}

impl core::error::Error for BindError {}
