//! Accesses of the CPU: buffers' bytes for a client, without a job, for as long as it likes.
//!
//! To the mechanism an access is a job on a timeline of the CPU: it waits for what it must come
//! after, holds the buffers' tables, and its point is reached when the client ends it. So moves of
//! the buffers wait for it; or they end it, where the client has agreed to that. A client that has
//! the GPU do something with the bytes by itself holds them still in the same way.

use crate::error::Error;
use crate::executor::{Memory, hardware_point};
use crate::failsafe::Failsafe;
use gpumm_contract::Point;
use gpumm_hw as hw;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What an open access has.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) at: Point,
    /// What must be over before the bytes are the client's.
    pub(crate) waits: Vec<hw::Point>,
    /// What is accessed: at least one buffer.
    pub(crate) memory: Vec<(Memory, Arc<[hw::Segment]>)>,
    pub(crate) device: Arc<dyn hw::Device>,
    pub(crate) failsafe: Arc<Failsafe>,
    pub(crate) timelines: Arc<hw::Timelines>,
}

#[derive(Debug)]
enum State {
    Planned,
    Open(Opened),
    /// Ended by a move of the buffer.
    Revoked,
    Closed,
}

/// An access as executor and client share it.
#[derive(Debug)]
pub(crate) struct Guard {
    revocable: bool,
    state: Mutex<State>,
}

impl Guard {
    pub(crate) fn new(revocable: bool) -> Self {
        Guard {
            revocable,
            state: Mutex::new(State::Planned),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The plan stands.
    pub(crate) fn open(&self, opened: Opened) {
        *self.state() = State::Open(opened);
    }

    /// A move comes that would wait for this access: it ends, if it may, and the answer is what
    /// the move waits for instead.
    ///
    /// ORDER: the client's reads and writes hold the lock, so none is half done.
    pub(crate) fn revoke(&self, point: Point) -> Option<Vec<hw::Point>> {
        let mut state = self.state();
        let mine = matches!(&*state, State::Open(opened) if opened.at == point);
        if !self.revocable || !mine {
            return None;
        }
        match std::mem::replace(&mut *state, State::Revoked) {
            State::Open(opened) => {
                opened.reach();
                Some(opened.waits)
            }
            _ => None,
        }
    }

    /// The client is done.
    pub(crate) fn close(&self) {
        let mut state = self.state();
        if let State::Open(_) = &*state
            && let State::Open(opened) = std::mem::replace(&mut *state, State::Closed)
        {
            // What comes after the access must also come after what the access came after.
            for &point in &opened.waits {
                let _ = opened.timelines.wait(point, None);
            }
            opened.reach();
        }
    }

    /// Waits until the bytes are the client's.
    ///
    /// Errors: a move was first, or the content is lost.
    pub(crate) fn wait(&self) -> Result<(), Error> {
        let (waits, timelines) = match &*self.state() {
            State::Open(opened) => (opened.waits.clone(), opened.timelines.clone()),
            _ => return Err(Error::Revoked),
        };
        for point in waits {
            let reached = timelines.wait(point, None);
            reached.map_err(|e| Error::System(e.to_string()))?;
        }
        self.with(|_| Ok(()))
    }

    /// Has the CPU perform a command on the first buffer's bytes.
    ///
    /// Errors: a move has ended the access, or the content is lost.
    pub(crate) fn perform(
        &self,
        command: impl FnOnce(Arc<[hw::Segment]>) -> hw::Command,
    ) -> Result<hw::OutcomeValue, Error> {
        self.with(|opened| {
            let (_, list) = opened.memory.first().ok_or(Error::Revoked)?;
            let command = command(list.clone());
            Ok(opened.device.cpu().perform(&command)?)
        })
    }

    /// What each buffer is on the device, for as long as the access is open.
    ///
    /// Errors: the content is lost, or the access has ended.
    #[cfg(feature = "wgpu")]
    pub(crate) fn each<R>(
        &self,
        act: impl Fn(&Memory, &[hw::Segment]) -> Result<R, Error>,
    ) -> Result<Vec<R>, Error> {
        self.with(|opened| {
            let memory = opened.memory.iter();
            memory.map(|(memory, list)| act(memory, list)).collect()
        })
    }

    fn with<R>(&self, act: impl FnOnce(&Opened) -> Result<R, Error>) -> Result<R, Error> {
        match &*self.state() {
            State::Open(opened) => {
                let mut memory = opened.memory.iter();
                if memory.any(|(memory, _)| opened.failsafe.is_poisoned(memory)) {
                    return Err(Error::Device(hw::DeviceError::Poisoned));
                }
                act(opened)
            }
            _ => Err(Error::Revoked),
        }
    }
}

impl Opened {
    fn reach(&self) {
        let point = hardware_point(self.at);
        // Only the access on this timeline advances it, one at a time.
        let _ = self.timelines.advance(point.timeline, point.value);
    }
}
