//! Buffers.

use super::{Client, Fence};
use crate::error::Error;
use crate::job::Job;
use crate::planner::{Message, Verb};
use crate::runtime::VRAM;
use gpumm_contract::BufferId;
use gpumm_contract::request::Placement;
use gpumm_hw as hw;

/// What a new buffer is to be.
#[derive(Clone, Copy, Debug)]
pub struct BufferDesc {
    /// Bytes; not 0.
    pub bytes: u64,
    /// Where it may live; device memory unless said otherwise.
    pub placement: Placement,
    /// Eviction priority, 0 to 3; 0 goes first.
    pub priority: u8,
}

impl BufferDesc {
    /// A buffer in device memory.
    pub const fn new(bytes: u64) -> Self {
        BufferDesc {
            bytes,
            placement: Placement::only(VRAM),
            priority: 0,
        }
    }
}

/// A buffer of a client; dropping it releases it when its last use is over.
pub struct Buffer {
    pub(super) client: Client,
    pub(super) id: BufferId,
    pub(super) bytes: u64,
    /// Whether a release is due when it is dropped.
    pub(super) alive: bool,
}

impl std::fmt::Debug for Buffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Buffer")
            .field("id", &self.id)
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

impl Buffer {
    /// The buffer's number on its device.
    pub fn id(&self) -> BufferId {
        self.id
    }

    /// Its size in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn create_verb(&mut self, desc: &BufferDesc) -> Verb {
        self.bytes = desc.bytes;
        let BufferDesc {
            bytes,
            placement,
            priority,
        } = *desc;
        Verb::Create {
            buffer: self.id,
            tenant: self.client.tenant,
            bytes,
            placement,
            priority,
        }
    }

    /// Brings bytes of the caller into the buffer.
    ///
    /// Errors: the bytes leave the buffer, or there is no room for it.
    pub fn write(&self, offset: u64, data: &[u8]) -> Result<Fence, Error> {
        self.client.run(
            Job::Write {
                offset,
                data: data.into(),
            },
            &[self],
        )
    }

    /// Brings bytes of the buffer to the caller, after everything submitted before.
    ///
    /// Errors: the bytes leave the buffer, or the device failed.
    pub fn read(&self, offset: u64, bytes: u64) -> Result<Vec<u8>, Error> {
        let fence = self.client.run(Job::Read { offset, bytes }, &[self])?;
        match fence.outcome()? {
            hw::OutcomeValue::Bytes(bytes) => Ok(bytes),
            other => Err(Error::System(format!("a read ended as {other:?}"))),
        }
    }

    /// Gives every 64-bit word of the buffer one value.
    ///
    /// Errors: there is no room for the buffer.
    pub fn fill(&self, pattern: u64) -> Result<Fence, Error> {
        self.client.run(Job::Fill { pattern }, &[self])
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if self.alive {
            let (reply, _) = std::sync::mpsc::channel();
            let verbs = vec![Verb::Release {
                tenant: self.client.tenant,
                buffer: self.id,
            }];
            // A planner that has ended has nothing left to release.
            let _ = self.client.device.send(Message::Verbs {
                verbs,
                exact: false,
                reply,
            });
        }
    }
}
