//! Queues of a ring, from their first job to their last.

use super::queued::Queued;
use super::ring::{RING, Ring, State};
use crate::error::Error;
use gpumm_scheduler::{EntityConfig, Priority};
use std::sync::Arc;

impl Ring {
    /// A new queue.
    ///
    /// Errors: all contexts are in use.
    pub(crate) fn begin(&self, priority: Priority) -> Result<Arc<Queued>, Error> {
        self.change(|state, _| {
            // Queues that are gone may have finished since somebody looked.
            state.reap();
            state.begin(priority)
        })
    }

    /// A queue's handle is gone: its context is free when its last job is over.
    pub(crate) fn end(&self, queue: &Arc<Queued>) {
        self.change(|state, _| {
            state.ending.push(queue.clone());
            state.reap();
        });
    }

    /// Gives contexts back whose queue has ended and has nothing left to do.
    pub(crate) fn reap(&self) {
        self.change(|state, _| state.reap());
    }

    /// No more jobs of a queue begin; those that wait end.
    pub(crate) fn kill(&self, queue: &Queued) {
        let killed = self.change(|state, _| state.scheduler.kill(queue.entity));
        // INVARIANT: a queue's entity lives as long as the queue does.
        debug_assert!(killed.is_ok());
    }

    pub(crate) fn set_priority(&self, queue: &Queued, priority: Priority) {
        let set = self.change(|state, _| state.scheduler.set_priority(queue.entity, priority));
        debug_assert!(set.is_ok());
    }

    pub(crate) fn is_guilty(&self, queue: &Queued) -> bool {
        let status = self.change(|state, _| state.scheduler.entity(queue.entity));
        status.is_some_and(|status| status.guilty)
    }
}

impl State {
    fn begin(&mut self, priority: Priority) -> Result<Arc<Queued>, Error> {
        let context = self.contexts.take()?;
        let next = self.values.get(&context.timeline);
        let last = next.map_or(0, |next| next - 1);
        let config = EntityConfig {
            priority,
            last,
            ..EntityConfig::new(RING)
        };
        match self.scheduler.add_entity(context.timeline, &config) {
            Ok(entity) => Ok(Arc::new(Queued::new(entity, context, last + 1))),
            Err(error) => {
                self.contexts.give_back(context)?;
                Err(Error::System(error.to_string()))
            }
        }
    }

    fn reap(&mut self) {
        let ending = std::mem::take(&mut self.ending);
        for queue in ending {
            let status = self.scheduler.entity(queue.entity);
            let idle =
                status.is_none_or(|s| s.queued == 0 && s.running == 0 && s.reached == s.last);
            // Another owner is the planner, with a job of it.
            if !idle || Arc::strong_count(&queue) > 1 {
                self.ending.push(queue);
                continue;
            }
            let removed = self.scheduler.fini_entity(queue.entity);
            self.values.insert(queue.context.timeline, queue.next());
            if let Err(error) = removed.map_err(|e| e.to_string()).and_then(|()| {
                let given = self.contexts.give_back(queue.context);
                given.map_err(|e| e.to_string())
            }) {
                tracing::warn!(%error, "a context is not given back");
            }
        }
    }
}
