//! Bringing a newcomer up to date while the old strategy serves.
//!
//! ```text
//! begin      the snapshot is what lives now, but it is not copied
//! slices     a few numbers at a time; what ends before its slice came is kept for it, what came
//!            about since is left out of it: together the slices are the snapshot
//! changes    what came and went since, in order; the newcomer takes them until few are left
//! switch     the last few, between two requests
//! ```

use super::change::Change;
use crate::ledger::Ledger;
use gpumm_contract::{AllocationId, Extents, MemoryTypeId};
use std::collections::BTreeSet;

/// Allocation numbers per slice: some ten microseconds of the planner.
const SLICE: u32 = 2048;

/// Part of a snapshot.
pub(crate) type Part = Vec<(AllocationId, Extents)>;

/// Who a preparation is for: nobody else may take from it, or end it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ticket(pub(super) u64);

/// What a newcomer has yet to learn.
#[derive(Debug, Default)]
pub(crate) struct Preparation {
    pub(super) ticket: Ticket,
    /// The first number that no slice has covered.
    next: u32,
    /// Numbers behind `next` that came about since the snapshot.
    newer: BTreeSet<AllocationId>,
    /// What lived at the snapshot and ended before its slice.
    ended: Part,
    changes: Vec<Change>,
}

impl Preparation {
    pub(super) fn new(ticket: Ticket) -> Self {
        Preparation {
            ticket,
            ..Preparation::default()
        }
    }

    /// Takes note of a change; `extents` are those of a number that went.
    pub(crate) fn note(&mut self, change: Change, extents: Option<&Extents>) {
        match &change {
            Change::Came(number, _) if number.0 >= self.next => {
                self.newer.insert(*number);
            }
            Change::Went(number) if number.0 >= self.next => {
                // Whoever goes a second time has come since.
                if !self.newer.contains(number)
                    && let Some(extents) = extents
                {
                    self.ended.push((*number, extents.clone()));
                }
            }
            _ => {}
        }
        self.changes.push(change);
    }

    /// The next part of the snapshot; none when it is complete.
    ///
    /// Complexity: O(numbers of a slice).
    pub(crate) fn slice(&mut self, ledger: &Ledger, memory: MemoryTypeId) -> Option<Part> {
        let highest = ledger.highest_allocation();
        let ended = std::mem::take(&mut self.ended);
        if highest.is_none_or(|highest| highest.0 < self.next) && ended.is_empty() {
            return None;
        }
        let to = self.next.saturating_add(SLICE);
        let mut part = ended;
        for number in (self.next..to).map(AllocationId) {
            // Whoever is newer is told as a change.
            if let Some(extents) = ledger.live_extents(memory, number)
                && !self.newer.contains(&number)
            {
                part.push((number, extents.iter().copied().collect()));
            }
        }
        self.next = to;
        self.newer = self.newer.split_off(&AllocationId(to));
        Some(part)
    }

    /// What came and went until now.
    pub(crate) fn changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }
}
