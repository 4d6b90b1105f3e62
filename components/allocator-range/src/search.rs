//! Which hole serves a wish: the orders of the modes, and where in a hole the place is.

use crate::arena::{Arena, HEAD};
use crate::index::{Hole, Index, Order};
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
    /// Complexity: O(log n) for each hole that is looked at; without a range and a guard that is
    /// one, unless alignments without an index are wished for.
    pub(crate) fn find(&mut self, wanted: &Wanted) -> Option<(u32, u64)> {
        let window = wanted.end.checked_sub(wanted.start)?;
        if wanted.units > window.min(self.holes.all().largest()) {
            return None;
        }
        if wanted.units == window {
            // One place is possible, whatever the mode.
            return self.at(self.hole_at(wanted.start)?.node, wanted);
        }
        let order = match wanted.mode {
            Mode::Low | Mode::High => Order::Place,
            Mode::Best => Order::SizeAge,
            Mode::BestLow => Order::SizePlace,
            Mode::Evict => Order::Age,
        };
        // Once means the first hole of sufficient size, whatever its alignment.
        let step = if wanted.once { 1 } else { wanted.step };
        let Arena { nodes, holes, .. } = self;
        let open = nodes.iter().zip(0..).filter(|(node, _)| node.hole != 0);
        holes.prepare(order, step, open.map(|(node, at)| node.hole_behind(at)));
        let index = self.holes.get(order, step);
        match wanted.mode {
            Mode::Low => self.lowest(wanted, index),
            Mode::High => self.highest(wanted, index),
            _ => self.first_of(wanted, index),
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

    fn lowest(&self, wanted: &Wanted, index: &Index) -> Option<(u32, u64)> {
        let mut from = self.first_key(wanted);
        loop {
            let hole = Self::next_within(wanted, index, from)?;
            let found = self.at(hole.1, wanted);
            if found.is_some() || wanted.once {
                return found;
            }
            from = hole.0 + 1;
        }
    }

    fn highest(&self, wanted: &Wanted, index: &Index) -> Option<(u32, u64)> {
        let mut below = u128::from(wanted.end);
        loop {
            let entry = index.tree.last(below, wanted.units)?;
            let hole = self.hole(entry.child);
            if hole.start + hole.units <= wanted.start {
                return None;
            }
            let found = self.at(hole.node, wanted);
            if found.is_some() || wanted.once {
                return found;
            }
            below = entry.key;
        }
    }

    /// The first hole of an order that holds the wish.
    ///
    /// A range may lie far from the first holes of an order. So its holes are looked at in turn
    /// with those of the order, and if they come to their end first, the one that is first in the
    /// order is the answer.
    fn first_of(&self, wanted: &Wanted, index: &Index) -> Option<(u32, u64)> {
        let everywhere = (wanted.start, wanted.end) == (0, self.size);
        let places = self.holes.get(Order::Place, index.step);
        let mut key = index.order.from(wanted.units);
        let mut from = if everywhere {
            0
        } else {
            self.first_key(wanted)
        };
        let mut best = None;
        loop {
            let Some(entry) = index.tree.first(key, wanted.units) else {
                // Every hole of the range has had its turn in the order.
                return None;
            };
            key = entry.key + 1;
            let found = self.at(entry.child, wanted);
            if found.is_some() || wanted.once {
                return found;
            }
            if everywhere {
                continue;
            }
            let Some((start, node)) = Self::next_within(wanted, places, from) else {
                return best.map(|(_, found)| found);
            };
            from = start + 1;
            if let Some(found) = self.at(node, wanted) {
                let key = index.order.key(&self.hole(node));
                if best.is_none_or(|(first, _)| key < first) {
                    best = Some((key, found));
                }
            }
        }
    }

    /// Where the first hole that reaches into a range begins, or where the range does.
    fn first_key(&self, wanted: &Wanted) -> u128 {
        if wanted.start == 0 {
            return 0;
        }
        let reaches = |hole: &Hole| hole.start + hole.units > wanted.start;
        let first = self.hole_at(wanted.start).filter(reaches);
        first.map_or(wanted.start, |hole| hole.start).into()
    }

    /// The first hole with room from a place on that reaches into a range: key and node.
    fn next_within(wanted: &Wanted, index: &Index, from: u128) -> Option<(u128, u32)> {
        let entry = index.tree.first(from, wanted.units)?;
        (entry.key < wanted.end.into()).then_some((entry.key, entry.child))
    }
}
