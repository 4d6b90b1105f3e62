//! What the engines do with a command, and the CPU by its own way.

use crate::command::Command;
use crate::device::Fault;
use crate::engine::{Engine, Entry};
use crate::error::DeviceError;
use crate::footprint;
use crate::hooks::CpuAccess;
use crate::outcome::OutcomeValue;
use crate::sim::mmu;
use crate::sync::lock;
use crate::timeline::Timelines;
use crate::vm::Launch;
use crate::worker::Worker;

use super::jobs::Jobs;
use super::{FAULTS, Shared, exec};

impl Worker for Shared {
    fn timelines(&self) -> &Timelines {
        &self.timelines
    }

    fn perform(&self, engine: &Engine, entry: &Entry) -> Result<OutcomeValue, DeviceError> {
        if self.lost() {
            return Err(DeviceError::Lost);
        }
        self.iommu.check(&entry.footprint.system)?;
        let done = |()| OutcomeValue::Done;
        match &entry.command {
            Command::WritePtes { vm, writes } => self.mmu.write(*vm, writes).map(done),
            Command::InvalidateTlb { vm } => self.mmu.invalidate(*vm).map(done),
            Command::Launch(launch) => self.launch(engine, entry, launch),
            command => {
                let mut access = self.access(&entry.footprint)?;
                let (context, counters) = (self.context(), &engine.counters);
                exec::execute(&context, command, &entry.footprint, &mut access, counters)
            }
        }
    }

    fn log(&self, fault: Fault) {
        let mut faults = lock(&self.log);
        // The first failures explain the later ones.
        if faults.len() < FAULTS {
            faults.push(fault);
        }
    }

    fn by_cpu(&self, command: &Command, lost: bool) -> Result<OutcomeValue, DeviceError> {
        match command {
            Command::Nop | Command::Run(_) | Command::Launch(_) => {
                return Err(DeviceError::CpuRefused);
            }
            Command::Copy { .. }
            | Command::Fill { .. }
            | Command::Read { .. }
            | Command::Write { .. }
            | Command::WritePtes { .. }
            | Command::InvalidateTlb { .. } => {}
        }
        let footprint = footprint::footprint(command, self.sizes())?;
        if let Command::WritePtes { vm, .. } | Command::InvalidateTlb { vm } = command {
            if lost {
                return Err(DeviceError::Lost);
            }
            let result = match command {
                Command::WritePtes { writes, .. } => self.mmu.write(*vm, writes),
                _ => self.mmu.invalidate(*vm),
            };
            return result.map(|()| OutcomeValue::Done);
        }
        if lost && !footprint.vram.is_empty() {
            return Err(DeviceError::Lost);
        }
        let mut access = self.access(&footprint)?;
        // After the claims: a reset does not change it while they live.
        let context = self.context();
        exec::execute(&context, command, &footprint, &mut access, &self.cpu)
    }
}

impl CpuAccess for Shared {
    fn perform(&self, command: &Command) -> Result<OutcomeValue, DeviceError> {
        self.by_cpu(command, self.lost())
    }
}

impl Shared {
    fn launch(
        &self,
        engine: &Engine,
        entry: &Entry,
        launch: &Launch,
    ) -> Result<OutcomeValue, DeviceError> {
        let stage = self.stages.get(engine.id.0 as usize);
        let jobs = Jobs {
            shared: self,
            context: self.context(),
            stage: stage.ok_or(DeviceError::UnknownEngine(engine.id))?,
        };
        let go = || engine.goes_on(entry);
        let result = mmu::launch(&jobs, launch, &engine.counters, &go);
        jobs.end()?;
        result
    }
}
