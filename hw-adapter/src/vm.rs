//! Address spaces of a device: what page tables say, and jobs on virtual addresses.

use std::fmt;
use std::sync::Arc;

use crate::command::{Check, MemorySpace, Segment};
use crate::pattern::PatternKey;
use crate::shader::ShaderCall;

/// What addresses, lengths and offsets of page table entries are multiples of, in bytes.
pub const PAGE_BYTES: u64 = 4096;

/// The bits of a virtual address: none lies at or above `1 << VM_ADDRESS_BITS`.
pub const VM_ADDRESS_BITS: u32 = 48;

/// Names an address space of one device; whoever creates it chooses the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VmId(pub u64);

impl fmt::Display for VmId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "vm {}", self.0)
    }
}

/// What a job did with an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// It read.
    Read,
    /// It wrote; also what reads first and then writes in place.
    Write,
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Access::Read => "read",
            Access::Write => "write",
        })
    }
}

/// Why an address could not be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VmFaultReason {
    /// The page table says nothing there.
    Unmapped,
    /// The page may be read only.
    ReadOnly,
    /// It lies outside of the address space, or of the array that an index goes into.
    Range,
}

impl fmt::Display for VmFaultReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            VmFaultReason::Unmapped => "nothing is mapped there",
            VmFaultReason::ReadOnly => "the page may not be written",
            VmFaultReason::Range => "the address is out of range",
        })
    }
}

/// New page table entries for a range of addresses; what was there before is forgotten.
///
/// # Units
/// Multiples of [`PAGE_BYTES`].
#[derive(Clone, Debug)]
pub struct PteWrite {
    /// Where the range begins.
    pub address: u64,
    /// Its length; 0 changes nothing.
    pub bytes: u64,
    /// What stands behind it from now on.
    pub backing: Backing,
}

/// What stands behind a range of addresses.
#[derive(Clone, Debug)]
pub enum Backing {
    /// Nothing: jobs fault.
    Invalid,
    /// Zeroes to read; what is written is dropped.
    Sparse,
    /// Memory.
    Memory {
        /// A list in logical order.
        segments: Arc<[Segment]>,
        /// Where in the list's logical order the range begins; as much of the list follows as
        /// the range is long. Pieces of it are whole pages of their memory.
        offset: u64,
        /// Whether jobs may write.
        write: bool,
    },
}

/// A job: a kernel on addresses of one address space.
#[derive(Clone, Debug, PartialEq)]
pub struct Launch {
    /// The address space.
    pub vm: VmId,
    /// Names the job in faults; the device gives it no meaning.
    pub job: u64,
    /// What to do.
    pub kernel: VmKernel,
}

/// A kernel on virtual addresses.
///
/// # Units
/// Addresses need no alignment. Elements and words are little-endian.
///
/// # Bounds
/// A built-in kernel works in ascending order, in pieces (1 MiB in `sim`, 16 MiB on a GPU): each
/// is translated and registered when it begins. What a copy reads and writes may be the same
/// bytes; then 1 MiB is read before it is written.
#[derive(Clone, Debug, PartialEq)]
pub enum VmKernel {
    /// Copies.
    Copy {
        /// Read.
        src: u64,
        /// Written.
        dst: u64,
        /// How much.
        bytes: u64,
    },
    /// Repeats 8 bytes, beginning with the first byte written.
    Fill {
        /// Written.
        dst: u64,
        /// How much.
        bytes: u64,
        /// What.
        pattern: u64,
    },
    /// Adds up 64-bit words, modulo 2^64; zeroes follow the last byte. The sum is the outcome,
    /// and written.
    Checksum {
        /// Read.
        src: u64,
        /// How much.
        bytes: u64,
        /// Where the 8 bytes of the sum go.
        dst: u64,
    },
    /// `y[i] += a * x[i]`, in `f32`.
    Saxpy {
        /// The factor.
        a: f32,
        /// Read.
        x: u64,
        /// Read and written.
        y: u64,
        /// How many elements.
        count: u64,
    },
    /// `dst[i] = src[indices[i]]`, in `u32`. An index outside of the array is a fault at the
    /// address that it would mean.
    Gather {
        /// The array; read where indices say.
        src: u64,
        /// How many elements it has.
        src_count: u64,
        /// Read.
        indices: u64,
        /// Written.
        dst: u64,
        /// How many elements to gather.
        count: u64,
    },
    /// Writes the content words of a buffer's generation.
    WritePattern {
        /// Written.
        dst: u64,
        /// How much.
        bytes: u64,
        /// Whose words.
        key: PatternKey,
    },
    /// Compares with the content words of a buffer's generation.
    CheckPattern {
        /// Read.
        src: u64,
        /// How much.
        bytes: u64,
        /// Whose words.
        key: PatternKey,
    },
    /// Checks the old generation and writes the new one in one pass.
    Rewrite {
        /// Read and written.
        at: u64,
        /// How much.
        bytes: u64,
        /// Whose words are expected.
        old: PatternKey,
        /// Whose words are written.
        new: PatternKey,
        /// How much of the old content is compared.
        check: Check,
    },
    /// Runs a shader of a user, in no order and all at once.
    Shader(Arc<ShaderCall>),
}

/// Addresses that a kernel may touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct VmRange {
    /// Where they begin.
    pub address: u64,
    /// How many bytes, saturated.
    pub bytes: u64,
    /// Whether it may write them; otherwise it reads only.
    pub write: bool,
}

impl VmKernel {
    /// The name of the kernel, in one word.
    pub fn name(&self) -> &'static str {
        match self {
            VmKernel::Copy { .. } => "copy",
            VmKernel::Fill { .. } => "fill",
            VmKernel::Checksum { .. } => "checksum",
            VmKernel::Saxpy { .. } => "saxpy",
            VmKernel::Gather { .. } => "gather",
            VmKernel::WritePattern { .. } => "write-pattern",
            VmKernel::CheckPattern { .. } => "check-pattern",
            VmKernel::Rewrite { .. } => "rewrite",
            VmKernel::Shader(_) => "shader",
        }
    }

    /// Every range that the kernel may touch, empty ones left out: what it reads first.
    pub fn ranges(&self) -> impl Iterator<Item = VmRange> + use<'_> {
        let range = |address, bytes, write| VmRange {
            address,
            bytes,
            write,
        };
        let none = range(0, 0, false);
        let ranges = match *self {
            VmKernel::Copy { src, dst, bytes } => {
                [range(src, bytes, false), range(dst, bytes, true), none]
            }
            VmKernel::Fill { dst, bytes, .. } | VmKernel::WritePattern { dst, bytes, .. } => {
                [range(dst, bytes, true), none, none]
            }
            VmKernel::Checksum { src, bytes, dst } => {
                [range(src, bytes, false), range(dst, 8, true), none]
            }
            VmKernel::Saxpy { x, y, count, .. } => {
                let bytes = count.saturating_mul(4);
                [range(x, bytes, false), range(y, bytes, true), none]
            }
            VmKernel::Gather {
                src,
                src_count,
                indices,
                dst,
                count,
            } => {
                let bytes = count.saturating_mul(4);
                [
                    range(indices, bytes, false),
                    range(src, src_count.saturating_mul(4), false),
                    range(dst, bytes, true),
                ]
            }
            VmKernel::CheckPattern { src, bytes, .. } => [range(src, bytes, false), none, none],
            VmKernel::Rewrite { at, bytes, .. } => [range(at, bytes, true), none, none],
            VmKernel::Shader(_) => [none; 3],
        };
        let more = match self {
            VmKernel::Shader(call) => call.ranges.as_slice(),
            _ => &[],
        };
        let ranges = ranges.into_iter().chain(more.iter().copied());
        ranges.filter(|range| range.bytes > 0)
    }
}

/// What an address space holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VmReport {
    /// Where its addresses begin.
    pub start: u64,
    /// How many they are.
    pub bytes: u64,
    /// Pages of 4 KiB that are mapped or sparse.
    pub ptes_4k: u64,
    /// Pages of 64 KiB that are mapped or sparse.
    pub ptes_64k: u64,
    /// Pages of 2 MiB that are mapped or sparse.
    pub ptes_2m: u64,
    /// Memory of its page tables in bytes, used or reserved.
    pub table_bytes: u64,
}

/// A page of a page table, for whoever captures an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PteEntry {
    /// Where the page begins.
    pub address: u64,
    /// Its length in bytes: 4 KiB, 64 KiB or 2 MiB.
    pub bytes: u64,
    /// What stands behind it.
    pub target: PteTarget,
}

/// What stands behind a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PteTarget {
    /// Zeroes to read; what is written is dropped.
    Sparse,
    /// Memory.
    Memory {
        /// The memory.
        memory: MemorySpace,
        /// Where the page begins in it.
        offset: u64,
        /// Whether jobs may write.
        write: bool,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_named_once_and_saturate() {
        let gather = VmKernel::Gather {
            src: 1,
            src_count: u64::MAX,
            indices: 2,
            dst: 3,
            count: 5,
        };
        let range = |address, bytes, write| VmRange {
            address,
            bytes,
            write,
        };
        let expected = [
            range(2, 20, false),
            range(1, u64::MAX, false),
            range(3, 20, true),
        ];
        assert_eq!(gather.ranges().collect::<Vec<_>>(), expected);
        let checksum = VmKernel::Checksum {
            src: 8,
            bytes: 0,
            dst: 16,
        };
        assert_eq!(checksum.ranges().collect::<Vec<_>>(), [range(16, 8, true)]);
        assert_eq!(
            (VmId(3).to_string(), checksum.name()),
            ("vm 3".into(), "checksum")
        );
    }
}
