//! Executes a command on claimed bytes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use crate::command::{Check, Command, Kernel, Segment};
use crate::error::DeviceError;
use crate::exec::{self, Access};
use crate::footprint::Footprint;
use crate::outcome::OutcomeValue;
use crate::pattern::{self, CheckReport, PatternKey};
use crate::runs::Runs;
use crate::statistics::{Counters, add};
use crate::worker::{Begun, Performed};

use super::context::Context;
use super::flight::{self, Flight};
use super::host::{End, Host};
use super::kernels;
use super::transfer::Transfer;

/// How much is compared in host memory at once, in bytes.
const KERNEL: u64 = 8 << 20;

/// Performs a command whose bytes are claimed in `access`, or begins it: what only moves bytes.
pub(super) fn perform<'w>(
    context: &Arc<Context>,
    command: &Command,
    footprint: &Footprint,
    mut access: Access<'w>,
    counters: &'w Counters,
) -> Result<Performed<Moving<'w>>, DeviceError> {
    if footprint.vram.is_empty() {
        // It is host memory alone.
        return exec::execute(command, &mut access, counters).map(Performed::Ended);
    }
    let mut host = Host {
        system: access.system.as_mut(),
        ..Host::default()
    };
    match command {
        Command::Nop => Ok(Performed::Ended(OutcomeValue::Done)),
        Command::Copy {
            src,
            dst,
            src_offset,
            dst_offset,
            bytes,
        } => {
            let source = Runs::new(src, *src_offset, *bytes);
            let mut transfer = Transfer::new(context, host);
            transfer.copy(source, Runs::new(dst, *dst_offset, *bytes))?;
            let moved = (&counters.copied, *bytes);
            Moving::begin(context, transfer.leave()?, access, moved)
        }
        Command::Fill {
            dst,
            offset,
            bytes,
            pattern,
        } => {
            let mut transfer = Transfer::new(context, host);
            transfer.put(End::Pattern(*pattern), Runs::new(dst, *offset, *bytes))?;
            let moved = (&counters.filled, *bytes);
            Moving::begin(context, transfer.leave()?, access, moved)
        }
        Command::Read { src, offset, bytes } => {
            let mut data = zeroes(*bytes)?;
            host.output = &mut data;
            let mut transfer = Transfer::new(context, host);
            transfer.get(Runs::new(src, *offset, *bytes), 0)?;
            transfer.finish()?;
            add(&counters.read, *bytes);
            Ok(Performed::Ended(OutcomeValue::Bytes(data)))
        }
        Command::Write { dst, offset, data } => {
            host.input = data;
            let bytes = data.len() as u64;
            let mut transfer = Transfer::new(context, host);
            transfer.put(End::Bytes(0), Runs::new(dst, *offset, bytes))?;
            transfer.finish()?;
            add(&counters.written, bytes);
            Ok(Performed::Ended(OutcomeValue::Done))
        }
        Command::Run(kernel) => {
            let ran = match context.lists_by_cpu {
                true => None,
                false => kernels::run(context, kernel, &mut access)?,
            };
            let by_cpu = || run(context, kernel, &mut access);
            let (outcome, bytes) = ran.map_or_else(by_cpu, Ok)?;
            add(&counters.run, bytes);
            Ok(Performed::Ended(outcome))
        }
        Command::WritePtes { .. } | Command::InvalidateTlb { .. } | Command::Launch(_) => {
            Err(DeviceError::Bug("a command of the MMU on claimed bytes"))
        }
    }
}

/// A copy or a fill on its way.
pub(crate) struct Moving<'w> {
    context: Arc<Context>,
    flights: VecDeque<Flight>,
    access: Access<'w>,
    /// What counts its bytes, and how many they are.
    moved: (&'w AtomicU64, u64),
}

impl<'w> Moving<'w> {
    fn begin(
        context: &Arc<Context>,
        flights: VecDeque<Flight>,
        access: Access<'w>,
        moved: (&'w AtomicU64, u64),
    ) -> Result<Performed<Moving<'w>>, DeviceError> {
        let context = Arc::clone(context);
        Ok(Performed::Begun(Moving {
            context,
            flights,
            access,
            moved,
        }))
    }
}

impl Begun for Moving<'_> {
    fn is_done(&self) -> bool {
        let last = self.flights.iter().rev().find_map(Flight::submitted);
        last.is_none_or(|submitted| {
            if !submitted.is_done() {
                self.context.look();
            }
            submitted.is_done()
        })
    }

    fn end(mut self) -> Result<OutcomeValue, DeviceError> {
        let mut host = Host {
            system: self.access.system.as_mut(),
            ..Host::default()
        };
        while let Some(flight) = self.flights.pop_front() {
            flight.end(&self.context, &mut host)?;
        }
        add(self.moved.0, self.moved.1);
        Ok(OutcomeValue::Done)
    }
}

impl Drop for Moving<'_> {
    fn drop(&mut self) {
        flight::abandon(&self.flights, &self.context);
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

/// Runs a kernel on the CPU: what it compares is brought to host memory, and what it writes is
/// made where it is uploaded from.
fn run(
    context: &Context,
    kernel: &Kernel,
    access: &mut Access<'_>,
) -> Result<(OutcomeValue, u64), DeviceError> {
    match kernel {
        Kernel::WritePattern { dst, bytes, key } => {
            write_words(context, dst, *bytes, *key, access)?;
            Ok((OutcomeValue::Done, *bytes))
        }
        Kernel::CheckPattern { src, bytes, key } => {
            let report = compare(context, src, *bytes, *key, Check::Full, access)?;
            Ok((OutcomeValue::Checked(report), *bytes))
        }
        Kernel::Rewrite {
            mem,
            bytes,
            old,
            new,
            check,
        } => {
            let report = compare(context, mem, *bytes, *old, *check, access)?;
            write_words(context, mem, *bytes, *new, access)?;
            Ok((OutcomeValue::Checked(report), *bytes))
        }
    }
}

fn write_words(
    context: &Context,
    list: &[Segment],
    bytes: u64,
    key: PatternKey,
    access: &mut Access<'_>,
) -> Result<(), DeviceError> {
    let host = Host {
        system: access.system.as_mut(),
        key: Some(key),
        ..Host::default()
    };
    let mut transfer = Transfer::new(context, host);
    transfer.put(End::Words(0), Runs::new(list, 0, bytes))?;
    transfer.finish()
}

/// Compares a list with content words, as far as told: only that is read.
fn compare(
    context: &Context,
    list: &[Segment],
    bytes: u64,
    key: PatternKey,
    check: Check,
    access: &mut Access<'_>,
) -> Result<CheckReport, DeviceError> {
    let mut report = CheckReport::default();
    let mut data = Vec::new();
    // Stretches of blocks that are compared, and how many bytes they have together.
    let (mut wanted, mut total) = (Vec::<(u64, u64)>::new(), 0);
    let mut at = 0;
    while at < bytes {
        let len = Check::BLOCK.min(bytes - at);
        if check.covers(at / Check::BLOCK) {
            match wanted.last_mut() {
                Some((start, known)) if *start + *known == at => *known += len,
                _ => wanted.push((at, len)),
            }
            total += len;
        }
        at += len;
        if total < KERNEL && at < bytes {
            continue;
        }
        data.clear();
        data.append(&mut zeroes(total)?);
        let host = Host {
            system: access.system.as_mut(),
            output: &mut data,
            ..Host::default()
        };
        let mut transfer = Transfer::new(context, host);
        let mut into = 0;
        for (start, len) in &wanted {
            transfer.get(Runs::new(list, *start, *len), into)?;
            into += len;
        }
        transfer.finish()?;
        let mut rest = data.as_slice();
        for (start, len) in wanted.drain(..) {
            let (piece, behind) = rest.split_at(len as usize);
            report.add(&pattern::check(piece, start, key));
            rest = behind;
        }
        total = 0;
    }
    Ok(report)
}
