//! Built-in kernels on lists of segments.

use crate::command::{Check, Kernel, MemorySpace, Segment};
use crate::error::DeviceError;
use crate::exec::{self, Access};
use crate::mmu::PAGE;
use crate::outcome::OutcomeValue;
use crate::pattern::{self, CheckReport};
use crate::runs::{Run, Runs};

use super::super::context::Context;
use super::batch::{Batch, Shader};
use super::job::{found, rewriting, words};
use super::pipelines::most_slots;
use super::{Entry, Header, Mode, NONE, PAGE_WORDS};

/// How much is worked on at once, in bytes.
const PART: u64 = 16 << 20;

/// Runs a kernel; the answer is empty, and nothing is done, if the list is cut so that shaders do
/// not go over it.
pub(in super::super) fn run(
    context: &Context,
    kernel: &Kernel,
    access: &mut Access<'_>,
) -> Result<Option<(OutcomeValue, u64)>, DeviceError> {
    let (list, bytes) = match kernel {
        Kernel::WritePattern { dst, bytes, .. } => (dst, *bytes),
        Kernel::CheckPattern { src, bytes, .. } => (src, *bytes),
        Kernel::Rewrite { mem, bytes, .. } => (mem, *bytes),
    };
    let mut report = CheckReport::default();
    let mut done = 0;
    let most = most_slots(Mode::List, &context.device.limits());
    if most == 0 || !paged(list, bytes) {
        return Ok(None);
    }
    while done < bytes {
        let part = part(list, done, bytes, context.chunk_bytes, most);
        for run in &part.system {
            by_cpu(kernel, run.1, run.0, access, &mut report)?;
        }
        if !part.chunks.is_empty() {
            report.add(&dispatch(context, kernel, &part, done, access)?);
        }
        done += part.bytes;
    }
    let outcome = match kernel {
        Kernel::WritePattern { .. } => OutcomeValue::Done,
        Kernel::CheckPattern { .. } | Kernel::Rewrite { .. } => OutcomeValue::Checked(report),
    };
    Ok(Some((outcome, bytes)))
}

/// Whether the list is one run, or of whole pages but for its end.
fn paged(list: &[Segment], bytes: u64) -> bool {
    let mut runs = Runs::new(list, 0, bytes).peekable();
    let mut first = true;
    while let Some(run) = runs.next() {
        let last = runs.peek().is_none();
        let page = run.offset.is_multiple_of(PAGE) && (last || run.bytes.is_multiple_of(PAGE));
        if !(page || first && last) {
            return false;
        }
        first = false;
    }
    true
}

/// A part of a list.
#[derive(Default)]
struct Part {
    bytes: u64,
    /// Of vram, with where they begin in the list.
    vram: Vec<(u64, Run)>,
    /// Of system memory.
    system: Vec<(u64, Run)>,
    chunks: Vec<u64>,
}

/// What comes next of a list: not too much, and of not too many chunks.
fn part(list: &[Segment], done: u64, bytes: u64, chunk: u64, most: usize) -> Part {
    let mut part = Part::default();
    for run in Runs::new(list, done, PART.min(bytes - done)) {
        if run.memory == MemorySpace::System {
            part.system.push((done + part.bytes, run));
            part.bytes += run.bytes;
            continue;
        }
        let (mut offset, end) = (run.offset, run.offset + run.bytes);
        while offset < end {
            let number = offset / chunk;
            if !part.chunks.contains(&number) {
                if part.chunks.len() == most {
                    return part;
                }
                part.chunks.push(number);
            }
            let now = end.min((number + 1) * chunk) - offset;
            let piece = Run {
                offset,
                bytes: now,
                ..run
            };
            part.vram.push((done + part.bytes, piece));
            part.bytes += now;
            offset += now;
        }
    }
    part
}

/// What a kernel does, of a part that begins at an offset.
fn entries(kernel: &Kernel, offset: u64) -> (Vec<(Entry, [u32; 8])>, Check) {
    match kernel {
        Kernel::WritePattern { key, .. } => {
            let told = words(*key, offset, Check::Full);
            (vec![(Entry::WriteWords, told)], Check::Off)
        }
        Kernel::CheckPattern { key, .. } => {
            let told = words(*key, offset, Check::Full);
            (vec![(Entry::CheckWords, told)], Check::Full)
        }
        Kernel::Rewrite {
            old, new, check, ..
        } => (rewriting(*old, *new, *check, offset), *check),
    }
}

/// Has the GPU work on a part that begins at an offset.
fn dispatch(
    context: &Context,
    kernel: &Kernel,
    part: &Part,
    offset: u64,
    access: &mut Access<'_>,
) -> Result<CheckReport, DeviceError> {
    let (entries, check) = entries(kernel, offset);
    let one = match part.vram.as_slice() {
        [(_, run)] if part.system.is_empty() => Some(run),
        _ => None,
    };
    let mut batch = Batch::new(if one.is_some() {
        Mode::Direct
    } else {
        Mode::List
    });
    let mut header = Header::new(part.bytes, offset % Check::BLOCK);
    let chunk = context.chunk_bytes;
    let mut list = (0, 0);
    // A list of one run may begin anywhere in a page.
    let into = part.vram.first().map_or(0, |(_, run)| run.offset % PAGE);
    match one {
        Some(run) => {
            header.range(0, run.offset, run.bytes, true);
            let page = run.offset % chunk / PAGE;
            header.bind(0, batch.slot(run.offset / chunk), page as u32 * PAGE_WORDS);
        }
        None => {
            for chunk in &part.chunks {
                batch.slot(*chunk);
            }
            header.range(0, into, part.bytes, true);
            let mut pages = vec![NONE; (into + part.bytes).div_ceil(PAGE) as usize];
            for (at, run) in &part.vram {
                let first = ((into + at - offset) / PAGE) as usize;
                let numbers = run.offset / PAGE..(run.offset + run.bytes).div_ceil(PAGE);
                for (page, number) in pages.iter_mut().skip(first).zip(numbers) {
                    *page = number as u32;
                }
            }
            list = (batch.list(pages.into_iter()), 0);
        }
    }
    if check != Check::Off {
        batch.read_results();
    }
    let results = batch.results([NONE, 0, NONE, 0], 0);
    let groups = (into + part.bytes).div_ceil(PAGE) as u32;
    for (entry, told) in entries {
        let header = batch.header(header.told(told), list, results);
        batch.dispatch(Shader::BuiltIn(entry), header, [groups, 1, 1]);
    }
    let words = batch.run(context, access)?;
    let mut report = found(offset, part.bytes, &words, check);
    for (at, run) in &part.system {
        // The CPU has compared those.
        report.bytes_verified -= found(*at, run.bytes, &[], check).bytes_verified;
    }
    Ok(report)
}

/// Works on a run of system memory, which begins at an offset of the list.
fn by_cpu(
    kernel: &Kernel,
    run: Run,
    offset: u64,
    access: &mut Access<'_>,
    report: &mut CheckReport,
) -> Result<(), DeviceError> {
    match kernel {
        Kernel::WritePattern { key, .. } => pattern::write(access.write(run)?, offset, *key),
        Kernel::CheckPattern { key, .. } => {
            report.add(&pattern::check(access.read(run)?, offset, *key));
        }
        Kernel::Rewrite {
            old, new, check, ..
        } => exec::rewrite(access.write(run)?, offset, *old, *new, *check, report),
    }
    Ok(())
}
