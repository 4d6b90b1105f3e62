//! What a strategy says of itself, held against the facts.

use crate::error::ComponentFault;
use crate::parts::Strategy;
use gpumm_contract::extent::total;
use gpumm_contract::{AllocationId, Extents};

/// Refusals of wishes that had room; one more is a fault.
const REFUSALS: u64 = 4;
/// Refusals that are looked into one by one; of later ones each [`SAMPLE`]-th is.
const LOOKED_INTO: u64 = 16;
/// See [`LOOKED_INTO`].
const SAMPLE: u64 = 64;
/// So few allocations are looked through for every refusal.
const FEW: u64 = 256;
/// Calls between two looks at the statistics.
const CALLS: u64 = 64;

/// Sums over what lives in the arena, and what is held against a strategy.
///
/// Units: bytes, counts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Books {
    /// In live extents.
    pub(crate) used: u64,
    /// Live allocations.
    pub(crate) allocations: u64,
    /// Commands answered since the start.
    pub(crate) decisions: u64,
    /// Wishes that were refused although as many bytes were free.
    refusals: u64,
    /// Those for which one hole was large enough.
    pub(crate) with_room: u64,
    calls: u64,
}

impl Books {
    pub(crate) fn came(&mut self, bytes: u64) {
        self.used += bytes;
        self.allocations += 1;
    }

    pub(crate) fn went(&mut self, bytes: u64) {
        self.used = self.used.saturating_sub(bytes);
        self.allocations = self.allocations.saturating_sub(1);
    }

    /// A strategy begins with these allocations.
    pub(crate) fn restored(&mut self, live: &[(AllocationId, Extents)]) {
        self.allocations = live.len() as u64;
        self.used = live.iter().filter_map(|(_, extents)| total(extents)).sum();
    }

    /// Another strategy is responsible from now on.
    pub(crate) fn newcomer(&mut self) {
        (self.refusals, self.with_room, self.calls) = (0, 0, 0);
    }

    /// A plain wish was refused; `room` looks through the arena for a hole that holds it.
    ///
    /// Errors: it happens too often, or nothing lives that could be in the way.
    pub(crate) fn refused(
        &mut self,
        bytes: u64,
        size: u64,
        room: impl FnOnce() -> bool,
    ) -> Result<(), ComponentFault> {
        if bytes > size.saturating_sub(self.used) {
            return Ok(());
        }
        self.refusals += 1;
        let looked_into = self.refusals <= LOOKED_INTO
            || self.allocations <= FEW
            || self.refusals.is_multiple_of(SAMPLE);
        if !looked_into || !room() {
            return Ok(());
        }
        self.with_room += 1;
        if self.with_room <= REFUSALS && self.allocations > 0 {
            return Ok(());
        }
        let text = format!(
            "a wish of {bytes} bytes was refused although a hole holds it, for the {}. time",
            self.with_room
        );
        Err(ComponentFault::Lie(text))
    }

    /// Compares the statistics with the facts, now and then.
    ///
    /// Errors: the call fails, or the sums differ.
    pub(crate) fn audit(
        &mut self,
        strategy: &mut dyn Strategy,
        size: u64,
    ) -> Result<(), ComponentFault> {
        self.calls += 1;
        if !self.calls.is_multiple_of(CALLS) {
            return Ok(());
        }
        let told = strategy.statistics()?;
        let facts = (self.used, size - self.used, self.allocations);
        let sums = (told.used_bytes, told.free_bytes, told.allocations);
        if sums != facts || told.largest_hole > told.free_bytes {
            let text = format!(
                "its statistics count {} bytes used, {} free in holes of at most {}, {} allocations; \
                 the facts are {} used, {} free, {} allocations",
                told.used_bytes,
                told.free_bytes,
                told.largest_hole,
                told.allocations,
                facts.0,
                facts.1,
                facts.2
            );
            return Err(ComponentFault::Lie(text));
        }
        Ok(())
    }
}
