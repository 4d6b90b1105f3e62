#![allow(clippy::unwrap_used)]

use std::fmt;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};

use super::*;
use crate::base::Parts;
use crate::command::{Segment, Submission};
use crate::device::EngineKind;
use crate::footprint;
use crate::hooks::Hooks;
use crate::outcome::Outcome;
use crate::sync::lock;
use crate::system::SystemMemory;
use crate::timeline::{Point, Timelines};

/// A worker whose copies end when the test says so. A command of 13 bytes fails as it begins.
struct Fake {
    base: Base,
    overlaps: bool,
    /// It never says that a copy is done: every end is one that the engine waits for.
    silent: bool,
    log: Mutex<Log>,
    changed: Condvar,
}

#[derive(Default)]
struct Log {
    events: Vec<(&'static str, u64)>,
    /// The GPU is done with these.
    done: Vec<u64>,
}

fn fill(at: u64, bytes: u64) -> Command {
    Command::Fill {
        dst: [Segment::vram(at, bytes)].into(),
        offset: 0,
        bytes,
        pattern: 0,
    }
}

impl fmt::Debug for Fake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("fake")
    }
}

struct Copy<'w>(&'w Fake, u64);

impl Begun for Copy<'_> {
    fn is_done(&self) -> bool {
        !self.0.silent && lock(&self.0.log).done.contains(&self.1)
    }

    fn end(self) -> Result<OutcomeValue, DeviceError> {
        let log = lock(&self.0.log);
        let waits = |log: &mut Log| !log.done.contains(&self.1);
        let mut log = self.0.changed.wait_while(log, waits).unwrap();
        log.events.push(("end", self.1));
        drop(log);
        self.0.changed.notify_all();
        assert_ne!(self.1, 3, "a panic of the third");
        Ok(OutcomeValue::Done)
    }
}

impl Worker for Fake {
    type Begun<'w> = Copy<'w>;

    fn base(&self) -> &Base {
        &self.base
    }

    fn perform<'w>(
        &'w self,
        _: &'w Engine,
        entry: &Entry,
    ) -> Result<Performed<Copy<'w>>, DeviceError> {
        self.note("begin", entry.number);
        match &entry.command {
            Command::Fill { bytes: 13, .. } => Err(DeviceError::TimedOut),
            Command::Fill { .. } => Ok(Performed::Begun(Copy(self, entry.number))),
            _ => Ok(Performed::Ended(OutcomeValue::Done)),
        }
    }

    fn overlaps(&self, entry: &Entry) -> bool {
        self.overlaps && matches!(entry.command, Command::Fill { .. })
    }

    fn by_cpu(&self, _: &Command, _: bool) -> Result<OutcomeValue, DeviceError> {
        Err(DeviceError::CpuRefused)
    }
}

impl Fake {
    fn new(overlaps: bool, silent: bool) -> Arc<Fake> {
        let parts = Parts {
            name: "fake".into(),
            vram_bytes: 1 << 20,
            initial_bytes: 1 << 20,
            chunk_bytes: 1 << 20,
            granule: 4096,
            engines: vec![("copy".into(), EngineKind::Copy)],
            iommu: false,
            page_table_bytes: 1 << 20,
            walked: false,
        };
        let system = Arc::new(SystemMemory::new(1 << 20).unwrap());
        Arc::new(Fake {
            base: Base::new(parts, Arc::new(Timelines::new()), system).unwrap(),
            overlaps,
            silent,
            log: Mutex::default(),
            changed: Condvar::new(),
        })
    }

    /// Starts its engine's thread.
    fn start(self: &Arc<Self>) -> JoinHandle<()> {
        let worker = Arc::clone(self);
        thread::spawn(move || work(&*worker, worker.engine()))
    }

    fn note(&self, event: &'static str, number: u64) {
        lock(&self.log).events.push((event, number));
        self.changed.notify_all();
    }

    fn engine(&self) -> &Engine {
        &self.base.engines[0]
    }

    /// Submits with the next value, which is one more than its number.
    fn submit(&self, number: u64, command: Command) -> Arc<Outcome> {
        self.push(number, Submission::new(command))
    }

    fn push(&self, number: u64, submission: Submission) -> Arc<Outcome> {
        let outcome = Arc::new(Outcome::new());
        let footprint = footprint::footprint(&submission.command, self.base.sizes()).unwrap();
        let submission = submission.signal(number + 1).outcome(&outcome);
        self.engine().push(submission, footprint, None).unwrap();
        outcome
    }

    fn fill(&self, number: u64, at: u64, bytes: u64) -> Arc<Outcome> {
        self.submit(number, fill(at, bytes))
    }

    fn fill_hooked(self: &Arc<Self>, number: u64, at: u64, bytes: u64) -> Arc<Outcome> {
        let hooks: Arc<dyn Hooks> = Arc::new(Told(Arc::clone(self), number));
        self.push(number, Submission::new(fill(at, bytes)).hooks(&hooks))
    }

    /// Waits for an event; the answer is all by then.
    fn events(&self, last: (&'static str, u64)) -> Vec<(&'static str, u64)> {
        let absent = |log: &mut Log| !log.events.contains(&last);
        let log = self.changed.wait_while(lock(&self.log), absent).unwrap();
        log.events.clone()
    }

    fn done(&self, numbers: impl IntoIterator<Item = u64>) {
        lock(&self.log).done.extend(numbers);
        self.changed.notify_all();
    }

    fn reached(&self, number: u64) -> bool {
        let timeline = self.engine().timeline;
        let value = number + 1;
        self.base.timelines.reached(Point { timeline, value })
    }
}

/// Submits and runs; the engine's thread has ended afterwards, and everything with it.
fn with(
    (overlaps, silent): (bool, bool),
    submit: impl FnOnce(&Fake),
    then: impl FnOnce(&Fake),
) -> Vec<String> {
    let fake = Fake::new(overlaps, silent);
    submit(&fake);
    let thread = fake.start();
    then(&fake);
    fake.base.finished(Engine::submitted, None).unwrap();
    fake.base.stop();
    thread.join().unwrap();
    let events = &lock(&fake.log).events;
    events.iter().map(|(e, n)| format!("{e} {n}")).collect()
}

#[test]
fn what_uses_other_bytes_begins_at_once_and_ends_in_order() {
    let submit = |fake: &Fake| {
        for number in 0..3 {
            fake.fill(number, number * 4096, 4096);
        }
    };
    let then = |fake: &Fake| {
        let events = fake.events(("begin", 2));
        assert_eq!(events, [("begin", 0), ("begin", 1), ("begin", 2)]);
        // The GPU is done with later ones; their points come after the first.
        fake.done([1, 2]);
        assert!(![0, 1, 2].into_iter().any(|number| fake.reached(number)));
        fake.done([0]);
    };
    let events = with((true, false), submit, then);
    assert_eq!(events[3..], ["end 0", "end 1", "end 2"]);
}

#[test]
fn what_uses_the_same_bytes_waits_for_its_turn() {
    let submit = |fake: &Fake| {
        fake.fill(0, 0, 4096);
        fake.fill(1, 8192, 4096);
        fake.fill(2, 4095, 4096);
        fake.fill(3, 65536, 4096);
    };
    let then = |fake: &Fake| {
        fake.events(("begin", 1));
        fake.done([0]);
        let events = fake.events(("begin", 3));
        assert_eq!(events[2..], [("end", 0), ("begin", 2), ("begin", 3)]);
        fake.done([1, 2, 3]);
    };
    with((true, false), submit, then);
}

#[test]
fn a_device_that_overlaps_nothing_goes_one_by_one() {
    let submit = |fake: &Fake| {
        fake.fill(0, 0, 4096);
        fake.fill(1, 8192, 4096);
    };
    let events = with((false, true), submit, |fake| fake.done([0, 1]));
    assert_eq!(events, ["begin 0", "end 0", "begin 1", "end 1"]);
}

#[test]
fn other_commands_begin_after_all_before_them() {
    let submit = |fake: &Fake| {
        fake.fill(0, 0, 4096);
        fake.fill(1, 8192, 4096);
        fake.submit(2, Command::Nop);
    };
    let then = |fake: &Fake| {
        fake.events(("begin", 1));
        fake.done([1, 0]);
        let events = fake.events(("begin", 2));
        assert_eq!(events[2..], [("end", 0), ("end", 1), ("begin", 2)]);
    };
    with((true, true), submit, then);
}

#[test]
fn few_are_on_their_way_at_once() {
    let deep = DEEP as u64;
    let submit = |fake: &Fake| {
        for number in 0..=deep {
            fake.fill(number, number * 4096, 4096);
        }
    };
    let then = |fake: &Fake| {
        fake.events(("begin", deep - 1));
        fake.done([0]);
        let events = fake.events(("begin", deep));
        assert_eq!(events[DEEP..], [("end", 0), ("begin", deep)]);
        fake.done(1..=deep);
    };
    with((true, false), submit, then);
}

#[test]
fn failures_end_in_order_too() {
    let fake = Fake::new(true, false);
    let outcomes = [
        fake.fill(0, 0, 4096),
        fake.fill(1, 8192, 13),
        fake.fill(2, 65536, 4096),
        fake.fill(3, 4096, 4096),
        fake.fill(4, 12288, 4096),
    ];
    let thread = fake.start();
    fake.events(("begin", 1));
    assert!(!fake.reached(1));
    fake.done(0..5);
    fake.base.finished(Engine::submitted, None).unwrap();
    fake.base.stop();
    thread.join().unwrap();
    let values = outcomes.map(|outcome| outcome.get().cloned().unwrap());
    let failed = |error| OutcomeValue::Failed(error);
    assert_eq!(values[0], OutcomeValue::Done);
    assert_eq!(values[1], failed(DeviceError::TimedOut));
    assert_eq!(values[2], OutcomeValue::Done);
    assert_eq!(values[3], failed(PANICKED));
    assert_eq!(values[4], OutcomeValue::Done);
    assert!(fake.reached(4));
}

/// Notes an end.
#[derive(Debug)]
struct Told(Arc<Fake>, u64);

impl Hooks for Told {
    fn failed(&self, error: DeviceError, _: &dyn CpuAccess) -> Result<OutcomeValue, DeviceError> {
        Err(error)
    }

    fn ended(&self, _: &OutcomeValue) {
        self.0.note("told", self.1);
    }
}

#[test]
fn a_stop_waits_for_what_is_on_its_way() {
    let fake = Fake::new(true, true);
    fake.fill(0, 0, 4096);
    fake.fill(1, 8192, 4096);
    let thread = fake.start();
    fake.events(("begin", 1));
    // The engine waits for an end; what comes meanwhile is cancelled.
    fake.base.stop();
    fake.done([0, 1]);
    thread.join().unwrap();
    assert!(fake.reached(1));
}

#[test]
fn what_is_cancelled_ends_after_what_is_on_its_way() {
    let fake = Fake::new(true, true);
    let outcomes: Vec<_> = (0..3)
        .map(|number| fake.fill_hooked(number, number * 4096, 4096))
        .collect();
    // The third begins after the first has ended, and is cancelled meanwhile.
    fake.engine().hold();
    fake.engine().step(2);
    let thread = fake.start();
    fake.events(("begin", 1));
    fake.base.stop();
    fake.done([0, 1]);
    thread.join().unwrap();
    let events = lock(&fake.log).events.clone();
    let told: Vec<_> = events
        .iter()
        .filter(|(event, _)| *event == "told")
        .collect();
    assert_eq!(told, [&("told", 0), &("told", 1), &("told", 2)]);
    let stopped = OutcomeValue::Failed(DeviceError::Stopped);
    assert_eq!(outcomes[2].get(), Some(&stopped));
}
