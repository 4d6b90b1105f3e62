//! What the engines do with a command, and the CPU by its own way.

use crate::base::Base;
use crate::command::Command;
use crate::engine::{Engine, Entry};
use crate::error::DeviceError;
use crate::hooks::CpuAccess;
use crate::outcome::OutcomeValue;
use crate::vm::Launch;
use crate::worker::Worker;

use super::jobs::Jobs;
use super::{Shared, exec, kernels};

impl Worker for Shared {
    fn base(&self) -> &Base {
        &self.base
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

    fn by_cpu(&self, command: &Command, lost: bool) -> Result<OutcomeValue, DeviceError> {
        self.cpu_command(command, lost, |footprint, mut access| {
            // After the claims: a reset does not change it while they live.
            let context = self.context();
            exec::execute(&context, command, footprint, &mut access, &self.cpu)
        })
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
        let result = kernels::launch(&jobs, launch, &engine.counters, &go);
        jobs.end()?;
        result
    }
}
