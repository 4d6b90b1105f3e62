//! System memory: one for all devices of a runtime.

use std::fmt;

use crate::claim::Memory;
use crate::command::MemorySpace;
use crate::error::DeviceError;

/// Host memory that every device of a runtime reaches by DMA.
///
/// Address space is reserved at once, pages come when they are committed or touched. What
/// clients read and write here is registered as the commands of engines are: nothing races,
/// the later one is refused.
pub struct SystemMemory {
    memory: Memory,
}

impl fmt::Debug for SystemMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SystemMemory")
            .field("size", &self.size())
            .field("conflicts", &self.conflicts())
            .finish()
    }
}

impl SystemMemory {
    /// What devices report as granule of system memory, in bytes.
    pub const GRANULE: u64 = 4096;

    /// Reserves `limit` bytes, all zero.
    ///
    /// # Errors
    /// [`DeviceError::InvalidConfig`] for 0 bytes, [`DeviceError::Reserve`] when the system
    /// refuses.
    pub fn new(limit: u64) -> Result<SystemMemory, DeviceError> {
        Memory::new(MemorySpace::System, limit).map(|memory| SystemMemory { memory })
    }

    /// Its size in bytes.
    pub fn size(&self) -> u64 {
        self.memory.size()
    }

    /// How many accesses were refused with [`DeviceError::Conflict`], by any device.
    pub fn conflicts(&self) -> u64 {
        self.memory.conflicts()
    }

    /// Gets the pages of a range now, so that a refusal is seen before work is queued.
    /// Contents stay.
    ///
    /// # Errors
    /// [`DeviceError::OutOfBounds`], [`DeviceError::Commit`].
    pub fn commit(&self, offset: u64, bytes: u64) -> Result<(), DeviceError> {
        self.memory.commit(offset, bytes)
    }

    /// Makes a range zero and, where it is large, gives its whole pages back to the system.
    ///
    /// # Errors
    /// [`DeviceError::OutOfBounds`], [`DeviceError::Conflict`] while a command uses it.
    pub fn decommit(&self, offset: u64, bytes: u64) -> Result<(), DeviceError> {
        self.memory.decommit(offset, bytes)
    }

    /// Copies bytes out.
    ///
    /// # Errors
    /// [`DeviceError::OutOfBounds`], [`DeviceError::Conflict`] while a command writes there.
    pub fn read(&self, offset: u64, into: &mut [u8]) -> Result<(), DeviceError> {
        let bytes = into.len() as u64;
        let claim = self.memory.claim_range(offset, bytes, false)?;
        into.copy_from_slice(claim.read(offset, bytes)?);
        Ok(())
    }

    /// Copies bytes in.
    ///
    /// # Errors
    /// [`DeviceError::OutOfBounds`], [`DeviceError::Conflict`] while a command uses them.
    pub fn write(&self, offset: u64, from: &[u8]) -> Result<(), DeviceError> {
        let bytes = from.len() as u64;
        let mut claim = self.memory.claim_range(offset, bytes, true)?;
        claim.write(offset, bytes)?.copy_from_slice(from);
        Ok(())
    }

    pub(crate) fn memory(&self) -> &Memory {
        &self.memory
    }
}
