//! Judging `table` and `drop-table`, and keeping the mirror of the holders.

use super::request::Check;
use super::{Refusal, TableFacts, number};
use gpumm_contract::table::{Hold, Holder};
use gpumm_contract::{AllocationId, Extent, Point, PointSet, Segment, TableId};
use std::sync::Arc;

impl Check<'_> {
    pub(super) fn table(
        &mut self,
        table: TableId,
        allocation: AllocationId,
        segments: &[Segment],
    ) -> Result<(), Refusal> {
        if self.ledger.tables.contains_key(&table) {
            return Err(Refusal::InUse("table", table.0.into()));
        }
        let unknown = || Refusal::Unknown("allocation", allocation.0.into());
        let facts = self
            .ledger
            .allocations
            .get(&allocation)
            .ok_or_else(unknown)?;
        let kind = self
            .ledger
            .memory
            .get(&facts.memory)
            .ok_or_else(unknown)?
            .kind;
        if facts.table.is_some() || facts.ends_after.is_some() {
            return Err(Refusal::WrongTable(table));
        }
        if !describes(segments, &facts.extents, kind.base, kind.max_segment) {
            return Err(Refusal::WrongTable(table));
        }
        let (memory, buffer) = (facts.memory, facts.buffer);
        if let Some(facts) = self.ledger.allocations.get_mut(&allocation) {
            facts.table = Some(table);
        }
        let segments: Arc<[Segment]> = segments.into();
        self.ledger.tables.insert(
            table,
            TableFacts {
                allocation,
                memory,
                buffer,
                segments,
                layout: true,
                mapped: false,
                holds: Vec::new(),
            },
        );
        self.ledger.used_tables.set(number(table.0), ());
        Ok(())
    }

    /// ORDER: refused while an operation in flight uses the table, or while the allocation is a
    /// buffer's place.
    pub(super) fn drop_table(&mut self, table: TableId) -> Result<(), Refusal> {
        let unknown = || Refusal::Unknown("table", table.0.into());
        let facts = self.ledger.tables.get(&table).ok_or_else(unknown)?;
        if facts.layout || !facts.holds.is_empty() {
            return Err(Refusal::TableInUse(table));
        }
        if facts.mapped {
            return Err(Refusal::StillMapped(table));
        }
        self.ledger.tables.remove(&table);
        self.ledger.used_tables.clear(number(table.0));
        self.must_drop.remove(&table);
        Ok(())
    }

    /// A device operation holds a table until its point.
    pub(super) fn hold(&mut self, table: TableId, holder: Holder, until: Point) {
        if let Some(facts) = self.ledger.tables.get_mut(&table) {
            facts.holds.push(Hold { holder, until });
        }
        match self.ledger.due.get_mut(&until) {
            Some(tables) => tables.push(table),
            None => _ = self.ledger.due.insert(until, vec![table]),
        }
    }

    /// The layout's hold ends.
    pub(super) fn end_layout(&mut self, table: TableId) {
        if let Some(facts) = self.ledger.tables.get_mut(&table) {
            facts.layout = false;
            if facts.holds.is_empty() {
                self.must_drop.insert(table);
            }
        }
    }

    /// Nothing in flight uses an allocation any more: the points of what did are reached.
    fn at_rest(&mut self, allocation: AllocationId) {
        let idle = |set: &PointSet| set.iter().all(|p| self.ledger.reached(p));
        let Some(facts) = self.ledger.allocations.get(&allocation) else {
            return;
        };
        let [readers, writers, inherited] =
            [&facts.readers, &facts.writers, &facts.inherited].map(idle);
        if let Some(facts) = self.ledger.allocations.get_mut(&allocation) {
            for (set, idle) in [
                (&mut facts.readers, readers),
                (&mut facts.writers, writers),
                (&mut facts.inherited, inherited),
            ] {
                if idle {
                    *set = PointSet::new();
                }
            }
        }
    }

    /// Holds whose point is reached end.
    pub(super) fn end_holds(&mut self, reached: Point) {
        let range = Point {
            value: 0,
            ..reached
        }..=reached;
        let points: Vec<Point> = self
            .ledger
            .due
            .range(range)
            .map(|(&point, _)| point)
            .collect();
        for point in points {
            for table in self.ledger.due.remove(&point).unwrap_or_default() {
                let Some(facts) = self.ledger.tables.get_mut(&table) else {
                    continue;
                };
                facts.holds.retain(|h| h.until != point);
                if !facts.holds.is_empty() {
                    continue;
                }
                // Most tables rest most of the time: they keep no room for holders.
                facts.holds = Vec::new();
                let (allocation, layout) = (facts.allocation, facts.layout);
                if !layout {
                    self.must_drop.insert(table);
                }
                self.at_rest(allocation);
            }
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
