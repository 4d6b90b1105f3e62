//! An engine: a queue, and the thread that works it off in order.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

use crate::command::{Command, Submission};
use crate::device::{EngineId, Fault};
use crate::error::DeviceError;
use crate::footprint::Footprint;
use crate::outcome::{Outcome, OutcomeValue};
use crate::sync::{lock, sleep};
use crate::timeline::{Interrupt, Point, TimelineId, Timelines, WaitError};

use super::Shared;
use super::exec;
use super::sabotage;
use super::statistics::{Counters, add};

/// An accepted submission.
struct Entry {
    number: u64,
    /// The resets before it was submitted: an older entry is cancelled.
    resets: u64,
    waits: Vec<Point>,
    command: Command,
    footprint: Footprint,
    signal: Option<u64>,
    outcome: Option<Arc<Outcome>>,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Entry>,
    submitted: u64,
    finished: u64,
    last_signal: u64,
    resets: u64,
    /// A reset is clearing memory: new entries do not begin.
    resetting: bool,
    held: bool,
    steps: u64,
    stopped: bool,
    /// The engine's thread waits for `work`.
    asleep: bool,
    /// Threads in `wait_finished`.
    observers: u32,
}

/// A queue with its thread's state.
pub(crate) struct Engine {
    id: EngineId,
    timeline: TimelineId,
    state: Mutex<State>,
    /// The engine's thread sleeps here.
    work: Condvar,
    /// Observers sleep here.
    progress: Condvar,
    /// Ends the thread's wait for a point.
    pub(super) interrupt: Interrupt,
    pub(crate) counters: Counters,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = lock(&self.state);
        f.debug_struct("Engine")
            .field("timeline", &self.timeline)
            .field("queued", &state.queue.len())
            .field("held", &state.held)
            .field("stopped", &state.stopped)
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}

/// What the thread does next.
enum Next {
    Run(Entry),
    Cancel(Entry, DeviceError),
    Wait(Point),
    Exit,
}

impl Engine {
    pub(crate) fn new(id: EngineId, timeline: TimelineId) -> Engine {
        Engine {
            id,
            timeline,
            state: Mutex::default(),
            work: Condvar::new(),
            progress: Condvar::new(),
            interrupt: Interrupt::new(),
            counters: Counters::default(),
        }
    }

    /// Appends a submission whose lists and timelines are checked.
    pub(crate) fn push(
        &self,
        submission: Submission,
        footprint: Footprint,
    ) -> Result<(), DeviceError> {
        let Submission {
            waits,
            command,
            signal,
            outcome,
        } = submission;
        let mut state = lock(&self.state);
        if state.stopped {
            return Err(DeviceError::Stopped);
        }
        let last = state.last_signal;
        let own = |point: &&Point| point.timeline == self.timeline && point.value > last;
        if let Some(point) = waits.iter().find(own) {
            return Err(DeviceError::WaitsForItself {
                engine: self.id,
                point: *point,
                last,
            });
        }
        if let Some(value) = signal {
            if value <= last {
                return Err(DeviceError::ValueNotIncreasing {
                    engine: self.id,
                    last,
                    value,
                });
            }
            state.last_signal = value;
        }
        let entry = Entry {
            number: state.submitted,
            resets: state.resets,
            waits,
            command,
            footprint,
            signal,
            outcome,
        };
        state.submitted += 1;
        state.queue.push_back(entry);
        // A thread that sleeps before a queue with entries is held, and woken by who releases.
        let wake = state.asleep && state.queue.len() == 1;
        drop(state);
        if wake {
            self.work.notify_one();
        }
        Ok(())
    }

    fn next(&self, timelines: &Timelines) -> Next {
        let mut state = lock(&self.state);
        loop {
            let blocked = match state.queue.front() {
                None if state.stopped => return Next::Exit,
                None => true,
                Some(_) if state.stopped => {
                    if let Some(entry) = state.queue.pop_front() {
                        return Next::Cancel(entry, DeviceError::Stopped);
                    }
                    true
                }
                Some(front) if front.resets < state.resets => {
                    if let Some(entry) = state.queue.pop_front() {
                        return Next::Cancel(entry, DeviceError::Reset);
                    }
                    true
                }
                Some(_) if state.resetting || (state.held && state.steps == 0) => true,
                Some(front) => {
                    if let Some(point) = front.waits.iter().find(|p| !timelines.reached(**p)) {
                        return Next::Wait(*point);
                    }
                    false
                }
            };
            if !blocked && let Some(entry) = state.queue.pop_front() {
                // A step is used up when the command begins; only a held engine has any.
                state.steps = state.steps.saturating_sub(1);
                return Next::Run(entry);
            }
            state.asleep = true;
            (state, _) = sleep(&self.work, state, None);
            state.asleep = false;
        }
    }

    /// Tells everybody that an entry has ended: first the error, then the point.
    fn finish(&self, shared: &Shared, entry: Entry, result: Result<OutcomeValue, DeviceError>) {
        let value = result.unwrap_or_else(|error| {
            shared.log(Fault {
                engine: self.id,
                submission: entry.number,
                signal: entry.signal,
                error,
            });
            OutcomeValue::Failed(error)
        });
        if let Some(outcome) = entry.outcome {
            outcome.fill(value);
        }
        if let Some(value) = entry.signal {
            // Fails only when someone else advanced this timeline past the value.
            let _ = shared.timelines.advance(self.timeline, value);
        }
        let mut state = lock(&self.state);
        state.finished += 1;
        let wake = state.observers > 0;
        drop(state);
        if wake {
            self.progress.notify_all();
        }
    }

    pub(crate) fn submitted(&self) -> u64 {
        lock(&self.state).submitted
    }

    /// Waits until so many submissions have finished.
    pub(crate) fn wait_finished(
        &self,
        count: u64,
        deadline: Option<Instant>,
    ) -> Result<(), WaitError> {
        let mut state = lock(&self.state);
        state.observers += 1;
        let result = loop {
            if state.finished >= count {
                break Ok(());
            }
            let expired;
            (state, expired) = sleep(&self.progress, state, deadline);
            if expired {
                break Err(WaitError::TimedOut);
            }
        };
        state.observers -= 1;
        result
    }

    /// Changes the state and lets the thread look at it, also when it waits for a point.
    fn redirect<T>(&self, timelines: &Timelines, change: impl FnOnce(&mut State) -> T) -> T {
        let answer = change(&mut lock(&self.state));
        self.work.notify_one();
        timelines.interrupt(&self.interrupt);
        answer
    }

    pub(crate) fn stop(&self, timelines: &Timelines) {
        self.redirect(timelines, |state| state.stopped = true);
    }

    /// Cancels what is queued; `None` when the engine has stopped. The answer is the number of
    /// submissions to wait for.
    pub(crate) fn begin_reset(&self, timelines: &Timelines) -> Option<u64> {
        self.redirect(timelines, |state| {
            state.resets += 1;
            state.resetting = true;
            (!state.stopped).then_some(state.submitted)
        })
    }

    pub(crate) fn end_reset(&self) {
        lock(&self.state).resetting = false;
        self.work.notify_one();
    }

    pub(crate) fn hold(&self) {
        let mut state = lock(&self.state);
        state.held = true;
        state.steps = 0;
    }

    pub(crate) fn step(&self, commands: u64) {
        let mut state = lock(&self.state);
        if state.held {
            state.steps = state.steps.saturating_add(commands);
            drop(state);
            self.work.notify_one();
        }
    }

    pub(crate) fn release(&self) {
        let mut state = lock(&self.state);
        state.held = false;
        state.steps = 0;
        drop(state);
        self.work.notify_one();
    }

    pub(crate) fn queued(&self) -> usize {
        lock(&self.state).queue.len()
    }
}

/// The life of an engine's thread.
pub(crate) fn work(shared: &Shared, engine: &Engine) {
    loop {
        match engine.next(&shared.timelines) {
            Next::Exit => return,
            Next::Cancel(entry, error) => {
                add(&engine.counters.cancelled, 1);
                engine.finish(shared, entry, Err(error));
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
                let result = catch_unwind(AssertUnwindSafe(|| perform(shared, engine, &entry)))
                    .unwrap_or(Err(DeviceError::Bug("a command panicked")));
                count(&engine.counters, start, &result);
                engine.finish(shared, entry, result);
            }
        }
    }
}

fn perform(shared: &Shared, engine: &Engine, entry: &Entry) -> Result<OutcomeValue, DeviceError> {
    if let Some(plan) = shared.sabotage.due(&entry.command) {
        return sabotage::perform(shared, engine, &entry.command, plan);
    }
    let mut access = shared.access(&entry.footprint)?;
    exec::execute(&entry.command, &mut access, &engine.counters)
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
        if matches!(error, DeviceError::Conflict { .. }) {
            add(&counters.conflicts, 1);
        }
    }
}
