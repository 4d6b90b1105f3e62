//! An engine: a queue with what happens to it. Its thread is in `worker`.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use crate::command::{Command, Submission};
use crate::device::{EngineId, EngineKind};
use crate::error::DeviceError;
use crate::footprint::Footprint;
use crate::hooks::Hooks;
use crate::outcome::Outcome;
use crate::sim::faults::{Rules, Verdict};
use crate::statistics::Counters;
use crate::sync::{lock, sleep};
use crate::timeline::{Interrupt, Point, TimelineId, Timelines, WaitError};

/// An accepted submission.
pub(crate) struct Entry {
    pub(crate) number: u64,
    /// The resets before it was submitted: an older entry is cancelled.
    resets: u64,
    /// The sudden losses before it was submitted: an older entry is lost.
    losses: u64,
    /// It was submitted to a lost device.
    lost: bool,
    waits: Vec<Point>,
    pub(crate) command: Command,
    pub(crate) footprint: Footprint,
    pub(crate) signal: Option<u64>,
    pub(crate) outcome: Option<Arc<Outcome>>,
    pub(crate) hooks: Option<Arc<dyn Hooks>>,
    pub(crate) verdict: Verdict,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Entry>,
    submitted: u64,
    finished: u64,
    last_signal: u64,
    resets: u64,
    /// What is submitted now is lost.
    lost: bool,
    losses: u64,
    /// The running command makes no progress.
    hung: bool,
    /// The number of the submission in progress.
    running: Option<u64>,
    /// The number of the submission that an engine reset ends.
    ends: Option<u64>,
    /// The hung command is to be ended as if the device's patience were over.
    time_out: bool,
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

impl State {
    /// Why an entry does not begin, or a hung one ends.
    fn cancels(&self, entry: &Entry) -> Option<DeviceError> {
        if entry.lost || entry.losses < self.losses {
            // First, so that what was submitted to a lost device ends so in any case.
            Some(DeviceError::Lost)
        } else if self.stopped {
            Some(DeviceError::Stopped)
        } else if entry.resets < self.resets {
            Some(DeviceError::Reset)
        } else {
            None
        }
    }
}

/// A queue with its thread's state.
pub(crate) struct Engine {
    pub(crate) id: EngineId,
    kind: EngineKind,
    pub(crate) timeline: TimelineId,
    state: Mutex<State>,
    /// The engine's thread sleeps here.
    work: Condvar,
    /// Observers sleep here.
    progress: Condvar,
    /// Ends the thread's wait for a point.
    pub(crate) interrupt: Interrupt,
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
pub(crate) enum Next {
    Run(Entry),
    Cancel(Entry, DeviceError),
    Wait(Point),
    /// Nothing begins now.
    Idle,
    Exit,
}

impl Engine {
    pub(crate) fn new(id: EngineId, kind: EngineKind, timeline: TimelineId) -> Engine {
        Engine {
            id,
            kind,
            timeline,
            state: Mutex::default(),
            work: Condvar::new(),
            progress: Condvar::new(),
            interrupt: Interrupt::new(),
            counters: Counters::default(),
        }
    }

    /// Appends a submission whose lists and timelines are checked, judged by the rules if there
    /// are any.
    pub(crate) fn push(
        &self,
        submission: Submission,
        footprint: Footprint,
        rules: Option<&mut Rules>,
    ) -> Result<(), DeviceError> {
        let Submission {
            waits,
            command,
            signal,
            outcome,
            hooks,
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
        if let Some(value) = signal.filter(|value| *value <= last) {
            return Err(DeviceError::ValueNotIncreasing {
                engine: self.id,
                last,
                value,
            });
        }
        let verdict = match rules {
            None => Verdict::Honest,
            Some(rules) => rules.judge(self.kind, &command, hooks.is_some())?,
        };
        // Nothing refuses it from here on.
        state.last_signal = signal.unwrap_or(last);
        let entry = Entry {
            number: state.submitted,
            resets: state.resets,
            losses: state.losses,
            lost: state.lost,
            waits,
            command,
            footprint,
            signal,
            outcome,
            hooks,
            verdict,
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

    /// Sleeps until there is something to do; with `busy` it answers [`Next::Idle`] instead.
    pub(crate) fn next(&self, timelines: &Timelines, busy: bool) -> Next {
        let mut state = lock(&self.state);
        loop {
            let held = state.resetting || (state.held && state.steps == 0);
            match state.queue.front() {
                None if state.stopped && !busy => return Next::Exit,
                None => {}
                Some(front) => {
                    let cancelled = state.cancels(front);
                    let unreached = |point: &&Point| !timelines.reached(**point);
                    if cancelled.is_none()
                        && !held
                        && let Some(point) = front.waits.iter().find(unreached)
                    {
                        return Next::Wait(*point);
                    }
                    if (cancelled.is_some() || !held)
                        && let Some(entry) = state.queue.pop_front()
                    {
                        if let Some(error) = cancelled {
                            return Next::Cancel(entry, error);
                        }
                        // A step is used up when the command begins; only a held engine has any.
                        state.steps = state.steps.saturating_sub(1);
                        state.running = Some(entry.number);
                        return Next::Run(entry);
                    }
                }
            }
            if busy {
                return Next::Idle;
            }
            state.asleep = true;
            (state, _) = sleep(&self.work, state, None);
            state.asleep = false;
        }
    }

    /// The running command makes no progress; the answer is what ends it.
    pub(crate) fn hang(&self, entry: &Entry, patience: Duration) -> DeviceError {
        let deadline = Instant::now().checked_add(patience);
        let mut state = lock(&self.state);
        state.hung = true;
        state.time_out = false;
        let error = loop {
            if let Some(error) = state.cancels(entry) {
                break error;
            }
            if state.ends == Some(entry.number) {
                break DeviceError::Reset;
            }
            if state.time_out {
                break DeviceError::TimedOut;
            }
            let expired;
            (state, expired) = sleep(&self.work, state, deadline);
            if expired {
                break DeviceError::TimedOut;
            }
        };
        state.hung = false;
        error
    }

    pub(crate) fn hung(&self) -> bool {
        lock(&self.state).hung
    }

    /// Ends a hung command.
    pub(crate) fn time_out(&self) {
        lock(&self.state).time_out = true;
        self.work.notify_one();
    }

    /// Whether a command in progress goes on.
    ///
    /// # Errors
    /// [`DeviceError::Reset`] when the engine was reset meanwhile.
    pub(crate) fn goes_on(&self, entry: &Entry) -> Result<(), DeviceError> {
        match lock(&self.state).ends == Some(entry.number) {
            true => Err(DeviceError::Reset),
            false => Ok(()),
        }
    }

    /// Ends the command in progress, if it can be ended.
    pub(crate) fn end_running(&self) {
        let mut state = lock(&self.state);
        state.ends = state.running;
        drop(state);
        self.work.notify_one();
    }

    /// An entry has ended, and everybody knows how.
    pub(crate) fn ended(&self, number: u64) {
        let mut state = lock(&self.state);
        state.finished += 1;
        // A later one may have begun.
        state.running = state.running.filter(|running| *running != number);
        let wake = state.observers > 0;
        drop(state);
        if wake {
            self.progress.notify_all();
        }
    }

    pub(crate) fn submitted(&self) -> u64 {
        lock(&self.state).submitted
    }

    /// How many submissions have begun.
    pub(crate) fn begun(&self) -> u64 {
        let state = lock(&self.state);
        state.submitted - state.queue.len() as u64
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

    /// What is submitted from now on is lost; what was before is not.
    pub(crate) fn lose_later(&self) {
        lock(&self.state).lost = true;
    }

    /// What has not begun is lost as well, and what hangs.
    pub(crate) fn lose(&self, timelines: &Timelines) {
        self.redirect(timelines, |state| {
            state.lost = true;
            state.losses += 1;
        });
    }

    /// Cancels what is queued, and lives again for what comes; `None` when the engine has
    /// stopped. The answer is the number of submissions to wait for.
    pub(crate) fn begin_reset(&self, timelines: &Timelines) -> Option<u64> {
        self.redirect(timelines, |state| {
            state.resets += 1;
            state.resetting = true;
            state.lost = false;
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
