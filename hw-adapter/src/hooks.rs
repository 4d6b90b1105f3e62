//! Who is called around a command, and the CPU's own way to the memories.

use std::fmt;

use crate::command::Command;
use crate::error::DeviceError;
use crate::outcome::OutcomeValue;

/// What a device calls around a command; for whoever repairs and records failures.
///
/// All are called on the engine's thread, and nothing later of the engine begins meanwhile. What
/// uses none of the command's bytes may have begun before its end and not have ended.
/// So they must not wait for the device: not for points of this engine, not in
/// [`Device::idle`](crate::Device::idle) or [`Device::reset`](crate::Device::reset). A hook
/// that panics harms nobody: see each.
///
/// # Invariants
/// The device lets go of the hooks before it fills the outcome and reaches the point.
pub trait Hooks: Send + Sync + fmt::Debug {
    /// Called just before the command begins, after its waits.
    ///
    /// # Errors
    /// An error keeps the command from running; then [`Hooks::failed`] is called with it. A
    /// panic counts as [`DeviceError::Bug`].
    fn before(&self) -> Result<(), DeviceError> {
        Ok(())
    }

    /// Called once when the command failed, was kept from running, or was cancelled: before its
    /// outcome is filled and its point is reached. None of its bytes are in use by it any more.
    ///
    /// The answer becomes the outcome: whoever repaired the damage answers what the command
    /// would have. A command that was cancelled has not waited for its points; who does its
    /// work must know that they are reached.
    ///
    /// # Errors
    /// The command stays failed, with the error answered. A panic leaves `error` as it was.
    fn failed(&self, error: DeviceError, cpu: &dyn CpuAccess) -> Result<OutcomeValue, DeviceError>;

    /// Called exactly once for every submission, however it ended, after [`Hooks::failed`]: with
    /// what becomes the outcome, before the outcome is filled and the point is reached. None of
    /// its bytes are in use by it any more.
    ///
    /// It may call [`Device::submit`](crate::Device::submit), also for this very engine. A panic
    /// changes nothing.
    fn ended(&self, value: &OutcomeValue) {
        let _ = value;
    }
}

/// The CPU's own way to the device's memories, beside the engines.
///
/// It works on the caller's thread, needs no DMA mapping, and waits for nobody; its bytes are
/// registered as those of commands are.
pub trait CpuAccess: Send + Sync {
    /// Performs a copy, fill, read or write, writes page table entries or forgets translations,
    /// and answers as its outcome would.
    ///
    /// # Errors
    /// [`DeviceError::CpuRefused`] when the CPU may not do it, as for every other command;
    /// [`DeviceError::Lost`] when it names memory or an address space of a lost device;
    /// [`DeviceError::SegmentOutOfBounds`], [`DeviceError::ListTooShort`] and
    /// [`DeviceError::Overlap`] as when submitting; [`DeviceError::Conflict`] while a command
    /// uses the bytes; [`DeviceError::HostMemory`]; [`DeviceError::NotAPage`],
    /// [`DeviceError::UnknownVm`]. All of them touched nothing; [`DeviceError::OutsideVm`] and
    /// [`DeviceError::PageTableMemory`] come after the page table entries before them.
    fn perform(&self, command: &Command) -> Result<OutcomeValue, DeviceError>;
}
