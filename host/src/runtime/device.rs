//! A device: what clients share of it, and the handle for reports and tools.

use super::Inner;
use crate::client::Client;
use crate::error::Error;
use crate::jobs::Ring;
use crate::parts::MechanismSource;
use crate::planner::{DeviceReport, Message, Planner, Reply, Swap, Verb};
use crate::share::{Imports, Share};
use gpumm_contract::vm::VmId;
use gpumm_contract::{BufferId, DeviceId, TenantId};
use gpumm_hw as hw;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// The way to a device's planner; closed when the device goes.
pub(crate) struct Mailbox(Mutex<Option<Sender<Message>>>);

impl Mailbox {
    fn sender(&self) -> MutexGuard<'_, Option<Sender<Message>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Errors: the planner has ended.
    pub(crate) fn send(&self, message: Message) -> Result<(), Error> {
        let sender = self.sender();
        let sent = sender.as_ref().and_then(|s| s.send(message).ok());
        sent.ok_or_else(DeviceShared::gone)
    }
}

/// A device as clients share it.
pub(crate) struct DeviceShared {
    pub(crate) device: Arc<dyn hw::Device>,
    pub(crate) timelines: Arc<hw::Timelines>,
    pub(crate) index: DeviceId,
    pub(crate) imports: Arc<Imports>,
    /// None where there is no other device.
    pub(crate) share: Option<Arc<Share>>,
    pub(crate) mailbox: Arc<Mailbox>,
    thread: Mutex<Option<JoinHandle<()>>>,
    buffers: AtomicU64,
    vms: AtomicU64,
    /// None where the device has no page tables.
    pub(crate) ring: Option<Arc<Ring>>,
    faults: Arc<AtomicU64>,
}

impl DeviceShared {
    pub(super) fn new(
        device: Arc<dyn hw::Device>,
        timelines: Arc<hw::Timelines>,
        (index, imports, share): (DeviceId, Arc<Imports>, Option<Arc<Share>>),
        (sender, thread): (Sender<Message>, JoinHandle<()>),
        faults: Arc<AtomicU64>,
        ring: Option<Arc<Ring>>,
    ) -> Self {
        let mailbox = Arc::new(Mailbox(Mutex::new(Some(sender))));
        let thread = Mutex::new(Some(thread));
        DeviceShared {
            device,
            timelines,
            index,
            imports,
            share,
            mailbox,
            thread,
            buffers: AtomicU64::new(1),
            vms: AtomicU64::new(1),
            ring,
            faults,
        }
    }

    fn gone() -> Error {
        Error::System("the device's planner has ended".into())
    }

    pub(crate) fn send(&self, message: Message) -> Result<(), Error> {
        self.mailbox.send(message)
    }

    /// Has the planner do something between two batches and waits for the answer.
    pub(crate) fn control<T: Send + 'static>(
        &self,
        act: impl FnOnce(&mut Planner) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let (reply, answer) = channel();
        self.send(Message::Control(Box::new(move |planner| {
            let _ = reply.send(act(planner));
        })))?;
        answer.recv().map_err(|_| Self::gone())
    }

    /// Sends verbs and waits for their replies.
    pub(crate) fn ask(
        &self,
        verbs: Vec<Verb>,
        exact: bool,
    ) -> Result<Vec<Result<Reply, Error>>, Error> {
        let (reply, answer) = channel();
        self.send(Message::Verbs {
            verbs,
            exact,
            reply,
        })?;
        answer.recv().map_err(|_| Self::gone())
    }

    /// How many faults of strategies there have been.
    pub(crate) fn strategy_faults(&self) -> u64 {
        self.faults.load(Ordering::Relaxed)
    }

    /// A fresh buffer number.
    pub(crate) fn new_buffer(&self) -> BufferId {
        BufferId(self.buffers.fetch_add(1, Ordering::Relaxed))
    }

    /// A fresh number of an address space.
    pub(crate) fn new_vm(&self) -> VmId {
        VmId(self.vms.fetch_add(1, Ordering::Relaxed))
    }
}

impl Drop for DeviceShared {
    fn drop(&mut self) {
        // Without senders the planner ends after what it has begun.
        *self.mailbox.sender() = None;
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

/// How a device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It works.
    Good,
    /// It has lost its memory and what was submitted; the next request brings it back.
    Lost,
    /// It serves no more, because a component or the device could not be replaced.
    Stopped,
}

/// A device: reports, and what tests and tools do to it.
#[derive(Clone)]
pub struct DeviceHandle {
    shared: Arc<DeviceShared>,
    tenants: Arc<Inner>,
}

impl std::fmt::Debug for DeviceHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeviceHandle")
            .field("device", &self.shared.device)
            .finish_non_exhaustive()
    }
}

impl DeviceHandle {
    pub(super) fn new(shared: Arc<DeviceShared>, tenants: Arc<Inner>) -> Self {
        DeviceHandle { shared, tenants }
    }

    /// A new tenant on this device.
    pub fn client(&self) -> Client {
        let tenant = TenantId(self.tenants.tenants.fetch_add(1, Ordering::Relaxed));
        Client::new(self.shared.clone(), tenant)
    }

    /// The device itself.
    pub fn hardware(&self) -> &Arc<dyn hw::Device> {
        &self.shared.device
    }

    /// The wgpu device and queue of a device on a GPU, for the caller's own work; a reset after a
    /// loss makes others, unless the caller has made these.
    #[cfg(feature = "wgpu")]
    pub fn wgpu(&self) -> Option<(wgpu::Device, wgpu::Queue)> {
        self.shared.device.as_wgpu().map(hw::wgpu::WgpuDevice::wgpu)
    }

    /// Has the planner do something between two batches and waits for the answer.
    pub(crate) fn control<T: Send + 'static>(
        &self,
        act: impl FnOnce(&mut Planner) -> T + Send + 'static,
    ) -> Result<T, Error> {
        self.shared.control(act)
    }

    /// How many faults of strategies there have been; asks no planner, so it may be asked often.
    pub fn strategy_fault_count(&self) -> u64 {
        self.shared.strategy_faults()
    }

    /// What the device has done so far.
    ///
    /// Errors: the planner has ended.
    pub fn report(&self) -> Result<DeviceReport, Error> {
        self.control(Planner::report)
    }

    /// Waits for everything submitted and delivers it to the mechanism.
    ///
    /// Errors: the device has stopped.
    pub fn drain(&self) -> Result<(), Error> {
        self.control(Planner::drain)?
    }

    /// The ledger's facts as packed lists: what a mechanism is restored from.
    ///
    /// Errors: the planner has ended.
    pub fn facts(&self) -> Result<Vec<Vec<u64>>, Error> {
        self.control(Planner::facts)
    }

    /// Throws the mechanism away and rebuilds it from the facts, as after a crash.
    ///
    /// Errors: it does not start again.
    pub fn restart_mechanism(&self) -> Result<(), Error> {
        self.control(Planner::restart_mechanism)?
    }

    /// Replaces the mechanism between two batches by another one, rebuilt from the facts. The
    /// planner does nothing else meanwhile; the device works on.
    ///
    /// Errors: the new one does not start; then the old one goes on.
    pub fn swap_mechanism(&self, source: Arc<dyn MechanismSource>) -> Result<Swap, Error> {
        self.control(move |planner| planner.swap_mechanism(source))?
    }

    /// How the device is.
    pub fn health(&self) -> Health {
        match (self.shared.device.is_lost(), self.control(Planner::stopped)) {
            (_, Ok(Some(_)) | Err(_)) => Health::Stopped,
            (true, _) => Health::Lost,
            (false, _) => Health::Good,
        }
    }

    /// Throws the strategies away and rebuilds them from the facts, as after a crash.
    ///
    /// Errors: one does not start again.
    pub fn restart_strategies(&self) -> Result<(), Error> {
        self.control(Planner::restart_strategies)?
    }

    /// Ends the request log.
    ///
    /// Errors: it could not be written completely.
    pub fn end_log(&self) -> Result<(), Error> {
        self.control(Planner::end_log)?
    }
}
