//! Clients, buffers and fences: what an embedding program holds.

use crate::error::Error;
use crate::job::Job;
use crate::planner::{Reply, Verb};
use crate::runtime::{DeviceShared, VRAM};
use gpumm_contract::request::Placement;
use gpumm_contract::{BufferId, Point, TenantId};
use gpumm_hw as hw;
use std::sync::Arc;
use std::time::Duration;

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
        BufferDesc { bytes, placement: Placement::only(VRAM), priority: 0 }
    }
}

/// A tenant of a device: its buffers are its own.
#[derive(Clone)]
pub struct Client {
    device: Arc<DeviceShared>,
    tenant: TenantId,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("tenant", &self.tenant).finish_non_exhaustive()
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
        made.pop().unwrap_or_else(|| Err(Error::System("a request was not answered".into())))
    }

    /// Many new buffers in one crossing; each one succeeds or fails for itself.
    ///
    /// Errors: the device has stopped.
    pub fn create_many(&self, descs: &[BufferDesc]) -> Result<Vec<Result<Buffer, Error>>, Error> {
        let mut buffers: Vec<Buffer> = descs.iter().map(|_| self.future_buffer()).collect();
        let verbs = buffers.iter_mut().zip(descs).map(|(buffer, desc)| buffer.create_verb(desc)).collect();
        let replies = self.device.ask(verbs, false)?;
        let ended = buffers.into_iter().zip(replies).map(|(mut buffer, reply)| match reply {
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
        Buffer { client, id, bytes: 0, alive: false }
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
        Batch { client: self.clone(), verbs: Vec::new(), outcomes: Vec::new() }
    }
}

/// A buffer of a client; dropping it releases it when its last use is over.
pub struct Buffer {
    client: Client,
    id: BufferId,
    bytes: u64,
    alive: bool,
}

impl std::fmt::Debug for Buffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Buffer").field("id", &self.id).field("bytes", &self.bytes).finish_non_exhaustive()
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

    fn create_verb(&mut self, desc: &BufferDesc) -> Verb {
        self.bytes = desc.bytes;
        let BufferDesc { bytes, placement, priority } = *desc;
        Verb::Create { buffer: self.id, tenant: self.client.tenant, bytes, placement, priority }
    }

    /// Brings bytes of the caller into the buffer.
    ///
    /// Errors: the bytes leave the buffer, or there is no room for it.
    pub fn write(&self, offset: u64, data: &[u8]) -> Result<Fence, Error> {
        self.client.run(Job::Write { offset, data: data.into() }, &[self])
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
            let verbs = vec![Verb::Release { tenant: self.client.tenant, buffer: self.id }];
            // A planner that has ended has nothing left to release.
            let _ = self.client.device.send(crate::planner::Message::Verbs { verbs, exact: false, reply });
        }
    }
}

/// A point that a device will reach, and the outcome of the job that reaches it.
#[derive(Clone)]
pub struct Fence {
    device: Arc<DeviceShared>,
    point: Point,
    outcome: Arc<hw::Outcome>,
}

impl std::fmt::Debug for Fence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fence").field("point", &self.point).finish_non_exhaustive()
    }
}

impl Fence {
    /// The point.
    pub fn point(&self) -> Point {
        self.point
    }

    /// Whether the point is reached.
    pub fn is_reached(&self) -> bool {
        self.device.timelines.reached(crate::executor::hardware_point(self.point))
    }

    /// Waits for the point.
    ///
    /// Errors: the job failed, or the device has stopped.
    pub fn wait(&self) -> Result<(), Error> {
        self.outcome().map(|_| ())
    }

    /// Waits for the point, but not longer than this; whether it is reached.
    ///
    /// Errors: the device has stopped.
    pub fn wait_for(&self, timeout: Duration) -> Result<bool, Error> {
        let point = crate::executor::hardware_point(self.point);
        match self.device.timelines.wait(point, Some(timeout)) {
            Ok(()) => Ok(true),
            Err(hw::WaitError::TimedOut) => Ok(false),
            Err(error) => Err(Error::System(error.to_string())),
        }
    }

    /// Waits for the point and says how the job ended.
    ///
    /// Errors: the job failed, or the device has stopped.
    pub fn outcome(&self) -> Result<hw::OutcomeValue, Error> {
        let point = crate::executor::hardware_point(self.point);
        self.device.timelines.wait(point, None).map_err(|e| Error::System(e.to_string()))?;
        match self.outcome.wait(None) {
            Some(hw::OutcomeValue::Failed(error)) => Err(Error::Device(*error)),
            Some(value) => Ok(value.clone()),
            None => Err(Error::System("the job's outcome is missing".into())),
        }
    }

    /// How the job ended, if it has.
    pub fn try_outcome(&self) -> Option<&hw::OutcomeValue> {
        self.outcome.get()
    }
}

/// Requests that are planned together.
#[derive(Debug)]
pub struct Batch {
    client: Client,
    verbs: Vec<Verb>,
    outcomes: Vec<Option<Arc<hw::Outcome>>>,
}

/// Where in a batch a request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot(usize);

impl Batch {
    /// Makes this batch's following requests those of another client of the same device.
    pub fn on_behalf_of(&mut self, client: &Client) {
        self.client = client.clone();
    }

    /// Asks for a new buffer; it may be used in the same batch already.
    pub fn create(&mut self, desc: BufferDesc) -> (Slot, Buffer) {
        let mut buffer = self.client.future_buffer();
        self.verbs.push(buffer.create_verb(&desc));
        self.outcomes.push(None);
        (Slot(self.verbs.len() - 1), buffer)
    }

    /// Asks to run a job on buffers; `anywhere` leaves them where they are.
    pub fn access(&mut self, job: Job, buffers: &[&Buffer], anywhere: bool) -> Slot {
        let outcome = Arc::new(hw::Outcome::new());
        self.outcomes.push(Some(outcome.clone()));
        let buffers = buffers.iter().map(|b| b.id).collect();
        let tenant = self.client.tenant;
        self.verbs.push(Verb::Access { tenant, buffers, job, anywhere, outcome });
        Slot(self.verbs.len() - 1)
    }

    /// Asks to release a buffer.
    pub fn release(&mut self, mut buffer: Buffer) -> Slot {
        buffer.alive = false;
        self.outcomes.push(None);
        self.verbs.push(Verb::Release { tenant: buffer.client.tenant, buffer: buffer.id });
        Slot(self.verbs.len() - 1)
    }

    /// How many requests.
    pub fn len(&self) -> usize {
        self.verbs.len()
    }

    /// Whether there is no request.
    pub fn is_empty(&self) -> bool {
        self.verbs.is_empty()
    }

    /// Plans the requests as one batch of their own and waits for the plan, not for the device.
    ///
    /// Errors: the device has stopped. A single request's failure is in its slot.
    pub fn submit(self) -> Result<Ended, Error> {
        let device = self.client.device.clone();
        let replies = device.ask(self.verbs, true)?;
        let ended = replies.into_iter().zip(self.outcomes).map(|(reply, outcome)| {
            reply.map(|reply| match (reply, outcome) {
                (Reply::Runs(point), Some(outcome)) => Some(Fence { device: device.clone(), point, outcome }),
                _ => None,
            })
        });
        Ok(Ended { ended: ended.map(Some).collect() })
    }
}

/// How the requests of a batch ended.
#[derive(Debug)]
pub struct Ended {
    ended: Vec<Option<Result<Option<Fence>, Error>>>,
}

impl Ended {
    fn at(&mut self, slot: Slot) -> Result<Option<Fence>, Error> {
        let missing = || Error::Argument("this slot is of another batch, or was asked for before".into());
        self.ended.get_mut(slot.0).and_then(Option::take).ok_or_else(missing)?
    }

    /// The fence of an access.
    ///
    /// Errors: the access failed.
    pub fn take(&mut self, slot: Slot) -> Result<Fence, Error> {
        self.at(slot)?.ok_or_else(|| Error::Argument("this request has no fence".into()))
    }

    /// A buffer whose creation stands in the slot, now alive.
    ///
    /// Errors: the creation failed.
    pub fn created(&mut self, slot: Slot, mut buffer: Buffer) -> Result<Buffer, Error> {
        self.at(slot)?;
        buffer.alive = true;
        Ok(buffer)
    }

    /// Whether a request without a result ended well.
    ///
    /// Errors: it failed.
    pub fn done(&mut self, slot: Slot) -> Result<(), Error> {
        self.at(slot).map(|_| ())
    }
}
