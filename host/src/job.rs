//! Jobs of clients: what a device does with buffers, and how a request log remembers it.

use gpumm_hw as hw;
use std::sync::Arc;

pub use gpumm_hw::{Check, PatternKey};

/// What a device is to do with the buffers of an access.
///
/// The mechanism sees only a number; the host keeps the job and hands it to the device together
/// with the segments that the plan has resolved.
#[derive(Clone, Debug)]
pub enum Job {
    /// Nothing: the access only makes buffers resident.
    Nothing,
    /// Every 64-bit word of the first buffer becomes the pattern.
    Fill {
        /// The pattern, little-endian.
        pattern: u64,
    },
    /// The first buffer's words become a mix of key and offset.
    WritePattern(PatternKey),
    /// The first buffer's words are compared with the mix.
    CheckPattern(PatternKey),
    /// The first buffer's words are compared with an old mix and replaced by a new one.
    Rewrite {
        /// What must be there.
        old: PatternKey,
        /// What is there afterwards.
        new: PatternKey,
        /// How much of it is compared.
        check: Check,
    },
    /// Bytes of the first buffer are copied to the second.
    Copy {
        /// First byte in the first buffer.
        from: u64,
        /// First byte in the second buffer.
        to: u64,
        /// How many bytes.
        bytes: u64,
    },
    /// Bytes of the first buffer are brought to the client.
    Read {
        /// First byte.
        offset: u64,
        /// How many bytes.
        bytes: u64,
    },
    /// Bytes of the client are brought into the first buffer.
    Write {
        /// First byte.
        offset: u64,
        /// The bytes.
        data: Arc<[u8]>,
    },
}

impl Job {
    /// How many buffers the job needs.
    pub fn buffers(&self) -> usize {
        if matches!(self, Job::Copy { .. }) {
            2
        } else {
            1
        }
    }

    /// What the job is, in a word or two.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Job::Nothing => "nothing",
            Job::Fill { .. } => "fill",
            Job::WritePattern(_) => "write pattern",
            Job::CheckPattern(_) => "check pattern",
            Job::Rewrite { .. } => "rewrite",
            Job::Copy { .. } => "copy",
            Job::Read { .. } => "read",
            Job::Write { .. } => "write",
        }
    }

    /// The device's command, on the segments and sizes of the access's buffers.
    pub(crate) fn command(&self, memory: &[(Arc<[hw::Segment]>, u64)]) -> hw::Command {
        let Some((first, bytes)) = memory.first().cloned() else {
            return hw::Command::Nop;
        };
        match *self {
            Job::Nothing => hw::Command::Nop,
            Job::Fill { pattern } => hw::Command::Fill {
                dst: first,
                offset: 0,
                bytes,
                pattern,
            },
            Job::WritePattern(key) => hw::Command::Run(hw::Kernel::WritePattern {
                dst: first,
                bytes,
                key,
            }),
            Job::CheckPattern(key) => hw::Command::Run(hw::Kernel::CheckPattern {
                src: first,
                bytes,
                key,
            }),
            Job::Rewrite { old, new, check } => hw::Command::Run(hw::Kernel::Rewrite {
                mem: first,
                bytes,
                old,
                new,
                check,
            }),
            Job::Copy { from, to, bytes } => match memory.get(1) {
                Some((second, _)) => {
                    let (dst, src_offset, dst_offset) = (second.clone(), from, to);
                    hw::Command::Copy {
                        src: first,
                        dst,
                        src_offset,
                        dst_offset,
                        bytes,
                    }
                }
                None => hw::Command::Nop,
            },
            Job::Read { offset, bytes } => hw::Command::Read {
                src: first,
                offset,
                bytes,
            },
            Job::Write { offset, ref data } => hw::Command::Write {
                dst: first,
                offset,
                data: data.clone(),
            },
        }
    }

    /// The job as words of a request log. Bytes of the client are not kept, only how many.
    pub(crate) fn to_words(&self) -> Vec<u64> {
        match self {
            Job::Nothing => vec![0],
            Job::Fill { pattern } => vec![1, *pattern],
            Job::WritePattern(k) => vec![2, k.buffer, k.generation],
            Job::CheckPattern(k) => vec![3, k.buffer, k.generation],
            Job::Rewrite { old, new, check } => {
                let (kind, one_in, phase) = match *check {
                    Check::Off => (0, 0, 0),
                    Check::Full => (1, 0, 0),
                    Check::Sample { one_in, phase } => (2, one_in.into(), phase.into()),
                };
                vec![
                    4,
                    old.buffer,
                    old.generation,
                    new.buffer,
                    new.generation,
                    kind,
                    one_in,
                    phase,
                ]
            }
            Job::Copy { from, to, bytes } => vec![5, *from, *to, *bytes],
            Job::Read { offset, bytes } => vec![6, *offset, *bytes],
            Job::Write { offset, data } => vec![7, *offset, data.len() as u64],
        }
    }

    /// Reads the words of a request log; a write comes back as zeros.
    pub(crate) fn from_words(words: &[u64]) -> Option<Self> {
        let key = |buffer, generation| PatternKey { buffer, generation };
        Some(match *words {
            [0] => Job::Nothing,
            [1, pattern] => Job::Fill { pattern },
            [2, buffer, generation] => Job::WritePattern(key(buffer, generation)),
            [3, buffer, generation] => Job::CheckPattern(key(buffer, generation)),
            [4, a, b, c, d, kind, one_in, phase] => {
                let check = match kind {
                    0 => Check::Off,
                    1 => Check::Full,
                    2 => Check::Sample {
                        one_in: one_in.try_into().ok()?,
                        phase: phase.try_into().ok()?,
                    },
                    _ => return None,
                };
                Job::Rewrite {
                    old: key(a, b),
                    new: key(c, d),
                    check,
                }
            }
            [5, from, to, bytes] => Job::Copy { from, to, bytes },
            [6, offset, bytes] => Job::Read { offset, bytes },
            // A hostile log must not make us reserve what it only claims.
            [7, offset, bytes] if bytes <= 1 << 32 => Job::Write {
                offset,
                data: vec![0; usize::try_from(bytes).ok()?].into(),
            },
            _ => return None,
        })
    }
}
