//! The invariants, checked from scratch.

use crate::RangeManager;
use crate::arena::{Arena, HEAD, NONE, SPARE};
use crate::sizes::Hole;
use alloc::vec::Vec;

impl RangeManager {
    /// Checks every structural invariant; a strategy that is not serving is right.
    pub(crate) fn invariants(&self) -> Result<(), &'static str> {
        if self.serving().is_err() {
            return Ok(());
        }
        let arena = &self.arena;
        hold(
            arena.size == self.geometry.size >> self.shift(),
            "the arena has the geometry's size",
        )?;
        let holes = self.check_order()?;
        check_holes(arena, &holes)?;
        self.roster.validate(arena)?;
        self.check_numbers()
    }

    /// Nodes and holes cover the arena; returns the holes by address.
    fn check_order(&self) -> Result<Vec<Hole>, &'static str> {
        let arena = &self.arena;
        let (mut at, mut used, mut live, mut holes) = (HEAD, 0, 0, Vec::new());
        loop {
            let node = arena.node(at);
            let known = (node.owner == SPARE) == (at == HEAD);
            hold(known, "no spare node is in the arena")?;
            hold(
                (node.units == 0) == (at == HEAD),
                "only the head takes nothing",
            )?;
            (used, live) = (used + node.units, live + 1);
            let end = node.end().checked_add(node.hole);
            hold(
                end == Some(arena.limit(node.above)),
                "a node and its hole reach to the next node",
            )?;
            hold(
                arena.node(node.above).below == at,
                "neighbours know each other",
            )?;
            if node.hole != 0 {
                holes.push(arena.hole(at));
            }
            at = node.above;
            if at == HEAD {
                break;
            }
        }
        hold(used == arena.used, "used granules are counted")?;
        let (mut spare, mut at) = (0, arena.spare);
        while at != NONE && spare <= arena.nodes.len() {
            let node = arena.node(at);
            hold(node.owner == SPARE, "the spare list holds spare nodes")?;
            (spare, at) = (spare + 1, node.next);
        }
        hold(spare + live == arena.nodes.len(), "no node is lost")?;
        Ok(holes)
    }

    fn check_numbers(&self) -> Result<(), &'static str> {
        let (mut allocations, mut filed) = (0, 0);
        for (number, first) in self.numbers.filed() {
            allocations += 1;
            let mut at = first;
            while at != NONE && filed <= self.arena.nodes.len() {
                let node = self.arena.node(at);
                hold(
                    node.owner == number,
                    "the nodes of a chain are the number's",
                )?;
                (filed, at) = (filed + 1, node.next);
            }
        }
        let taken = self.arena.nodes.iter().filter(|node| node.owner != SPARE);
        hold(
            filed == taken.count(),
            "every node is filed under its number",
        )?;
        hold(
            allocations == self.allocations,
            "the allocations are counted",
        )
    }
}

fn hold(holds: bool, what: &'static str) -> Result<(), &'static str> {
    if holds { Ok(()) } else { Err(what) }
}

/// Every hole is in the tree, on the stack and in the orders of sizes, once.
fn check_holes(arena: &Arena, holes: &[Hole]) -> Result<(), &'static str> {
    let entries = arena.tree.validate()?;
    let same = |(entry, hole): (&crate::tree::Entry, &Hole)| {
        (entry.key, entry.most, entry.child) == (hole.start, hole.units, hole.node)
    };
    hold(
        entries.len() == holes.len() && entries.iter().zip(holes).all(same),
        "the tree holds the holes",
    )?;
    let largest = holes.iter().map(|hole| hole.units).max();
    hold(
        arena.tree.largest() == largest.unwrap_or(0),
        "the largest hole is known",
    )?;
    let (mut at, mut newer, mut count, mut stamp) = (arena.newest, NONE, 0, arena.stamp);
    while at != NONE {
        let node = arena.node(at);
        hold(
            node.newer == newer && node.hole != 0,
            "the stack holds holes that know each other",
        )?;
        hold(node.stamp < stamp, "newer holes are above older ones")?;
        (newer, stamp, count, at) = (at, node.stamp, count + 1, node.older);
    }
    hold(count == holes.len(), "every hole is on the stack")?;
    hold(
        arena.sizes.hold(holes),
        "the orders of sizes hold the holes",
    )
}
