//! Judging `table` and `drop-table`, and keeping the mirror of the holders.

use super::facts::By;
use super::request::Check;
use super::{Held, Refusal, TableFacts};
use crate::shared::Shared;
use gpumm_contract::{AllocationId, Extent, Point, PointSet, Segment, TableId};

impl Check<'_> {
    pub(super) fn table(
        &mut self,
        table: TableId,
        allocation: AllocationId,
        segments: &[Segment],
    ) -> Result<(), Refusal> {
        if self.ledger.tables.contains(table.0.into()) {
            return Err(Refusal::InUse("table", table.0.into()));
        }
        let unknown = || Refusal::Unknown("allocation", allocation.0.into());
        let facts = self.ledger.allocation(allocation).ok_or_else(unknown)?;
        let memory = self.ledger.memory.get(&facts.memory).ok_or_else(unknown)?;
        let kind = &memory.kind;
        if facts.table.is_some() || self.ledger.ending_of(allocation).is_some() {
            return Err(Refusal::WrongTable(table));
        }
        if !describes(segments, &facts.extents, kind.base, kind.max_segment) {
            return Err(Refusal::WrongTable(table));
        }
        let (memory, buffer) = (facts.memory, facts.buffer);
        if let Some(facts) = self.ledger.allocations.get_mut(allocation.0.into()) {
            facts.table = Some(table);
        }
        let facts = TableFacts {
            allocation,
            memory,
            buffer,
            segments: Shared::from(segments),
            layout: true,
            mapped: false,
            orphan: false,
            holds: 0,
        };
        self.ledger.tables.insert(table.0.into(), facts);
        self.ledger.used_tables.set(table.0, true);
        Ok(())
    }

    /// ORDER: refused while an operation in flight uses the table, or while the allocation is a
    /// buffer's place.
    pub(super) fn drop_table(&mut self, table: TableId) -> Result<(), Refusal> {
        let unknown = || Refusal::Unknown("table", table.0.into());
        let facts = self.ledger.table_facts(table).ok_or_else(unknown)?;
        if facts.layout || facts.holds > 0 {
            return Err(Refusal::TableInUse(table));
        }
        if facts.mapped {
            return Err(Refusal::StillMapped(table));
        }
        if facts.orphan {
            self.orphans -= 1;
        }
        self.ledger.tables.remove(table.0.into());
        self.ledger.used_tables.set(table.0, false);
        self.unmapped.remove(&table);
        Ok(())
    }

    /// A device operation holds a table until its point.
    pub(super) fn hold(&mut self, table: TableId, by: By, until: Point) {
        let ledger = &mut *self.ledger;
        if let Some(facts) = ledger.tables.get_mut(table.0.into()) {
            facts.holds += 1;
            ledger.holds += 1;
            let number = ledger.holds;
            let held = Held { table, by, number };
            ledger.due.file(&ledger.timelines, until, held);
        }
    }

    /// The layout's hold ends.
    pub(super) fn end_layout(&mut self, table: TableId) {
        if let Some(facts) = self.ledger.tables.get_mut(table.0.into()) {
            facts.layout = false;
            if facts.holds == 0 {
                self.orphans += 1;
                facts.orphan = true;
            }
        }
    }

    /// The first of the tables that nobody holds any more and that the plan has not dropped.
    ///
    /// Complexity: a walk over all tables, if there is one.
    pub(super) fn leaked(&self) -> Option<TableId> {
        let mut all = self.ledger.tables.iter();
        let leaked = |(_, facts): &(u64, &TableFacts)| facts.orphan;
        // INVARIANT: they are filed under 32-bit numbers.
        let leaked = (self.orphans > 0).then(|| all.find(leaked)).flatten();
        leaked.map(|(number, _)| TableId(number as u32))
    }

    /// Nothing in flight uses an allocation any more: the points of what did are reached.
    fn at_rest(&mut self, allocation: AllocationId) {
        let ledger = &mut *self.ledger;
        let number = allocation.0.into();
        let Some(uses) = ledger.uses.get(number) else {
            return;
        };
        let idle = |set: &PointSet| set.iter().all(|p| ledger.timelines.reached(p));
        let [readers, writers, inherited] =
            [&uses.readers, &uses.writers, &uses.inherited].map(idle);
        if readers && writers && inherited && uses.left.is_empty() {
            ledger.uses.remove(number);
            return;
        }
        if let Some(uses) = ledger.uses.get_mut(number) {
            for (set, idle) in [
                (&mut uses.readers, readers),
                (&mut uses.writers, writers),
                (&mut uses.inherited, inherited),
            ] {
                if idle {
                    set.clear();
                }
            }
        }
    }

    /// Holds whose point is reached end.
    pub(super) fn end_holds(&mut self, reached: Point) {
        loop {
            let ledger = &mut *self.ledger;
            let Some(held) = ledger.due.take(&ledger.timelines, reached) else {
                return;
            };
            let Some(facts) = ledger.tables.get_mut(held.table.0.into()) else {
                continue;
            };
            facts.holds = facts.holds.saturating_sub(1);
            if facts.holds > 0 {
                continue;
            }
            if !facts.layout && !facts.orphan {
                self.orphans += 1;
                facts.orphan = true;
            }
            let allocation = facts.allocation;
            self.at_rest(allocation);
        }
    }
}

/// Whether segments are exactly the extents' bytes in their order, cut as allowed.
fn describes(segments: &[Segment], extents: &[Extent], base: u64, max_segment: u64) -> bool {
    let mut extents = extents
        .iter()
        .map(|e| (base.checked_add(e.offset), e.bytes));
    let (mut at, mut left) = (Some(0), 0u64);
    for segment in segments {
        if segment.bytes == 0 || segment.bytes > max_segment {
            return false;
        }
        let (mut address, mut need) = (segment.address, segment.bytes);
        while need > 0 {
            if left == 0 {
                let Some((start, bytes)) = extents.next() else {
                    return false;
                };
                (at, left) = (start, bytes);
            }
            if at != Some(address) {
                return false;
            }
            let step = need.min(left);
            // OVERFLOW: an extent that passed `place` ends inside its arena.
            address = address.wrapping_add(step);
            at = at.map(|a| a.wrapping_add(step));
            need -= step;
            left -= step;
        }
    }
    left == 0 && extents.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_bytes_in_the_same_order_describe() {
        let extents = [
            Extent {
                offset: 0,
                bytes: 8192,
            },
            Extent {
                offset: 8192,
                bytes: 4096,
            },
        ];
        let segment = |address, bytes| Segment { address, bytes };
        let good = |segments: &[Segment]| describes(segments, &extents, 100, 1 << 20);
        assert!(good(&[segment(100, 12288)]));
        assert!(good(&[segment(100, 4096), segment(4196, 8192)]));
        assert!(!good(&[segment(100, 8192)]), "too short");
        assert!(!good(&[segment(100, 12288), segment(12388, 1)]), "too long");
        assert!(
            !good(&[segment(4196, 8192), segment(100, 4096)]),
            "exchanged"
        );
        assert!(!good(&[segment(0, 12288)]), "wrong base");
        assert!(
            !describes(&[segment(0, 12288)], &extents, 0, 4096),
            "segment too long"
        );
        assert!(
            !good(&[segment(100, 0), segment(100, 12288)]),
            "empty segment"
        );
    }
}
