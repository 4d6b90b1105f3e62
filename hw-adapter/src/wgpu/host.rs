//! The ends of what is moved, and those of them that the CPU reaches.

use std::ops::Range;

use crate::bulk::{self, Method, Piece};
use crate::claim::Claim;
use crate::error::DeviceError;
use crate::pattern::{self, PatternKey};

/// Where bytes come from or go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The device's own memory.
    Vram(u64),
    /// System memory.
    System(u64),
    /// The host's copy of the device's own memory, for jobs.
    Shadow(u64),
    /// What came with a command, or is its answer.
    Bytes(u64),
    /// Repeats 8 bytes, beginning with the lowest; only a source.
    Pattern(u64),
    /// The content words of [`Host::key`], from an offset of their order; only a source.
    Words(u64),
    /// The buffer that was read back; only a source.
    Readback(u64),
    /// The buffer that is uploaded; only a destination.
    Upload(u64),
}

impl End {
    /// Where it goes on after some bytes.
    pub(super) fn advance(self, bytes: u64) -> End {
        match self {
            End::Vram(at) => End::Vram(at + bytes),
            End::System(at) => End::System(at + bytes),
            End::Shadow(at) => End::Shadow(at + bytes),
            End::Bytes(at) => End::Bytes(at + bytes),
            End::Pattern(word) => End::Pattern(word.rotate_right((bytes % 8) as u32 * 8)),
            End::Words(at) => End::Words(at + bytes),
            End::Readback(at) => End::Readback(at + bytes),
            End::Upload(at) => End::Upload(at + bytes),
        }
    }
}

/// What the CPU reaches of a command.
#[derive(Default)]
pub(super) struct Host<'a, 'c> {
    pub(super) system: Option<&'a mut Claim<'c>>,
    pub(super) shadow: Option<&'a mut Claim<'c>>,
    /// What came with it.
    pub(super) input: &'a [u8],
    /// Its answer.
    pub(super) output: &'a mut [u8],
    /// Whose content words are written.
    pub(super) key: Option<PatternKey>,
    /// How many bytes system memory was written by now.
    pub(super) written: u64,
}

/// When so many bytes were written, nothing of what comes is left in the caches for whoever reads
/// it: then it is written around them.
const AROUND: u64 = 4 << 20;

/// Pieces below this are not worth it.
const LARGE: u64 = 4096;

/// How many content words are made at once, in bytes.
const BLOCK: usize = 8192;

const NO_END: DeviceError = DeviceError::Bug("bytes were moved from or to where nothing is");

impl Host<'_, '_> {
    /// Moves bytes.
    pub(super) fn transfer(
        &mut self,
        from: End,
        to: End,
        bytes: u64,
        readback: &[u8],
        upload: Option<&mut wgpu::BufferViewMut>,
    ) -> Result<(), DeviceError> {
        if let (End::System(source), End::System(target)) = (from, to) {
            let claim = self.system.as_deref_mut().ok_or(NO_END)?;
            let (source, target) = claim.read_write(source, target, bytes)?;
            target.copy_from_slice(source);
            return Ok(());
        }
        if let End::Words(offset) = from {
            return self.words(offset, to, bytes, upload);
        }
        let pattern = match from {
            End::Pattern(word) => {
                let mut words = word.to_le_bytes().repeat(bytes.div_ceil(8) as usize);
                words.truncate(bytes as usize);
                words
            }
            _ => Vec::new(),
        };
        let mut source = Source {
            system: None,
            shadow: None,
            input: self.input,
            readback,
            pattern,
        };
        match to {
            End::System(at) => {
                let claim = self.system.as_deref_mut().ok_or(NO_END)?;
                let target = claim.write(at, bytes)?;
                let source = source.bytes(from, bytes)?;
                self.written += bytes;
                if self.written > AROUND && bytes >= LARGE {
                    let (from, to, bytes) = (0, 0, source.len());
                    bulk::copy(Method::Stream, target, source, &[Piece { from, to, bytes }]);
                } else {
                    target.copy_from_slice(source);
                }
            }
            End::Shadow(at) => {
                let claim = self.shadow.as_deref_mut().ok_or(NO_END)?;
                let target = claim.write(at, bytes)?;
                target.copy_from_slice(source.bytes(from, bytes)?);
            }
            End::Bytes(at) => {
                source.system = self.system.as_deref();
                source.shadow = self.shadow.as_deref();
                let target = self.output.get_mut(range(at, bytes)).ok_or(NO_END)?;
                target.copy_from_slice(source.bytes(from, bytes)?);
            }
            End::Upload(at) => {
                source.system = self.system.as_deref();
                source.shadow = self.shadow.as_deref();
                let range = range(at, bytes);
                let upload = upload.filter(|upload| range.end <= upload.len());
                let target = upload.ok_or(NO_END)?;
                target
                    .slice(range)
                    .copy_from_slice(source.bytes(from, bytes)?);
            }
            End::Vram(_) | End::Pattern(_) | End::Words(_) | End::Readback(_) => {
                return Err(NO_END);
            }
        }
        Ok(())
    }
}

impl Host<'_, '_> {
    /// Writes content words where they belong, without a copy of them in between.
    fn words(
        &mut self,
        offset: u64,
        to: End,
        bytes: u64,
        upload: Option<&mut wgpu::BufferViewMut>,
    ) -> Result<(), DeviceError> {
        let key = self.key.ok_or(NO_END)?;
        match to {
            End::System(at) => {
                let claim = self.system.as_deref_mut().ok_or(NO_END)?;
                pattern::write(claim.write(at, bytes)?, offset, key);
            }
            End::Upload(at) => {
                let end = range(at, bytes).end;
                let upload = upload.filter(|upload| end <= upload.len()).ok_or(NO_END)?;
                // The buffer may only be written; a block stays in the nearest cache.
                let mut block = [0; BLOCK];
                let mut done = 0;
                while done < bytes {
                    let now = (BLOCK as u64).min(bytes - done);
                    let block = &mut block[..now as usize];
                    pattern::write(block, offset + done, key);
                    upload.slice(range(at + done, now)).copy_from_slice(block);
                    done += now;
                }
            }
            _ => return Err(NO_END),
        }
        Ok(())
    }
}

/// What can be read. A claim that is written at the same time is not among it: both ends in one
/// memory are handled before.
struct Source<'s, 'c> {
    system: Option<&'s Claim<'c>>,
    shadow: Option<&'s Claim<'c>>,
    input: &'s [u8],
    readback: &'s [u8],
    pattern: Vec<u8>,
}

impl Source<'_, '_> {
    fn bytes(&self, from: End, bytes: u64) -> Result<&[u8], DeviceError> {
        match from {
            End::System(at) => self.system.ok_or(NO_END)?.read(at, bytes),
            End::Shadow(at) => self.shadow.ok_or(NO_END)?.read(at, bytes),
            End::Bytes(at) => self.input.get(range(at, bytes)).ok_or(NO_END),
            End::Readback(at) => self.readback.get(range(at, bytes)).ok_or(NO_END),
            End::Pattern(_) => Ok(&self.pattern),
            End::Vram(_) | End::Words(_) | End::Upload(_) => Err(NO_END),
        }
    }
}

fn range(at: u64, bytes: u64) -> Range<usize> {
    at as usize..at.saturating_add(bytes) as usize
}
