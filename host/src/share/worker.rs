//! The thread that reaches the gates of one importing device.

use super::{Common, Link};
use crate::executor::hardware_point;
use crate::planner::Verb;
use gpumm_contract::Point;
use gpumm_hw as hw;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

/// How often imports that were dropped, but are still read, are looked at.
const LOOK: Duration = Duration::from_millis(10);

/// What a worker has to see to.
pub(super) enum Task {
    /// A gate is to be reached when the import has ended, or was ended at the deadline.
    Gate(Option<Arc<Link>>, Point, Instant),
    /// The exporter is to forget an import when it has ended, whenever that is.
    Drop(Arc<Link>),
}

struct Worker {
    common: Arc<Common>,
    timelines: Arc<hw::Timelines>,
    /// Dropped imports that have not ended.
    dropped: Vec<Arc<Link>>,
}

/// Starts the worker of a device; it ends when the last sender is gone.
///
/// Errors: the system gives no thread.
pub(super) fn start(
    device: usize,
    common: Arc<Common>,
    timelines: Arc<hw::Timelines>,
) -> std::io::Result<Sender<Task>> {
    let (sender, tasks) = channel();
    let mut worker = Worker {
        common,
        timelines,
        dropped: Vec::new(),
    };
    let thread = std::thread::Builder::new().name(format!("gpumm-share-{device}"));
    thread.spawn(move || worker.work(&tasks))?;
    Ok(sender)
}

impl Worker {
    fn work(&mut self, tasks: &Receiver<Task>) {
        loop {
            let next = match self.dropped.is_empty() {
                true => tasks.recv().map_err(|_| RecvTimeoutError::Disconnected),
                false => tasks.recv_timeout(LOOK),
            };
            match next {
                Ok(Task::Gate(link, gate, deadline)) => {
                    if let Some(link) = link {
                        self.see_to(&link, deadline);
                    }
                    // ORDER: the gates of a timeline come here in the order of their values.
                    let gate = hardware_point(gate);
                    if let Err(error) = self.timelines.advance(gate.timeline, gate.value) {
                        tracing::error!(%error, "a gate was reached already");
                    }
                }
                Ok(Task::Drop(link)) => self.dropped.push(link),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            for link in std::mem::take(&mut self.dropped) {
                match self.has_ended(&link) {
                    true => self.forget(&link),
                    false => self.dropped.push(link),
                }
            }
        }
    }

    /// Waits until an import has ended, and ends it when it does not, or not in time.
    fn see_to(&self, link: &Link, deadline: Instant) {
        let done = match link.wait(deadline) {
            Some(Ok(points)) => points.iter().all(|point| {
                let left = deadline.saturating_duration_since(Instant::now());
                self.timelines
                    .wait(hardware_point(point), Some(left))
                    .is_ok()
            }),
            _ => false,
        };
        match done {
            true => link.end(),
            false => revoke(link),
        }
    }

    /// Whether nobody reads a dropped import any more; it is ended then.
    fn has_ended(&self, link: &Link) -> bool {
        let reached = |p: Point| self.timelines.reached(hardware_point(p));
        match link.answered() {
            None => return false,
            Some(Ok(points)) if !points.iter().all(reached) => return false,
            Some(Ok(_)) => link.end(),
            Some(Err(_)) => revoke(link),
        }
        true
    }

    /// Has the exporter forget an import that has ended.
    fn forget(&self, link: &Arc<Link>) {
        link.imports.remove(link.buffer);
        let (attachment, buffer) = (link.attachment, link.exported);
        let common = self.common.clone();
        let asked = self.common.ask(link.exporter, move |planner| {
            // What a stopped device does not forget it does not move either.
            planner.serve(vec![Verb::Detach { buffer, attachment }]);
            common.links().remove(&attachment);
        });
        if asked.is_err() {
            self.common.links().remove(&attachment);
        }
    }
}

/// Ends an import behind its importer's back: what has not begun to read it faults.
fn revoke(link: &Link) {
    tracing::warn!(
        attachment = %link.attachment,
        device = %link.importer,
        "an import is revoked, its device has not ended it"
    );
    link.end();
    // A device ends by itself what makes no progress; nothing else is waited for.
    let _ = link.device.settle(None);
}
