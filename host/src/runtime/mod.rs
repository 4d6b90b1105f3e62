//! The Runtime: devices, timelines and system memory of one process.

mod builder;
mod device;
mod memory;
mod site;
mod strategy;

pub use builder::RuntimeBuilder;
pub use device::{DeviceHandle, Health};
pub(crate) use device::{DeviceShared, Mailbox};

use crate::client::Client;
use crate::error::Error;
use crate::parts::StrategySource;
use crate::slot::StrategySwap;
use crate::system::SystemPool;
use gpumm_contract::{MemoryTypeId, TenantId};
use gpumm_hw as hw;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// System memory, the same number on every device.
pub const SYSTEM: MemoryTypeId = MemoryTypeId(0);
/// Device memory.
pub const VRAM: MemoryTypeId = MemoryTypeId(1);

/// System memory that the device's DMA may reach: what `system` is called while it is mapped.
pub const GTT: MemoryTypeId = MemoryTypeId(2);

/// Buffers of other devices, where they lie in system memory; only a Runtime with several devices
/// has it.
pub const IMPORT: MemoryTypeId = MemoryTypeId(3);

/// Where system memory begins in a device's DMA address space. Device memory begins at 0.
const SYSTEM_BASE: u64 = 1 << 46;

struct Inner {
    timelines: Arc<hw::Timelines>,
    pool: Arc<SystemPool>,
    devices: Vec<Arc<DeviceShared>>,
    tenants: AtomicU32,
}

/// All devices, timelines and clients of a process. Cloning gives another handle.
///
/// ```
/// use gpumm::{BufferDesc, Runtime};
///
/// let runtime = Runtime::builder().sim(64 << 20).build()?;
/// let client = runtime.client();
/// let buffer = client.create(BufferDesc::new(1 << 20))?;
/// buffer.write(0, b"hello")?.wait()?;
/// assert_eq!(buffer.read(0, 5)?, b"hello");
/// # Ok::<(), gpumm::Error>(())
/// ```
#[derive(Clone)]
pub struct Runtime {
    inner: Arc<Inner>,
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runtime")
            .field("devices", &self.inner.devices.len())
            .finish_non_exhaustive()
    }
}

impl Runtime {
    /// A builder without devices.
    pub fn builder() -> RuntimeBuilder {
        RuntimeBuilder::new()
    }

    /// A new tenant on the first device.
    pub fn client(&self) -> Client {
        let tenant = TenantId(self.inner.tenants.fetch_add(1, Ordering::Relaxed));
        // INVARIANT: `build` refuses a Runtime without devices.
        Client::new(self.inner.devices[0].clone(), tenant)
    }

    /// A device by its number.
    ///
    /// Errors: there is no such device.
    pub fn device(&self, index: usize) -> Result<DeviceHandle, Error> {
        let shared = self.inner.devices.get(index).cloned();
        let shared =
            shared.ok_or_else(|| Error::Argument(format!("there is no device {index}")))?;
        Ok(DeviceHandle::new(shared, self.inner.clone()))
    }

    /// Replaces the strategy of every device while requests are served, one device after the
    /// other; see [`DeviceHandle::swap_strategy`].
    ///
    /// Errors: one of them did not take it; those before it have it, the others have not.
    pub fn swap_strategy(
        &self,
        source: &Arc<dyn StrategySource>,
    ) -> Result<Vec<StrategySwap>, Error> {
        let devices = 0..self.inner.devices.len();
        devices
            .map(|index| self.device(index)?.swap_strategy(source.clone()))
            .collect()
    }

    /// The timelines of all devices.
    pub fn timelines(&self) -> &Arc<hw::Timelines> {
        &self.inner.timelines
    }

    /// The system memory of all devices.
    pub fn system(&self) -> &Arc<SystemPool> {
        &self.inner.pool
    }
}
