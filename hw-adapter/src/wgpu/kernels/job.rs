//! Jobs on the GPU: built-in kernels on virtual addresses, piece by piece.

use std::sync::Arc;

use crate::command::Check;
use crate::error::DeviceError;
use crate::mmu::{self, PAGE, Space, Window};
use crate::outcome::OutcomeValue;
use crate::pattern::{CheckReport, PatternKey};
use crate::statistics::{Counters, add};
use crate::vm::{Access, Launch, VmFaultReason, VmKernel};

use super::super::Shared;
use super::super::context::Context;
use super::super::jobs::Jobs;
use super::piece::{Piece, Range, Told};
use super::pipelines::most_slots;
use super::{Entry, Mode, halves};

/// How much a job does at once, in bytes: so much that a submit costs little beside it.
const PIECE: u64 = 16 << 20;

/// A job at work.
pub(super) struct Job<'a> {
    pub(super) shared: &'a Shared,
    pub(super) context: Arc<Context>,
    pub(super) space: &'a Space,
    pub(super) launch: &'a Launch,
    counters: &'a Counters,
    limits: wgpu::Limits,
    /// Whether it goes on; asked before every piece.
    pub(super) go: &'a dyn Fn() -> Result<(), DeviceError>,
    /// Does on the CPU what the shaders do not.
    cpu: &'a Jobs<'a>,
}

/// Runs a job.
pub(in super::super) fn launch(
    cpu: &Jobs<'_>,
    launch: &Launch,
    counters: &Counters,
    go: &dyn Fn() -> Result<(), DeviceError>,
) -> Result<OutcomeValue, DeviceError> {
    let shared = cpu.shared;
    let space = shared.mmu.space(launch.vm)?;
    let job = Job {
        shared,
        context: Arc::clone(&cpu.context),
        limits: cpu.context.device.limits(),
        space: &space,
        launch,
        counters,
        go,
        cpu,
    };
    let result = job.run();
    if let Err(DeviceError::VmFault { .. }) = result {
        shared.mmu.count_fault();
    }
    result
}

/// What a kernel over one range does with a piece, which begins at an offset of the range.
struct Plan {
    access: Access,
    write_only: bool,
    sums: bool,
}

impl Job<'_> {
    fn run(&self) -> Result<OutcomeValue, DeviceError> {
        let done = |()| OutcomeValue::Done;
        match self.launch.kernel {
            VmKernel::Shader(ref call) => self.shader(call).map(done),
            VmKernel::Copy { src, dst, bytes } => {
                let part = |src, dst, bytes| VmKernel::Copy { src, dst, bytes };
                self.pair((src, dst), bytes, (Entry::Copy, [0; 8]), &part)
                    .map(done)
            }
            VmKernel::Fill {
                dst,
                bytes,
                pattern,
            } => self
                .over(dst, bytes, &Plan::write(), |offset| {
                    let [low, high] = halves(pattern.rotate_right((offset % 8) as u32 * 8));
                    vec![(Entry::Fill, [low, high, 0, 0, 0, 0, 0, 0])]
                })
                .map(|_| OutcomeValue::Done),
            VmKernel::Checksum { src, bytes, dst } => self.checksum(src, bytes, dst),
            VmKernel::Saxpy { a, x, y, count } => {
                let part = |x, y, bytes| VmKernel::Saxpy {
                    a,
                    x,
                    y,
                    count: bytes / 4,
                };
                let told = [a.to_bits(), 0, 0, 0, 0, 0, 0, 0];
                self.pair((x, y), count.saturating_mul(4), (Entry::Saxpy, told), &part)
                    .map(done)
            }
            VmKernel::Gather { .. } => self.gather().map(done),
            VmKernel::WritePattern { dst, bytes, key } => self
                .over(dst, bytes, &Plan::write(), |offset| {
                    vec![(Entry::WriteWords, words(key, offset, Check::Full))]
                })
                .map(|_| OutcomeValue::Done),
            VmKernel::CheckPattern { src, bytes, key } => {
                let plan = Plan {
                    access: Access::Read,
                    write_only: false,
                    sums: false,
                };
                let pieces = self.over(src, bytes, &plan, |offset| {
                    vec![(Entry::CheckWords, words(key, offset, Check::Full))]
                })?;
                Ok(OutcomeValue::Checked(report(&pieces, Check::Full)))
            }
            VmKernel::Rewrite {
                at,
                bytes,
                old,
                new,
                check,
            } => {
                let plan = Plan {
                    write_only: check == Check::Off,
                    ..Plan::write()
                };
                let pieces = self.over(at, bytes, &plan, |offset| {
                    rewriting(old, new, check, offset)
                })?;
                Ok(OutcomeValue::Checked(report(&pieces, check)))
            }
        }
    }

    /// Goes over one range, piece by piece. The answer has, for each piece, where it began, how
    /// long it was, and what the shaders told.
    fn over(
        &self,
        address: u64,
        bytes: u64,
        plan: &Plan,
        entries: impl Fn(u64) -> Vec<(Entry, [u32; 8])>,
    ) -> Result<Vec<(u64, u64, Told)>, DeviceError> {
        let mut pieces = Vec::new();
        let mut done = 0;
        while done < bytes {
            (self.go)()?;
            let _entered = self.space.enter()?;
            let at = address.saturating_add(done);
            let mut window = self.translate(at, PIECE.min(bytes - done), plan.access);
            while let Some(less) = self.less(&[&window]) {
                window.cut(less);
                window.fault = None;
            }
            let range = Range::new(at, &window, plan.access);
            let mut piece = Piece::new(vec![range], window.bytes, 0);
            piece.write_only = plan.write_only;
            piece.into_block = done % Check::BLOCK;
            piece.sums = plan.sums;
            piece.look = window.fault.map(|_| (0, window.bytes));
            piece.entries = entries(done);
            piece.tells = !plan.write_only;
            let told = self.perform(&piece)?;
            add(&self.counters.run, window.bytes);
            told.good()?;
            pieces.push((done, window.bytes, told));
            done += window.bytes;
        }
        Ok(pieces)
    }

    /// Goes over two ranges, of which the second is written.
    fn pair(
        &self,
        (from, to): (u64, u64),
        bytes: u64,
        entry: (Entry, [u32; 8]),
        part: &dyn Fn(u64, u64, u64) -> VmKernel,
    ) -> Result<(), DeviceError> {
        let elements = entry.0 == Entry::Saxpy;
        if elements && (from % 4 != 0 || to % 4 != 0) {
            return self.by_cpu(self.launch.kernel.clone());
        }
        let mut done = 0;
        while done < bytes {
            (self.go)()?;
            let entered = self.space.enter()?;
            let (src, dst) = (from.saturating_add(done), to.saturating_add(done));
            let mut read = self.translate(src, PIECE.min(bytes - done), Access::Read);
            // The destination's fault comes first, or there is none.
            let mut look = read.fault.map(|_| (0, read.bytes));
            let mut write = self.translate(dst, read.bytes, Access::Write);
            if write.fault.is_some() {
                look = Some((1, write.bytes));
            }
            read.cut(write.bytes);
            while let Some(less) = self.less(&[&read, &write]) {
                read.cut(less);
                write.cut(less);
                look = None;
            }
            let ranges = vec![
                Range::new(src, &read, Access::Read),
                Range::new(dst, &write, Access::Write),
            ];
            let mut piece = Piece::new(ranges, write.bytes, 1);
            piece.look = look;
            piece.write_only = !elements;
            piece.entries = vec![entry];
            if piece.footprint().1 {
                // What is read is written as well: in order, which groups do not keep.
                drop(entered);
                let now = PIECE.min(bytes - done);
                self.by_cpu(part(src, dst, now))?;
                done += now;
                continue;
            }
            let told = self.perform(&piece)?;
            add(&self.counters.run, write.bytes);
            told.good()?;
            done += write.bytes;
        }
        Ok(())
    }

    fn checksum(&self, src: u64, bytes: u64, dst: u64) -> Result<OutcomeValue, DeviceError> {
        let plan = Plan {
            access: Access::Read,
            write_only: false,
            sums: true,
        };
        let pieces = self.over(src, bytes, &plan, |_| vec![(Entry::SumWords, [0; 8])])?;
        let mut sum = 0_u64;
        for (_, _, told) in &pieces {
            let (sums, _) = told.words[4..].as_chunks();
            for [low, high] in sums {
                sum = sum.wrapping_add(u64::from(*high) << 32 | u64::from(*low));
            }
        }
        self.over(dst, 8, &Plan::write(), |offset| {
            let [low, high] = halves(sum.rotate_right((offset % 8) as u32 * 8));
            vec![(Entry::Fill, [low, high, 0, 0, 0, 0, 0, 0])]
        })?;
        Ok(OutcomeValue::Checksum(sum))
    }

    /// How much less a piece must be, if its chunks are more than can be bound.
    fn less(&self, windows: &[&Window]) -> Option<u64> {
        let mut chunks = Vec::new();
        for window in windows {
            chunks.extend(window.chunks(self.context.chunk_bytes));
        }
        chunks.sort_unstable();
        chunks.dedup();
        let bytes = windows.iter().map(|window| window.bytes).min()?;
        let most = most_slots(Mode::Walk, &self.limits);
        (chunks.len() > most && bytes > PAGE).then(|| (bytes / 2).next_multiple_of(PAGE))
    }

    pub(super) fn translate(&self, address: u64, bytes: u64, access: Access) -> Window {
        let counters = &self.shared.mmu.counters;
        self.space.translate(address, bytes, access, counters)
    }

    pub(super) fn fault_at(&self, address: u64, access: Access, why: VmFaultReason) -> DeviceError {
        DeviceError::VmFault {
            vm: self.launch.vm,
            job: self.launch.job,
            address,
            access,
            why,
        }
    }

    pub(super) fn count(&self, bytes: u64) {
        add(&self.counters.run, bytes);
    }

    /// Runs a kernel, or a part of it, on the CPU. The caller has not entered.
    pub(super) fn by_cpu(&self, kernel: VmKernel) -> Result<(), DeviceError> {
        let launch = Launch {
            vm: self.launch.vm,
            job: self.launch.job,
            kernel,
        };
        mmu::perform(self.cpu, &launch, self.counters, self.go).map(drop)
    }
}

impl Plan {
    fn write() -> Plan {
        Plan {
            access: Access::Write,
            write_only: true,
            sums: false,
        }
    }
}

/// What writes and compares content words is told of those of a piece that begins at an offset.
pub(super) fn words(key: PatternKey, offset: u64, check: Check) -> [u32; 8] {
    let block = offset / Check::BLOCK;
    let first = key.word(block * (Check::BLOCK / 8));
    let [a, b] = halves(first);
    let [c, d] = halves(key.word(1).wrapping_sub(key.word(0)));
    let (one_in, phase) = match check {
        Check::Sample { one_in, phase } => (one_in.max(1), phase),
        _ => (1, 0),
    };
    let phase = block.wrapping_add(u64::from(phase)) % u64::from(one_in);
    [a, b, c, d, one_in, phase as u32, 0, 0]
}

/// The kernels that check one generation and write another.
pub(super) fn rewriting(
    old: PatternKey,
    new: PatternKey,
    check: Check,
    offset: u64,
) -> Vec<(Entry, [u32; 8])> {
    let write = (Entry::WriteWords, words(new, offset, Check::Full));
    match check {
        Check::Off => vec![write],
        _ => vec![(Entry::CheckWords, words(old, offset, check)), write],
    }
}

/// What pieces found that were compared.
fn report(pieces: &[(u64, u64, Told)], check: Check) -> CheckReport {
    let mut report = CheckReport::default();
    for (offset, bytes, told) in pieces {
        report.add(&found(*offset, *bytes, &told.words, check));
    }
    report
}

/// What the comparison of a piece found.
pub(super) fn found(offset: u64, bytes: u64, words: &[u32], check: Check) -> CheckReport {
    let mut report = CheckReport::default();
    let mut at = offset;
    while at < offset + bytes {
        let end = (at - at % Check::BLOCK + Check::BLOCK).min(offset + bytes);
        if check.covers(at / Check::BLOCK) {
            report.bytes_verified += end - at;
        }
        at = end;
    }
    if let [_, corrupt, first, ..] = *words
        && corrupt > 0
    {
        report.corrupt_bytes = u64::from(corrupt);
        report.first_corrupt_offset = Some(offset + u64::from(first));
    }
    report
}
