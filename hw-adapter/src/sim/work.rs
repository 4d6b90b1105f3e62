//! The thread of an engine: begins, performs and ends commands.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use crate::command::Command;
use crate::device::Fault;
use crate::error::{DeviceError, ListSide};
use crate::footprint::windows;
use crate::outcome::OutcomeValue;
use crate::runs::Runs;

use super::Shared;
use super::cpu::HookCpu;
use super::engine::{Engine, Entry, Next};
use super::exec::{self, Access};
use super::faults::Verdict;
use super::mmu;
use super::sabotage;
use super::statistics::{Counters, add};

/// What a command that is made to fail leaves in the first half of its destination.
const DAMAGE: u8 = 0xdb;

/// The life of an engine's thread.
pub(super) fn work(shared: &Shared, engine: &Engine) {
    loop {
        match engine.next(&shared.timelines) {
            Next::Exit => return,
            Next::Cancel(entry, error) => {
                add(&engine.counters.cancelled, 1);
                finish(shared, engine, entry, Err(error));
            }
            Next::Wait(point) => {
                let waited = shared.timelines.wait_unless(point, None, &engine.interrupt);
                if waited.is_err() {
                    // Lowered before the state is looked at again, so no reason is missed.
                    engine.interrupt.clear();
                }
            }
            Next::Run(entry) => {
                let start = Instant::now();
                let result = run(shared, engine, &entry);
                count(&engine.counters, start, &result);
                finish(shared, engine, entry, result);
            }
        }
    }
}

/// Runs a command, unless its hooks keep it from that. Nothing is claimed afterwards.
fn run(shared: &Shared, engine: &Engine, entry: &Entry) -> Result<OutcomeValue, DeviceError> {
    if let Some(hooks) = &entry.hooks {
        catch_unwind(AssertUnwindSafe(|| hooks.before()))
            .unwrap_or(Err(DeviceError::Bug("a hook panicked")))?;
    }
    catch_unwind(AssertUnwindSafe(|| perform(shared, engine, entry)))
        .unwrap_or(Err(DeviceError::Bug("a command panicked")))
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

fn count(counters: &Counters, start: Instant, result: &Result<OutcomeValue, DeviceError>) {
    let nanos = start.elapsed().as_nanos();
    add(
        &counters.busy_nanos,
        u64::try_from(nanos).unwrap_or(u64::MAX),
    );
    add(&counters.commands, 1);
    if let Err(error) = result {
        add(&counters.failed, 1);
        match error {
            DeviceError::Conflict { .. } => add(&counters.conflicts, 1),
            DeviceError::IommuFault { .. } => add(&counters.iommu_faults, 1),
            _ => {}
        }
    }
}

/// Lets an entry's failure be repaired or logged, and then tells everybody that it has ended:
/// first how, then the point.
fn finish(
    shared: &Shared,
    engine: &Engine,
    mut entry: Entry,
    result: Result<OutcomeValue, DeviceError>,
) {
    let owned = entry.hooks.is_some();
    let result = result.or_else(|error| rescue(shared, engine, &entry, error));
    let value = result.unwrap_or_else(|error| {
        if !owned {
            shared.log(Fault {
                engine: engine.id,
                submission: entry.number,
                signal: entry.signal,
                error,
            });
        }
        OutcomeValue::Failed(error)
    });
    // Whoever sees the end knows that the hooks are gone. They may panic when they are called and
    // when they go.
    let hooks = entry.hooks.take();
    let _ = catch_unwind(AssertUnwindSafe(|| {
        if let Some(hooks) = &hooks {
            hooks.ended(&value);
        }
    }));
    let _ = catch_unwind(AssertUnwindSafe(|| drop(hooks)));
    if let Some(outcome) = entry.outcome {
        outcome.fill(value);
    }
    if let Some(value) = entry.signal {
        // Fails only when someone else advanced this timeline past the value.
        let _ = shared.timelines.advance(engine.timeline, value);
    }
    engine.ended();
}

/// Calls the hooks of a failed command.
fn rescue(
    shared: &Shared,
    engine: &Engine,
    entry: &Entry,
    error: DeviceError,
) -> Result<OutcomeValue, DeviceError> {
    let Some(hooks) = &entry.hooks else {
        return Err(error);
    };
    let lost = error == DeviceError::Lost;
    let answer = catch_unwind(AssertUnwindSafe(|| {
        hooks.failed(error, &HookCpu { shared, lost })
    }));
    match answer.unwrap_or(Err(error)) {
        Ok(OutcomeValue::Failed(error)) => Err(error),
        Ok(value) => {
            add(&engine.counters.rescued, 1);
            Ok(value)
        }
        Err(error) => Err(error),
    }
}
