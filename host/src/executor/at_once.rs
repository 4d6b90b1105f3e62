//! What the device has no memory to repair later.

use super::Executor;
use crate::failsafe::Watch;
use gpumm_hw as hw;
use std::sync::Arc;

impl Executor {
    /// Performs an operation whose repair the device has no memory to remember: waits for it here
    /// and repairs it here, before its point is reached.
    pub(super) fn at_once(
        &self,
        engine: hw::EngineId,
        waits: Vec<hw::Point>,
        command: hw::Command,
        watch: &Watch,
    ) -> Result<(), hw::DeviceError> {
        let run = |waits, command| {
            let outcome = Arc::new(hw::Outcome::new());
            let submission = hw::Submission {
                waits,
                command,
                outcome: Some(outcome.clone()),
                ..hw::Submission::default()
            };
            self.device.submit(engine, submission)?;
            match outcome.wait(None) {
                Some(hw::OutcomeValue::Failed(error)) => Err(*error),
                _ => Ok(()),
            }
        };
        let done = run(waits, hw::Command::Nop)
            .and_then(|()| hw::Hooks::before(watch))
            .and_then(|()| run(Vec::new(), command));
        if let Err(error) = done {
            // The outcome is the fault's: nobody else waits for this operation's.
            let _ = hw::Hooks::failed(watch, error, self.device.cpu());
        }
        let signal = Some(watch.at.value);
        let last = hw::Submission {
            signal,
            ..hw::Submission::default()
        };
        self.device.submit(engine, last)
    }
}
