//! The thread of an engine: begins, performs and ends commands, whatever performs them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use crate::base::Base;
use crate::command::Command;
use crate::device::Fault;
use crate::engine::{Engine, Entry, Next};
use crate::error::DeviceError;
use crate::hooks::CpuAccess;
use crate::outcome::OutcomeValue;
use crate::statistics::{Counters, add};

/// What the threads of a device's engines need of it.
pub(crate) trait Worker: Send + Sync {
    /// What the device is made of.
    fn base(&self) -> &Base;

    /// Performs a command whose waits are over. Nothing is claimed afterwards.
    fn perform(&self, engine: &Engine, entry: &Entry) -> Result<OutcomeValue, DeviceError>;

    /// The CPU's own way; `lost` says whether the device's memory is.
    fn by_cpu(&self, command: &Command, lost: bool) -> Result<OutcomeValue, DeviceError>;
}

/// What a hook is given: whether the device's memory is lost was decided with the command's
/// error. So what was submitted before a loss is repaired alike, however late that happens.
struct HookCpu<'a, W> {
    worker: &'a W,
    lost: bool,
}

impl<W: Worker> CpuAccess for HookCpu<'_, W> {
    fn perform(&self, command: &Command) -> Result<OutcomeValue, DeviceError> {
        self.worker.by_cpu(command, self.lost)
    }
}

/// The life of an engine's thread.
pub(crate) fn work<W: Worker>(worker: &W, engine: &Engine) {
    loop {
        match engine.next(&worker.base().timelines) {
            Next::Exit => return,
            Next::Cancel(entry, error) => {
                add(&engine.counters.cancelled, 1);
                finish(worker, engine, entry, Err(error));
            }
            Next::Wait(point) => {
                let timelines = &worker.base().timelines;
                let waited = timelines.wait_unless(point, None, &engine.interrupt);
                if waited.is_err() {
                    // Lowered before the state is looked at again, so no reason is missed.
                    engine.interrupt.clear();
                }
            }
            Next::Run(entry) => {
                let start = Instant::now();
                let result = run(worker, engine, &entry);
                count(&engine.counters, start, &result);
                finish(worker, engine, entry, result);
            }
        }
    }
}

/// Runs a command, unless its hooks keep it from that. Nothing is claimed afterwards.
fn run<W: Worker>(worker: &W, engine: &Engine, entry: &Entry) -> Result<OutcomeValue, DeviceError> {
    if let Some(hooks) = &entry.hooks {
        catch_unwind(AssertUnwindSafe(|| hooks.before()))
            .unwrap_or(Err(DeviceError::Bug("a hook panicked")))?;
    }
    catch_unwind(AssertUnwindSafe(|| worker.perform(engine, entry)))
        .unwrap_or(Err(DeviceError::Bug("a command panicked")))
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
fn finish<W: Worker>(
    worker: &W,
    engine: &Engine,
    mut entry: Entry,
    result: Result<OutcomeValue, DeviceError>,
) {
    let owned = entry.hooks.is_some();
    let result = result.or_else(|error| rescue(worker, engine, &entry, error));
    let value = result.unwrap_or_else(|error| {
        if !owned {
            worker.base().log(Fault {
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
        let _ = worker.base().timelines.advance(engine.timeline, value);
    }
    engine.ended();
}

/// Calls the hooks of a failed command.
fn rescue<W: Worker>(
    worker: &W,
    engine: &Engine,
    entry: &Entry,
    error: DeviceError,
) -> Result<OutcomeValue, DeviceError> {
    let Some(hooks) = &entry.hooks else {
        return Err(error);
    };
    let lost = error == DeviceError::Lost;
    let answer = catch_unwind(AssertUnwindSafe(|| {
        hooks.failed(error, &HookCpu { worker, lost })
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
