//! What the call in progress has allocated and freed, on top of the ledger.

use super::sorted::Sorted;
use crate::ledger::Ledger;
use gpumm_contract::{AllocationId, Extent, Extents, MemoryTypeId};
use std::collections::{BTreeMap, BTreeSet};

/// What the call in progress has allocated and freed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Overlay {
    pub(super) granted: Sorted<AllocationId, (MemoryTypeId, Extents)>,
    pub(super) freed: BTreeMap<AllocationId, MemoryTypeId>,
    /// Allocations that the device's DMA was given access to.
    pub(super) mapped: BTreeSet<AllocationId>,
    /// Extents of granted allocations that are not freed again: (memory type, offset) to end.
    taken: BTreeMap<(MemoryTypeId, u64), u64>,
    /// What the strategy call in progress has changed.
    pub(super) steps: Vec<Step>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    Took((MemoryTypeId, u64)),
    Granted(AllocationId),
    Freed(AllocationId),
}

impl Overlay {
    /// Whether exactly these extents were granted under the number in this call.
    pub(crate) fn granted(
        &self,
        number: AllocationId,
        memory: MemoryTypeId,
        extents: &[Extent],
    ) -> bool {
        self.granted
            .get(number)
            .is_some_and(|(m, e)| *m == memory && e[..] == *extents)
    }

    /// Whether the number was freed in this call.
    pub(crate) fn freed(&self, number: AllocationId, memory: MemoryTypeId) -> bool {
        self.freed.get(&number) == Some(&memory)
    }

    /// Whether the device's DMA was given access to the allocation in this call.
    pub(crate) fn mapped(&self, number: AllocationId) -> bool {
        self.mapped.contains(&number)
    }

    /// A number that is live for the strategy but not for the plan, or the other way round.
    pub(crate) fn disagreement(
        &self,
        placed: impl Fn(AllocationId) -> bool,
        unplaced: impl Fn(AllocationId) -> bool,
    ) -> Option<AllocationId> {
        let kept = self
            .granted
            .iter()
            .map(|(number, _)| number)
            .filter(|n| !self.freed.contains_key(n))
            .find(|&n| !placed(n));
        let gone = self.freed.keys().find(|&&n| placed(n) && !unplaced(n));
        kept.or(gone.copied())
    }

    #[cfg(test)]
    pub(crate) fn granted_for_test(
        &mut self,
        number: AllocationId,
        memory: MemoryTypeId,
        extents: Vec<Extent>,
    ) {
        self.grant(number, memory, extents.into());
    }

    #[cfg(test)]
    pub(crate) fn freed_for_test(&mut self, number: AllocationId, memory: MemoryTypeId) {
        self.free(number, memory);
    }

    #[cfg(test)]
    pub(crate) fn mapped_for_test(&mut self, number: AllocationId) {
        self.mapped.insert(number);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.granted.is_empty() && self.freed.is_empty()
    }

    pub(super) fn take(&mut self, memory: MemoryTypeId, extent: Extent) {
        let key = (memory, extent.offset);
        self.taken
            .insert(key, extent.offset.saturating_add(extent.bytes));
        self.steps.push(Step::Took(key));
    }

    /// Takes the last extents back that were taken.
    pub(super) fn leave(&mut self, extents: usize) {
        for _ in 0..extents {
            if let Some(Step::Took(key)) = self.steps.pop() {
                self.taken.remove(&key);
            }
        }
    }

    pub(super) fn grant(&mut self, number: AllocationId, memory: MemoryTypeId, extents: Extents) {
        self.granted.insert(number, (memory, extents));
        self.steps.push(Step::Granted(number));
    }

    pub(super) fn free(&mut self, number: AllocationId, memory: MemoryTypeId) {
        if let Some((_, extents)) = self.granted.get(number) {
            for extent in extents {
                self.taken.remove(&(memory, extent.offset));
            }
        }
        self.freed.insert(number, memory);
        self.steps.push(Step::Freed(number));
    }

    /// Takes back what one call of a strategy brought, the last step first.
    pub(super) fn undo(&mut self) {
        while let Some(step) = self.steps.pop() {
            match step {
                Step::Took(key) => _ = self.taken.remove(&key),
                Step::Granted(number) => self.granted.remove(number),
                Step::Freed(number) => {
                    self.freed.remove(&number);
                    if let Some((memory, extents)) = self.granted.get(number) {
                        for extent in extents {
                            self.taken
                                .insert((*memory, extent.offset), extent.offset + extent.bytes);
                        }
                    }
                }
            }
        }
    }

    /// Extents of a memory type that were granted and not freed again, by address.
    pub(super) fn taken(&self, memory: MemoryTypeId) -> impl Iterator<Item = Extent> + '_ {
        let mine = self.taken.range((memory, 0)..=(memory, u64::MAX));
        mine.map(|(&(_, offset), &end)| Extent {
            offset,
            bytes: end - offset,
        })
    }

    pub(super) fn overlaps(&self, memory: MemoryTypeId, extent: Extent) -> bool {
        let end = extent.offset.saturating_add(extent.bytes);
        let last = self.taken.range((memory, 0)..(memory, end)).next_back();
        last.is_some_and(|(_, &to)| to > extent.offset)
    }

    /// Live for the strategy: granted here and not freed, or live in the ledger and not freed.
    pub(super) fn is_live(
        &self,
        ledger: &Ledger,
        memory: MemoryTypeId,
        number: AllocationId,
    ) -> bool {
        !self.freed.contains_key(&number)
            && (self.granted.get(number).is_some_and(|(m, _)| *m == memory)
                || ledger.is_live(memory, number))
    }
}
