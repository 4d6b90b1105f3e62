//! The CPU's own way to the memories of a simulated device.

use crate::command::Command;
use crate::error::DeviceError;
use crate::footprint;
use crate::hooks::CpuAccess;
use crate::outcome::OutcomeValue;

use super::Shared;
use super::exec;

impl CpuAccess for Shared {
    fn perform(&self, command: &Command) -> Result<OutcomeValue, DeviceError> {
        self.perform_by_cpu(command, self.faults.is_lost())
    }
}

impl Shared {
    /// As an engine does it, but for the IOMMU and what is injected into engines.
    pub(super) fn perform_by_cpu(
        &self,
        command: &Command,
        lost: bool,
    ) -> Result<OutcomeValue, DeviceError> {
        match command {
            Command::Nop | Command::Run(_) | Command::Launch(_) => {
                return Err(DeviceError::CpuRefused);
            }
            Command::Copy { .. } | Command::WritePtes { .. } if self.faults.refuse_fallback() => {
                self.faults.inject();
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
        exec::execute(command, &mut access, &self.cpu)
    }
}
