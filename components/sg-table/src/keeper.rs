//! Who holds which table until when.

use crate::build;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use gpumm_contract::paged::Paged;
use gpumm_contract::table::{Counted, Hold, Holder, Limits, TableError, TableState, Tables};
use gpumm_contract::{Extent, Point, Segment, Segments, TableId, TimelineId};

/// One table: its segments stay with the ledger, which got them when the table was built; what
/// is kept here decides its lifetime.
#[derive(Clone, Copy, Debug, Default)]
struct Table {
    /// How many timed holds it has.
    timed: u32,
    /// A bit for each holder that has an untimed hold.
    untimed: u8,
}

impl Table {
    fn is_held(self) -> bool {
        self.timed != 0 || self.untimed != 0
    }
}

/// The bit of a holder in [`Table::untimed`].
fn bit(holder: Holder) -> u8 {
    1 << holder as u8
}

/// What ends a timed hold on some timeline: sorted by value first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Due {
    value: u64,
    table: TableId,
    holder: Holder,
}

/// The timed holds that end on one timeline.
///
/// Invariants: sorted by value unless `disorder` says that it is not.
#[derive(Clone, Debug, Default)]
struct Queue {
    due: VecDeque<Due>,
    disorder: bool,
}

impl Queue {
    /// Operations get their points in order, so a new hold nearly always ends last.
    fn push(&mut self, due: Due) {
        self.disorder |= self.due.back().is_some_and(|last| last.value > due.value);
        self.due.push_back(due);
    }

    /// The next hold that ends by a value.
    fn pop(&mut self, reached: u64) -> Option<Due> {
        if self.disorder {
            self.due.make_contiguous().sort_unstable();
            self.disorder = false;
        }
        let first = *self.due.front()?;
        (first.value <= reached).then_some(())?;
        self.due.pop_front()
    }
}

/// Keeps tables and their holders.
///
/// Complexity: build O(extents + bytes / max segment); hold, get, put O(1); retire O(1) per hold
/// that ends, and a sort where holds did not come in the order of their points, as after a restore.
/// Invariants: a table is present exactly while it is held; its `timed` is the number of its
/// holds in `due`; whoever is in `more` has its bit set; no timeline in `due` is empty.
#[derive(Clone, Debug, Default)]
pub struct SgTables {
    tables: Paged<Table>,
    /// Untimed holds of a holder beyond its first one, which is rare.
    more: BTreeMap<(TableId, Holder), u32>,
    due: BTreeMap<TimelineId, Queue>,
}

impl SgTables {
    /// How many tables live.
    pub fn len(&self) -> usize {
        self.tables.len()
    }

    /// Whether no table lives.
    pub fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    fn free(&self, table: TableId) -> Result<(), TableError> {
        match self.tables.contains(table.0.into()) {
            true => Err(TableError::InUse),
            false => Ok(()),
        }
    }

    /// A new table of the layout.
    fn begin(&mut self, table: TableId) {
        let untimed = bit(Holder::Layout);
        self.tables
            .insert(table.0.into(), Table { timed: 0, untimed });
    }

    fn file(&mut self, table: TableId, hold: Hold) {
        let queue = self.due.entry(hold.until.timeline).or_default();
        queue.push(Due {
            value: hold.until.value,
            table,
            holder: hold.holder,
        });
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
    ) -> Result<Segments, TableError> {
        self.free(table)?;
        let segments = build::segments(extents, base, max_segment)?;
        self.begin(table);
        Ok(segments)
    }

    fn build_clamped(
        &mut self,
        table: TableId,
        extents: &[Extent],
        base: u64,
        limits: Limits,
    ) -> Result<Segments, TableError> {
        self.free(table)?;
        let segments = build::segments_of(extents, base, limits)?;
        self.begin(table);
        Ok(segments)
    }

    fn adopt(
        &mut self,
        table: TableId,
        segments: &[Segment],
        layout: bool,
        holds: &[Hold],
    ) -> Result<(), TableError> {
        self.free(table)?;
        let new = Table {
            timed: u32::try_from(holds.len()).map_err(|_| TableError::TooLarge)?,
            untimed: if layout { bit(Holder::Layout) } else { 0 },
        };
        if segments.is_empty() || !new.is_held() {
            return Err(TableError::Empty);
        }
        self.tables.insert(table.0.into(), new);
        holds.iter().for_each(|&hold| self.file(table, hold));
        Ok(())
    }

    fn hold(&mut self, table: TableId, hold: Hold) -> Result<(), TableError> {
        let entry = self.tables.get_mut(table.0.into());
        let entry = entry.ok_or(TableError::Unknown)?;
        entry.timed = entry.timed.checked_add(1).ok_or(TableError::TooLarge)?;
        self.file(table, hold);
        Ok(())
    }

    fn get(&mut self, table: TableId, holder: Holder) -> Result<(), TableError> {
        let entry = self.tables.get_mut(table.0.into());
        let entry = entry.ok_or(TableError::Unknown)?;
        if entry.untimed & bit(holder) == 0 {
            entry.untimed |= bit(holder);
            return Ok(());
        }
        let more = self.more.entry((table, holder)).or_default();
        // One less than fits: with the first hold the count must fit too.
        if *more == u32::MAX - 1 {
            return Err(TableError::TooLarge);
        }
        *more += 1;
        Ok(())
    }

    fn put(&mut self, table: TableId, holder: Holder) -> Result<bool, TableError> {
        let entry = self.tables.get_mut(table.0.into());
        let entry = entry.ok_or(TableError::Unknown)?;
        if entry.untimed & bit(holder) == 0 {
            return Err(TableError::NotHeld);
        }
        if let Some(more) = self.more.get_mut(&(table, holder)) {
            *more -= 1;
            if *more == 0 {
                self.more.remove(&(table, holder));
            }
            return Ok(false);
        }
        entry.untimed &= !bit(holder);
        let released = !entry.is_held();
        if released {
            self.tables.remove(table.0.into());
        }
        Ok(released)
    }

    fn put_layout(&mut self, table: TableId) -> Result<bool, TableError> {
        self.put(table, Holder::Layout)
            .map_err(|_| TableError::Unknown)
    }

    fn retire(&mut self, reached: Point) -> Vec<TableId> {
        let mut released = Vec::new();
        let Some(queue) = self.due.get_mut(&reached.timeline) else {
            return released;
        };
        while let Some(Due { table, .. }) = queue.pop(reached.value) {
            let Some(entry) = self.tables.get_mut(table.0.into()) else {
                continue;
            };
            entry.timed -= 1;
            if !entry.is_held() {
                self.tables.remove(table.0.into());
                released.push(table);
            }
        }
        if queue.due.is_empty() {
            self.due.remove(&reached.timeline);
        }
        released.sort_unstable();
        released
    }

    fn dump(&self) -> Vec<TableState> {
        let untimed = |table: TableId, held: u8| {
            let holders = Holder::ALL.into_iter().filter(|&h| held & bit(h) != 0);
            holders
                .map(|holder| Counted {
                    holder,
                    count: 1 + self.more.get(&(table, holder)).copied().unwrap_or(0),
                })
                .collect()
        };
        let state = |(number, t): (u64, &Table)| {
            let table = TableId(number as u32);
            TableState {
                table,
                untimed: untimed(table, t.untimed),
                timed: Vec::with_capacity(t.timed as usize),
            }
        };
        let mut states: Vec<TableState> = self.tables.iter().map(state).collect();
        for (&timeline, queue) in &self.due {
            let mut due: Vec<Due> = queue.due.iter().copied().collect();
            due.sort_unstable();
            for Due {
                value,
                table,
                holder,
            } in due
            {
                let until = Point { timeline, value };
                if let Ok(at) = states.binary_search_by_key(&table, |s| s.table) {
                    states[at].timed.push(Hold { holder, until });
                }
            }
        }
        states
    }
}
