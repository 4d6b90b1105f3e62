//! What the engines do with a command, and the CPU by its own way.

use crate::base::Base;
use crate::command::Command;
use crate::engine::{Engine, Entry};
use crate::error::DeviceError;
use crate::hooks::CpuAccess;
use crate::outcome::OutcomeValue;
use crate::vm::Launch;
use crate::worker::{Begun, Performed, Worker};

use super::exec::Moving;
use super::jobs::Jobs;
use super::{Shared, exec, kernels};

impl Worker for Shared {
    type Begun<'w> = Moving<'w>;

    fn base(&self) -> &Base {
        &self.base
    }

    fn perform<'w>(
        &'w self,
        engine: &'w Engine,
        entry: &Entry,
    ) -> Result<Performed<Moving<'w>>, DeviceError> {
        if self.lost() {
            return Err(DeviceError::Lost);
        }
        self.iommu.check(&entry.footprint.system)?;
        let done = |()| OutcomeValue::Done;
        let ended = match &entry.command {
            Command::WritePtes { vm, writes } => self.mmu.write(*vm, writes).map(done),
            Command::InvalidateTlb { vm } => self.mmu.invalidate(*vm).map(done),
            Command::Launch(launch) => self.launch(engine, entry, launch),
            command => {
                let footprint = &entry.footprint;
                let access = self.access(footprint)?;
                let (context, counters) = (self.context(), &engine.counters);
                return exec::perform(&context, command, footprint, access, counters);
            }
        };
        ended.map(Performed::Ended)
    }

    fn overlaps(&self, entry: &Entry) -> bool {
        match &entry.command {
            Command::Copy { bytes, .. } | Command::Fill { bytes, .. } => {
                !entry.footprint.vram.is_empty() && *bytes <= OVERLAPPED
            }
            _ => false,
        }
    }

    fn by_cpu(&self, command: &Command, lost: bool) -> Result<OutcomeValue, DeviceError> {
        self.cpu_command(command, lost, |footprint, access| {
            // After the claims: a reset does not change it while they live.
            let context = self.context();
            match exec::perform(&context, command, footprint, access, &self.cpu)? {
                Performed::Ended(value) => Ok(value),
                Performed::Begun(moving) => moving.end(),
            }
        })
    }
}

/// What is begun while others are on their way, in bytes: a window, so that those wait little.
const OVERLAPPED: u64 = 2 << 20;

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
