//! Kernels on the GPU: shaders, and what they are given.
//!
//! A kernel goes over *ranges* of bytes, page by page. Where a page is, a shader finds out in one
//! of three ways ([`Mode`]): the range is contiguous in one chunk and bound directly; its pages
//! are listed; or the shader walks the page table of an address space, of which the GPU has a
//! copy ([`table`]). System memory that a job uses is brought to a staging buffer first, and what
//! it wrote there is brought back.

mod batch;
mod gather;
mod job;
mod lists;
mod piece;
mod pipelines;
mod stage;
mod table;
mod user;

use crate::error::DeviceError;
use crate::shader::ShaderCall;

pub(super) use job::launch;
pub(super) use lists::run;
pub(super) use pipelines::Kernels;
pub(super) use table::Images;
pub(super) use user::Shaders;

/// How a shader finds the place of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Mode {
    /// Every range is contiguous in one chunk.
    Direct,
    /// The pages are listed.
    List,
    /// By the page table.
    Walk,
}

/// A built-in kernel: an entry point of the shaders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Entry {
    Fill,
    WriteWords,
    CheckWords,
    SumWords,
    Copy,
    Saxpy,
    GatherCheck,
    Gather,
}

impl Entry {
    /// The name in the shaders.
    fn name(self) -> &'static str {
        match self {
            Entry::Fill => "fill",
            Entry::WriteWords => "write_words",
            Entry::CheckWords => "check_words",
            Entry::SumWords => "sum_words",
            Entry::Copy => "copy",
            Entry::Saxpy => "saxpy",
            Entry::GatherCheck => "gather_check",
            Entry::Gather => "gather",
        }
    }
}

/// Stands for nothing in what shaders are given.
pub(super) const NONE: u32 = u32::MAX;

/// Words of a page.
pub(super) const PAGE_WORDS: u32 = 1024;

/// How many ranges a kernel has at most.
const RANGES: usize = ShaderCall::RANGES;

/// What a shader is told of a dispatch; see `GmmHeader` in `prelude.wgsl`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header(pub(super) [u32; Header::WORDS]);

impl Header {
    pub(super) const WORDS: usize = 64;
    pub(super) const BYTES: u64 = 4 * Header::WORDS as u64;

    /// Bytes to work on, which begin so many bytes into a block of the logical order.
    pub(super) fn new(bytes: u64, into_block: u64) -> Header {
        let mut words = [0; Header::WORDS];
        words[4] = bytes as u32;
        words[5] = into_block as u32;
        // Blocks are compared one by one, if nothing else is said.
        words[12] = 1;
        for range in 0..RANGES {
            words[16 + 8 * range + 6] = NONE;
        }
        Header(words)
    }

    /// Tells the kernel something besides.
    pub(super) fn told(mut self, told: [u32; 8]) -> Header {
        self.0[8..16].copy_from_slice(&told);
        self
    }

    /// Sets a range: where it is, how long, and whether it is written.
    pub(super) fn range(&mut self, range: usize, address: u64, bytes: u64, write: bool) {
        let words = &mut self.0[16 + 8 * range..][..4];
        let address = halves(address);
        words.copy_from_slice(&[address[0], address[1], bytes as u32, u32::from(write)]);
        self.0[23] = self.0[23].max(range as u32 + 1);
    }

    /// Binds a range directly: its first page is so many words into a slot.
    pub(super) fn bind(&mut self, range: usize, slot: u32, word: u32) {
        self.0[16 + 8 * range + 4] = slot;
        self.0[16 + 8 * range + 5] = word;
    }

    /// Has the shader look at an offset of a range.
    pub(super) fn look(&mut self, range: usize, offset: u64) {
        self.0[16 + 8 * range + 6] = offset as u32;
    }
}

/// The halves of a number, the lower one first.
pub(super) fn halves(number: u64) -> [u32; 2] {
    [number as u32, (number >> 32) as u32]
}

/// Refuses what a limit of the GPU does not hold.
pub(super) fn within(limit: &'static str, has: u64, needed: u64) -> Result<(), DeviceError> {
    match needed <= has {
        true => Ok(()),
        false => Err(DeviceError::LimitTooSmall { limit, has, needed }),
    }
}
