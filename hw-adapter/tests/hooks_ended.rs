//! Hooks hear how their command ended.

#![allow(clippy::unwrap_used)]

mod common;

use std::sync::{Arc, Mutex};

use common::*;
use gpumm_hw::sim::{FaultRule, Which};
use gpumm_hw::{
    Command, CpuAccess, Device, DeviceError, Hooks, MemorySpace, Outcome, OutcomeValue, Segment,
    Submission,
};

const SRC: [Segment; 1] = [Segment {
    memory: MemorySpace::Vram,
    offset: 0,
    bytes: 8192,
}];

fn dst() -> [Segment; 2] {
    [Segment::system(4096, 4096), Segment::vram(65536, 4096)]
}

/// Notes what it is told of an end, and what could be seen by then.
#[derive(Debug)]
struct Ender {
    sim: std::sync::Weak<gpumm_hw::sim::Sim>,
    outcome: Arc<Outcome>,
    seen: Mutex<Vec<String>>,
    /// Submits a fill to its own engine when it is told.
    next: Option<Arc<Outcome>>,
    panics: bool,
}

impl Hooks for Ender {
    fn before(&self) -> Result<(), DeviceError> {
        self.seen.lock().unwrap().push("before".into());
        Ok(())
    }

    fn failed(&self, error: DeviceError, _: &dyn CpuAccess) -> Result<OutcomeValue, DeviceError> {
        self.seen.lock().unwrap().push(format!("failed {error}"));
        Err(DeviceError::Poisoned)
    }

    fn ended(&self, value: &OutcomeValue) {
        let early = self.outcome.get().is_none();
        self.seen
            .lock()
            .unwrap()
            .push(format!("ended {value:?} {early}"));
        if let (Some(sim), Some(next)) = (self.sim.upgrade(), &self.next) {
            // The bytes of what has ended are free.
            let zero = sim.cpu().perform(&fill(&SRC, 4));
            assert_eq!(zero, Ok(OutcomeValue::Done));
            let submission = Submission::new(fill(&SRC, 5)).outcome(next);
            sim.submit(COPY, submission).unwrap();
        }
        if self.panics {
            panic!("nobody suffers");
        }
    }
}

#[test]
fn every_end_is_told_once() {
    let machine = Machine::new();
    let (sim, control) = machine.sim("sim");
    let sim = Arc::new(sim);
    let ender = |next: Option<&Arc<Outcome>>, panics| {
        Arc::new(Ender {
            sim: Arc::downgrade(&sim),
            outcome: Arc::new(Outcome::new()),
            seen: Mutex::default(),
            next: next.cloned(),
            panics,
        })
    };
    let submit = |ender: &Arc<Ender>, command| {
        let hooks = Arc::clone(ender) as Arc<dyn Hooks>;
        let submission = Submission::new(command).outcome(&ender.outcome);
        sim.submit(COPY, submission.hooks(&hooks)).unwrap();
        drop(hooks);
    };
    let seen = |ender: &Arc<Ender>| {
        ender.outcome.wait(TIME).unwrap();
        // The hooks are gone by then.
        assert_eq!(Arc::strong_count(ender), 1);
        ender.seen.lock().unwrap().clone()
    };
    let next = Arc::new(Outcome::new());
    let good = ender(Some(&next), true);
    submit(&good, fill(&SRC, 3));
    assert_eq!(seen(&good), ["before", "ended Done true"]);
    assert_eq!(next.wait(TIME), Some(&OutcomeValue::Done));
    control.inject(FaultRule::FailCopy(Which::Nth(1)));
    let bad = ender(None, false);
    submit(&bad, copy(&SRC, &dst()));
    let failed = format!("failed {}", DeviceError::Injected);
    assert_eq!(
        seen(&bad),
        ["before", &failed, "ended Failed(Poisoned) true"]
    );
    control.hold(COPY).unwrap();
    let cancelled = ender(None, true);
    submit(&cancelled, Command::Nop);
    sim.reset().unwrap();
    let failed = format!("failed {}", DeviceError::Reset);
    assert_eq!(seen(&cancelled), [&failed, "ended Failed(Poisoned) true"]);
    assert_eq!(good.seen.lock().unwrap().len(), 2);
}
