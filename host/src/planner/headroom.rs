//! How much of a batch may be planned before the device has given memory back.

use super::{Desk, Planner, Verb};
use crate::error::Error;
use gpumm_contract::BufferId;
use std::collections::BTreeSet;

impl Planner {
    /// How many of the verbs fit in one batch, at least one. Waits for the device when evictions
    /// could run out of system memory, or of what the device's DMA reaches of it, only because
    /// freed bytes have not come back yet: memory goes back when its last use is delivered.
    ///
    /// What comes into device memory pushes about as much out; twice that, for the holes.
    ///
    /// Errors: the device must stop.
    pub(super) fn fitting(&mut self, verbs: &[Verb]) -> Result<usize, Error> {
        let system = self.system;
        let free = self.pool.free_bytes();
        let ledger = &self.desk()?.ledger;
        let (ending, reach) = (ledger.is_ending(system), ledger.aperture(system));
        // What is mapped can be unmapped once it is known to be idle.
        let tight = reach.is_some_and(|(unused, all)| unused < free && unused < all);
        let unused = reach
            .filter(|_| tight)
            .map_or(u64::MAX, |(unused, _)| unused);
        let all = self.prefix(verbs, free.min(unused) / 2)?;
        if all == verbs.len() || !ending && !tight {
            return Ok(verbs.len());
        }
        self.drain()?;
        let size = reach.map_or(u64::MAX, |(_, all)| all);
        let room = self.pool.free_bytes().min(size) / 2;
        Ok(self.prefix(verbs, room)?.max(1))
    }

    /// How many verbs from the first on move no more than so many bytes.
    ///
    /// A batch whose buffers fit into device memory together brings in once what is away; in a
    /// larger one every use may bring its buffer in anew.
    fn prefix(&mut self, verbs: &[Verb], room: u64) -> Result<usize, Error> {
        let vram = self.vram;
        let Desk { ledger, broker } = self.desk()?;
        let has = broker.arena_size(vram);
        let size = |b: BufferId| ledger.buffer_bytes(b).unwrap_or(0);
        let distinct: BTreeSet<BufferId> = verbs.iter().flat_map(Verb::used).collect();
        let created = verbs.iter().map(Verb::created).fold(0, u64::saturating_add);
        let together = distinct
            .iter()
            .copied()
            .map(size)
            .fold(created, u64::saturating_add);
        // What it may grow to does not count: it may be refused.
        let fits = has.is_some_and(|has| together <= has);
        let mut counted: BTreeSet<BufferId> = BTreeSet::new();
        let mut coming = 0u64;
        let over = |verb: &Verb| {
            let away = |b: &BufferId| ledger.memory_of(*b).is_some_and(|m| m != vram);
            let moved = verb
                .used()
                .filter(|b| !fits || away(b) && counted.insert(*b))
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
    fn used(&self) -> impl Iterator<Item = BufferId> {
        let (jobs, guards) = match self {
            Verb::Access { buffers, .. } => (&buffers[..], &[][..]),
            Verb::Guard {
                uses,
                resident: true,
                ..
            } => (&[][..], &uses[..]),
            _ => (&[][..], &[][..]),
        };
        let guards = guards.iter().map(|(buffer, _)| *buffer);
        jobs.iter().copied().chain(guards)
    }

    /// Bytes that this verb creates, or names by address.
    fn created(&self) -> u64 {
        match self {
            Verb::Create { bytes, .. } => *bytes,
            // Buffers are at least as large as what a job names of them.
            Verb::Submit { waiting, .. } => {
                let named = waiting.spans();
                let named = named.iter();
                named.map(|span| span.at.bytes).fold(0, u64::saturating_add)
            }
            _ => 0,
        }
    }
}
