//! Wakes a ring when a job has had its time.

use super::ring::Ring;
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

/// The thread that waits for a ring's deadlines; it starts with the first one, and ends with the
/// ring.
#[derive(Debug, Default)]
pub(crate) struct Watchdog {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    deadline: Option<Instant>,
    started: bool,
    over: bool,
}

impl Watchdog {
    /// The ring's next deadline is this, sooner than any it has told; counted from when it began.
    pub(super) fn look_at(&self, deadline: Duration, ring: &Weak<Ring>, began: Instant) {
        let deadline = began.checked_add(deadline);
        let shared = &self.shared;
        let mut state = shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.deadline = deadline;
        if !state.started {
            state.started = true;
            let (shared, ring) = (shared.clone(), ring.clone());
            let spawned = thread::Builder::new()
                .name("gpumm-watchdog".into())
                .spawn(move || shared.watch(&ring));
            if let Err(error) = spawned {
                tracing::error!(%error, "no thread looks after jobs that hang");
            }
        }
        drop(state);
        self.shared.changed.notify_all();
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        let state = self.shared.state.lock();
        state.unwrap_or_else(PoisonError::into_inner).over = true;
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn watch(&self, ring: &Weak<Ring>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while !state.over {
            let now = Instant::now();
            state = match state.deadline {
                None => self
                    .changed
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(deadline) if deadline > now => {
                    let waited = self.changed.wait_timeout(state, deadline - now);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                Some(_) => {
                    state.deadline = None;
                    drop(state);
                    let Some(ring) = ring.upgrade() else { return };
                    // It says when to look again.
                    ring.tick();
                    drop(ring);
                    self.state.lock().unwrap_or_else(PoisonError::into_inner)
                }
            };
        }
    }
}
