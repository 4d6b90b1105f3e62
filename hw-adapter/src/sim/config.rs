//! What kind of simulated device to make.

use std::time::Duration;

use crate::base;
use crate::device::EngineKind;
use crate::engine_list;
use crate::error::DeviceError;

use super::FaultRule;

/// What kind of simulated device to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimConfig {
    /// For people; timelines are called `name/engine`.
    pub name: String,
    /// Size of the device's own memory in bytes: a multiple of the granule, not 0.
    pub vram_bytes: u64,
    /// What allocations in it should be multiples of, in bytes; a power of two.
    pub granule: u64,
    /// Name and kind of each engine; at least one.
    pub engines: Vec<(String, EngineKind)>,
    /// Whether engines reach only the system memory that is mapped for them; otherwise all.
    pub iommu: bool,
    /// Memory for the page tables of all address spaces, in bytes.
    pub page_table_bytes: u64,
    /// How long a command may make no progress. One that works is never ended.
    pub timeout: Duration,
    /// What the device does wrong, from the first submission on.
    pub faults: Vec<FaultRule>,
    /// What rules of chance draw from.
    pub fault_seed: u64,
}

impl SimConfig {
    /// An honest device with a granule of 4096 bytes, a copy engine and a compute engine, an
    /// IOMMU, 1 GiB for page tables, and a patience of 2 seconds.
    pub fn new(name: &str, vram_bytes: u64) -> SimConfig {
        SimConfig {
            name: name.to_owned(),
            vram_bytes,
            granule: 4096,
            engines: engine_list::usual(),
            iommu: true,
            page_table_bytes: 1 << 30,
            timeout: Duration::from_secs(2),
            faults: Vec::new(),
            fault_seed: 0,
        }
    }

    /// With so many copy engines, `copy0` and so on, and behind them one compute engine.
    pub fn copy_engines(mut self, count: u32) -> SimConfig {
        self.engines = engine_list::copies(count);
        self
    }

    /// With so many more compute engines, `ring0` and so on, behind those that are there.
    pub fn rings(mut self, count: u32) -> SimConfig {
        engine_list::add_rings(&mut self.engines, count);
        self
    }

    /// With an engine for page tables, `bind`, behind those that are there.
    pub fn bind_engine(mut self) -> SimConfig {
        engine_list::add_bind(&mut self.engines);
        self
    }

    pub(crate) fn check(&self) -> Result<(), DeviceError> {
        base::check(self.vram_bytes, self.granule, &self.engines)
    }
}
