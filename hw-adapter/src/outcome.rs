//! How a command ended, for whoever wants to know.

use std::sync::{Condvar, Mutex, OnceLock};
use std::time::{Duration, Instant};

use crate::error::DeviceError;
use crate::pattern::CheckReport;
use crate::sync::{lock, sleep};

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutcomeValue {
    /// It did what it should, and has nothing to tell.
    Done,
    /// It compared contents. Corruption is an answer, not a failure.
    Checked(CheckReport),
    /// It added up words.
    Checksum(u64),
    /// It read these bytes.
    Bytes(Vec<u8>),
    /// It failed.
    Failed(DeviceError),
}

/// A cell that a device fills once, before the command's point is reached.
#[derive(Debug, Default)]
pub struct Outcome {
    value: OnceLock<OutcomeValue>,
    /// How many threads sleep on `filled`: most outcomes are filled before anybody looks, and
    /// waking nobody would cost a system call.
    asleep: Mutex<u32>,
    filled: Condvar,
}

impl Outcome {
    /// An empty cell.
    pub fn new() -> Outcome {
        Outcome::default()
    }

    /// Fills the cell and wakes who waits; `false` when it was filled already, which leaves
    /// it as it was. Called by devices.
    pub fn fill(&self, value: OutcomeValue) -> bool {
        let asleep = lock(&self.asleep);
        let filled = self.value.set(value).is_ok();
        let wake = *asleep > 0;
        drop(asleep);
        if wake {
            self.filled.notify_all();
        }
        filled
    }

    /// The value, if the command has ended.
    pub fn get(&self) -> Option<&OutcomeValue> {
        self.value.get()
    }

    /// Waits for the end of the command; `None` when the time is over.
    pub fn wait(&self, timeout: Option<Duration>) -> Option<&OutcomeValue> {
        if let Some(value) = self.value.get() {
            return Some(value);
        }
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let mut asleep = lock(&self.asleep);
        *asleep += 1;
        let value = loop {
            if let Some(value) = self.value.get() {
                break Some(value);
            }
            let expired;
            (asleep, expired) = sleep(&self.filled, asleep, deadline);
            if expired {
                break None;
            }
        };
        *asleep -= 1;
        value
    }

    /// The value itself, without copying what was read.
    pub fn into_value(self) -> Option<OutcomeValue> {
        self.value.into_inner()
    }
}
