//! The device suite: what every [`Device`] must do, whatever it is made of.
//!
//! A device passes when [`run`] reports no failure. It uses the trait alone, and needs a
//! device of its own per case: at least [`MEMORY`] bytes of each memory, no system memory
//! mapped yet, nobody else at work.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::command::{Check, Command, Kernel, Segment, Submission};
use crate::device::{Device, EngineId};
use crate::error::DeviceError;
use crate::outcome::{Outcome, OutcomeValue};
use crate::pattern::{CheckReport, PatternKey};
use crate::timeline::{Point, Timelines};

mod cases;

/// How many bytes of each memory the suite uses, from offset 0.
pub const MEMORY: u64 = 1 << 20;

/// How long the suite waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(20);

/// Whether there is a GPU to test on, if only Mesa's lavapipe. Without one a test says so and
/// passes; under the environment variable `CI` it fails instead.
///
/// # Panics
/// Under `CI` without a GPU.
#[cfg(feature = "wgpu")]
pub fn has_gpu() -> bool {
    let there = !crate::wgpu::list().is_empty();
    let why = DeviceError::NoAdapter;
    assert!(there || std::env::var_os("CI").is_none(), "{why}");
    if !there {
        eprintln!("skipped: {why}");
    }
    there
}

/// A device to be tested, fresh.
pub struct Fixture {
    /// The device.
    pub device: Box<dyn Device>,
    /// Where its timelines are.
    pub timelines: Arc<Timelines>,
}

/// Why a case failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Failure(pub String);

impl From<DeviceError> for Failure {
    fn from(error: DeviceError) -> Self {
        Failure(format!("refused: {error}"))
    }
}

/// The answer of a case.
pub type Verdict = Result<(), Failure>;

/// A case of the suite.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// What must hold.
    pub name: &'static str,
    run: fn(&mut Bench) -> Verdict,
}

impl Case {
    /// Tries it on a fresh device.
    ///
    /// # Errors
    /// What did not hold.
    pub fn run(&self, fixture: Fixture) -> Verdict {
        fixture.device.map_dma(&[Segment::system(0, MEMORY)])?;
        (self.run)(&mut Bench {
            fixture,
            values: BTreeMap::new(),
        })
    }
}

/// All cases.
pub fn cases() -> &'static [Case] {
    cases::CASES
}

/// Runs all cases, each on a device from `factory`. The answer names each case.
pub fn run(factory: &dyn Fn() -> Fixture) -> Vec<(&'static str, Verdict)> {
    cases()
        .iter()
        .map(|case| (case.name, case.run(factory())))
        .collect()
}

/// A fixture with the values already used.
struct Bench {
    fixture: Fixture,
    values: BTreeMap<EngineId, u64>,
}

const ENGINE: EngineId = EngineId(0);

impl Bench {
    fn device(&self) -> &dyn Device {
        &*self.fixture.device
    }

    fn timelines(&self) -> &Timelines {
        &self.fixture.timelines
    }

    fn last_engine(&self) -> EngineId {
        EngineId(self.device().properties().engines.len() as u32 - 1)
    }

    fn point(&self, engine: EngineId, value: u64) -> Point {
        Point {
            timeline: self.device().properties().engines[engine.0 as usize].timeline,
            value,
        }
    }

    fn next_value(&self, engine: EngineId) -> u64 {
        self.values.get(&engine).map_or(1, |value| value + 1)
    }

    /// Submits with the engine's next value; the answer is its point.
    fn submit(&mut self, engine: EngineId, submission: Submission) -> Result<Point, DeviceError> {
        let value = self.next_value(engine);
        self.device().submit(engine, submission.signal(value))?;
        self.values.insert(engine, value);
        Ok(self.point(engine, value))
    }

    fn wait(&self, point: Point) -> Verdict {
        self.timelines()
            .wait(point, Some(PATIENCE))
            .map_err(|error| Failure(format!("{point}: {error}")))
    }

    /// Submits, waits, and gives the outcome, which must be there with the point.
    fn perform(&mut self, engine: EngineId, command: Command) -> Result<OutcomeValue, Failure> {
        let outcome = Arc::new(Outcome::new());
        let point = self.submit(engine, Submission::new(command).outcome(&outcome))?;
        self.wait(point)?;
        let value = outcome.get().cloned();
        value.ok_or_else(|| Failure("a point was reached before its outcome was there".into()))
    }

    fn done(&mut self, command: Command) -> Verdict {
        let value = self.perform(ENGINE, command)?;
        equal("outcome", &value, &OutcomeValue::Done)
    }

    fn read(&mut self, list: &[Segment], offset: u64, bytes: u64) -> Result<Vec<u8>, Failure> {
        let src = list.into();
        match self.perform(ENGINE, Command::Read { src, offset, bytes })? {
            OutcomeValue::Bytes(data) => Ok(data),
            other => Err(Failure(format!("a read ended with {other:?}"))),
        }
    }

    fn write(&mut self, list: &[Segment], offset: u64, data: &[u8]) -> Verdict {
        self.done(Command::Write {
            dst: list.into(),
            offset,
            data: data.into(),
        })
    }

    fn check(
        &mut self,
        list: &[Segment],
        bytes: u64,
        key: PatternKey,
    ) -> Result<CheckReport, Failure> {
        let src = list.into();
        let kernel = Kernel::CheckPattern { src, bytes, key };
        match self.perform(ENGINE, Command::Run(kernel))? {
            OutcomeValue::Checked(report) => Ok(report),
            other => Err(Failure(format!("a check ended with {other:?}"))),
        }
    }

    fn rewrite(
        &mut self,
        list: &[Segment],
        bytes: u64,
        old: PatternKey,
        new: PatternKey,
        check: Check,
    ) -> Result<CheckReport, Failure> {
        let kernel = Kernel::Rewrite {
            mem: list.into(),
            bytes,
            old,
            new,
            check,
        };
        match self.perform(ENGINE, Command::Run(kernel))? {
            OutcomeValue::Checked(report) => Ok(report),
            other => Err(Failure(format!("a rewrite ended with {other:?}"))),
        }
    }
}

fn equal<T: PartialEq + std::fmt::Debug>(what: &str, found: &T, expected: &T) -> Verdict {
    match found == expected {
        true => Ok(()),
        false => Err(Failure(format!(
            "{what}: found {found:?}, expected {expected:?}"
        ))),
    }
}
