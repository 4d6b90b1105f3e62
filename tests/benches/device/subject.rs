//! The device that is measured.

use gpumm_hw::sim::{Sim, SimConfig};
use gpumm_hw::wgpu::{AdapterChoice, WgpuConfig, WgpuDevice};
use gpumm_hw::{
    CheckReport, Command, Device, EngineId, Kernel, Outcome, OutcomeValue, PatternKey, Point,
    Segment, Submission, SystemMemory, Timelines, VmId,
};
use std::sync::Arc;

/// The GPU buffers of the measured device, which cases are laid out around.
pub(crate) const CHUNK: u64 = 64 << 20;

const COPY: EngineId = EngineId(0);
const KEY: PatternKey = PatternKey {
    buffer: 1,
    generation: 1,
};

enum Kind {
    Sim(Sim),
    Wgpu(WgpuDevice),
}

/// A device of which one engine is used.
pub(crate) struct Subject {
    kind: Kind,
    timelines: Arc<Timelines>,
    value: u64,
}

impl Subject {
    pub(crate) fn new(device: &str, vram: u64, system: u64) -> Subject {
        Subject::with(device, vram, system, |_| {})
    }

    /// A GPU's is configured further.
    pub(crate) fn with(
        device: &str,
        vram: u64,
        system: u64,
        configure: impl FnOnce(&mut WgpuConfig),
    ) -> Subject {
        let timelines = Arc::new(Timelines::new());
        let memory = Arc::new(SystemMemory::new(system).unwrap());
        let (shared, name) = (Arc::clone(&timelines), "measured");
        let kind = match device.split_once(':').unwrap_or((device, "")) {
            ("sim", _) => Kind::Sim(Sim::new(SimConfig::new(name, vram), shared, memory).unwrap()),
            ("wgpu", part) => {
                let choice = match part {
                    "" => AdapterChoice::Best,
                    part => AdapterChoice::Named(part.into()),
                };
                let mut config = WgpuConfig::new(name, vram);
                config.chunk_bytes = Some(CHUNK);
                configure(&mut config);
                Kind::Wgpu(WgpuDevice::new(&choice, config, shared, memory).unwrap())
            }
            _ => panic!("--device {device}: there is sim, wgpu and wgpu:NAME"),
        };
        let subject = Subject {
            kind,
            timelines,
            value: 0,
        };
        subject
            .device()
            .map_dma(&[Segment::system(0, system)])
            .unwrap();
        subject
    }

    fn device(&self) -> &dyn Device {
        match &self.kind {
            Kind::Sim(device) => device,
            Kind::Wgpu(device) => device,
        }
    }

    /// The GPU, for loops beside the device.
    pub(crate) fn wgpu(&self) -> Option<(wgpu::Device, wgpu::Queue)> {
        match &self.kind {
            Kind::Sim(_) => None,
            Kind::Wgpu(device) => Some(device.wgpu()),
        }
    }

    /// Makes an address space that begins at 0.
    pub(crate) fn create_vm(&self, vm: VmId, bytes: u64) {
        self.device().create_vm(vm, 0, bytes).unwrap();
    }

    /// Submits, and waits for the point.
    pub(crate) fn perform(&mut self, command: &Command) -> OutcomeValue {
        let outcomes = self.queue(std::slice::from_ref(command));
        outcomes[0].get().unwrap().clone()
    }

    /// Submits all, and waits for the last point.
    pub(crate) fn queue(&mut self, commands: &[Command]) -> Vec<Arc<Outcome>> {
        let submit = |command: &Command| {
            self.value += 1;
            let outcome = Arc::new(Outcome::new());
            let submission = Submission::new(command.clone())
                .signal(self.value)
                .outcome(&outcome);
            self.device().submit(COPY, submission).unwrap();
            outcome
        };
        let outcomes = commands.iter().map(submit).collect();
        let timeline = self.device().properties().engines[0].timeline;
        let value = self.value;
        self.timelines
            .wait(Point { timeline, value }, None)
            .unwrap();
        outcomes
    }

    /// Lets a list have content.
    pub(crate) fn write(&mut self, list: &Arc<[Segment]>, bytes: u64) {
        let kernel = Kernel::WritePattern {
            dst: Arc::clone(list),
            bytes,
            key: KEY,
        };
        assert_eq!(self.perform(&Command::Run(kernel)), OutcomeValue::Done);
    }

    /// Asserts that a list has the content of [`Subject::write`].
    pub(crate) fn check(&mut self, list: &Arc<[Segment]>, bytes: u64) {
        let kernel = Kernel::CheckPattern {
            src: Arc::clone(list),
            bytes,
            key: KEY,
        };
        let clean = CheckReport {
            bytes_verified: bytes,
            ..CheckReport::default()
        };
        let outcome = self.perform(&Command::Run(kernel));
        assert_eq!(outcome, OutcomeValue::Checked(clean));
    }
}
