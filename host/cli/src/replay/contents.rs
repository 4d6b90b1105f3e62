//! What is known of the contents of buffers, while jobs on them are planned, run and fail.
//!
//! ```text
//! planned    what is there when the batch being made goes well, too
//! expected   what is there when every accepted job goes well
//! actual     what is there after the jobs whose end is known
//! ```
//! Jobs on a buffer run in the order of their requests, so their ends, taken in this order, tell
//! exactly what each of them found. One that was made for another content than it found writes its
//! own all the same; only what it compared says nothing.

use gpumm_hw::DeviceError;
use std::collections::HashMap;

/// A job on a buffer: it compares the old generation of its content and writes the new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) id: u64,
    /// `None` when nobody knows what is there; 0 was never written.
    pub(super) old: Option<u64>,
    pub(super) new: u64,
}

/// How an accepted job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It ran.
    Ran,
    /// It has touched nothing: the device was lost before.
    NotRun,
    /// It failed, and may have written anything.
    Failed,
}

impl End {
    pub(super) fn of(error: DeviceError) -> Self {
        match error {
            DeviceError::Lost => End::NotRun,
            _ => End::Failed,
        }
    }
}

struct Content {
    /// The newest generation that a job was made for: none is written twice.
    newest: u64,
    planned: Option<u64>,
    expected: Option<u64>,
    actual: Option<u64>,
    /// Accepted jobs whose end is not known.
    pending: u64,
    /// The buffer is released, or was never made.
    gone: bool,
}

/// The contents of all buffers with requests.
#[derive(Default)]
pub(super) struct Contents(HashMap<u64, Content>);

impl Contents {
    /// A new buffer.
    pub(super) fn add(&mut self, id: u64) {
        let never = Some(0);
        let content = Content {
            newest: 0,
            planned: never,
            expected: never,
            actual: never,
            pending: 0,
            gone: false,
        };
        self.0.insert(id, content);
    }

    /// The next job on a buffer of the batch being made.
    pub(super) fn change(&mut self, id: u64) -> Option<Change> {
        let content = self.0.get_mut(&id)?;
        let old = content.planned;
        content.newest += 1;
        let new = content.newest;
        content.planned = Some(new);
        Some(Change { id, old, new })
    }

    /// Whether a job was accepted. The answers of a batch come in the order of its requests.
    pub(super) fn answered(&mut self, change: &Change, accepted: bool) {
        if let Some(content) = self.0.get_mut(&change.id) {
            if accepted {
                content.expected = Some(change.new);
                content.pending += 1;
            }
            content.planned = content.expected;
        }
    }

    /// No further job is made for a buffer.
    pub(super) fn forget(&mut self, id: u64) {
        if let Some(content) = self.0.get_mut(&id) {
            content.gone = true;
            if content.pending == 0 {
                self.0.remove(&id);
            }
        }
    }

    /// Takes the end of a job, in the order of requests; whether what it compared says anything.
    pub(super) fn ended(&mut self, change: &Change, end: End) -> bool {
        let Some(content) = self.0.get_mut(&change.id) else {
            return false;
        };
        let found = content.actual;
        content.actual = match end {
            End::Ran => Some(change.new),
            End::NotRun => found,
            End::Failed => None,
        };
        content.pending = content.pending.saturating_sub(1);
        if content.pending == 0 {
            content.expected = content.actual;
            content.planned = content.actual;
            if content.gone {
                self.0.remove(&change.id);
            }
        }
        found.is_some() && found == change.old
    }
}

#[cfg(test)]
#[path = "contents_tests.rs"]
mod tests;
