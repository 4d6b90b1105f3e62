//! The sg-table keeper, behind the import `sg-table`: another component of the composition.

mod convert;

use crate::bindings::gpumm::memory::sg_table as wit;
use convert::{error, extents, hold, holder, point, segments, state};
use gpumm_contract::table::{Hold, Holder, Limits, TableError, TableState, Tables};
use gpumm_contract::{Extent, Point, Segment, Segments, TableId};
use gpumm_shell_support::trap::{at, site};

/// The composed sg-table keeper.
pub(crate) struct Keeper;

/// A call of the keeper between its two trap sites.
fn asked<R>(call: impl FnOnce() -> R) -> R {
    at(site::MANAGER_BEFORE_TABLE);
    let answer = call();
    at(site::MANAGER_AFTER_TABLE);
    answer
}

impl Tables for Keeper {
    fn clear(&mut self) {
        asked(wit::clear);
    }

    fn build(
        &mut self,
        table: TableId,
        over: &[Extent],
        base: u64,
        max_segment: u64,
    ) -> Result<Segments, TableError> {
        let over = extents(over);
        segments(asked(|| wit::build(table.0, &over, base, max_segment)))
    }

    fn build_clamped(
        &mut self,
        table: TableId,
        over: &[Extent],
        base: u64,
        limits: Limits,
    ) -> Result<Segments, TableError> {
        let over = extents(over);
        let limits = wit::Limits {
            bytes: limits.bytes,
            max_segment: limits.max_segment,
            page: limits.page,
        };
        segments(asked(|| wit::build_clamped(table.0, &over, base, limits)))
    }

    fn adopt(
        &mut self,
        table: TableId,
        segments: &[Segment],
        layout: bool,
        holds: &[Hold],
    ) -> Result<(), TableError> {
        let segment = |s: &Segment| wit::Segment {
            address: s.address,
            bytes: s.bytes,
        };
        let segments: Vec<_> = segments.iter().map(segment).collect();
        let holds: Vec<_> = holds.iter().copied().map(hold).collect();
        asked(|| wit::adopt(table.0, &segments, layout, &holds)).map_err(error)
    }

    fn hold(&mut self, table: TableId, new: Hold) -> Result<(), TableError> {
        asked(|| wit::hold(table.0, hold(new))).map_err(error)
    }

    fn get(&mut self, table: TableId, by: Holder) -> Result<(), TableError> {
        asked(|| wit::get(table.0, holder(by))).map_err(error)
    }

    fn put(&mut self, table: TableId, by: Holder) -> Result<bool, TableError> {
        asked(|| wit::put(table.0, holder(by))).map_err(error)
    }

    fn put_layout(&mut self, table: TableId) -> Result<bool, TableError> {
        asked(|| wit::put_layout(table.0)).map_err(error)
    }

    fn retire(&mut self, reached: Point) -> Vec<TableId> {
        let released = asked(|| wit::retire(point(reached)));
        released.into_iter().map(TableId).collect()
    }

    fn dump(&self) -> Vec<TableState> {
        asked(wit::dump).into_iter().map(state).collect()
    }
}
