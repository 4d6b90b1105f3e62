//! How much of a batch may be planned before the device has given memory back.

use super::{Planner, Verb};
use crate::error::Error;
use gpumm_contract::BufferId;
use std::collections::BTreeSet;

impl Planner {
    /// How many of the verbs fit in one batch, at least one. Waits for the device when evictions
    /// could run out of system memory only because freed bytes have not come back yet: memory
    /// goes back when its last use is delivered.
    ///
    /// What comes into device memory pushes about as much out; twice that, for the holes.
    ///
    /// Errors: the device must stop.
    pub(super) fn fitting(&mut self, verbs: &[Verb]) -> Result<usize, Error> {
        let room = self.pool.free_bytes() / 2;
        let all = self.prefix(verbs, room)?;
        let system = self.system;
        if all == verbs.len() || !self.desk()?.ledger.is_ending(system) {
            return Ok(verbs.len());
        }
        self.drain()?;
        let room = self.pool.free_bytes() / 2;
        Ok(self.prefix(verbs, room)?.max(1))
    }

    /// How many verbs from the first on bring in no more than so many bytes.
    fn prefix(&mut self, verbs: &[Verb], room: u64) -> Result<usize, Error> {
        let vram = self.vram;
        let ledger = &self.desk()?.ledger;
        let mut counted: BTreeSet<BufferId> = BTreeSet::new();
        let mut coming = 0u64;
        let over = |verb: &Verb| {
            let bytes = match verb {
                Verb::Create { bytes, .. } => *bytes,
                Verb::Access { buffers, .. } => buffers
                    .iter()
                    .filter(|&&b| ledger.memory_of(b).is_some_and(|m| m != vram))
                    .filter(|&&b| counted.insert(b))
                    .filter_map(|&b| ledger.buffer_bytes(b))
                    .fold(0, u64::saturating_add),
                Verb::Release { .. } => 0,
            };
            coming = coming.saturating_add(bytes);
            coming > room
        };
        Ok(verbs.iter().position(over).unwrap_or(verbs.len()))
    }
}
