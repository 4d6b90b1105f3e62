//! Clients, buffers and fences: what an embedding program holds.

mod batch;
mod buffer;
mod cpu;
mod fence;
#[cfg(feature = "wgpu")]
mod gpu;
mod queue;
mod shader;
mod share;
mod vm;

pub use batch::{Batch, Ended, Slot};
pub use buffer::{Buffer, BufferDesc, BufferState};
pub use cpu::{CpuGuard, OnMove};
pub use fence::Fence;
#[cfg(feature = "wgpu")]
pub use gpu::GpuGuard;
pub use queue::{Priority, Queue, VmKernel};
pub use shader::Shader;
pub use share::Import;
pub use vm::{Rights, Vm, VmBind, VmDesc};

use crate::error::Error;
use crate::job::Job;
use crate::runtime::DeviceShared;
use gpumm_contract::TenantId;
use std::sync::Arc;

/// A tenant of a device: its buffers are its own.
#[derive(Clone)]
pub struct Client {
    device: Arc<DeviceShared>,
    tenant: TenantId,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("tenant", &self.tenant)
            .finish_non_exhaustive()
    }
}

impl Client {
    pub(crate) fn new(device: Arc<DeviceShared>, tenant: TenantId) -> Self {
        Client { device, tenant }
    }

    /// A new buffer.
    ///
    /// Errors: [`Error::Refused`] when there is no room for it.
    pub fn create(&self, desc: BufferDesc) -> Result<Buffer, Error> {
        let mut made = self.create_many(&[desc])?;
        made.pop()
            .unwrap_or_else(|| Err(Error::System("a request was not answered".into())))
    }

    /// Many new buffers in one crossing; each one succeeds or fails for itself.
    ///
    /// Errors: the device has stopped.
    pub fn create_many(&self, descs: &[BufferDesc]) -> Result<Vec<Result<Buffer, Error>>, Error> {
        let mut buffers: Vec<Buffer> = descs.iter().map(|_| self.future_buffer()).collect();
        let verbs = buffers
            .iter_mut()
            .zip(descs)
            .map(|(buffer, desc)| buffer.create_verb(desc))
            .collect();
        let replies = self.device.ask(verbs, false)?;
        let ended = buffers
            .into_iter()
            .zip(replies)
            .map(|(mut buffer, reply)| match reply {
                Ok(_) => {
                    buffer.alive = true;
                    Ok(buffer)
                }
                Err(error) => Err(error),
            });
        Ok(ended.collect())
    }

    fn future_buffer(&self) -> Buffer {
        let (client, id) = (self.clone(), self.device.new_buffer());
        Buffer {
            client,
            id,
            bytes: 0,
            alive: false,
        }
    }

    /// Runs a job on buffers of this client, which become resident together.
    ///
    /// Errors: a buffer is not this client's, the job leaves it, or there is no room.
    pub fn run(&self, job: Job, buffers: &[&Buffer]) -> Result<Fence, Error> {
        let mut batch = self.batch();
        let at = batch.access(job, buffers, false);
        let mut ended = batch.submit()?;
        ended.take(at)
    }

    /// A batch: requests that reach the mechanism together, in one crossing, in this order.
    pub fn batch(&self) -> Batch {
        Batch {
            client: self.clone(),
            verbs: Vec::new(),
            outcomes: Vec::new(),
        }
    }
}
