//! Sharing a buffer of one device with another one: delivering notifications, and seeing to it
//! that they end.
//!
//! ```text
//! exporter plans a move: notify, gate -> its call returns -> the plan is performed
//!     -> the importer's planner releases the import -> the points after which nobody reads it
//!     -> unmapped -> the gate is reached -> the exporter's copy runs
//! importer traps, is stopped, or is late: unmapped by the host -> what had begun ends -> gate
//! ```
//! `link.rs` is one import, `worker.rs` the thread that reaches the gates. No component is called
//! from here: each planner is asked by a message between two batches of its own.

mod link;
mod worker;

pub(crate) use link::{Ends, Imports, Link};

use crate::error::Error;
use crate::planner::{Message, Planner};
use crate::runtime::{DeviceShared, Mailbox};
use gpumm_contract::{AttachmentId, BufferId, DeviceId, Point};
use gpumm_hw as hw;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use worker::Task;

/// An accepted `notify`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Notice {
    pub(crate) device: DeviceId,
    pub(crate) attachment: AttachmentId,
    pub(crate) gate: Point,
}

/// What a device has to do with the buffers of others, and others with its own.
#[derive(Debug)]
pub(crate) struct Sharing {
    pub(crate) imports: Arc<Imports>,
    /// None where there is no other device.
    pub(crate) share: Option<Arc<Share>>,
}

impl Sharing {
    /// Ends the mapping of an import, unless it was ended before.
    ///
    /// Errors: the device refuses.
    pub(crate) fn unmap(&self, buffer: BufferId) -> Result<(), hw::DeviceError> {
        let link = self.imports.get(buffer);
        link.map_or(Ok(()), |link| link.unmap())
    }

    /// Has importers told, in this order.
    pub(crate) fn tell(&self, notices: Vec<Notice>) {
        let share = self.share.iter();
        share.for_each(|share| notices.iter().for_each(|notice| share.notify(*notice)));
    }
}

/// What notifications need of the Runtime.
#[derive(Default)]
struct Common {
    /// Not the devices themselves: the last one who drops a device waits for its planner.
    mailboxes: OnceLock<Vec<Arc<Mailbox>>>,
    links: Mutex<BTreeMap<AttachmentId, Arc<Link>>>,
}

impl Common {
    fn links(&self) -> MutexGuard<'_, BTreeMap<AttachmentId, Arc<Link>>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has a device's planner do something between two batches.
    ///
    /// Errors: the planner has ended.
    fn ask(
        &self,
        device: DeviceId,
        act: impl FnOnce(&mut Planner) + Send + 'static,
    ) -> Result<(), Error> {
        let mailbox = self
            .mailboxes
            .get()
            .and_then(|all| all.get(device.0 as usize));
        let gone = || Error::System("there is no such device".into());
        mailbox
            .ok_or_else(gone)?
            .send(Message::Control(Box::new(act)))
    }
}

/// The sharing between the devices of a Runtime.
pub(crate) struct Share {
    timeout: Duration,
    common: Arc<Common>,
    next: AtomicU64,
    /// A worker per importing device.
    workers: Vec<Sender<Task>>,
}

impl std::fmt::Debug for Share {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Share")
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

impl Share {
    /// Sharing between so many devices; `timeout` is how long an importer has.
    ///
    /// Errors: the system gives no thread.
    pub(crate) fn new(
        devices: usize,
        timeout: Duration,
        timelines: &Arc<hw::Timelines>,
    ) -> Result<Self, Error> {
        let common = Arc::new(Common::default());
        let start = |n| worker::start(n, common.clone(), timelines.clone());
        let workers = (0..devices).map(start).collect::<Result<_, _>>();
        Ok(Share {
            timeout,
            common: common.clone(),
            next: AtomicU64::new(1),
            workers: workers.map_err(|e| Error::System(format!("no thread to share: {e}")))?,
        })
    }

    /// Makes the devices known, in the order of their numbers.
    pub(crate) fn begin(&self, devices: &[Arc<DeviceShared>]) {
        let mailboxes = devices.iter().map(|d| d.mailbox.clone()).collect();
        let _ = self.common.mailboxes.set(mailboxes);
    }

    /// A new import, which nobody has attached yet.
    pub(crate) fn link(&self, ends: Ends, importer: &DeviceShared) -> Arc<Link> {
        let attachment = AttachmentId(self.next.fetch_add(1, Ordering::Relaxed));
        let (device, imports) = (importer.device.clone(), importer.imports.clone());
        let link = Arc::new(Link::new(attachment, ends, device, imports));
        self.common.links().insert(attachment, link.clone());
        link
    }

    /// A plan of the exporter that was performed says that an import ends: the importer is told,
    /// and the gate will be reached.
    fn notify(&self, notice: Notice) {
        let link = self.common.links().get(&notice.attachment).cloned();
        if let Some(link) = &link {
            self.close(link);
        }
        let deadline = Instant::now() + self.timeout;
        self.give(notice.device, Task::Gate(link, notice.gate, deadline));
    }

    /// The client does not want an import any more.
    pub(crate) fn drop_import(&self, link: &Arc<Link>) {
        self.close(link);
        self.give(link.importer, Task::Drop(link.clone()));
    }

    fn give(&self, importer: DeviceId, task: Task) {
        // INVARIANT: gates are those of the Runtime's devices, and workers end after their senders.
        if let Some(worker) = self.workers.get(importer.0 as usize) {
            let _ = worker.send(task);
        }
    }

    /// Asks the importer's planner to release an import, and again where it has failed.
    fn close(&self, link: &Arc<Link>) {
        if !link.close() {
            return;
        }
        let there = link.clone();
        let asked = self.common.ask(link.importer, move |planner| {
            there.answer(planner.close_import(&there));
        });
        if let Err(error) = asked {
            link.answer(Err(error));
        }
    }
}
