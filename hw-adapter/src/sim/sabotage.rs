//! Deliberate mistakes, so that a test can prove that verification turns red.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::command::{Command, Kernel, MemorySpace, Segment};
use crate::engine::Engine;
use crate::error::{DeviceError, ListSide};
use crate::footprint::{footprint, windows};
use crate::outcome::OutcomeValue;
use crate::runs::Run;
use crate::sync::lock;

use super::Shared;
use crate::exec;

/// A mistake that the device is told to make, once unless it says otherwise.
///
/// Commands are counted over all engines in the order in which they begin, from the request
/// on, without [`Command::Nop`]: 0 is the next one. The list meant is the one that the
/// command writes, or reads if it writes none. A segment that the list does not have, or an
/// exchange that cannot be performed, has no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// The bytes of one segment of the list are left as they were. A command that only reads
    /// is not changed.
    DropSegment {
        /// Which command.
        nth_command: u64,
        /// Which segment.
        segment: usize,
    },
    /// Two segments of the list change places.
    SwapSegments {
        /// Which command.
        nth_command: u64,
        /// One segment.
        a: usize,
        /// The other.
        b: usize,
    },
    /// One bit of memory flips, now.
    FlipBit {
        /// The memory.
        memory: MemorySpace,
        /// The byte, whose lowest bit flips.
        offset: u64,
    },
    /// Translations are not forgotten from now on, whatever
    /// [`Command::InvalidateTlb`] says; `false` ends that.
    IgnoreInvalidations(bool),
}

/// What to do to a command that is about to run.
#[derive(Clone, Copy)]
pub(crate) enum Plan {
    Drop(usize),
    Swap(usize, usize),
}

/// Mistakes that wait for their command.
#[derive(Default)]
pub(crate) struct Plans {
    /// As many as in `waiting`: commands of an honest device take no lock.
    armed: AtomicUsize,
    waiting: Mutex<Vec<(u64, Plan)>>,
}

impl Plans {
    /// Counts a command; the answer is what to do to it.
    pub(crate) fn due(&self, command: &Command) -> Option<Plan> {
        if self.armed.load(Ordering::Acquire) == 0 || matches!(command, Command::Nop) {
            return None;
        }
        let mut waiting = lock(&self.waiting);
        let due = waiting.iter().position(|(after, _)| *after == 0);
        let plan = due.map(|index| waiting.remove(index).1);
        for (after, _) in &mut *waiting {
            *after = after.saturating_sub(1);
        }
        self.armed.store(waiting.len(), Ordering::Release);
        plan
    }

    fn arm(&self, after: u64, plan: Plan) {
        let mut waiting = lock(&self.waiting);
        waiting.push((after, plan));
        self.armed.store(waiting.len(), Ordering::Release);
    }
}

impl Sabotage {
    /// Makes the mistake, or lets it wait for its command.
    pub(crate) fn request(self, shared: &Shared) -> Result<(), DeviceError> {
        match self {
            Sabotage::DropSegment {
                nth_command,
                segment,
            } => shared.sabotage.arm(nth_command, Plan::Drop(segment)),
            Sabotage::SwapSegments { nth_command, a, b } => {
                shared.sabotage.arm(nth_command, Plan::Swap(a, b));
            }
            Sabotage::IgnoreInvalidations(ignore) => shared.mmu.ignore_invalidations(ignore),
            Sabotage::FlipBit { memory, offset } => {
                let memory = match memory {
                    MemorySpace::Vram => &shared.vram,
                    MemorySpace::System => shared.system.memory(),
                };
                let mut claim = memory.claim_range(offset, 1, true)?;
                claim.write(offset, 1)?[0] ^= 1;
            }
        }
        Ok(())
    }
}

/// Performs a command wrongly.
pub(crate) fn perform(
    shared: &Shared,
    engine: &Engine,
    command: &Command,
    plan: Plan,
) -> Result<OutcomeValue, DeviceError> {
    let mut command = command.clone();
    if let Plan::Swap(a, b) = plan
        && let Some(list) = list_mut(&mut command)
        && a.max(b) < list.len()
    {
        let honest = Arc::clone(list);
        let mut swapped = honest.to_vec();
        swapped.swap(a, b);
        *list = swapped.into();
        if footprint(&command, shared.sizes()).is_err()
            && let Some(list) = list_mut(&mut command)
        {
            *list = honest;
        }
    }
    let footprint = footprint(&command, shared.sizes())?;
    shared.iommu.check(&footprint.system)?;
    let mut access = shared.access(&footprint)?;
    let dropped = match plan {
        Plan::Drop(segment) => written(&command, segment),
        Plan::Swap(..) => None,
    };
    let kept = match dropped {
        Some(run) => Some((run, access.read(run)?.to_vec())),
        None => None,
    };
    let result = exec::execute(&command, &mut access, &engine.counters)?;
    if let Some((run, bytes)) = kept {
        access.write(run)?.copy_from_slice(&bytes);
    }
    Ok(result)
}

/// The list that a command writes, or reads if it writes none.
fn list_mut(command: &mut Command) -> Option<&mut Arc<[Segment]>> {
    match command {
        Command::Nop
        | Command::WritePtes { .. }
        | Command::InvalidateTlb { .. }
        | Command::Launch(_) => None,
        Command::Copy { dst, .. }
        | Command::Fill { dst, .. }
        | Command::Write { dst, .. }
        | Command::Run(Kernel::WritePattern { dst, .. }) => Some(dst),
        Command::Read { src, .. } | Command::Run(Kernel::CheckPattern { src, .. }) => Some(src),
        Command::Run(Kernel::Rewrite { mem, .. }) => Some(mem),
    }
}

/// The part of a segment that a command writes.
fn written(command: &Command, segment: usize) -> Option<Run> {
    let window = windows(command)
        .into_iter()
        .flatten()
        .find(|window| window.side == ListSide::Destination)?;
    let piece = window.list.get(segment)?;
    let before: u64 = window.list[..segment].iter().map(|s| s.bytes).sum();
    let start = window.offset.max(before);
    let end = (window.offset + window.bytes).min(before + piece.bytes);
    (start < end).then(|| Run {
        memory: piece.memory,
        offset: piece.offset + (start - before),
        bytes: end - start,
    })
}
