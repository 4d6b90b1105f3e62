//! The device on a GPU as a device.

use std::time::Duration;

use crate::command::{MemorySpace, Segment, Submission};
use crate::device::{Device, DeviceProperties, EngineId, Fault};
use crate::engine::Engine;
use crate::error::DeviceError;
use crate::hooks::CpuAccess;
use crate::shader::{ShaderError, ShaderId};
use crate::statistics::DeviceStatistics;
use crate::timeline::WaitError;
use crate::vm::{PteEntry, VmId, VmReport};

use super::WgpuDevice;

impl Device for WgpuDevice {
    fn properties(&self) -> &DeviceProperties {
        &self.shared.properties
    }

    fn submit(&self, engine: EngineId, submission: Submission) -> Result<(), DeviceError> {
        let shared = &*self.shared;
        let queue = shared.engine(engine)?;
        let footprint = shared.check(&submission)?;
        queue.push(submission, footprint, None)
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
        self.shared.start_again()
    }

    fn reset_engine(&self, engine: EngineId) -> Result<(), DeviceError> {
        self.shared.engine(engine)?.end_running();
        Ok(())
    }

    /// A command that the GPU does not end within the device's patience ends as timed out, so
    /// none hangs for longer.
    fn is_hung(&self, engine: EngineId) -> bool {
        self.shared.engine(engine).is_ok_and(|engine| engine.hung())
    }

    /// wgpu tells of a loss when it is next asked for something: an idle device does not notice.
    fn is_lost(&self) -> bool {
        self.shared.lost()
    }

    fn grow(&self, memory: MemorySpace, bytes: u64) -> Result<u64, DeviceError> {
        match memory {
            MemorySpace::Vram => self.shared.grow(bytes),
            MemorySpace::System => Ok(self.shared.system.size()),
        }
    }

    fn as_wgpu(&self) -> Option<&WgpuDevice> {
        Some(self)
    }

    fn statistics(&self) -> DeviceStatistics {
        WgpuDevice::statistics(self)
    }

    fn cpu(&self) -> &dyn CpuAccess {
        &*self.shared
    }

    fn map_dma(&self, segments: &[Segment]) -> Result<(), DeviceError> {
        self.shared.iommu.map(segments)
    }

    fn unmap_dma(&self, segments: &[Segment]) -> Result<(), DeviceError> {
        self.shared.iommu.unmap(segments)
    }

    fn create_vm(&self, vm: VmId, start: u64, bytes: u64) -> Result<(), DeviceError> {
        self.shared.mmu.create(vm, start, bytes)
    }

    fn destroy_vm(&self, vm: VmId) -> Result<(), DeviceError> {
        self.shared.mmu.destroy(vm)?;
        self.shared.context().images.forget(vm);
        Ok(())
    }

    fn reserve_ptes(&self, vm: VmId, address: u64, bytes: u64) -> Result<(), DeviceError> {
        self.shared.mmu.space(vm)?.reserve(address, bytes)
    }

    fn load_shader(&self, source: &str) -> Result<ShaderId, ShaderError> {
        let shared = &self.shared;
        shared.shaders.load(&shared.context(), source)
    }

    fn unload_shader(&self, shader: ShaderId) -> Result<(), DeviceError> {
        let shared = &self.shared;
        shared.shaders.unload(&shared.context(), shader)
    }

    fn vm_report(&self, vm: VmId) -> Result<VmReport, DeviceError> {
        Ok(self.shared.mmu.space(vm)?.report())
    }

    fn page_table(&self, vm: VmId, limit: usize) -> Result<Vec<PteEntry>, DeviceError> {
        Ok(self.shared.mmu.space(vm)?.entries(limit))
    }
}
