//! One import: what both devices' planners, the worker and the client know of it.

use crate::error::Error;
use gpumm_contract::{AttachmentId, BufferId, DeviceId, Extent, PointSet, TenantId};
use gpumm_hw as hw;
use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

/// What the importer's planner says to the end of an import: after which points nobody of it reads
/// any more.
pub(crate) type Closed = Result<PointSet, Error>;

#[derive(Debug, Default)]
struct State {
    /// No use of it is planned any more.
    closed: bool,
    /// The importer's planner was asked to release it.
    asked: bool,
    /// The importing device's DMA reaches the memory.
    mapped: bool,
    /// It reaches it never again.
    ended: bool,
    answer: Option<Closed>,
}

/// An import of a buffer.
///
/// Invariants: once ended, the importing device does not reach the memory and never will again.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) attachment: AttachmentId,
    pub(crate) exporter: DeviceId,
    /// The buffer on the exporting device.
    pub(crate) exported: BufferId,
    pub(crate) importer: DeviceId,
    /// The import's own number on the importing device.
    pub(crate) buffer: BufferId,
    /// Whose it is there.
    pub(crate) tenant: TenantId,
    pub(crate) bytes: u64,
    /// The importing device.
    pub(crate) device: Arc<dyn hw::Device>,
    /// Known once the exporter has attached it.
    pub(crate) extents: OnceLock<Vec<Extent>>,
    /// Where the importing device keeps it.
    pub(crate) imports: Arc<Imports>,
    state: Mutex<State>,
    answered: Condvar,
}

/// Both ends of a new import.
pub(crate) struct Ends {
    pub(crate) exporter: DeviceId,
    pub(crate) exported: BufferId,
    pub(crate) importer: DeviceId,
    pub(crate) tenant: TenantId,
    pub(crate) buffer: BufferId,
    pub(crate) bytes: u64,
}

impl Link {
    pub(super) fn new(
        attachment: AttachmentId,
        ends: Ends,
        device: Arc<dyn hw::Device>,
        imports: Arc<Imports>,
    ) -> Self {
        Link {
            attachment,
            exporter: ends.exporter,
            exported: ends.exported,
            importer: ends.importer,
            buffer: ends.buffer,
            tenant: ends.tenant,
            bytes: ends.bytes,
            device,
            extents: OnceLock::new(),
            imports,
            state: Mutex::default(),
            answered: Condvar::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is one assignment, so a panic leaves nothing half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn segments(&self) -> Vec<hw::Segment> {
        let segment = |e: &Extent| hw::Segment::system(e.offset, e.bytes);
        self.extents
            .get()
            .into_iter()
            .flatten()
            .map(segment)
            .collect()
    }

    /// Whether its uses are refused.
    pub(crate) fn is_closed(&self) -> bool {
        self.state().closed
    }

    /// Lets the importing device reach the memory.
    ///
    /// Errors: the device refuses, or the import has ended.
    pub(crate) fn map(&self) -> Result<(), hw::DeviceError> {
        let mut state = self.state();
        if state.ended {
            return Err(hw::DeviceError::DmaMap);
        }
        self.device.map_dma(&self.segments())?;
        state.mapped = true;
        Ok(())
    }

    /// Takes the memory out of the importing device's reach, as its plan says.
    ///
    /// Errors: the device refuses.
    pub(crate) fn unmap(&self) -> Result<(), hw::DeviceError> {
        let mut state = self.state();
        match std::mem::take(&mut state.mapped) {
            true => self.device.unmap_dma(&self.segments()),
            false => Ok(()),
        }
    }

    /// Takes the memory out of the importing device's reach for good, whatever its planner thinks.
    pub(super) fn end(&self) {
        let mut state = self.state();
        (state.closed, state.ended) = (true, true);
        if std::mem::take(&mut state.mapped)
            && let Err(error) = self.device.unmap_dma(&self.segments())
        {
            tracing::error!(%error, "an import cannot be unmapped");
        }
    }

    /// No use of it is planned from now on; whether its release has yet to be asked for, or to be
    /// asked for again.
    pub(super) fn close(&self) -> bool {
        let mut state = self.state();
        state.closed = true;
        if state.answer.as_ref().is_some_and(Closed::is_err) {
            (state.answer, state.asked) = (None, false);
        }
        !std::mem::replace(&mut state.asked, true)
    }

    /// The importer's planner has answered.
    pub(super) fn answer(&self, answer: Closed) {
        self.state().answer = Some(answer);
        self.answered.notify_all();
    }

    /// What the importer's planner has answered, if it has.
    pub(super) fn answered(&self) -> Option<Closed> {
        self.state().answer.clone()
    }

    /// Waits for the answer until then.
    pub(super) fn wait(&self, deadline: Instant) -> Option<Closed> {
        let mut state = self.state();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if state.answer.is_some() || left.is_zero() {
                return state.answer.clone();
            }
            let waited = self.answered.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// The imports of one device by buffer, from their first planning until their client drops them.
#[derive(Debug, Default)]
pub(crate) struct Imports {
    links: Mutex<BTreeMap<BufferId, Arc<Link>>>,
}

impl Imports {
    fn links(&self) -> MutexGuard<'_, BTreeMap<BufferId, Arc<Link>>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get(&self, buffer: BufferId) -> Option<Arc<Link>> {
        self.links().get(&buffer).cloned()
    }

    pub(crate) fn add(&self, link: &Arc<Link>) {
        self.links().insert(link.buffer, link.clone());
    }

    pub(crate) fn remove(&self, buffer: BufferId) {
        self.links().remove(&buffer);
    }
}
