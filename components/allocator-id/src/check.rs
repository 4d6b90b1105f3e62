//! The invariants, checked from scratch.

use crate::Id;
use gpumm_contract::numbers::NONE;

impl Id {
    /// Checks every structural invariant from scratch; a strategy that is not serving is right.
    ///
    /// Errors: the first invariant that does not hold. Complexity: O(ids + numbers).
    pub(crate) fn invariants(&self) -> Result<(), &'static str> {
        if self.serving().is_err() {
            return Ok(());
        }
        let ids = self.geometry.size >> self.shift();
        hold(self.free.len() == ids, "there are the geometry's ids")?;
        hold(
            self.free.consistent(),
            "the free runs follow from the free ids",
        )?;
        hold(self.firsts.consistent(), "the tree of first ids is right")?;
        let (mut end, mut taken, mut allocations) = (0, 0, 0);
        for (number, first) in self.numbers.filed() {
            let length = self.lengths.get(first);
            hold(length != NONE && length != 0, "every run has a length")?;
            hold(self.owners.get(first) == number, "a run knows its number")?;
            hold(
                self.firsts.contains(first as usize),
                "a run's first id is known",
            )?;
            let run = u64::from(first)..u64::from(first) + u64::from(length);
            hold(run.end <= ids, "a run lies in the arena")?;
            hold(
                self.free.none_of(run.start, run.end),
                "the ids of a run are taken",
            )?;
            taken += run.end - run.start;
            allocations += 1;
        }
        // Runs that overlap would hold fewer ids than they are long.
        hold(
            taken == ids - self.free.count(),
            "every taken id is in one run",
        )?;
        hold(
            allocations == self.allocations,
            "the allocations are counted",
        )?;
        let mut from = 0;
        while let Some(first) = self.firsts.at_least(from) {
            hold(first as u64 >= end, "no run begins in another one")?;
            let length = self.lengths.get(first as u32);
            hold(length != NONE, "every first id has a run")?;
            end = first as u64 + u64::from(length);
            from = first + 1;
        }
        let filed = |table: &gpumm_contract::numbers::Numbers| table.filed().count() as u64;
        hold(
            filed(&self.owners) == allocations && filed(&self.lengths) == allocations,
            "nothing is filed of a run that is gone",
        )
    }
}

fn hold(holds: bool, what: &'static str) -> Result<(), &'static str> {
    if holds { Ok(()) } else { Err(what) }
}
