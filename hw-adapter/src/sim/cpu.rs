//! The CPU's own way to the memories of a simulated device.

use crate::command::Command;
use crate::error::DeviceError;
use crate::hooks::CpuAccess;
use crate::outcome::OutcomeValue;

use super::Shared;
use crate::exec;

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
        if let Command::Copy { .. } | Command::WritePtes { .. } = command
            && self.faults.refuse_fallback()
        {
            self.faults.inject();
            return Err(DeviceError::CpuRefused);
        }
        self.cpu_command(command, lost, |_, mut access| {
            exec::execute(command, &mut access, &self.cpu)
        })
    }
}
