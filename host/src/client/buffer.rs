//! Buffers.

use super::{Client, Fence};
use crate::error::Error;
use crate::job::Job;
use crate::planner::{Message, Planner, Verb};
use crate::runtime::VRAM;
use gpumm_contract::facts::Content;
use gpumm_contract::request::Placement;
use gpumm_contract::{BufferId, MemoryTypeId};
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

/// Where a buffer is, and how its content is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BufferState {
    /// The memory type it lives in, or is on its way to.
    pub place: MemoryTypeId,
    /// What its bytes are.
    pub content: Content,
}

impl BufferState {
    /// Whether the content is lost: the buffer can only be released.
    pub fn is_poisoned(&self) -> bool {
        self.content == Content::Poisoned
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

    /// Where the buffer is and how its content is, as far as the device's operations have been
    /// heard of: after a fence was waited for and the next request was served.
    ///
    /// Errors: the planner has ended.
    pub fn state(&self) -> Result<BufferState, Error> {
        let (reply, answer) = std::sync::mpsc::channel();
        let (tenant, id) = (self.client.tenant, self.id);
        let ask = move |planner: &mut Planner| _ = reply.send(planner.buffer_state(tenant, id));
        self.client.device.send(Message::Control(Box::new(ask)))?;
        let gone = || Error::System("the device's planner has ended".into());
        let state = answer.recv().map_err(|_| gone())?;
        state.ok_or_else(|| Error::Argument(format!("buffer {id} is not alive")))
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
