//! Executes one command on claimed bytes.

use crate::bulk::{self, Batch, Way};
use crate::claim::Claim;
use crate::command::{Check, Command, Kernel, MemorySpace};
use crate::error::DeviceError;
use crate::outcome::OutcomeValue;
use crate::pattern::{self, CheckReport, PatternKey};
use crate::runs::{Run, Runs};

use crate::statistics::{Counters, add};

/// The claims of one command.
pub(crate) struct Access<'a> {
    pub(crate) vram: Option<Claim<'a>>,
    pub(crate) system: Option<Claim<'a>>,
    /// Of a device whose own memory the CPU does not reach: then `vram` is a copy of it.
    #[cfg(feature = "wgpu")]
    pub(crate) shadow: Option<Shadow<'a>>,
}

/// What stands behind a copy of a device's own memory.
#[cfg(feature = "wgpu")]
pub(crate) struct Shadow<'a> {
    /// The right to the bytes themselves.
    pub(crate) claim: Claim<'a>,
    /// Which they are; those written go back when the work is done.
    pub(crate) spans: crate::footprint::Spans,
}

const NO_CLAIM: DeviceError = DeviceError::Bug("a command touched a memory it had not claimed");

impl<'a> Access<'a> {
    fn claim(&self, memory: MemorySpace) -> Result<&Claim<'a>, DeviceError> {
        let claim = match memory {
            MemorySpace::Vram => &self.vram,
            MemorySpace::System => &self.system,
        };
        claim.as_ref().ok_or(NO_CLAIM)
    }

    fn claim_mut(&mut self, memory: MemorySpace) -> Result<&mut Claim<'a>, DeviceError> {
        let claim = match memory {
            MemorySpace::Vram => &mut self.vram,
            MemorySpace::System => &mut self.system,
        };
        claim.as_mut().ok_or(NO_CLAIM)
    }

    /// System memory, which is claimed.
    #[cfg(feature = "wgpu")]
    pub(crate) fn system(&self) -> Result<&Claim<'a>, DeviceError> {
        self.claim(MemorySpace::System)
    }

    /// See [`Access::system`].
    #[cfg(feature = "wgpu")]
    pub(crate) fn system_mut(&mut self) -> Result<&mut Claim<'a>, DeviceError> {
        self.claim_mut(MemorySpace::System)
    }

    pub(crate) fn read(&self, run: Run) -> Result<&[u8], DeviceError> {
        self.claim(run.memory)?.read(run.offset, run.bytes)
    }

    pub(crate) fn write(&mut self, run: Run) -> Result<&mut [u8], DeviceError> {
        self.claim_mut(run.memory)?.write(run.offset, run.bytes)
    }

    /// Copies as many bytes as `to` has. `next` is what will be read after that.
    pub(crate) fn copy(
        &mut self,
        from: Run,
        to: Run,
        next: Option<Run>,
        batch: &Batch,
    ) -> Result<(), DeviceError> {
        let bytes = to.bytes;
        let (source, destination) = if from.memory == to.memory {
            self.claim_mut(to.memory)?
                .read_write(from.offset, to.offset, bytes)?
        } else {
            let (Some(vram), Some(system)) = (&mut self.vram, &mut self.system) else {
                return Err(NO_CLAIM);
            };
            let (reader, writer) = match to.memory {
                MemorySpace::Vram => (system, vram),
                MemorySpace::System => (vram, system),
            };
            (
                reader.read(from.offset, bytes)?,
                writer.write(to.offset, bytes)?,
            )
        };
        // The address only: it costs no look at the claim, and nothing is done with its bytes.
        let next = next.filter(|next| next.memory == from.memory).map(|next| {
            let distance = next.offset.wrapping_sub(from.offset);
            source.as_ptr().wrapping_add(distance as usize)
        });
        batch.copy(destination, source, next);
        Ok(())
    }
}

/// Lets `work` move bytes in one way, all of them claimed in `access`.
pub(crate) fn batched<R>(
    access: &mut Access<'_>,
    way: Way,
    work: impl FnOnce(&mut Access<'_>, &Batch) -> R,
) -> R {
    // SAFETY: the work reaches bytes only by claims in `access`, which outlives the batch and is
    // used by nobody else meanwhile.
    unsafe { bulk::batch(way, |batch| work(access, batch)) }
}

/// Executes a command whose bytes are claimed in `access`.
pub(crate) fn execute(
    command: &Command,
    access: &mut Access<'_>,
    counters: &Counters,
) -> Result<OutcomeValue, DeviceError> {
    match command {
        Command::Nop => Ok(OutcomeValue::Done),
        Command::Copy {
            src,
            dst,
            src_offset,
            dst_offset,
            bytes,
        } => {
            let source = Runs::new(src, *src_offset, *bytes);
            let destination = Runs::new(dst, *dst_offset, *bytes);
            batched(access, Way::to_copy(*bytes), |access, batch| {
                copy(source, destination, access, batch)
            })?;
            add(&counters.copied, *bytes);
            Ok(OutcomeValue::Done)
        }
        Command::Fill {
            dst,
            offset,
            bytes,
            pattern,
        } => {
            let runs = Runs::new(dst, *offset, *bytes);
            batched(access, Way::to_fill(*bytes), |access, batch| {
                fill(runs, *pattern, access, batch)
            })?;
            add(&counters.filled, *bytes);
            Ok(OutcomeValue::Done)
        }
        Command::Run(kernel) => run(kernel, access, counters),
        // They use no bytes that were claimed before.
        Command::WritePtes { .. } | Command::InvalidateTlb { .. } | Command::Launch(_) => {
            Err(DeviceError::Bug("a command of the MMU on claimed bytes"))
        }
        Command::Read { src, offset, bytes } => {
            let data = read(Runs::new(src, *offset, *bytes), *bytes, access)?;
            add(&counters.read, *bytes);
            Ok(OutcomeValue::Bytes(data))
        }
        Command::Write { dst, offset, data } => {
            let mut data = &**data;
            add(&counters.written, data.len() as u64);
            for run in Runs::new(dst, *offset, data.len() as u64) {
                let place = access.write(run)?;
                let (now, rest) = data.split_at(place.len());
                place.copy_from_slice(now);
                data = rest;
            }
            Ok(OutcomeValue::Done)
        }
    }
}

/// Pairs two walks whose cuts differ.
fn copy(
    source: Runs<'_>,
    mut destination: Runs<'_>,
    access: &mut Access<'_>,
    batch: &Batch,
) -> Result<(), DeviceError> {
    let mut source = source.peekable();
    let mut from = source.next();
    let mut to = destination.next();
    while let (Some(read), Some(write)) = (from, to) {
        let bytes = read.bytes.min(write.bytes);
        let left = rest(read, bytes);
        let next = left.or_else(|| source.peek().copied());
        access.copy(read, Run { bytes, ..write }, next, batch)?;
        from = left.or_else(|| source.next());
        to = rest(write, bytes).or_else(|| destination.next());
    }
    Ok(())
}

/// What is left of a run after its first bytes.
fn rest(run: Run, bytes: u64) -> Option<Run> {
    (run.bytes > bytes).then(|| Run {
        offset: run.offset + bytes,
        bytes: run.bytes - bytes,
        ..run
    })
}

fn fill(
    runs: Runs<'_>,
    pattern: u64,
    access: &mut Access<'_>,
    batch: &Batch,
) -> Result<(), DeviceError> {
    let mut done = 0_u64;
    for run in runs {
        // Goes on where the run before it ended within the pattern.
        let word = pattern.rotate_right((done % 8) as u32 * 8);
        batch.fill(access.write(run)?, word);
        done += run.bytes;
    }
    Ok(())
}

fn read(runs: Runs<'_>, bytes: u64, access: &Access<'_>) -> Result<Vec<u8>, DeviceError> {
    let mut data = Vec::new();
    // The size came from outside: refuse rather than abort.
    data.try_reserve_exact(bytes as usize)
        .map_err(|_| DeviceError::HostMemory { bytes })?;
    for run in runs {
        data.extend_from_slice(access.read(run)?);
    }
    Ok(data)
}

fn run(
    kernel: &Kernel,
    access: &mut Access<'_>,
    counters: &Counters,
) -> Result<OutcomeValue, DeviceError> {
    let (outcome, bytes) = match kernel {
        Kernel::WritePattern { dst, bytes, key } => {
            let mut offset = 0;
            for run in Runs::new(dst, 0, *bytes) {
                pattern::write(access.write(run)?, offset, *key);
                offset += run.bytes;
            }
            (OutcomeValue::Done, bytes)
        }
        Kernel::CheckPattern { src, bytes, key } => {
            let mut report = CheckReport::default();
            let mut offset = 0;
            for run in Runs::new(src, 0, *bytes) {
                report.add(&pattern::check(access.read(run)?, offset, *key));
                offset += run.bytes;
            }
            (OutcomeValue::Checked(report), bytes)
        }
        Kernel::Rewrite {
            mem,
            bytes,
            old,
            new,
            check,
        } => {
            let mut report = CheckReport::default();
            let mut offset = 0;
            for run in Runs::new(mem, 0, *bytes) {
                rewrite(access.write(run)?, offset, *old, *new, *check, &mut report);
                offset += run.bytes;
            }
            (OutcomeValue::Checked(report), bytes)
        }
    };
    add(&counters.run, *bytes);
    Ok(outcome)
}

/// Block by block, so that what is written was just brought into the nearest cache. The piece
/// begins at the logical `offset`.
pub(crate) fn rewrite(
    mut place: &mut [u8],
    mut offset: u64,
    old: PatternKey,
    new: PatternKey,
    check: Check,
    report: &mut CheckReport,
) {
    while !place.is_empty() {
        let to_block_end = Check::BLOCK - offset % Check::BLOCK;
        let len = place.len().min(to_block_end as usize);
        let (block, rest) = place.split_at_mut(len);
        if check.covers(offset / Check::BLOCK) {
            report.add(&pattern::check(block, offset, old));
        }
        pattern::write(block, offset, new);
        offset += len as u64;
        place = rest;
    }
}
