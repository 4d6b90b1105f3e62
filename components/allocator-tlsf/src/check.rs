//! The invariants, checked from scratch.

use crate::Tlsf;
use crate::bins::{Bins, bin_of};
use crate::nodes::{Arena, NONE};

impl Tlsf {
    /// Checks every structural invariant from scratch; a strategy that is not serving is right.
    ///
    /// Errors: the first invariant that does not hold. Complexity: O(nodes + numbers).
    pub(crate) fn invariants(&self) -> Result<(), &'static str> {
        if self.serving().is_err() {
            return Ok(());
        }
        let arena = &self.arena;
        hold(
            arena.size == self.geometry.size >> self.shift,
            "the arena has the geometry's size",
        )?;
        let taken = check_order(arena)?;
        check_bins(arena)?;
        check_spare(arena, taken + arena.holes)?;
        self.check_numbers(taken)
    }

    fn check_numbers(&self, taken: u64) -> Result<(), &'static str> {
        let (mut allocations, mut nodes) = (0, 0);
        for (number, first) in self.numbers.filed() {
            allocations += 1;
            let mut at = first;
            hold(at != NONE, "an entry leads to a node")?;
            while at != NONE {
                nodes += 1;
                hold(
                    nodes <= taken,
                    "the chains are as long as there are taken nodes",
                )?;
                let node = self
                    .arena
                    .nodes
                    .get(at as usize)
                    .ok_or("a chain leads to a node")?;
                hold(
                    !node.is_hole() && node.previous == number,
                    "the nodes of a chain are the number's",
                )?;
                at = node.chain();
            }
        }
        hold(nodes == taken, "every taken node is filed under its number")?;
        hold(
            allocations == self.allocations,
            "the allocations are counted",
        )
    }
}

fn hold(holds: bool, what: &'static str) -> Result<(), &'static str> {
    if holds { Ok(()) } else { Err(what) }
}

/// The nodes partition the arena; returns how many are taken.
fn check_order(arena: &Arena) -> Result<u64, &'static str> {
    let border = arena.node(NONE);
    hold(
        !border.is_hole() && border.units == 0,
        "the border is taken and empty",
    )?;
    let (mut end, mut below, mut at) = (0, NONE, arena.first());
    let (mut taken, mut used, mut holes, mut hole_below) = (0, 0u64, 0, false);
    while at != NONE {
        let node = arena
            .nodes
            .get(at as usize)
            .ok_or("a neighbour is a node")?;
        hold(
            node.offset == end && node.units != 0,
            "the nodes follow each other without a gap",
        )?;
        hold(node.below == below, "neighbours know each other")?;
        let hole = node.is_hole();
        hold(!(hole && hole_below), "no two neighbours are holes")?;
        if hole {
            holes += 1;
        } else {
            taken += 1;
            used += node.units;
        }
        end = end
            .checked_add(node.units)
            .ok_or("the nodes end in the arena")?;
        (hole_below, below, at) = (hole, at, node.above);
    }
    hold(
        end == arena.size && below == arena.last(),
        "the nodes cover the arena",
    )?;
    hold(
        used == arena.used && holes == arena.holes,
        "used units and holes are counted",
    )?;
    Ok(taken)
}

fn check_bins(arena: &Arena) -> Result<(), &'static str> {
    hold(arena.bins.consistent(), "the bitmaps equal the list heads")?;
    let mut filed = 0;
    for bin in 0..Bins::COUNT {
        let (mut previous, mut at) = (NONE, arena.bins.head(bin));
        while at != NONE {
            let node = arena
                .nodes
                .get(at as usize)
                .ok_or("a list leads to a node")?;
            hold(node.is_hole(), "only holes are in lists")?;
            hold(node.units <= arena.bound, "no hole is above the bound")?;
            hold(bin_of(node.units) == bin, "a hole is in its size's bin")?;
            hold(node.previous == previous, "list neighbours know each other")?;
            filed += 1;
            hold(filed <= arena.holes, "no hole is in two lists")?;
            (previous, at) = (at, node.next);
        }
    }
    hold(filed == arena.holes, "every hole is in a list")
}

fn check_spare(arena: &Arena, in_arena: u64) -> Result<(), &'static str> {
    let (mut spare, mut at) = (0, arena.spare);
    while at != NONE {
        let node = arena
            .nodes
            .get(at as usize)
            .ok_or("the spare list leads to a node")?;
        spare += 1;
        let good = node.is_spare() && spare <= arena.nodes.len() as u64;
        hold(good, "the spare list holds spare nodes")?;
        at = node.next;
    }
    hold(
        spare + in_arena + 1 == arena.nodes.len() as u64,
        "no node is lost",
    )
}
