//! The holes by size, in the orders that have been asked for so far.

use alloc::collections::BTreeMap;

/// Size and tie break to node.
type Order = BTreeMap<(u64, u64), u32>;

/// A hole as the orders see it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hole {
    pub(crate) units: u64,
    pub(crate) start: u64,
    /// When it was made: later holes have larger stamps.
    pub(crate) stamp: u64,
    /// The node it lies behind.
    pub(crate) node: u32,
}

impl Hole {
    /// Smallest first, of equal ones the newest.
    pub(crate) fn by_age(&self) -> (u64, u64) {
        (self.units, !self.stamp)
    }

    /// Smallest first, of equal ones the lowest.
    pub(crate) fn by_place(&self) -> (u64, u64) {
        (self.units, self.start)
    }
}

/// How ties between holes of one size are broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tie {
    Newest = 0,
    Lowest = 1,
}

/// One order per tie break, each made when it is first asked for: who never asks pays nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Sizes([Option<Order>; 2]);

impl Sizes {
    fn key(hole: &Hole, tie: Tie) -> (u64, u64) {
        match tie {
            Tie::Newest => hole.by_age(),
            Tie::Lowest => hole.by_place(),
        }
    }

    /// Files a hole in every order there is. Complexity: O(log n).
    pub(crate) fn insert(&mut self, hole: &Hole) {
        for tie in [Tie::Newest, Tie::Lowest] {
            if let Some(order) = &mut self.0[tie as usize] {
                order.insert(Self::key(hole, tie), hole.node);
            }
        }
    }

    /// Takes a hole out of every order there is. Complexity: O(log n).
    pub(crate) fn remove(&mut self, hole: &Hole) {
        for tie in [Tie::Newest, Tie::Lowest] {
            if let Some(order) = &mut self.0[tie as usize] {
                order.remove(&Self::key(hole, tie));
            }
        }
    }

    /// Whether an order has been made.
    pub(crate) fn has(&self, tie: Tie) -> bool {
        self.0[tie as usize].is_some()
    }

    /// Makes an order of all holes.
    pub(crate) fn make(&mut self, tie: Tie, holes: impl Iterator<Item = Hole>) {
        let order = holes.map(|hole| (Self::key(&hole, tie), hole.node));
        self.0[tie as usize] = Some(order.collect());
    }

    /// The nodes of the holes of at least `units`, in an order; of none if it was not made.
    pub(crate) fn from(&self, tie: Tie, units: u64) -> impl Iterator<Item = u32> + '_ {
        let order = self.0[tie as usize].iter();
        order.flat_map(move |order| order.range((units, 0)..).map(|(_, &node)| node))
    }

    /// Whether the orders that were made hold exactly these holes.
    pub(crate) fn hold(&self, holes: &[Hole]) -> bool {
        [Tie::Newest, Tie::Lowest].into_iter().all(|tie| {
            let filed = |order: &Order| {
                let is = |hole: &Hole| order.get(&Self::key(hole, tie)) == Some(&hole.node);
                order.len() == holes.len() && holes.iter().all(is)
            };
            self.0[tie as usize].as_ref().is_none_or(filed)
        })
    }
}
