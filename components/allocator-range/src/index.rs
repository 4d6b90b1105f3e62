//! The holes in the orders that wishes look at them, each order with one tree per alignment.
//!
//! An index knows of every hole how much of it is left behind the first multiple of its step. So
//! the first hole in the order that holds an aligned wish is found without looking at others.

use crate::tree::{Entry, Tree};
use alloc::vec::Vec;

/// A hole.
///
/// Units: granules.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Hole {
    pub(crate) start: u64,
    pub(crate) units: u64,
    /// When it was made: later holes have larger stamps.
    pub(crate) stamp: u64,
    /// The node it lies behind.
    pub(crate) node: u32,
}

impl Hole {
    /// What is left of it behind the first multiple of a step.
    fn room(&self, step: u64) -> u64 {
        let first = match step {
            1 => Some(self.start),
            _ => self.start.checked_next_multiple_of(step),
        };
        let skipped = first.map_or(u64::MAX, |first| first - self.start);
        self.units.saturating_sub(skipped)
    }
}

/// In which order holes are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// By address.
    Place,
    /// By size, of equal ones the newest first.
    SizeAge,
    /// By size, of equal ones the lowest first.
    SizePlace,
    /// Newest first.
    Age,
}

impl Order {
    /// A hole's place in the order.
    pub(crate) fn key(self, hole: &Hole) -> u128 {
        let both = |high: u64, low: u64| u128::from(high) << 64 | u128::from(low);
        match self {
            Order::Place => hole.start.into(),
            Order::SizeAge => both(hole.units, !hole.stamp),
            Order::SizePlace => both(hole.units, hole.start),
            Order::Age => (!hole.stamp).into(),
        }
    }

    /// Where holes of at least a size begin in the order.
    pub(crate) fn from(self, units: u64) -> u128 {
        match self {
            Order::SizeAge | Order::SizePlace => u128::from(units) << 64,
            Order::Place | Order::Age => 0,
        }
    }
}

/// The holes that have room at a step, in an order.
#[derive(Clone, Debug)]
pub(crate) struct Index {
    pub(crate) order: Order,
    pub(crate) step: u64,
    pub(crate) tree: Tree,
}

impl Index {
    fn entry(&self, hole: &Hole) -> Option<Entry> {
        let most = hole.room(self.step);
        let entry = |most| Entry {
            key: self.order.key(hole),
            most,
            child: hole.node,
        };
        (most != 0).then(|| entry(most))
    }

    fn insert(&mut self, hole: &Hole) {
        if let Some(entry) = self.entry(hole) {
            self.tree.insert(entry);
        }
    }

    fn remove(&mut self, hole: &Hole) {
        if let Some(entry) = self.entry(hole) {
            self.tree.remove(entry.key);
        }
    }

    /// Puts a hole in the place of one. Bounds: no third one lies between the two.
    fn replace(&mut self, old: &Hole, new: &Hole) {
        match (self.order, self.entry(old), self.entry(new)) {
            (Order::Place, Some(old), Some(new)) => self.tree.change(old.key, new),
            _ => {
                self.remove(old);
                self.insert(new);
            }
        }
    }

    /// Whether exactly these holes are in it.
    fn holds(&self, holes: &[Hole]) -> Result<bool, &'static str> {
        let mut entries: Vec<Entry> = holes.iter().filter_map(|h| self.entry(h)).collect();
        entries.sort_unstable_by_key(|entry| entry.key);
        Ok(self.tree.validate()? == entries)
    }
}

/// Indexes for one order, so that no caller makes every change dear with ever new alignments.
const MOST: usize = 8;

/// Every index that has been asked for: who never asks for an order pays nothing for it.
///
/// Invariants: the first one is of all holes by address.
#[derive(Clone, Debug)]
pub(crate) struct Indexes(Vec<Index>);

impl Indexes {
    pub(crate) fn new() -> Self {
        Indexes(Vec::from([Index {
            order: Order::Place,
            step: 1,
            tree: Tree::new(),
        }]))
    }

    /// All holes by address.
    pub(crate) fn all(&self) -> &Tree {
        &self.0[0].tree
    }

    /// The best index there is for an order and a step.
    pub(crate) fn get(&self, order: Order, step: u64) -> &Index {
        let fits = |step| move |index: &&Index| (index.order, index.step) == (order, step);
        let exact = self.0.iter().find(fits(step));
        let plain = || self.0.iter().find(fits(1));
        exact.or_else(plain).unwrap_or(&self.0[0])
    }

    /// Makes an index for an order and a step if there is none; when there are many for that
    /// order, at least the one for step 1.
    pub(crate) fn prepare(&mut self, order: Order, step: u64, holes: impl Iterator<Item = Hole>) {
        let has = |step| move |index: &Index| (index.order, index.step) == (order, step);
        if self.0.iter().any(has(step)) {
            return;
        }
        let many = self.0.iter().filter(|index| index.order == order).count() >= MOST;
        let step = if many { 1 } else { step };
        if self.0.iter().any(has(step)) {
            return;
        }
        let mut index = Index {
            order,
            step,
            tree: Tree::new(),
        };
        holes.for_each(|hole| index.insert(&hole));
        self.0.push(index);
    }

    /// Files a hole. Complexity: O(log n) per index, as the others.
    pub(crate) fn insert(&mut self, hole: &Hole) {
        self.0.iter_mut().for_each(|index| index.insert(hole));
    }

    /// Forgets a hole.
    pub(crate) fn remove(&mut self, hole: &Hole) {
        self.0.iter_mut().for_each(|index| index.remove(hole));
    }

    /// Puts a hole in the place of one. Bounds: no third one lies between the two.
    pub(crate) fn replace(&mut self, old: &Hole, new: &Hole) {
        self.0.iter_mut().for_each(|index| index.replace(old, new));
    }

    /// Checks from scratch that every index holds exactly these holes.
    pub(crate) fn validate(&self, holes: &[Hole]) -> Result<(), &'static str> {
        for index in &self.0 {
            if !index.holds(holes)? {
                return Err("an index holds the holes that have room");
            }
        }
        Ok(())
    }
}
