//! What is submitted to an engine.

use std::fmt;
use std::sync::Arc;

use crate::hooks::Hooks;
use crate::outcome::Outcome;
use crate::pattern::PatternKey;
use crate::timeline::Point;
use crate::vm::{Launch, PteWrite, VmId};

/// A memory that a segment can lie in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MemorySpace {
    /// The device's own memory.
    Vram,
    /// The host memory shared by all devices of a runtime.
    System,
}

impl fmt::Display for MemorySpace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            MemorySpace::Vram => "vram",
            MemorySpace::System => "system memory",
        })
    }
}

/// A DMA-addressable piece of a buffer; a list of them is in the buffer's logical order.
///
/// # Bounds
/// Any offset and length are allowed (8-byte aligned ones are fast); 0 bytes stand for
/// nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Segment {
    /// The memory.
    pub memory: MemorySpace,
    /// Where it begins, in bytes.
    pub offset: u64,
    /// Its length in bytes.
    pub bytes: u64,
}

impl Segment {
    /// A piece of the device's own memory.
    pub fn vram(offset: u64, bytes: u64) -> Segment {
        Segment {
            memory: MemorySpace::Vram,
            offset,
            bytes,
        }
    }

    /// A piece of system memory.
    pub fn system(offset: u64, bytes: u64) -> Segment {
        Segment {
            memory: MemorySpace::System,
            offset,
            bytes,
        }
    }
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Segment {
            memory,
            offset,
            bytes,
        } = self;
        write!(f, "{bytes} bytes at {offset:#x} of {memory}")
    }
}

/// One entry of an engine's queue.
#[derive(Clone, Debug, Default)]
pub struct Submission {
    /// Points that must be reached before the command begins.
    pub waits: Vec<Point>,
    /// What to do.
    pub command: Command,
    /// The value that the engine's timeline reaches when this and all earlier submissions of
    /// the engine have finished.
    pub signal: Option<u64>,
    /// Where to tell how it went; filled before the point is reached.
    pub outcome: Option<Arc<Outcome>>,
    /// Who is called before it begins, when it fails and when it ends.
    pub hooks: Option<Arc<dyn Hooks>>,
}

impl Submission {
    /// A submission that waits for nothing and tells nobody.
    pub fn new(command: Command) -> Submission {
        Submission {
            command,
            ..Submission::default()
        }
    }

    /// Adds a point to wait for.
    pub fn after(mut self, point: Point) -> Submission {
        self.waits.push(point);
        self
    }

    /// Sets the value to signal.
    pub fn signal(mut self, value: u64) -> Submission {
        self.signal = Some(value);
        self
    }

    /// Sets where to tell how it went.
    pub fn outcome(mut self, outcome: &Arc<Outcome>) -> Submission {
        self.outcome = Some(Arc::clone(outcome));
        self
    }

    /// Sets who is called before it begins, when it fails and when it ends.
    pub fn hooks(mut self, hooks: &Arc<dyn Hooks>) -> Submission {
        self.hooks = Some(Arc::clone(hooks));
        self
    }
}

/// An operation of an engine.
///
/// # Units
/// Offsets and sizes are bytes of the logical order of a segment list.
#[derive(Clone, Debug, Default)]
pub enum Command {
    /// Does nothing: carries waits and a point.
    #[default]
    Nop,
    /// Copies between two lists, whose cuts need not agree.
    Copy {
        /// Read.
        src: Arc<[Segment]>,
        /// Written.
        dst: Arc<[Segment]>,
        /// Where to begin in `src`.
        src_offset: u64,
        /// Where to begin in `dst`.
        dst_offset: u64,
        /// How much.
        bytes: u64,
    },
    /// Repeats 8 bytes (little-endian), beginning with the first byte written.
    Fill {
        /// Written.
        dst: Arc<[Segment]>,
        /// Where to begin in `dst`.
        offset: u64,
        /// How much.
        bytes: u64,
        /// What.
        pattern: u64,
    },
    /// Runs a built-in kernel.
    Run(Kernel),
    /// Delivers bytes in the outcome.
    Read {
        /// Read.
        src: Arc<[Segment]>,
        /// Where to begin in `src`.
        offset: u64,
        /// How much.
        bytes: u64,
    },
    /// Writes bytes that came with the command.
    Write {
        /// Written.
        dst: Arc<[Segment]>,
        /// Where to begin in `dst`.
        offset: u64,
        /// What.
        data: Arc<[u8]>,
    },
    /// Writes page table entries, in order. Jobs may use what was there before until
    /// [`Command::InvalidateTlb`].
    WritePtes {
        /// The address space.
        vm: VmId,
        /// What.
        writes: Arc<[PteWrite]>,
    },
    /// Forgets the translations that jobs have used. When it has ended, no job uses one that
    /// the page table does not have any more.
    InvalidateTlb {
        /// The address space.
        vm: VmId,
    },
    /// Runs a job on virtual addresses.
    Launch(Launch),
}

/// A built-in kernel; all begin at offset 0 of their list.
#[derive(Clone, Debug)]
pub enum Kernel {
    /// Writes the content words of a buffer's generation.
    WritePattern {
        /// Written.
        dst: Arc<[Segment]>,
        /// How much.
        bytes: u64,
        /// Whose words.
        key: PatternKey,
    },
    /// Compares with the content words of a buffer's generation.
    CheckPattern {
        /// Read.
        src: Arc<[Segment]>,
        /// How much.
        bytes: u64,
        /// Whose words.
        key: PatternKey,
    },
    /// Checks the old generation and writes the new one in one pass.
    Rewrite {
        /// Read and written.
        mem: Arc<[Segment]>,
        /// How much.
        bytes: u64,
        /// Whose words are expected.
        old: PatternKey,
        /// Whose words are written.
        new: PatternKey,
        /// How much of the old content is compared.
        check: Check,
    },
}

/// How much of the old content [`Kernel::Rewrite`] compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// Nothing.
    Off,
    /// Every byte.
    Full,
    /// Block `k` of [`Check::BLOCK`] bytes (of the logical order) when
    /// `(k + phase) % one_in == 0`.
    Sample {
        /// One block in so many; 0 counts as 1.
        one_in: u32,
        /// Shifts the choice, so that passes look at different blocks.
        phase: u32,
    },
}

impl Check {
    /// The unit in which [`Kernel::Rewrite`] works and samples, in bytes.
    pub const BLOCK: u64 = 4096;

    /// Whether the block with this index is compared.
    pub fn covers(self, block: u64) -> bool {
        match self {
            Check::Off => false,
            Check::Full => true,
            Check::Sample { one_in, phase } => {
                (block.wrapping_add(u64::from(phase))).is_multiple_of(u64::from(one_in.max(1)))
            }
        }
    }
}
