//! The sg-table keeper, behind the import `sg-table`: another component of the composition.

use crate::bindings::gpumm::memory::sg_table as wit;
use gpumm_contract::table::{Hold, Holder, TableError, Tables};
use gpumm_contract::{Extent, Point, Segment, TableId};
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
        extents: &[Extent],
        base: u64,
        max_segment: u64,
    ) -> Result<Vec<Segment>, TableError> {
        let extents: Vec<wit::Extent> = extents
            .iter()
            .map(|e| wit::Extent {
                offset: e.offset,
                bytes: e.bytes,
            })
            .collect();
        match asked(|| wit::build(table.0, &extents, base, max_segment)) {
            Ok(segments) => Ok(segments
                .into_iter()
                .map(|s| Segment {
                    address: s.address,
                    bytes: s.bytes,
                })
                .collect()),
            Err(why) => Err(error(why)),
        }
    }

    fn adopt(
        &mut self,
        table: TableId,
        segments: &[Segment],
        layout: bool,
        holds: &[Hold],
    ) -> Result<(), TableError> {
        let segments: Vec<wit::Segment> = segments
            .iter()
            .map(|s| wit::Segment {
                address: s.address,
                bytes: s.bytes,
            })
            .collect();
        let holds: Vec<wit::TimedHold> = holds.iter().copied().map(hold).collect();
        asked(|| wit::adopt(table.0, &segments, layout, &holds)).map_err(error)
    }

    fn hold(&mut self, table: TableId, new: Hold) -> Result<(), TableError> {
        asked(|| wit::hold(table.0, hold(new))).map_err(error)
    }

    fn put_layout(&mut self, table: TableId) -> Result<bool, TableError> {
        asked(|| wit::put_layout(table.0)).map_err(error)
    }

    fn retire(&mut self, reached: Point) -> Vec<TableId> {
        asked(|| wit::retire(point(reached)))
            .into_iter()
            .map(TableId)
            .collect()
    }
}

fn point(point: Point) -> wit::Point {
    wit::Point {
        timeline: point.timeline.0,
        value: point.value,
    }
}

fn hold(hold: Hold) -> wit::TimedHold {
    let holder = match hold.holder {
        Holder::Layout => wit::Holder::Layout,
        Holder::Access => wit::Holder::Access,
        Holder::Copy => wit::Holder::Copy,
        Holder::CpuFallback => wit::Holder::CpuFallback,
        Holder::Bind => wit::Holder::Bind,
        Holder::Mapping => wit::Holder::Mapping,
        Holder::Capture => wit::Holder::Capture,
    };
    wit::TimedHold {
        holder,
        until: point(hold.until),
    }
}

fn error(why: wit::TableError) -> TableError {
    match why {
        wit::TableError::InUse => TableError::InUse,
        wit::TableError::Unknown => TableError::Unknown,
        wit::TableError::Empty => TableError::Empty,
        wit::TableError::MaxSegment => TableError::MaxSegment,
        wit::TableError::TooLarge => TableError::TooLarge,
        wit::TableError::Overflow => TableError::Overflow,
    }
}
