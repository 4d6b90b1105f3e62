//! What the tests on a GPU share.

#![allow(dead_code, clippy::unwrap_used)]

pub(crate) mod model;

use std::sync::Arc;
use std::time::Duration;

pub(crate) use gpumm_hw::conformance::has_gpu;
use gpumm_hw::wgpu::{AdapterChoice, WgpuConfig, WgpuDevice};
use gpumm_hw::{
    Command, Device, EngineId, Outcome, OutcomeValue, Point, Segment, Submission, SystemMemory,
    Timelines,
};

/// How long anything may take.
pub(crate) const TIME: Option<Duration> = Some(Duration::from_secs(120));

/// A device with what it shares with others.
pub(crate) struct Bench {
    pub(crate) device: WgpuDevice,
    pub(crate) timelines: Arc<Timelines>,
}

impl Bench {
    /// All system memory is mapped.
    pub(crate) fn new(config: WgpuConfig, system: u64) -> Bench {
        let timelines = Arc::new(Timelines::new());
        let memory = Arc::new(SystemMemory::new(system).unwrap());
        let choice = AdapterChoice::Best;
        let device = WgpuDevice::new(&choice, config, Arc::clone(&timelines), memory).unwrap();
        device.map_dma(&[Segment::system(0, system)]).unwrap();
        Bench { device, timelines }
    }

    pub(crate) fn point(&self, engine: u32, value: u64) -> Point {
        Point {
            timeline: self.device.properties().engines[engine as usize].timeline,
            value,
        }
    }

    pub(crate) fn submit(&self, engine: u32, submission: Submission) -> Arc<Outcome> {
        let outcome = Arc::new(Outcome::new());
        let submission = submission.outcome(&outcome);
        self.device.submit(EngineId(engine), submission).unwrap();
        outcome
    }

    pub(crate) fn perform(&self, engine: u32, command: Command) -> OutcomeValue {
        let outcome = self.submit(engine, Submission::new(command));
        outcome.wait(TIME).expect("it ends in time").clone()
    }

    pub(crate) fn done(&self, engine: u32, command: Command) {
        let value = self.perform(engine, command);
        let said = self.device.last_message();
        assert_eq!(value, OutcomeValue::Done, "{said:?}");
    }

    pub(crate) fn read(&self, engine: u32, list: &[Segment], offset: u64, bytes: u64) -> Vec<u8> {
        let src = list.into();
        match self.perform(engine, Command::Read { src, offset, bytes }) {
            OutcomeValue::Bytes(data) => data,
            other => panic!("{other:?}: {:?}", self.device.last_message()),
        }
    }

    pub(crate) fn write(&self, engine: u32, list: &[Segment], offset: u64, data: &[u8]) {
        let (dst, data) = (list.into(), data.into());
        self.done(engine, Command::Write { dst, offset, data });
    }
}
