//! The thread of an engine: begins, performs and ends commands, whatever performs them.
//!
//! A device may begin a command and let it go on without its engine. Then the engine begins others
//! that use other bytes, a few at a time. All end in the order of their submission.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use crate::base::Base;
use crate::claim::clashes;
use crate::command::Command;
use crate::device::Fault;
use crate::engine::{Engine, Entry, Next};
use crate::error::DeviceError;
use crate::hooks::CpuAccess;
use crate::outcome::OutcomeValue;
use crate::statistics::{Counters, add};

/// What the threads of a device's engines need of it.
pub(crate) trait Worker: Send + Sync {
    /// A command on its way.
    type Begun<'w>: Begun
    where
        Self: 'w;

    /// What the device is made of.
    fn base(&self) -> &Base;

    /// Performs a command whose waits are over, or begins it. Nothing is claimed once it has ended.
    fn perform<'w>(
        &'w self,
        engine: &'w Engine,
        entry: &Entry,
    ) -> Result<Performed<Self::Begun<'w>>, DeviceError>;

    /// Whether a command may begin while others of its engine are on their way. Those end later by
    /// as much as it takes to begin it.
    fn overlaps(&self, entry: &Entry) -> bool;

    /// The CPU's own way; `lost` says whether the device's memory is.
    fn by_cpu(&self, command: &Command, lost: bool) -> Result<OutcomeValue, DeviceError>;
}

/// What became of a command.
pub(crate) enum Performed<B> {
    Ended(OutcomeValue),
    #[cfg_attr(
        not(any(feature = "wgpu", test)),
        expect(dead_code, reason = "of the GPU's alone")
    )]
    Begun(B),
}

/// A command that goes on without its engine. Dropped, it has ended, and nothing is claimed.
pub(crate) trait Begun {
    /// Whether its end needs no wait.
    fn is_done(&self) -> bool;

    /// Waits for it. Nothing is claimed afterwards.
    fn end(self) -> Result<OutcomeValue, DeviceError>;
}

/// How many commands of an engine are on their way at once.
const DEEP: usize = 4;

/// Commands of an engine that were begun and have not ended, in their order.
struct Flying<'w, W: Worker> {
    worker: &'w W,
    engine: &'w Engine,
    begun: VecDeque<(Entry, Instant, W::Begun<'w>)>,
    /// When the last command ended.
    busy: Option<Instant>,
}

impl<'w, W: Worker> Flying<'w, W> {
    /// Ends the first one; the answer is whether there was one.
    fn end_first(&mut self) -> bool {
        let Some((entry, start, begun)) = self.begun.pop_front() else {
            return false;
        };
        let result = catch_unwind(AssertUnwindSafe(|| begun.end())).unwrap_or(Err(PANICKED));
        self.ended(entry, start, result);
        true
    }

    fn end_all(&mut self) {
        while self.end_first() {}
    }

    /// Ends what needs no wait.
    fn end_done(&mut self) {
        while self.begun.front().is_some_and(|(.., b)| b.is_done()) && self.end_first() {}
    }

    /// Ends what a command may not begin before.
    fn make_way(&mut self, entry: &Entry) {
        loop {
            let overlaps = self.begun.len() < DEEP && self.worker.overlaps(entry);
            let apart = |(other, ..): &(Entry, Instant, W::Begun<'w>)| {
                overlaps && !clashes(&other.footprint, &entry.footprint)
            };
            if self.begun.iter().all(apart) || !self.end_first() {
                return;
            }
        }
    }

    fn ended(&mut self, entry: Entry, start: Instant, result: Result<OutcomeValue, DeviceError>) {
        let now = Instant::now();
        // Two that overlap are not busy twice.
        let start = self.busy.map_or(start, |busy| busy.max(start));
        self.busy = Some(now);
        count(&self.engine.counters, now - start, &result);
        finish(self.worker, self.engine, entry, result);
    }
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
    let mut flying = Flying {
        worker,
        engine,
        begun: VecDeque::new(),
        busy: None,
    };
    let timelines = &worker.base().timelines;
    loop {
        match engine.next(timelines, !flying.begun.is_empty()) {
            Next::Exit => return,
            Next::Idle => {
                flying.end_first();
            }
            Next::Cancel(entry, error) => {
                flying.end_all();
                add(&engine.counters.cancelled, 1);
                finish(worker, engine, entry, Err(error));
            }
            // The point may be one of those.
            Next::Wait(_) if flying.end_first() => {}
            Next::Wait(point) => {
                let waited = timelines.wait_unless(point, None, &engine.interrupt);
                if waited.is_err() {
                    // Lowered before the state is looked at again, so no reason is missed.
                    engine.interrupt.clear();
                }
            }
            Next::Run(entry) => {
                flying.end_done();
                flying.make_way(&entry);
                let start = Instant::now();
                let result = match run(worker, engine, &entry) {
                    Ok(Performed::Begun(begun)) => {
                        flying.begun.push_back((entry, start, begun));
                        continue;
                    }
                    Ok(Performed::Ended(value)) => Ok(value),
                    Err(error) => Err(error),
                };
                flying.end_all();
                flying.ended(entry, start, result);
            }
        }
    }
}

const PANICKED: DeviceError = DeviceError::Bug("a command panicked");

/// Runs a command, unless its hooks keep it from that. Nothing is claimed once it has ended.
fn run<'w, W: Worker>(
    worker: &'w W,
    engine: &'w Engine,
    entry: &Entry,
) -> Result<Performed<W::Begun<'w>>, DeviceError> {
    if let Some(hooks) = &entry.hooks {
        catch_unwind(AssertUnwindSafe(|| hooks.before()))
            .unwrap_or(Err(DeviceError::Bug("a hook panicked")))?;
    }
    catch_unwind(AssertUnwindSafe(|| worker.perform(engine, entry))).unwrap_or(Err(PANICKED))
}

fn count(counters: &Counters, took: Duration, result: &Result<OutcomeValue, DeviceError>) {
    let nanos = took.as_nanos();
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
    engine.ended(entry.number);
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

#[cfg(test)]
#[path = "worker_tests.rs"]
mod tests;
