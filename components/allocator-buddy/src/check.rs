//! The invariants, checked from scratch.

use crate::Buddy;
use crate::piece::ORDERS;

impl Buddy {
    /// Checks every structural invariant from scratch.
    ///
    /// Errors: the first invariant that does not hold. Complexity: O(n log n + numbers).
    pub(crate) fn invariants(&self) -> Result<(), &'static str> {
        let space = &self.arena.space;
        hold(
            space.size == self.geometry.size >> self.shift(),
            "the arena has the geometry's size",
        )?;
        space.validate()?;
        self.check_records()?;
        self.check_partition()
    }

    fn check_records(&self) -> Result<(), &'static str> {
        let records = &self.arena.records;
        hold(records.consistent(), "no record is lost")?;
        let (mut allocations, mut live) = (0, 0);
        for (number, first) in self.numbers.filed() {
            allocations += 1;
            for record in records.chain(first) {
                live += 1;
                hold(
                    live <= records.live,
                    "the chains are as long as there are records",
                )?;
                hold(
                    record.owner == number,
                    "the records of a chain are the number's",
                )?;
                hold(
                    (record.piece.order as usize) < ORDERS,
                    "a chain has live records",
                )?;
            }
        }
        hold(
            live == records.live,
            "every record is filed under its number",
        )?;
        hold(
            allocations == self.allocations,
            "the allocations are counted",
        )
    }

    /// Free and taken blocks cover the arena without gap or overlap, each aligned to its size.
    fn check_partition(&self) -> Result<(), &'static str> {
        let space = &self.arena.space;
        let mut free = space.first_behind(0);
        let mut taken = self
            .arena
            .records
            .lowest_behind(0, usize::MAX)
            .into_iter()
            .peekable();
        let mut end = 0;
        while end < space.size {
            let next = taken
                .next_if(|(piece, _)| piece.offset == end)
                .map(|(piece, _)| piece);
            let piece = match next.or(free.filter(|piece| piece.offset == end)) {
                Some(piece) => piece,
                None => return Err("the blocks cover the arena"),
            };
            hold(
                piece.offset.trailing_zeros() >= piece.order,
                "a block is aligned to its size",
            )?;
            end = end
                .checked_add(piece.chunks())
                .ok_or("the blocks end in the arena")?;
            if next.is_none() {
                free = space.first_behind(end);
            }
        }
        hold(
            taken.next().is_none() && free.is_none(),
            "no block lies behind the arena",
        )?;
        hold(end == space.size, "the last block ends with the arena")
    }
}

fn hold(holds: bool, what: &'static str) -> Result<(), &'static str> {
    if holds { Ok(()) } else { Err(what) }
}
