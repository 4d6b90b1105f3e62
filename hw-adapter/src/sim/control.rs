//! The handle with which tests and demonstrations drive a simulated device.

use std::sync::Arc;

use crate::device::EngineId;
use crate::error::DeviceError;

use super::{DeviceStatistics, FaultRule, Sabotage, Shared};

/// Holds, steps, inspects and sabotages a simulated device. Clones drive the same device; a
/// handle may outlive it and keeps its memory alive.
///
/// # Errors
/// Methods that name an engine refuse one that does not exist with
/// [`DeviceError::UnknownEngine`].
#[derive(Clone, Debug)]
pub struct SimControl {
    shared: Arc<Shared>,
}

impl SimControl {
    pub(crate) fn new(shared: Arc<Shared>) -> SimControl {
        SimControl { shared }
    }

    /// Lets the engine begin no further command. One that runs already finishes; this does
    /// not wait for it. Steps not yet used are forgotten.
    pub fn hold(&self, engine: EngineId) -> Result<(), DeviceError> {
        self.shared.engine(engine)?.hold();
        Ok(())
    }

    /// Lets a held engine begin so many further commands (counted when they begin, after
    /// their waits); without effect on one that is not held.
    pub fn step(&self, engine: EngineId, commands: u64) -> Result<(), DeviceError> {
        self.shared.engine(engine)?.step(commands);
        Ok(())
    }

    /// Lets the engine work on.
    pub fn release(&self, engine: EngineId) -> Result<(), DeviceError> {
        self.shared.engine(engine)?.release();
        Ok(())
    }

    /// Holds every engine.
    pub fn hold_all(&self) {
        self.shared.engines.iter().for_each(|e| e.hold());
    }

    /// Releases every engine.
    pub fn release_all(&self) {
        self.shared.engines.iter().for_each(|e| e.release());
    }

    /// How many submissions have not begun.
    pub fn queued(&self, engine: EngineId) -> Result<usize, DeviceError> {
        Ok(self.shared.engine(engine)?.queued())
    }

    /// How many commands the engine has executed, failed ones included and cancelled ones
    /// not. It counts before the command's point is reached.
    pub fn executed(&self, engine: EngineId) -> Result<u64, DeviceError> {
        Ok(self.shared.engine(engine)?.counters.snapshot().commands)
    }

    /// What the engines have done so far.
    pub fn statistics(&self) -> DeviceStatistics {
        self.shared.statistics()
    }

    /// Adds a fault rule. It counts from now on, and stands behind those that are there.
    pub fn inject(&self, rule: FaultRule) {
        self.shared.inject(rule);
    }

    /// How many faults have taken effect by a rule: failed and hung commands, refusals, losses.
    /// It counts before the command's point is reached.
    pub fn faults_injected(&self) -> u64 {
        self.shared.faults.injected()
    }

    /// The device is lost, now: what runs finishes, what hangs and what has not begun ends with
    /// [`DeviceError::Lost`], as does everything later until a reset. Does not wait.
    pub fn lose(&self) {
        self.shared.lose();
    }

    /// Whether the engine's running command hangs by a rule.
    pub fn hung(&self, engine: EngineId) -> Result<bool, DeviceError> {
        Ok(self.shared.engine(engine)?.hung())
    }

    /// Ends the engine's hung command as if the device's patience were over; without effect
    /// when none hangs.
    pub fn time_out(&self, engine: EngineId) -> Result<(), DeviceError> {
        self.shared.engine(engine)?.time_out();
        Ok(())
    }

    /// The device is gone: what is queued ends with [`DeviceError::Stopped`] and reaches its
    /// points, and further submissions are refused. Does not wait, and cannot be undone.
    pub fn stop(&self) {
        self.shared.stop();
    }

    /// Makes the device do something wrong.
    ///
    /// # Errors
    /// For [`Sabotage::FlipBit`]: [`DeviceError::OutOfBounds`], and
    /// [`DeviceError::Conflict`] while a command uses the byte.
    pub fn sabotage(&self, sabotage: Sabotage) -> Result<(), DeviceError> {
        sabotage.request(&self.shared)
    }
}
