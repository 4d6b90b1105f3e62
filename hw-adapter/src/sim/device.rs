//! The simulated device as a device.

use std::time::Duration;

use crate::command::{Segment, Submission};
use crate::device::{Device, DeviceProperties, EngineId, Fault};
use crate::engine::Engine;
use crate::error::DeviceError;
use crate::hooks::CpuAccess;
use crate::statistics::DeviceStatistics;
use crate::timeline::WaitError;
use crate::vm::{PteEntry, VmId, VmReport};

use super::Sim;

impl Device for Sim {
    fn properties(&self) -> &DeviceProperties {
        &self.shared.properties
    }

    fn submit(&self, engine: EngineId, submission: Submission) -> Result<(), DeviceError> {
        let shared = &*self.shared;
        let queue = shared.engine(engine)?;
        let footprint = shared.check(&submission)?;
        let Some(mut rules) = shared.faults.armed() else {
            return queue.push(submission, footprint, None);
        };
        let pushed = queue.push(submission, footprint, Some(&mut rules));
        match pushed {
            Ok(()) => shared.lose_if_due(&mut rules),
            Err(DeviceError::NoRescueMemory) => shared.faults.inject(),
            Err(_) => {}
        }
        pushed
    }

    fn idle(&self, timeout: Option<Duration>) -> Result<(), WaitError> {
        self.shared.finished(Engine::submitted, timeout)
    }

    fn settle(&self, timeout: Option<Duration>) -> Result<(), WaitError> {
        self.shared.finished(Engine::begun, timeout)
    }

    fn take_faults(&self) -> Vec<Fault> {
        self.shared.take_faults()
    }

    fn reset(&self) -> Result<(), DeviceError> {
        self.shared.reset()
    }

    fn reset_engine(&self, engine: EngineId) -> Result<(), DeviceError> {
        self.shared.engine(engine)?.end_running();
        Ok(())
    }

    fn is_hung(&self, engine: EngineId) -> bool {
        self.shared.engine(engine).is_ok_and(|engine| engine.hung())
    }

    fn is_lost(&self) -> bool {
        self.shared.faults.is_lost()
    }

    fn statistics(&self) -> DeviceStatistics {
        Sim::statistics(self)
    }

    fn cpu(&self) -> &dyn CpuAccess {
        &*self.shared
    }

    fn map_dma(&self, segments: &[Segment]) -> Result<(), DeviceError> {
        if self.shared.faults.fail_dma_map() {
            self.shared.faults.inject();
            return Err(DeviceError::DmaMap);
        }
        self.shared.iommu.map(segments)
    }

    fn unmap_dma(&self, segments: &[Segment]) -> Result<(), DeviceError> {
        self.shared.iommu.unmap(segments)
    }

    fn create_vm(&self, vm: VmId, start: u64, bytes: u64) -> Result<(), DeviceError> {
        self.shared.mmu.create(vm, start, bytes)
    }

    fn destroy_vm(&self, vm: VmId) -> Result<(), DeviceError> {
        self.shared.mmu.destroy(vm)
    }

    fn reserve_ptes(&self, vm: VmId, address: u64, bytes: u64) -> Result<(), DeviceError> {
        let space = self.shared.mmu.space(vm)?;
        if self.shared.faults.fail_pte_reservation() {
            self.shared.faults.inject();
            return Err(DeviceError::PageTableMemory);
        }
        space.reserve(address, bytes)
    }

    fn vm_report(&self, vm: VmId) -> Result<VmReport, DeviceError> {
        Ok(self.shared.mmu.space(vm)?.report())
    }

    fn page_table(&self, vm: VmId, limit: usize) -> Result<Vec<PteEntry>, DeviceError> {
        Ok(self.shared.mmu.space(vm)?.entries(limit))
    }
}
