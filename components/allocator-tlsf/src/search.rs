//! Which hole serves a wish.

use crate::bins::{EXACT, bin_of};
use crate::nodes::{Arena, NONE, Node};
use gpumm_contract::extent::round_up;

/// How many holes of a list are looked at: the lowest of those that fit is taken, which keeps
/// the arena's upper end whole. More would be better fits and more cache misses.
const PROBES: usize = 4;

/// A hole that serves, and where in it.
///
/// Units: granules.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fit {
    pub(crate) node: u32,
    pub(crate) start: u64,
}

impl Arena {
    /// A hole whose lowest units serve a wish without alignment and range, or [`NONE`].
    ///
    /// Units: granules, not 0. Complexity: O(1) unless no higher bin is filled; then O(holes of
    /// the own bin).
    #[inline]
    pub(crate) fn find_plain(&self, units: u64) -> u32 {
        let own = bin_of(units);
        let mut rest = self.bins.head(own);
        if rest != NONE {
            if own < EXACT {
                return rest;
            }
            let best;
            (best, rest) = self.lowest(rest, PROBES, units);
            if best != NONE {
                return best;
            }
        }
        if let Some(bin) = self.bins.at_least(own + 1) {
            let head = self.bins.head(bin);
            return if bin < EXACT {
                head
            } else {
                self.lowest(head, PROBES, units).0
            };
        }
        if units > self.bound {
            return NONE;
        }
        self.lowest(rest, usize::MAX, units).0
    }

    /// Looks at up to `probes` holes of a list, but at none behind one that fits exactly; returns
    /// the lowest that fits, and where it stopped.
    ///
    /// Not inlined: the loop would be unrolled for every constant.
    #[inline(never)]
    fn lowest(&self, from: u32, probes: usize, units: u64) -> (u32, u32) {
        let (mut at, mut left) = (from, probes);
        let (mut best, mut lowest) = (NONE, u64::MAX);
        while at != NONE && left != 0 {
            let node = self.node(at);
            // Both tests always: which holes fit is hard to predict.
            if (node.units >= units) & (node.offset < lowest) {
                (best, lowest) = (at, node.offset);
            }
            at = node.next;
            // One that fits exactly leaves no splinter: the search ends.
            if node.units == units {
                break;
            }
            left -= 1;
        }
        (best, at)
    }

    /// A hole for any wish: nearly the smallest that fits, and always one when there is one.
    ///
    /// Units: granules. Bounds: `alignment` is a power of two; the window is not empty.
    /// Complexity: O(1) unless no higher bin is filled; then O(holes of the bins in question).
    /// With a window O(holes at least as large).
    pub(crate) fn find(
        &self,
        units: u64,
        alignment: u64,
        window: Option<(u64, u64)>,
    ) -> Option<Fit> {
        match window {
            Some((start, end)) => self.find_in(units, alignment, start, end),
            None if alignment == 1 => {
                let node = self.find_plain(units);
                (node != NONE).then(|| Fit {
                    node,
                    start: self.node(node).offset,
                })
            }
            None => self.find_aligned(units, alignment),
        }
    }

    fn find_aligned(&self, units: u64, alignment: u64) -> Option<Fit> {
        let (own, sure) = (bin_of(units), bin_of(units.saturating_add(alignment - 1)));
        let place = |node: &Node| {
            let start = round_up(node.offset, alignment)?;
            let room = node.end().checked_sub(start)?;
            (room >= units).then_some(start)
        };
        // A few holes of every bin that may hold a fitting one, from tight to loose.
        let mut left = 4 * PROBES;
        let mut at = self.bins.at_least(own);
        while let Some(bin) = at.filter(|&bin| bin <= sure && left > 0) {
            let fit = self.lowest_place(bin, 2 * PROBES, place);
            if fit.is_some() {
                return fit;
            }
            left = left.saturating_sub(2 * PROBES);
            at = self.bins.at_least(bin + 1);
        }
        // Above, every hole fits.
        if let Some(bin) = self.bins.at_least(sure + 1) {
            return self.lowest_place(bin, PROBES, place);
        }
        // The last resort before "no space": all that may fit.
        let mut at = self.bins.at_least(own).filter(|_| units <= self.bound);
        while let Some(bin) = at {
            let fit = self.lowest_place(bin, usize::MAX, place);
            if fit.is_some() {
                return fit;
            }
            at = self.bins.at_least(bin + 1);
        }
        None
    }

    /// The lowest place in the first holes of a bin.
    fn lowest_place(
        &self,
        bin: usize,
        probes: usize,
        place: impl Fn(&Node) -> Option<u64>,
    ) -> Option<Fit> {
        let holes = self.list(bin).take(probes);
        let fits = holes.filter_map(|(node, hole)| {
            let start = place(hole)?;
            Some(Fit { node, start })
        });
        fits.min_by_key(|fit| fit.start)
    }

    /// The lowest place inside a window.
    fn find_in(&self, units: u64, alignment: u64, start: u64, end: u64) -> Option<Fit> {
        let place = |hole: &Node| {
            let place = round_up(hole.offset.max(start), alignment)?;
            let room = hole.end().min(end).checked_sub(place)?;
            (room >= units).then_some(place)
        };
        let mut best: Option<Fit> = None;
        let mut at = self.bins.at_least(bin_of(units));
        while let Some(bin) = at {
            let fit = self.lowest_place(bin, usize::MAX, place);
            best = best.into_iter().chain(fit).min_by_key(|fit| fit.start);
            at = self.bins.at_least(bin + 1);
        }
        best
    }

    /// The holes of a bin.
    pub(crate) fn list(&self, bin: usize) -> impl Iterator<Item = (u32, &Node)> + '_ {
        let mut at = self.bins.head(bin);
        core::iter::from_fn(move || {
            let here = (at != NONE).then(|| (at, self.node(at)))?;
            at = here.1.next;
            Some(here)
        })
    }

    /// The largest hole and its size; [`NONE`] and 0 without one.
    ///
    /// Complexity: O(1) while the hole that was the largest still is one; else O(holes of the
    /// highest filled bin).
    pub(crate) fn largest(&self) -> (u32, u64) {
        let known = self.node(self.widest);
        if self.widest != NONE && known.is_hole() && known.units == self.bound {
            return (self.widest, self.bound);
        }
        let holes = self
            .bins
            .highest()
            .into_iter()
            .flat_map(|bin| self.list(bin));
        let sizes = holes.map(|(at, node)| (at, node.units));
        sizes.max_by_key(|&(_, units)| units).unwrap_or((NONE, 0))
    }

    /// The first node in address order that ends behind `unit`.
    ///
    /// Complexity: O(sqrt(nodes)) expected: every node is a possible place to start the walk
    /// from, so the nearest of a sample is taken.
    pub(crate) fn first_behind(&self, unit: u64) -> u32 {
        let step = self.nodes.len().isqrt().max(1);
        let sample = (1..self.nodes.len()).step_by(step).map(|at| at as u32);
        let below = sample.filter(|&at| {
            let node = self.node(at);
            !node.is_spare() && node.offset <= unit
        });
        let mut at = below
            .max_by_key(|&at| self.node(at).offset)
            .unwrap_or(self.first());
        while at != NONE && self.node(at).end() <= unit {
            at = self.node(at).above;
        }
        at
    }
}
