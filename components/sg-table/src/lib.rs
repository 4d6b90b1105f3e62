//! Reference-counted scatter-gather tables.
//!
//! A table says which memory a buffer used at some moment. It outlives the buffer's move to
//! another place for as long as a queued operation, a capture or a mapping still needs to know.
//! A table does not reserve the memory it names: that is what points are for.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod build;

pub use build::segments;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use gpumm_contract::table::{Hold, Holder, TableError, Tables};
use gpumm_contract::{Extent, Point, Segment, TableId, TimelineId};

/// One table: its segments stay with the ledger, which got them when the table was built; what
/// is kept here decides its lifetime.
#[derive(Clone, Debug, Default)]
struct Table {
    layout: bool,
    holds: u32,
}

/// Keeps tables and their holders.
///
/// Complexity: build O(extents + bytes / max segment); hold and retire O(log n) per hold.
/// Invariants: a table is present exactly while `layout` or `holds > 0`; `holds` is the number of
/// its entries in `until`.
#[derive(Clone, Debug, Default)]
pub struct SgTables {
    tables: BTreeMap<TableId, Table>,
    /// Holds by the point that ends them.
    until: BTreeMap<(TimelineId, u64), Vec<(TableId, Holder)>>,
}

impl SgTables {
    /// Live tables with their holders, for people: the layout first, then by point.
    pub fn dump(&self) -> Vec<(TableId, bool, Vec<Hold>)> {
        let holds = |table: TableId| {
            let of = |(&(timeline, value), held): (&(TimelineId, u64), &Vec<(TableId, Holder)>)| {
                let until = Point { timeline, value };
                let mine = held.iter().filter(|(t, _)| *t == table);
                mine.map(|&(_, holder)| Hold { holder, until })
                    .collect::<Vec<_>>()
            };
            self.until.iter().flat_map(of).collect()
        };
        self.tables
            .iter()
            .map(|(&id, t)| (id, t.layout, holds(id)))
            .collect()
    }

    /// How many tables live.
    pub fn len(&self) -> usize {
        self.tables.len()
    }

    /// Whether no table lives.
    pub fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }
}

impl Tables for SgTables {
    fn clear(&mut self) {
        *self = SgTables::default();
    }

    fn build(
        &mut self,
        table: TableId,
        extents: &[Extent],
        base: u64,
        max_segment: u64,
    ) -> Result<Vec<Segment>, TableError> {
        if self.tables.contains_key(&table) {
            return Err(TableError::InUse);
        }
        let segments = build::segments(extents, base, max_segment)?;
        self.tables.insert(
            table,
            Table {
                layout: true,
                holds: 0,
            },
        );
        Ok(segments)
    }

    fn adopt(
        &mut self,
        table: TableId,
        segments: &[Segment],
        layout: bool,
        holds: &[Hold],
    ) -> Result<(), TableError> {
        if self.tables.contains_key(&table) {
            return Err(TableError::InUse);
        }
        if segments.is_empty() || !layout && holds.is_empty() {
            return Err(TableError::Empty);
        }
        self.tables.insert(table, Table { layout, holds: 0 });
        holds.iter().try_for_each(|&hold| self.hold(table, hold))
    }

    fn hold(&mut self, table: TableId, hold: Hold) -> Result<(), TableError> {
        let entry = self.tables.get_mut(&table).ok_or(TableError::Unknown)?;
        entry.holds += 1;
        let point = (hold.until.timeline, hold.until.value);
        self.until
            .entry(point)
            .or_default()
            .push((table, hold.holder));
        Ok(())
    }

    fn put_layout(&mut self, table: TableId) -> Result<bool, TableError> {
        let entry = self
            .tables
            .get_mut(&table)
            .filter(|t| t.layout)
            .ok_or(TableError::Unknown)?;
        entry.layout = false;
        let released = entry.holds == 0;
        if released {
            self.tables.remove(&table);
        }
        Ok(released)
    }

    fn retire(&mut self, reached: Point) -> Vec<TableId> {
        let mut released = BTreeSet::new();
        let due = (reached.timeline, 0)..=(reached.timeline, reached.value);
        let points: Vec<_> = self.until.range(due).map(|(&point, _)| point).collect();
        for (table, _) in points
            .into_iter()
            .filter_map(|p| self.until.remove(&p))
            .flatten()
        {
            let Some(entry) = self.tables.get_mut(&table) else {
                continue;
            };
            entry.holds -= 1;
            if entry.holds == 0 && !entry.layout {
                self.tables.remove(&table);
                released.insert(table);
            }
        }
        released.into_iter().collect()
    }
}
