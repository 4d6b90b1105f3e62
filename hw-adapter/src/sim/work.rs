//! What the engines of a simulated device do with a command.

use crate::base::Base;
use crate::command::Command;
use crate::engine::{Engine, Entry};
use crate::error::{DeviceError, ListSide};
use crate::footprint::windows;
use crate::outcome::OutcomeValue;
use crate::runs::Runs;
use crate::worker::{Begun, Performed, Worker};

use super::Shared;
use super::faults::Verdict;
use super::sabotage;
use crate::exec::{self, Access};
use crate::mmu;

/// What a command that is made to fail leaves in the first half of its destination.
const DAMAGE: u8 = 0xdb;

impl Worker for Shared {
    type Begun<'w> = Never;

    fn base(&self) -> &Base {
        &self.base
    }

    fn perform<'w>(
        &'w self,
        engine: &'w Engine,
        entry: &Entry,
    ) -> Result<Performed<Never>, DeviceError> {
        perform(self, engine, entry).map(Performed::Ended)
    }

    fn overlaps(&self, _: &Entry) -> bool {
        false
    }

    fn by_cpu(&self, command: &Command, lost: bool) -> Result<OutcomeValue, DeviceError> {
        self.perform_by_cpu(command, lost)
    }
}

/// Every command ends before its engine goes on.
pub(crate) enum Never {}

impl Begun for Never {
    fn is_done(&self) -> bool {
        match *self {}
    }

    fn end(self) -> Result<OutcomeValue, DeviceError> {
        match self {}
    }
}

fn perform(shared: &Shared, engine: &Engine, entry: &Entry) -> Result<OutcomeValue, DeviceError> {
    // Counts the command, whatever becomes of it.
    let mistake = shared.sabotage.due(&entry.command);
    let lists = !matches!(
        entry.command,
        Command::WritePtes { .. } | Command::InvalidateTlb { .. } | Command::Launch(_)
    );
    if entry.verdict == Verdict::Honest
        && lists
        && let Some(plan) = mistake
    {
        return sabotage::perform(shared, engine, &entry.command, plan);
    }
    shared.iommu.check(&entry.footprint.system)?;
    if entry.verdict == Verdict::Hang {
        shared.faults.inject();
        return Err(engine.hang(entry, shared.timeout));
    }
    let fails = entry.verdict == Verdict::Fail;
    if fails {
        shared.faults.inject();
    }
    if !lists {
        return translate(shared, engine, entry, fails);
    }
    let mut access = shared.access(&entry.footprint)?;
    if fails {
        damage(&entry.command, &mut access)?;
        return Err(DeviceError::Injected);
    }
    exec::execute(&entry.command, &mut access, &engine.counters)
}

/// Performs what goes through the MMU.
fn translate(
    shared: &Shared,
    engine: &Engine,
    entry: &Entry,
    fails: bool,
) -> Result<OutcomeValue, DeviceError> {
    let done = |()| OutcomeValue::Done;
    let result = match &entry.command {
        Command::WritePtes { vm, writes } if fails => shared.mmu.write_half(*vm, writes).map(done),
        Command::WritePtes { vm, writes } => shared.mmu.write(*vm, writes).map(done),
        Command::InvalidateTlb { vm } if !fails => shared.mmu.invalidate(*vm).map(done),
        Command::Launch(launch) if fails => {
            mmu::damage(shared, launch, &engine.counters, DAMAGE);
            Err(DeviceError::Injected)
        }
        Command::Launch(launch) => {
            let go = || engine.goes_on(entry);
            mmu::launch(shared, launch, &engine.counters, &go)
        }
        _ => Ok(OutcomeValue::Done),
    };
    if fails {
        result.and(Err(DeviceError::Injected))
    } else {
        result
    }
}

/// Overwrites the first half of what a command would write.
fn damage(command: &Command, access: &mut Access<'_>) -> Result<(), DeviceError> {
    let written = windows(command)
        .into_iter()
        .flatten()
        .find(|window| window.side == ListSide::Destination);
    if let Some(window) = written {
        for run in Runs::new(window.list, window.offset, window.bytes.div_ceil(2)) {
            access.write(run)?.fill(DAMAGE);
        }
    }
    Ok(())
}
