//! What an entry of a page table says.

use crate::command::MemorySpace;
use crate::vm::PteTarget;

use super::table::PAGE;

/// The entry says something.
pub(super) const PRESENT: u64 = 1;
const WRITE: u64 = 1 << 1;
const SPARSE: u64 = 1 << 2;
const SYSTEM: u64 = 1 << 3;
/// The entry is one of sixteen that are a page of 64 KiB.
pub(super) const JOINED: u64 = 1 << 4;
/// Where in its memory the page begins.
const OFFSET: u64 = !(PAGE - 1);

/// An entry: the place in a memory, and flags in the bits that a page's place leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pte(pub(super) u64);

impl Pte {
    /// Zeroes to read, nothing to write.
    pub(crate) const SPARSE: Pte = Pte(PRESENT | SPARSE);

    /// A page of a memory; the offset is a multiple of a page.
    pub(crate) fn memory(memory: MemorySpace, offset: u64, write: bool) -> Pte {
        let system = if memory == MemorySpace::System {
            SYSTEM
        } else {
            0
        };
        Pte(offset & OFFSET | PRESENT | system | if write { WRITE } else { 0 })
    }

    pub(crate) fn is_sparse(self) -> bool {
        self.0 & SPARSE != 0
    }

    /// Whether jobs may write; what is sparse drops it.
    pub(crate) fn writable(self) -> bool {
        self.0 & (WRITE | SPARSE) != 0
    }

    /// What the entry of the next page has more.
    pub(super) fn step(self) -> u64 {
        if self.is_sparse() { 0 } else { PAGE }
    }

    /// The entry so many bytes later.
    pub(crate) fn advance(self, bytes: u64) -> Pte {
        match self.is_sparse() {
            true => self,
            false => Pte(self.0.wrapping_add(bytes)),
        }
    }

    /// Whether it can be part of a larger page at this address.
    pub(super) fn continues(self, address: u64, page: u64) -> bool {
        self.is_sparse() || (address ^ self.0 & OFFSET).is_multiple_of(page)
    }

    /// The memory and the place in it; `None` for what is sparse.
    pub(crate) fn place(self) -> Option<(MemorySpace, u64)> {
        let memory = match self.0 & SYSTEM {
            0 => MemorySpace::Vram,
            _ => MemorySpace::System,
        };
        (!self.is_sparse()).then_some((memory, self.0 & OFFSET))
    }

    pub(crate) fn target(self) -> PteTarget {
        match self.place() {
            None => PteTarget::Sparse,
            Some((memory, offset)) => PteTarget::Memory {
                memory,
                offset,
                write: self.writable(),
            },
        }
    }
}
