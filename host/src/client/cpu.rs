//! The bytes of a buffer for the CPU.

use super::{Buffer, Client};
use crate::error::Error;
use crate::guard::Guard;
use crate::planner::{Reply, Verb};
use gpumm_contract::request::Intent;
use gpumm_hw as hw;
use std::sync::Arc;

/// What becomes of an access of the CPU when its buffer has to be moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnMove {
    /// The buffer stays where it is until the access ends; a request that needs it elsewhere
    /// waits for that.
    Wait,
    /// The access ends at once: it answers [`Error::Revoked`] from then on.
    Revoke,
}

/// An access of the CPU to a buffer; dropping it ends it.
///
/// Invariants: as long as it lives, the buffer's memory belongs to nobody else, and no job or
/// move changes what it reads. The thread that holds one must not wait for jobs that write the
/// buffer, or, if it writes, for jobs that use it.
#[derive(Debug)]
pub struct CpuGuard {
    guard: Arc<Guard>,
    bytes: u64,
    write: bool,
}

impl Buffer {
    /// Gives the CPU the buffer's bytes where they are, after everything submitted before that it
    /// has to come after.
    ///
    /// Errors: the content is lost, or too many accesses are open on the device.
    pub fn cpu_access(&self, write: bool, on_move: OnMove) -> Result<CpuGuard, Error> {
        let guard = self.client.open_guard(self, write, on_move)?;
        let guard = CpuGuard {
            guard,
            bytes: self.bytes,
            write,
        };
        guard.guard.wait()?;
        Ok(guard)
    }
}

impl Client {
    fn open_guard(
        &self,
        buffer: &Buffer,
        write: bool,
        on_move: OnMove,
    ) -> Result<Arc<Guard>, Error> {
        let guard = Arc::new(Guard::new(on_move == OnMove::Revoke));
        let intent = if write { Intent::Write } else { Intent::Read };
        let verb = Verb::Guard {
            tenant: self.tenant,
            uses: vec![(buffer.id, intent)],
            resident: false,
            revocable: on_move == OnMove::Revoke,
            guard: guard.clone(),
        };
        self.guard(verb).map(|()| guard)
    }

    /// Asks for an access of the CPU.
    ///
    /// Errors: it is not planned.
    pub(super) fn guard(&self, verb: Verb) -> Result<(), Error> {
        match self.device.ask(vec![verb], false)?.pop() {
            Some(Ok(Reply::Runs(_))) => Ok(()),
            Some(Err(error)) => Err(error),
            _ => Err(Error::System("a request was not answered".into())),
        }
    }
}

impl CpuGuard {
    /// Bytes of the buffer.
    ///
    /// Errors: they leave the buffer, or the access was revoked.
    pub fn read(&self, offset: u64, bytes: u64) -> Result<Vec<u8>, Error> {
        self.inside(offset, bytes)?;
        let read = |src| hw::Command::Read { src, offset, bytes };
        match self.guard.perform(read)? {
            hw::OutcomeValue::Bytes(bytes) => Ok(bytes),
            other => Err(Error::System(format!("a read ended as {other:?}"))),
        }
    }

    /// Writes bytes into the buffer.
    ///
    /// Errors: the access only reads, the bytes leave the buffer, or the access was revoked.
    pub fn write(&self, offset: u64, data: &[u8]) -> Result<(), Error> {
        if !self.write {
            return Err(Error::Argument("this access only reads".into()));
        }
        self.inside(offset, data.len() as u64)?;
        let data: Arc<[u8]> = data.into();
        let write = |dst| hw::Command::Write { dst, offset, data };
        self.guard.perform(write).map(drop)
    }

    fn inside(&self, offset: u64, bytes: u64) -> Result<(), Error> {
        match offset.checked_add(bytes) {
            Some(end) if end <= self.bytes => Ok(()),
            _ => Err(Error::Argument(format!(
                "{bytes} bytes at {offset} leave a buffer of {} bytes",
                self.bytes
            ))),
        }
    }
}

impl Drop for CpuGuard {
    fn drop(&mut self) {
        self.guard.close();
    }
}
