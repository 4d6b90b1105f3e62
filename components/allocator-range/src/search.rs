//! Which hole serves a wish: the orders of the modes, and where in a hole the place is.

use crate::arena::{Arena, HEAD};
use crate::sizes::{Hole, Tie};
use crate::tree::Entry;
use gpumm_contract::allocator::Mode;

/// A wish in granules.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Wanted {
    pub(crate) units: u64,
    /// The place begins at a multiple of it; any number but 0.
    pub(crate) step: u64,
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) mode: Mode,
    pub(crate) once: bool,
    pub(crate) colour: u64,
}

impl Wanted {
    /// The place in `low..high`, at the end that the mode prefers.
    pub(crate) fn place(&self, low: u64, high: u64) -> Option<u64> {
        let (low, high) = (low.max(self.start), high.min(self.end));
        let room = high.checked_sub(low)?;
        let slack = room.checked_sub(self.units)?;
        let past = |place: u64| {
            if self.step.is_power_of_two() {
                place & (self.step - 1)
            } else {
                place % self.step
            }
        };
        if self.mode == Mode::High {
            let top = low + slack;
            let down = past(top);
            (down <= slack).then(|| top - down)
        } else {
            let up = match past(low) {
                0 => 0,
                over => self.step - over,
            };
            (up <= slack).then(|| low + up)
        }
    }
}

impl Arena {
    /// The hole that serves a wish, by the node it lies behind, and the place in it.
    ///
    /// Complexity: O(log n) for each hole that is large enough and is looked at; without
    /// alignment, range and guard that is one.
    pub(crate) fn find(&mut self, wanted: &Wanted) -> Option<(u32, u64)> {
        let window = wanted.end.checked_sub(wanted.start)?;
        if wanted.units > window.min(self.tree.largest()) {
            return None;
        }
        if wanted.units == window {
            // One place is possible, whatever the mode.
            let hole = self.tree.floor(wanted.start)?;
            return self.at(hole.child, wanted);
        }
        match wanted.mode {
            Mode::Low => self.lowest(wanted),
            Mode::High => self.highest(wanted),
            Mode::Best => self.smallest(wanted, Tie::Newest, Hole::by_age),
            Mode::BestLow => self.smallest(wanted, Tie::Lowest, Hole::by_place),
            Mode::Evict => {
                let sized = |&at: &u32| self.node(at).hole >= wanted.units;
                let holes = self.stack().filter(|at| !wanted.once || sized(at));
                self.first_of(wanted, holes, |hole| (!hole.stamp, 0))
            }
        }
    }

    /// The place in the hole behind a node.
    fn at(&self, below: u32, wanted: &Wanted) -> Option<(u32, u64)> {
        let above = self.node(below).above;
        let (low, high) = self.between(below, above, wanted.colour);
        Some((below, wanted.place(low, high)?))
    }

    /// What a colour may have of the granules between two nodes that are, or will be, neighbours.
    pub(crate) fn between(&self, below: u32, above: u32, colour: u64) -> (u64, u64) {
        let (low, high) = (self.node(below).end(), self.limit(above));
        let foreign = |at: u32| at != HEAD && self.node(at).colour != colour;
        let guard = |at: u32| if foreign(at) { self.guard } else { 0 };
        // The ends may cross; then no place is found.
        (
            low.saturating_add(guard(below)),
            high.saturating_sub(guard(above)),
        )
    }

    fn lowest(&self, wanted: &Wanted) -> Option<(u32, u64)> {
        let mut from = self.first_key(wanted);
        loop {
            let hole = self.next_within(wanted, from)?;
            let found = self.at(hole.child, wanted);
            if found.is_some() || wanted.once {
                return found;
            }
            from = hole.key + 1;
        }
    }

    fn highest(&self, wanted: &Wanted) -> Option<(u32, u64)> {
        let mut below = wanted.end;
        loop {
            let hole = self.tree.last(below, wanted.units)?;
            if hole.key + hole.most <= wanted.start {
                return None;
            }
            let found = self.at(hole.child, wanted);
            if found.is_some() || wanted.once {
                return found;
            }
            below = hole.key;
        }
    }

    fn smallest(
        &mut self,
        wanted: &Wanted,
        tie: Tie,
        rank: impl Fn(&Hole) -> (u64, u64),
    ) -> Option<(u32, u64)> {
        if !self.sizes.has(tie) {
            let Arena { nodes, sizes, .. } = self;
            let holes = nodes.iter().zip(0..).filter(|(node, _)| node.hole != 0);
            let hole = |(node, at): (&crate::arena::Node, u32)| Hole {
                units: node.hole,
                start: node.end(),
                stamp: node.stamp,
                node: at,
            };
            sizes.make(tie, holes.map(hole));
        }
        self.first_of(wanted, self.sizes.from(tie, wanted.units), rank)
    }

    /// The first hole of an order that holds the wish.
    ///
    /// A range may lie far from the first holes of an order. So its holes are looked at in turn
    /// with those of the order, and if they come to their end first, the one of the first rank
    /// is the first of the order.
    fn first_of(
        &self,
        wanted: &Wanted,
        mut order: impl Iterator<Item = u32>,
        rank: impl Fn(&Hole) -> (u64, u64),
    ) -> Option<(u32, u64)> {
        if wanted.once {
            return self.at(order.next()?, wanted);
        }
        if (wanted.start, wanted.end) == (0, self.size) {
            return order.find_map(|below| self.at(below, wanted));
        }
        let mut from = self.first_key(wanted);
        let mut best = None;
        for below in order {
            let found = self.at(below, wanted);
            if found.is_some() {
                return found;
            }
            let Some(hole) = self.next_within(wanted, from) else {
                break;
            };
            from = hole.key + 1;
            if let Some(found) = self.at(hole.child, wanted) {
                let rank = rank(&self.hole(found.0));
                if best.is_none_or(|(least, _)| rank < least) {
                    best = Some((rank, found));
                }
            }
        }
        best.map(|(_, found)| found)
    }

    /// Where the first hole that reaches into a range begins, or where the range does.
    fn first_key(&self, wanted: &Wanted) -> u64 {
        let first = self.tree.floor(wanted.start);
        let reaches = first.filter(|hole| hole.key + hole.most > wanted.start);
        reaches.map_or(wanted.start, |hole| hole.key)
    }

    /// The first hole of sufficient size from a place on that reaches into a range.
    fn next_within(&self, wanted: &Wanted, from: u64) -> Option<Entry> {
        let hole = self.tree.first(from, wanted.units)?;
        (hole.key < wanted.end).then_some(hole)
    }

    /// The nodes that holes lie behind, newest hole first.
    fn stack(&self) -> impl Iterator<Item = u32> + '_ {
        let mut at = self.newest;
        core::iter::from_fn(move || {
            let below = (at != crate::arena::NONE).then_some(at)?;
            at = self.node(below).older;
            Some(below)
        })
    }
}
