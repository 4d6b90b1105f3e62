//! Runs jobs: piece by piece, each translated and claimed when it begins.

use crate::bulk::{Batch, Way};
use crate::command::{Check, MemorySpace};
use crate::error::DeviceError;
use crate::exec::{self, Access as Claimed, batched};
use crate::footprint::{Footprint, Span, Spans};
use crate::outcome::OutcomeValue;
use crate::pattern::{self, CheckReport, PatternKey};
use crate::runs::Run;
use crate::statistics::{Counters, add};
use crate::vm::{Access, Launch, VmKernel};

use super::{Mmu, Piece, Space, Window, lanes};

/// How much a job does at once, in bytes.
const PIECE: u64 = 1 << 20;

/// Zeroes, for what is sparse.
static ZEROES: [u8; Check::BLOCK as usize] = [0; Check::BLOCK as usize];

/// The device that jobs run on.
pub(crate) trait Host {
    /// Its page tables.
    fn mmu(&self) -> &Mmu;

    /// Checks that the engines reach these bytes of system memory.
    fn reaches(&self, system: &Spans) -> Result<(), DeviceError>;

    /// The claims that a piece needs: both or, on an error, none.
    fn access(&self, footprint: &Footprint) -> Result<Claimed<'_>, DeviceError>;

    /// Ends a piece: what it wrote is there.
    fn release(&self, claimed: Claimed<'_>) -> Result<(), DeviceError>;
}

/// A job at work.
pub(super) struct Job<'a> {
    pub(super) host: &'a dyn Host,
    pub(super) space: &'a Space,
    pub(super) launch: &'a Launch,
    pub(super) counters: &'a Counters,
    /// Whether it goes on; asked before every piece.
    pub(super) go: &'a dyn Fn() -> Result<(), DeviceError>,
}

/// Runs a job.
pub(crate) fn launch(
    host: &dyn Host,
    launch: &Launch,
    counters: &Counters,
    go: &dyn Fn() -> Result<(), DeviceError>,
) -> Result<OutcomeValue, DeviceError> {
    let result = perform(host, launch, counters, go);
    if let Err(DeviceError::VmFault { .. }) = result {
        host.mmu().count_fault();
    }
    result
}

/// Runs a job, or a part of it; a fault is counted by the caller.
pub(crate) fn perform(
    host: &dyn Host,
    launch: &Launch,
    counters: &Counters,
    go: &dyn Fn() -> Result<(), DeviceError>,
) -> Result<OutcomeValue, DeviceError> {
    let space = host.mmu().space(launch.vm)?;
    let job = Job {
        host,
        space: &space,
        launch,
        counters,
        go,
    };
    job.run()
}

/// Overwrites the first half of what a job would write first, as far as it can be written.
pub(crate) fn damage(host: &dyn Host, damaged: &Launch, counters: &Counters, byte: u8) {
    if let Some(range) = damaged.kernel.ranges().find(|range| range.write) {
        let kernel = VmKernel::Fill {
            dst: range.address,
            bytes: range.bytes.div_ceil(2),
            pattern: u64::from_ne_bytes([byte; 8]),
        };
        // It fails anyway.
        let damage = Launch {
            vm: damaged.vm,
            job: damaged.job,
            kernel,
        };
        let _ = launch(host, &damage, counters, &|| Ok(()));
    }
}

impl<'a> Job<'a> {
    fn run(&self) -> Result<OutcomeValue, DeviceError> {
        let done = |()| OutcomeValue::Done;
        match self.launch.kernel {
            // It is for those that can run it.
            VmKernel::Shader(ref call) => Err(DeviceError::UnknownShader(call.shader)),
            VmKernel::Copy { src, dst, bytes } => self.copy(src, dst, bytes).map(done),
            VmKernel::Fill {
                dst,
                bytes,
                pattern,
            } => self.fill(dst, bytes, pattern).map(done),
            VmKernel::Checksum { src, bytes, dst } => self.checksum(src, bytes, dst),
            VmKernel::Saxpy { a, x, y, count } => lanes::saxpy(self, a, x, y, count).map(done),
            VmKernel::Gather {
                src,
                src_count,
                indices,
                dst,
                count,
            } => lanes::gather(self, (src, src_count), indices, dst, count).map(done),
            VmKernel::WritePattern { dst, bytes, key } => self
                .over(dst, bytes, Access::Write, |claimed, run, offset| {
                    if let Ok(run) = run {
                        pattern::write(claimed.write(run)?, offset, key);
                    }
                    Ok(())
                })
                .map(done),
            VmKernel::CheckPattern { src, bytes, key } => {
                let mut report = CheckReport::default();
                self.over(src, bytes, Access::Read, |claimed, run, offset| {
                    match run {
                        Ok(run) => report.add(&pattern::check(claimed.read(run)?, offset, key)),
                        Err(bytes) => check_zeroes(&mut report, offset, bytes, key, Check::Full),
                    }
                    Ok(())
                })?;
                Ok(OutcomeValue::Checked(report))
            }
            VmKernel::Rewrite {
                at,
                bytes,
                old,
                new,
                check,
            } => {
                let mut report = CheckReport::default();
                self.over(at, bytes, Access::Write, |claimed, run, offset| {
                    match run {
                        Ok(run) => {
                            let place = claimed.write(run)?;
                            exec::rewrite(place, offset, old, new, check, &mut report);
                        }
                        Err(bytes) => check_zeroes(&mut report, offset, bytes, old, check),
                    }
                    Ok(())
                })?;
                Ok(OutcomeValue::Checked(report))
            }
        }
    }

    /// Lets `work` go over a range: run by run, with where the run begins in the range. What is
    /// sparse is no run but a number of bytes.
    pub(super) fn over(
        &self,
        address: u64,
        bytes: u64,
        access: Access,
        mut work: impl FnMut(&mut Claimed<'_>, Result<Run, u64>, u64) -> Result<(), DeviceError>,
    ) -> Result<(), DeviceError> {
        let mut done = 0;
        while done < bytes {
            (self.go)()?;
            let _entered = self.space.enter()?;
            let at = address.saturating_add(done);
            let window = self.translate(at, PIECE.min(bytes - done), access);
            let (mut claimed, _) = self.claim(&[(&window, access)])?;
            let mut offset = done;
            for piece in &window.pieces {
                work(&mut claimed, piece.run(), offset)?;
                offset += piece.bytes;
            }
            self.host.release(claimed)?;
            add(&self.counters.run, window.bytes);
            done = offset;
            self.fault(at, &window, access)?;
        }
        Ok(())
    }

    pub(super) fn translate(&self, address: u64, bytes: u64, access: Access) -> Window {
        let counters = &self.host.mmu().counters;
        self.space.translate(address, bytes, access, counters)
    }

    /// What ended a window that began at `address`.
    pub(super) fn fault(
        &self,
        address: u64,
        window: &Window,
        access: Access,
    ) -> Result<(), DeviceError> {
        match window.fault {
            None => Ok(()),
            Some(why) => Err(DeviceError::VmFault {
                vm: self.launch.vm,
                job: self.launch.job,
                address: address.saturating_add(window.bytes),
                access,
                why,
            }),
        }
    }

    /// Claims what stands behind windows. The flag says that some of it stands there twice, and
    /// is written.
    pub(super) fn claim(
        &self,
        windows: &[(&Window, Access)],
    ) -> Result<(Claimed<'a>, bool), DeviceError> {
        let mut spans = [Vec::new(), Vec::new()];
        for (window, access) in windows {
            for run in window.pieces.iter().filter_map(|piece| piece.run().ok()) {
                let memory = match run.memory {
                    MemorySpace::Vram => 0,
                    MemorySpace::System => 1,
                };
                spans[memory].push(Span {
                    start: run.offset,
                    end: run.offset + run.bytes,
                    write: *access == Access::Write,
                });
            }
        }
        let [(vram, one), (system, other)] = spans.map(Spans::cover);
        self.host.reaches(&system)?;
        let claimed = self.host.access(&Footprint { vram, system })?;
        Ok((claimed, one || other))
    }

    fn copy(&self, src: u64, dst: u64, bytes: u64) -> Result<(), DeviceError> {
        let mut scratch = Vec::new();
        let mut done = 0;
        while done < bytes {
            (self.go)()?;
            let _entered = self.space.enter()?;
            let (src, dst) = (src.saturating_add(done), dst.saturating_add(done));
            let mut from = self.translate(src, PIECE.min(bytes - done), Access::Read);
            // The destination's fault comes first, or there is none.
            let read = self.fault(src, &from, Access::Read);
            let to = self.translate(dst, from.bytes, Access::Write);
            from.cut(to.bytes);
            let (mut claimed, twice) =
                self.claim(&[(&from, Access::Read), (&to, Access::Write)])?;
            if twice {
                load(&claimed, &from, &mut scratch)?;
                store(&mut claimed, &to, &scratch)?;
            } else {
                let work = |claimed: &mut Claimed<'_>, batch: &Batch| {
                    copy(&from.pieces, &to.pieces, claimed, batch)
                };
                batched(&mut claimed, Way::to_copy(bytes), work)?;
            }
            self.host.release(claimed)?;
            add(&self.counters.run, to.bytes);
            self.fault(dst, &to, Access::Write)?;
            read?;
            done += to.bytes;
        }
        Ok(())
    }

    fn fill(&self, dst: u64, bytes: u64, pattern: u64) -> Result<(), DeviceError> {
        self.over(dst, bytes, Access::Write, |claimed, run, offset| {
            let Ok(run) = run else { return Ok(()) };
            // Goes on where the run before it ended within the pattern.
            let word = pattern.rotate_right((offset % 8) as u32 * 8);
            batched(claimed, Way::to_fill(bytes), |claimed, batch| {
                batch.fill(claimed.write(run)?, word);
                Ok(())
            })
        })
    }

    fn checksum(&self, src: u64, bytes: u64, dst: u64) -> Result<OutcomeValue, DeviceError> {
        let mut sum = 0_u64;
        self.over(src, bytes, Access::Read, |claimed, run, offset| {
            if let Ok(run) = run {
                sum = sum.wrapping_add(lanes::sum(claimed.read(run)?, offset));
            }
            Ok(())
        })?;
        let word = sum.to_le_bytes();
        self.over(dst, 8, Access::Write, |claimed, run, offset| {
            if let Ok(run) = run {
                let place = claimed.write(run)?;
                place.copy_from_slice(&word[offset as usize..][..place.len()]);
            }
            Ok(())
        })?;
        Ok(OutcomeValue::Checksum(sum))
    }
}

impl Piece {
    /// The run; the number of bytes for what is sparse.
    pub(super) fn run(self) -> Result<Run, u64> {
        let bytes = self.bytes;
        let (memory, offset) = self.place.ok_or(bytes)?;
        Ok(Run {
            memory,
            offset,
            bytes,
        })
    }

    /// What is left after the first bytes.
    fn rest(self, bytes: u64) -> Option<Piece> {
        (self.bytes > bytes).then(|| Piece {
            place: self.place.map(|(memory, offset)| (memory, offset + bytes)),
            bytes: self.bytes - bytes,
        })
    }
}

/// Pairs two walks whose cuts differ. Both are equally long.
fn copy(
    from: &[Piece],
    to: &[Piece],
    claimed: &mut Claimed<'_>,
    batch: &Batch,
) -> Result<(), DeviceError> {
    let mut sources = from.iter().copied().peekable();
    let mut targets = to.iter().copied();
    let (mut from, mut to) = (sources.next(), targets.next());
    while let (Some(read), Some(write)) = (from, to) {
        let bytes = read.bytes.min(write.bytes);
        let left = read.rest(bytes);
        if let Ok(run) = write.run() {
            let place = Run { bytes, ..run };
            match read.run() {
                Ok(read) => {
                    let next = left.or_else(|| sources.peek().copied());
                    let next = next.and_then(|next| next.run().ok());
                    claimed.copy(read, place, next, batch)?;
                }
                Err(_) => claimed.write(place)?.fill(0),
            }
        }
        from = left.or_else(|| sources.next());
        to = write.rest(bytes).or_else(|| targets.next());
    }
    Ok(())
}

/// Reads a window whole.
pub(super) fn load(
    claimed: &Claimed<'_>,
    window: &Window,
    into: &mut Vec<u8>,
) -> Result<(), DeviceError> {
    into.clear();
    let bytes = window.bytes;
    into.try_reserve(bytes as usize)
        .map_err(|_| DeviceError::HostMemory { bytes })?;
    for piece in &window.pieces {
        match piece.run() {
            Ok(run) => into.extend_from_slice(claimed.read(run)?),
            Err(bytes) => into.resize(into.len() + bytes as usize, 0),
        }
    }
    Ok(())
}

/// Writes a window whole. There are as many bytes as it has.
pub(super) fn store(
    claimed: &mut Claimed<'_>,
    window: &Window,
    mut from: &[u8],
) -> Result<(), DeviceError> {
    for piece in &window.pieces {
        let (now, rest) = from.split_at((piece.bytes as usize).min(from.len()));
        if let Ok(run) = piece.run() {
            claimed.write(run)?.copy_from_slice(now);
        }
        from = rest;
    }
    Ok(())
}

/// Compares what is sparse, block by block.
fn check_zeroes(report: &mut CheckReport, offset: u64, bytes: u64, key: PatternKey, check: Check) {
    let (mut at, end) = (offset, offset + bytes);
    while at < end {
        let len = (Check::BLOCK - at % Check::BLOCK).min(end - at);
        if check.covers(at / Check::BLOCK) {
            report.add(&pattern::check(&ZEROES[..len as usize], at, key));
        }
        at += len;
    }
}
