//! Executes a command on claimed bytes.

use crate::command::{Command, Kernel, Segment};
use crate::error::DeviceError;
use crate::exec::{self, Access};
use crate::footprint::Footprint;
use crate::outcome::OutcomeValue;
use crate::pattern::{self, CheckReport};
use crate::runs::Runs;
use crate::statistics::{Counters, add};

use super::context::Context;
use super::host::{End, Host};
use super::kernels;
use super::transfer::Transfer;

/// How much of a kernel is in host memory at once, in bytes: a multiple of
/// [`Check::BLOCK`](crate::Check::BLOCK), so that blocks are those of the whole.
const KERNEL: u64 = 8 << 20;

/// Executes a command whose bytes are claimed in `access`.
pub(super) fn execute(
    context: &Context,
    command: &Command,
    footprint: &Footprint,
    access: &mut Access<'_>,
    counters: &Counters,
) -> Result<OutcomeValue, DeviceError> {
    if footprint.vram.is_empty() {
        // It is host memory alone.
        return exec::execute(command, access, counters);
    }
    let mut host = Host {
        system: access.system.as_mut(),
        ..Host::default()
    };
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
            let target = Runs::new(dst, *dst_offset, *bytes);
            let mut transfer = Transfer::new(context, host);
            transfer.copy(source, target)?;
            transfer.finish()?;
            add(&counters.copied, *bytes);
            Ok(OutcomeValue::Done)
        }
        Command::Fill {
            dst,
            offset,
            bytes,
            pattern,
        } => {
            let mut transfer = Transfer::new(context, host);
            transfer.put(End::Pattern(*pattern), Runs::new(dst, *offset, *bytes))?;
            transfer.finish()?;
            add(&counters.filled, *bytes);
            Ok(OutcomeValue::Done)
        }
        Command::Read { src, offset, bytes } => {
            let mut data = zeroes(*bytes)?;
            host.output = &mut data;
            let mut transfer = Transfer::new(context, host);
            transfer.get(Runs::new(src, *offset, *bytes))?;
            transfer.finish()?;
            add(&counters.read, *bytes);
            Ok(OutcomeValue::Bytes(data))
        }
        Command::Write { dst, offset, data } => {
            host.input = data;
            let bytes = data.len() as u64;
            let mut transfer = Transfer::new(context, host);
            transfer.put(End::Bytes(0), Runs::new(dst, *offset, bytes))?;
            transfer.finish()?;
            add(&counters.written, bytes);
            Ok(OutcomeValue::Done)
        }
        Command::Run(kernel) => {
            let ran = match context.lists_by_cpu {
                true => None,
                false => kernels::run(context, kernel, access)?,
            };
            let by_cpu = || run(context, kernel, access);
            let (outcome, bytes) = ran.map_or_else(by_cpu, Ok)?;
            add(&counters.run, bytes);
            Ok(outcome)
        }
        Command::WritePtes { .. } | Command::InvalidateTlb { .. } | Command::Launch(_) => {
            Err(DeviceError::Bug("a command of the MMU on claimed bytes"))
        }
    }
}

/// Memory for bytes whose number came from outside: refused rather than aborted.
fn zeroes(bytes: u64) -> Result<Vec<u8>, DeviceError> {
    let mut data = Vec::new();
    data.try_reserve_exact(bytes as usize)
        .map_err(|_| DeviceError::HostMemory { bytes })?;
    data.resize(bytes as usize, 0);
    Ok(data)
}

/// Runs a kernel on the CPU: its list is read and written part by part.
fn run(
    context: &Context,
    kernel: &Kernel,
    access: &mut Access<'_>,
) -> Result<(OutcomeValue, u64), DeviceError> {
    match kernel {
        Kernel::WritePattern { dst, bytes, key } => {
            parts(
                context,
                dst,
                *bytes,
                access,
                (false, true),
                |data, offset| {
                    pattern::write(data, offset, *key);
                },
            )?;
            Ok((OutcomeValue::Done, *bytes))
        }
        Kernel::CheckPattern { src, bytes, key } => {
            let mut report = CheckReport::default();
            parts(
                context,
                src,
                *bytes,
                access,
                (true, false),
                |data, offset| {
                    report.add(&pattern::check(data, offset, *key));
                },
            )?;
            Ok((OutcomeValue::Checked(report), *bytes))
        }
        Kernel::Rewrite {
            mem,
            bytes,
            old,
            new,
            check,
        } => {
            let mut report = CheckReport::default();
            parts(
                context,
                mem,
                *bytes,
                access,
                (true, true),
                |data, offset| {
                    exec::rewrite(data, offset, *old, *new, *check, &mut report);
                },
            )?;
            Ok((OutcomeValue::Checked(report), *bytes))
        }
    }
}

/// Lets `work` go over a list, part by part: read before and written after, as told.
fn parts(
    context: &Context,
    list: &[Segment],
    bytes: u64,
    access: &mut Access<'_>,
    (read, write): (bool, bool),
    mut work: impl FnMut(&mut [u8], u64),
) -> Result<(), DeviceError> {
    let mut data = zeroes(KERNEL.min(bytes))?;
    let mut done = 0;
    while done < bytes {
        let now = KERNEL.min(bytes - done);
        data.truncate(now as usize);
        let runs = Runs::new(list, done, now);
        if read {
            let host = Host {
                system: access.system.as_mut(),
                output: &mut data,
                ..Host::default()
            };
            let mut transfer = Transfer::new(context, host);
            transfer.get(runs.clone())?;
            transfer.finish()?;
        }
        work(&mut data, done);
        if write {
            let host = Host {
                system: access.system.as_mut(),
                input: &data,
                ..Host::default()
            };
            let mut transfer = Transfer::new(context, host);
            transfer.put(End::Bytes(0), runs)?;
            transfer.finish()?;
        }
        done += now;
    }
    Ok(())
}
