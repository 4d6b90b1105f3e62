//! The invariants, checked from scratch.

use crate::Buddy;
use crate::piece::{ORDERS, Piece};

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
        hold(self.records.consistent(), "no record is lost")?;
        hold(
            self.records.numbers().count() as u64 == self.allocations,
            "the allocations are counted",
        )?;
        self.check_partition()
    }

    /// Free and taken blocks cover the arena without gap or overlap, each aligned to its size.
    fn check_partition(&self) -> Result<(), &'static str> {
        let space = &self.arena.space;
        let mut free = space.first_behind(0);
        let taken = self.records.lowest_behind(0, usize::MAX);
        let mut taken = taken.into_iter().map(|(piece, _)| piece).peekable();
        let mut end = 0;
        while end < space.size {
            let here = |piece: &Piece| piece.offset == end;
            let next = taken.next_if(here);
            let Some(piece) = next.or(free.filter(here)) else {
                return Err("the blocks cover the arena");
            };
            hold(
                (piece.order as usize) < ORDERS && piece.key() << piece.order == piece.offset,
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
