//! The invariants, checked from scratch.

use crate::RangeManager;
use crate::arena::{HEAD, NONE, SPARE};
use crate::index::Hole;
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
        let stamped = holes.iter().all(|hole| hole.stamp < arena.stamp);
        hold(stamped, "the next hole is newer than all")?;
        arena.holes.validate(&holes)?;
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
