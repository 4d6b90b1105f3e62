//! What the engines do with a command, and the CPU by its own way.

use crate::base::Base;
use crate::command::Command;
use crate::engine::{Engine, Entry};
use crate::error::DeviceError;
use crate::hooks::CpuAccess;
use crate::outcome::OutcomeValue;
use crate::vm::Launch;
use crate::worker::{Performed, Worker};

use super::exec::Moving;
use super::jobs::Jobs;
use super::{Shared, exec, kernels};

impl Worker for Shared {
    fn base(&self) -> &Base {
        &self.base
    }

    type Begun<'w> = Moving<'w>;

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
                let mut access = self.access(&entry.footprint)?;
                let (context, counters) = (self.context(), &engine.counters);
                if moves(entry).is_some() {
                    let begun = Moving::begin(context, command, access)?;
                    return Ok(Performed::Begun(begun));
                }
                exec::execute(&context, command, &entry.footprint, &mut access, counters)
            }
        };
        ended.map(Performed::Ended)
    }

    fn overlaps(&self, entry: &Entry) -> bool {
        moves(entry).is_some_and(|bytes| bytes <= OVERLAPPED)
    }

    fn by_cpu(&self, command: &Command, lost: bool) -> Result<OutcomeValue, DeviceError> {
        self.cpu_command(command, lost, |footprint, mut access| {
            // After the claims: a reset does not change it while they live.
            let context = self.context();
            exec::execute(&context, command, footprint, &mut access, &self.cpu)
        })
    }
}

/// What is begun while others are on their way, in bytes: a window, so that those wait little.
const OVERLAPPED: u64 = 2 << 20;

/// How many bytes a command moves that only moves bytes, by the GPU.
fn moves(entry: &Entry) -> Option<u64> {
    match &entry.command {
        Command::Copy { bytes, .. } | Command::Fill { bytes, .. } => {
            (!entry.footprint.vram.is_empty()).then_some(*bytes)
        }
        _ => None,
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
