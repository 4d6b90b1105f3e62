//! What kind of device to make of a GPU.

use std::time::Duration;

use crate::base;
use crate::device::EngineKind;
use crate::engine_list;
use crate::error::DeviceError;

use super::staging::KEPT;

/// What kind of device to make of a GPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WgpuConfig {
    /// For people; timelines are called `name/engine`.
    pub name: String,
    /// Size of the device's own memory in bytes: a multiple of the granule, not 0. The GPU is
    /// asked for it as it is touched.
    pub vram_bytes: u64,
    /// What allocations in it should be multiples of, in bytes; a power of two, at least 4.
    pub granule: u64,
    /// Size of the GPU buffers that the memory is made of, in bytes: a multiple of 4096. `None`
    /// stands for 64 MiB, or what the GPU's limits allow.
    pub chunk_bytes: Option<u64>,
    /// Name and kind of each engine; at least one. All share one queue of the GPU.
    pub engines: Vec<(String, EngineKind)>,
    /// Whether engines reach only the system memory that is mapped for them; otherwise all.
    pub iommu: bool,
    /// Memory for the page tables of all address spaces, in bytes.
    pub page_table_bytes: u64,
    /// Whether jobs bind what is contiguous in one of the GPU buffers directly; otherwise they
    /// always walk the page table.
    pub bind_direct: bool,
    /// Whether built-in kernels on lists of segments run on the CPU, by staging, and not as
    /// shaders. `None`: where the adapter is a CPU, which runs them several times faster itself.
    pub lists_by_cpu: Option<bool>,
    /// How long the GPU may take for a part of a command. After that the device counts as lost.
    pub timeout: Duration,
}

/// What chunks are multiples of, in bytes.
const CHUNK: u64 = 4096;

/// The size of chunks when nothing else is said, in bytes.
const DEFAULT_CHUNK: u64 = 64 << 20;

impl WgpuConfig {
    /// A device with a granule of 4096 bytes, a copy engine and a compute engine, an IOMMU,
    /// 1 GiB for page tables, and a patience of 30 seconds.
    pub fn new(name: &str, vram_bytes: u64) -> WgpuConfig {
        WgpuConfig {
            name: name.to_owned(),
            vram_bytes,
            granule: 4096,
            chunk_bytes: None,
            engines: engine_list::usual(),
            iommu: true,
            page_table_bytes: 1 << 30,
            bind_direct: true,
            lists_by_cpu: None,
            timeout: Duration::from_secs(30),
        }
    }

    /// With so many copy engines, `copy0` and so on, and behind them one compute engine.
    pub fn copy_engines(mut self, count: u32) -> WgpuConfig {
        self.engines = engine_list::copies(count);
        self
    }

    /// With so many more compute engines, `ring0` and so on, behind those that are there.
    pub fn rings(mut self, count: u32) -> WgpuConfig {
        engine_list::add_rings(&mut self.engines, count);
        self
    }

    /// With an engine for page tables, `bind`, behind those that are there.
    pub fn bind_engine(mut self) -> WgpuConfig {
        engine_list::add_bind(&mut self.engines);
        self
    }

    pub(super) fn check(&self) -> Result<(), DeviceError> {
        base::check(self.vram_bytes, self.granule, &self.engines)?;
        let wrong = |why| Err(DeviceError::InvalidConfig(why));
        if self.granule < 4 {
            return wrong("the granule is below 4");
        }
        if self
            .chunk_bytes
            .is_some_and(|bytes| bytes == 0 || !bytes.is_multiple_of(CHUNK))
        {
            return wrong("a chunk is not a multiple of 4096 bytes, or of 0 bytes");
        }
        Ok(())
    }

    /// The size of chunks on a GPU with these limits, in bytes.
    ///
    /// # Errors
    /// [`DeviceError::LimitTooSmall`] for the first limit that does not hold a chunk or what is staged.
    pub(super) fn chunk(&self, limits: &wgpu::Limits) -> Result<u64, DeviceError> {
        let limits = [
            ("max_buffer_size", limits.max_buffer_size),
            // Kernels bind whole chunks.
            (
                "max_storage_buffer_binding_size",
                limits.max_storage_buffer_binding_size,
            ),
        ];
        let most = limits.iter().map(|(_, has)| *has).min().unwrap_or(0);
        let most = most - most % CHUNK;
        // A memory below a chunk needs no whole one.
        let small = self.vram_bytes.next_multiple_of(CHUNK);
        let chunk = match self.chunk_bytes {
            Some(bytes) => bytes,
            None => DEFAULT_CHUNK.min(most).max(CHUNK),
        };
        let bytes = chunk.min(small);
        for ((limit, has), needed) in limits.into_iter().zip([bytes.max(KEPT), bytes]) {
            if has < needed {
                return Err(DeviceError::LimitTooSmall { limit, has, needed });
            }
        }
        Ok(bytes)
    }
}
