//! Hooks, the CPU's own way, and the state of a device that is not lost.

use std::sync::{Arc, Mutex};

use super::{KEY, bytes_of, cut_list, noise};
use crate::command::{Command, Kernel, Segment, Submission};
use crate::conformance::{Bench, ENGINE, MEMORY, Verdict, equal};
use crate::error::{DeviceError, ListSide};
use crate::hooks::{CpuAccess, Hooks};
use crate::outcome::{Outcome, OutcomeValue};
use crate::sync::lock;
use crate::timeline::{Point, Timelines};

/// Notes what it is told, and what could be seen of the command by then.
#[derive(Debug)]
struct Owner {
    timelines: Arc<Timelines>,
    point: Point,
    outcome: Arc<Outcome>,
    /// Keeps the command from running.
    refusal: Option<DeviceError>,
    /// What the CPU does instead; otherwise the failure stands.
    instead: Option<Command>,
    seen: Mutex<Vec<Seen>>,
}

#[derive(Clone, Debug, PartialEq)]
enum Seen {
    Before { ended: bool },
    Failed { error: DeviceError, ended: bool },
}

impl Owner {
    fn ended(&self) -> bool {
        self.outcome.get().is_some() || self.timelines.reached(self.point)
    }
}

impl Hooks for Owner {
    fn before(&self) -> Result<(), DeviceError> {
        let ended = self.ended();
        lock(&self.seen).push(Seen::Before { ended });
        self.refusal.map_or(Ok(()), Err)
    }

    fn failed(&self, error: DeviceError, cpu: &dyn CpuAccess) -> Result<OutcomeValue, DeviceError> {
        let ended = self.ended();
        lock(&self.seen).push(Seen::Failed { error, ended });
        match &self.instead {
            Some(command) => cpu.perform(command),
            None => Err(error),
        }
    }
}

/// Submits with an owner.
fn owned(
    bench: &mut Bench,
    submission: Submission,
    refusal: Option<DeviceError>,
    instead: Option<Command>,
) -> Result<Arc<Owner>, DeviceError> {
    let owner = Arc::new(Owner {
        timelines: Arc::clone(&bench.fixture.timelines),
        point: bench.point(ENGINE, bench.next_value(ENGINE)),
        outcome: Arc::new(Outcome::new()),
        refusal,
        instead,
        seen: Mutex::default(),
    });
    let hooks: Arc<dyn Hooks> = Arc::clone(&owner) as _;
    let submission = submission.outcome(&owner.outcome).hooks(&hooks);
    bench.submit(ENGINE, submission)?;
    Ok(owner)
}

pub(super) fn hooks_repair_before_anybody_knows(bench: &mut Bench) -> Verdict {
    let list = cut_list();
    let bytes = bytes_of(&list);
    let fill = |pattern| Command::Fill {
        dst: (&*list).into(),
        offset: 0,
        bytes,
        pattern,
    };
    let submission = |pattern| Submission::new(fill(pattern));
    let refusal = Some(DeviceError::Poisoned);
    let honest = owned(bench, submission(1), None, None)?;
    let failing = owned(bench, submission(2), refusal, None)?;
    bench.wait(failing.point)?;
    let before = Seen::Before { ended: false };
    let failed = Seen::Failed {
        error: DeviceError::Poisoned,
        ended: false,
    };
    equal("honest", &*lock(&honest.seen), &vec![before.clone()])?;
    equal("done", &honest.outcome.get(), &Some(&OutcomeValue::Done))?;
    let both = vec![before, failed];
    equal("failing", &*lock(&failing.seen), &both)?;
    let expected = OutcomeValue::Failed(DeviceError::Poisoned);
    equal("failed", &failing.outcome.get(), &Some(&expected))?;
    equal("hooks are gone", &Arc::strong_count(&failing), &1)?;
    let ones = bench.read(&list[..1], 0, 8)?;
    equal("not run", &&*ones, &&1_u64.to_le_bytes()[..])?;
    let rescued = owned(bench, submission(3), refusal, Some(fill(4)))?;
    bench.wait(rescued.point)?;
    equal("rescue", &*lock(&rescued.seen), &both)?;
    equal(
        "rescued",
        &rescued.outcome.get(),
        &Some(&OutcomeValue::Done),
    )?;
    let fours = bench.read(&list[..1], 0, 8)?;
    equal("repaired", &&*fours, &&4_u64.to_le_bytes()[..])?;
    equal("log", &bench.device().take_faults(), &Vec::new())
}

pub(super) fn hooks_hear_of_a_reset(bench: &mut Bench) -> Verdict {
    let (vram, system) = ([Segment::vram(0, 4096)], [Segment::system(0, 4096)]);
    let data = noise(4096);
    bench.write(&vram, 0, &data)?;
    let never = Point {
        timeline: bench.timelines().create("never"),
        value: 1,
    };
    let save = Command::Copy {
        src: vram.into(),
        dst: system.into(),
        src_offset: 0,
        dst_offset: 0,
        bytes: 4096,
    };
    let submission = Submission::new(save.clone()).after(never);
    let owner = owned(bench, submission, None, Some(save))?;
    equal("reset", &bench.device().reset(), &Ok(()))?;
    let expected = Seen::Failed {
        error: DeviceError::Reset,
        ended: false,
    };
    equal("told", &*lock(&owner.seen), &vec![expected])?;
    equal("saved", &owner.outcome.get(), &Some(&OutcomeValue::Done))?;
    equal("saved bytes", &bench.read(&system, 0, 4096)?, &data)?;
    equal("cleared", &bench.read(&vram, 0, 4096)?, &vec![0; 4096])?;
    equal("log", &bench.device().take_faults(), &Vec::new())?;
    equal("lost", &bench.device().is_lost(), &false)
}

pub(super) fn the_cpu_reaches_every_memory(bench: &mut Bench) -> Verdict {
    let list = cut_list();
    let bytes = bytes_of(&list);
    let data = noise(bytes);
    let flat = [Segment::vram(200_000, bytes)];
    // The CPU needs no mapping.
    bench.device().unmap_dma(&[Segment::system(0, MEMORY)])?;
    let cpu = |command: &Command| bench.device().cpu().perform(command);
    let done = |command: &Command| equal("cpu", &cpu(command), &Ok(OutcomeValue::Done));
    let dst = || Arc::from(&*list);
    done(&Command::Write {
        dst: dst(),
        offset: 0,
        data: (&*data).into(),
    })?;
    done(&Command::Copy {
        src: dst(),
        dst: flat.into(),
        src_offset: 5,
        dst_offset: 3,
        bytes: bytes - 5,
    })?;
    done(&Command::Fill {
        dst: dst(),
        offset: 1,
        bytes: 9,
        pattern: 0,
    })?;
    let read = |src: &[Segment]| {
        let (src, offset) = (src.into(), 3);
        let bytes = 5000;
        cpu(&Command::Read { src, offset, bytes })
    };
    let copied = OutcomeValue::Bytes(data[5..5005].to_vec());
    equal("copied", &read(&flat), &Ok(copied))?;
    let mut filled = data[3..5003].to_vec();
    filled[..7].fill(0);
    equal("filled", &read(&list), &Ok(OutcomeValue::Bytes(filled)))?;
    let refused = Err(DeviceError::CpuRefused);
    equal("nop", &cpu(&Command::Nop), &refused)?;
    let (src, key) = (dst(), KEY);
    let check = Command::Run(Kernel::CheckPattern { src, bytes, key });
    equal("kernel", &cpu(&check), &refused)?;
    let offset = bytes - 4;
    let (src, bytes) = (dst(), 5);
    let expected = Err(DeviceError::ListTooShort {
        side: ListSide::Source,
        needed: offset + bytes,
        available: offset + 4,
    });
    equal(
        "short",
        &cpu(&Command::Read { src, offset, bytes }),
        &expected,
    )?;
    bench.device().map_dma(&[Segment::system(0, MEMORY)])?;
    let seen = bench.read(&flat, 3, 5000)?;
    equal("engines see it", &&*seen, &&data[5..5005])
}

/// Notes how its command ended, and whether that could be seen already.
#[derive(Debug)]
struct Ender {
    outcome: Arc<Outcome>,
    seen: Mutex<Vec<(OutcomeValue, bool)>>,
}

impl Hooks for Ender {
    fn failed(&self, error: DeviceError, _: &dyn CpuAccess) -> Result<OutcomeValue, DeviceError> {
        Err(error)
    }

    fn ended(&self, value: &OutcomeValue) {
        let early = self.outcome.get().is_none();
        lock(&self.seen).push((value.clone(), early));
    }
}

pub(super) fn hooks_hear_of_every_end(bench: &mut Bench) -> Verdict {
    let never = Point {
        timeline: bench.timelines().create("never"),
        value: 1,
    };
    let failed = OutcomeValue::Failed(DeviceError::Reset);
    for (waits, expected) in [(false, OutcomeValue::Done), (true, failed)] {
        let ender = Arc::new(Ender {
            outcome: Arc::new(Outcome::new()),
            seen: Mutex::default(),
        });
        let hooks = Arc::clone(&ender) as Arc<dyn Hooks>;
        let mut submission = Submission::default().outcome(&ender.outcome).hooks(&hooks);
        drop(hooks);
        if waits {
            submission = submission.after(never);
        }
        let point = bench.submit(ENGINE, submission)?;
        if waits {
            bench.device().reset()?;
        }
        bench.wait(point)?;
        equal("told", &*lock(&ender.seen), &vec![(expected, true)])?;
        equal("hooks are gone", &Arc::strong_count(&ender), &1)?;
    }
    Ok(())
}
