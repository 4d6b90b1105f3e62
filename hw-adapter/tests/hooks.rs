//! Hooks: when they are called, what they may answer, and what their mistakes do.

#![allow(clippy::unwrap_used)]

mod common;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use common::*;
use gpumm_hw::sim::{FaultRule, Which};
use gpumm_hw::{
    Command, CpuAccess, Device, DeviceError, Hooks, Outcome, OutcomeValue, PatternKey, Point,
    Segment, Submission,
};

const KEY: PatternKey = PatternKey {
    buffer: 8,
    generation: 1,
};
const SRC: [Segment; 1] = [Segment {
    memory: gpumm_hw::MemorySpace::Vram,
    offset: 0,
    bytes: 8192,
}];

fn dst() -> [Segment; 2] {
    [Segment::system(4096, 4096), Segment::vram(65536, 4096)]
}

#[test]
fn a_rescue_turns_failure_into_success() {
    let machine = Machine::new();
    let (sim, control) = machine.sim("sim");
    perform(&sim, COPY, write_pattern(&SRC, KEY));
    control.inject(FaultRule::FailCopy(Which::Nth(1)));
    let command = copy(&SRC, &dst());
    let hook = Hook::redo(&command);
    let value = perform_with(&sim, COPY, command.clone(), &hook);
    assert_eq!(value, OutcomeValue::Done);
    assert_eq!(hook.errors(), [DeviceError::Injected]);
    assert_eq!(corrupt(&sim, &dst(), KEY), 0);
    // A good command calls nobody but the first hook.
    let value = perform_with(&sim, COPY, command, &hook);
    assert_eq!((value, hook.begun()), (OutcomeValue::Done, 2));
    assert_eq!(hook.errors().len(), 1);
    sim.idle(TIME).unwrap();
    let total = sim.statistics().total();
    assert_eq!((total.failed, total.rescued, total.cancelled), (1, 1, 0));
    assert_eq!(sim.statistics().cpu.bytes_copied, 8192);
    assert_eq!(control.faults_injected(), 1);
    assert!(sim.take_faults().is_empty());
    // Nobody holds hooks of what has ended.
    assert_eq!(Arc::strong_count(&hook), 1);
}

#[test]
fn the_owner_of_a_failure_is_told_and_the_log_is_not() {
    let machine = Machine::new();
    let (sim, control) = machine.sim("sim");
    control.inject(FaultRule::FailCopy(Which::All));
    let command = copy(&SRC, &dst());
    let hook = Hook::new(|| Ok(()), |_, _| Err(DeviceError::Poisoned));
    let value = perform_with(&sim, COPY, command.clone(), &hook);
    assert_eq!(value, failed(DeviceError::Poisoned));
    assert!(sim.take_faults().is_empty());
    // A failure that is called a success is still one.
    let hook = Hook::new(|| Ok(()), |error, _| Ok(OutcomeValue::Failed(error)));
    let value = perform_with(&sim, COPY, command.clone(), &hook);
    assert_eq!(value, failed(DeviceError::Injected));
    perform(&sim, COPY, command);
    let errors: Vec<_> = sim.take_faults().iter().map(|f| f.error).collect();
    assert_eq!(errors, [DeviceError::Injected]);
    sim.idle(TIME).unwrap();
    let total = sim.statistics().total();
    assert_eq!((total.failed, total.rescued), (3, 0));
}

#[test]
fn hooks_come_after_the_waits_and_before_the_end() {
    let machine = Machine::new();
    let (sim, control) = machine.sim("sim");
    control.inject(FaultRule::FailCopy(Which::Nth(1)));
    let gate = Point {
        timeline: machine.timelines.create("gate"),
        value: 1,
    };
    let (inside, entered) = mpsc::channel();
    let (leave, left) = mpsc::channel::<()>();
    let left = Mutex::new(left);
    let hook = Hook::new(
        || Ok(()),
        move |_, cpu| {
            inside.send(()).unwrap();
            left.lock().unwrap().recv().unwrap();
            // Nothing of the command is claimed any more.
            cpu.perform(&fill(&dst(), 5))
        },
    );
    let outcome = Arc::new(Outcome::new());
    let hooks = Arc::clone(&hook) as Arc<dyn Hooks>;
    let submission = Submission::new(copy(&SRC, &dst()))
        .after(gate)
        .signal(1)
        .outcome(&outcome)
        .hooks(&hooks);
    sim.submit(COPY, submission).unwrap();
    drop(hooks);
    let later = Hook::witness();
    let later_outcome = submit_with(&sim, COPY, fill(&SRC, 1), &later);
    std::thread::sleep(Duration::from_millis(5));
    assert_eq!(hook.begun(), 0);
    machine.timelines.advance(gate.timeline, 1).unwrap();
    entered.recv_timeout(TIME.unwrap()).unwrap();
    std::thread::sleep(Duration::from_millis(5));
    // The other engine works on; this one does nothing, and says nothing.
    perform(&sim, COMPUTE, fill(&[Segment::vram(100_000, 8)], 1));
    assert_eq!((hook.begun(), later.begun()), (1, 0));
    assert_eq!((outcome.get(), later_outcome.get()), (None, None));
    assert!(!machine.timelines.reached(point(&sim, COPY, 1)));
    leave.send(()).unwrap();
    assert_eq!(machine.timelines.wait(point(&sim, COPY, 1), TIME), Ok(()));
    assert_eq!(outcome.get(), Some(&OutcomeValue::Done));
    assert_eq!(Arc::strong_count(&hook), 1);
    assert_eq!(later_outcome.wait(TIME), Some(&OutcomeValue::Done));
    assert_eq!(later.begun(), 1);
}

#[test]
fn a_hook_keeps_a_command_from_running() {
    let machine = Machine::new();
    let (sim, _) = machine.sim("sim");
    perform(&sim, COPY, fill(&SRC, 7));
    let hook = Hook::new(|| Err(DeviceError::Poisoned), |error, _| Err(error));
    let value = perform_with(&sim, COPY, fill(&SRC, 9), &hook);
    assert_eq!(value, failed(DeviceError::Poisoned));
    assert_eq!(hook.errors(), [DeviceError::Poisoned]);
    let OutcomeValue::Bytes(bytes) = perform(&sim, COPY, read(&SRC)) else {
        panic!()
    };
    assert_eq!(bytes[..8], 7_u64.to_le_bytes());
    sim.idle(TIME).unwrap();
    assert_eq!(sim.statistics().total().failed, 1);
}

#[test]
fn a_panic_in_a_hook_harms_nobody() {
    let machine = Machine::new();
    let (sim, control) = machine.sim("sim");
    let hook = Hook::new(|| panic!("before"), |error, _| Err(error));
    let value = perform_with(&sim, COPY, fill(&SRC, 1), &hook);
    let bug = DeviceError::Bug("a hook panicked");
    assert_eq!((value, hook.errors()), (failed(bug), vec![bug]));
    control.inject(FaultRule::FailCopy(Which::Nth(1)));
    let hook = Hook::new(|| Ok(()), |_, _| panic!("failed"));
    let value = perform_with(&sim, COPY, copy(&SRC, &dst()), &hook);
    assert_eq!(value, failed(DeviceError::Injected));
    assert_eq!(hook.errors(), [DeviceError::Injected]);
    let hook = Hook::new(|| panic!("before"), |_, _| panic!("failed"));
    let value = perform_with(&sim, COPY, fill(&SRC, 1), &hook);
    assert_eq!(value, failed(bug));

    /// Panics when it goes.
    #[derive(Debug)]
    struct Mine;
    impl Hooks for Mine {
        fn failed(
            &self,
            error: DeviceError,
            _: &dyn CpuAccess,
        ) -> Result<OutcomeValue, DeviceError> {
            Err(error)
        }
    }
    impl Drop for Mine {
        fn drop(&mut self) {
            panic!("drop")
        }
    }
    let hooks: Arc<dyn Hooks> = Arc::new(Mine);
    let submission = Submission::default().signal(1).hooks(&hooks);
    control.hold(COPY).unwrap();
    sim.submit(COPY, submission).unwrap();
    drop(hooks);
    control.release(COPY).unwrap();
    assert_eq!(perform(&sim, COPY, fill(&SRC, 1)), OutcomeValue::Done);
    assert!(machine.timelines.reached(point(&sim, COPY, 1)));
}

/// Every end of a command that never began: its owner hears of it once, while the content of
/// the device's memory is still there unless it is lost.
#[test]
fn what_is_cancelled_is_told() {
    for (end, error) in [
        ("reset", DeviceError::Reset),
        ("stop", DeviceError::Stopped),
        ("drop", DeviceError::Stopped),
        ("lose", DeviceError::Lost),
    ] {
        let machine = Machine::new();
        let (sim, control) = machine.sim("sim");
        perform(&sim, COPY, write_pattern(&SRC, KEY));
        control.hold(COPY).unwrap();
        let command = copy(&SRC, &[Segment::system(0, 8192)]);
        let hooks: Vec<_> = (0..3).map(|_| Hook::redo(&command)).collect();
        let never = Point {
            timeline: machine.timelines.create("never"),
            value: 1,
        };
        let outcomes: Vec<_> = (1..)
            .zip(&hooks)
            .map(|(value, hook)| {
                let outcome = Arc::new(Outcome::new());
                let hooks = Arc::clone(hook) as Arc<dyn Hooks>;
                let submission = Submission::new(command.clone())
                    .after(never)
                    .signal(value)
                    .outcome(&outcome)
                    .hooks(&hooks);
                sim.submit(COPY, submission).unwrap();
                outcome
            })
            .collect();
        let last = point(&sim, COPY, 3);
        match end {
            "reset" => sim.reset().unwrap(),
            "stop" => control.stop(),
            "lose" => control.lose(),
            _ => drop(sim),
        }
        assert_eq!(machine.timelines.wait(last, TIME), Ok(()), "{end}");
        for (hook, outcome) in hooks.iter().zip(&outcomes) {
            assert_eq!((hook.begun(), hook.errors()), (0, vec![error]), "{end}");
            let expected = match error {
                DeviceError::Lost => failed(error),
                _ => OutcomeValue::Done,
            };
            assert_eq!(outcome.get(), Some(&expected), "{end}");
        }
        let rescued = if error == DeviceError::Lost { 0 } else { 3 };
        let total = control.statistics().total();
        assert_eq!((total.cancelled, total.rescued), (3, rescued), "{end}");
        if rescued > 0 {
            let mut bytes = vec![0; 8192];
            machine.system.read(0, &mut bytes).unwrap();
            let mut expected = vec![0; 8192];
            gpumm_hw::pattern::write(&mut expected, 0, KEY);
            assert!(bytes == expected, "{end}");
        }
    }
}

/// Hooks that hold the last handle of their device end it from its own thread.
#[test]
fn a_hook_may_be_the_last_to_know_the_device() {
    let machine = Machine::new();
    let (sim, control) = machine.sim("sim");
    let sim = Arc::new(sim);
    let seen = Arc::new(AtomicBool::new(false));
    let hook = {
        let (sim, seen) = (Arc::clone(&sim), Arc::clone(&seen));
        Hook::new(
            move || {
                seen.store(sim.is_lost(), Ordering::SeqCst);
                Ok(())
            },
            |error, _| Err(error),
        )
    };
    control.hold(COPY).unwrap();
    let point = point(&*sim, COPY, 1);
    let hooks = hook as Arc<dyn Hooks>;
    sim.submit(COPY, Submission::default().signal(1).hooks(&hooks))
        .unwrap();
    drop((sim, hooks));
    control.release(COPY).unwrap();
    assert_eq!(machine.timelines.wait(point, TIME), Ok(()));
    assert!(!seen.load(Ordering::SeqCst));
    until(|| control.statistics().engines[0].commands == 1);
}

#[test]
fn the_cpu_does_what_engines_do_beside_them() {
    let machine = Machine::new();
    let (sim, control) = machine.sim_unmapped(gpumm_hw::sim::SimConfig::new("sim", MEMORY));
    control.hold_all();
    let cpu = sim.cpu();
    let list = [Segment::vram(3, 5000), Segment::system(9, 3192)];
    let data: Vec<u8> = (0..8192_u32).map(|n| (n * 7 % 251) as u8).collect();
    let write = Command::Write {
        dst: list.into(),
        offset: 0,
        data: data.clone().into(),
    };
    assert_eq!(cpu.perform(&write), Ok(OutcomeValue::Done));
    assert_eq!(cpu.perform(&copy(&list, &dst())), Ok(OutcomeValue::Done));
    assert_eq!(cpu.perform(&read(&dst())), Ok(OutcomeValue::Bytes(data)));
    assert_eq!(cpu.perform(&fill(&list, 0)), Ok(OutcomeValue::Done));
    let zero = OutcomeValue::Bytes(vec![0; 8192]);
    assert_eq!(cpu.perform(&read(&list)), Ok(zero));
    let counted = sim.statistics().cpu;
    assert_eq!((counted.bytes_written, counted.bytes_copied), (8192, 8192));
    assert_eq!((counted.bytes_filled, counted.bytes_read), (8192, 16384));
    // What engines would refuse, and what is not the CPU's business.
    let refused = Err(DeviceError::CpuRefused);
    assert_eq!(cpu.perform(&Command::Nop), refused);
    assert_eq!(cpu.perform(&write_pattern(&list, KEY)), refused);
    let outside = cpu.perform(&fill(&[Segment::vram(MEMORY, 1)], 0));
    assert!(matches!(
        outside,
        Err(DeviceError::SegmentOutOfBounds { .. })
    ));
    let twice = cpu.perform(&copy(&[Segment::vram(0, 9)], &[Segment::vram(8, 9)]));
    assert!(matches!(twice, Err(DeviceError::Overlap { .. })));
    // One rule is about the CPU, and about copies alone.
    control.inject(FaultRule::RefuseFallback);
    assert_eq!(cpu.perform(&copy(&list, &dst())), refused);
    assert_eq!(cpu.perform(&fill(&list, 0)), Ok(OutcomeValue::Done));
    assert_eq!(control.faults_injected(), 1);
    // A lost device's own memory is gone; system memory is not.
    control.lose();
    assert_eq!(cpu.perform(&read(&list)), Err(DeviceError::Lost));
    assert!(cpu.perform(&read(&list[1..])).is_ok());
    sim.reset().unwrap();
    assert!(cpu.perform(&read(&list)).is_ok());
}
