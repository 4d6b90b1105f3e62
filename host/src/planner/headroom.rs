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

    /// How many verbs from the first on move no more than so many bytes.
    ///
    /// A batch whose buffers fit into device memory together brings in once what is away; in a
    /// larger one every use may bring its buffer in anew.
    fn prefix(&mut self, verbs: &[Verb], room: u64) -> Result<usize, Error> {
        let vram = self.vram;
        let ledger = &self.desk()?.ledger;
        let size = |b: &BufferId| ledger.buffer_bytes(*b).unwrap_or(0);
        let distinct: BTreeSet<BufferId> = verbs.iter().flat_map(Verb::used).copied().collect();
        let created = verbs.iter().map(Verb::created).fold(0, u64::saturating_add);
        let together = distinct.iter().map(size).fold(created, u64::saturating_add);
        let fits = ledger
            .memory
            .get(&vram)
            .is_some_and(|m| together <= m.kind.size);
        let mut counted: BTreeSet<BufferId> = BTreeSet::new();
        let mut coming = 0u64;
        let over = |verb: &Verb| {
            let away = |b: &&BufferId| ledger.memory_of(**b).is_some_and(|m| m != vram);
            let moved = verb
                .used()
                .iter()
                .filter(|b| !fits || away(b) && counted.insert(**b))
                .map(size)
                .fold(verb.created(), u64::saturating_add);
            coming = coming.saturating_add(moved);
            coming > room
        };
        Ok(verbs.iter().position(over).unwrap_or(verbs.len()))
    }
}

impl Verb {
    /// The buffers that a job of this verb uses.
    fn used(&self) -> &[BufferId] {
        match self {
            Verb::Access { buffers, .. } => buffers,
            _ => &[],
        }
    }

    /// Bytes of the buffer that this verb creates.
    fn created(&self) -> u64 {
        match self {
            Verb::Create { bytes, .. } => *bytes,
            _ => 0,
        }
    }
}
