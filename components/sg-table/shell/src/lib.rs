//! WIT shell of sg-table.

use bindings::exports::gpumm::memory::sg_table as wit;
use gpumm_contract::table::{Hold, Holder, TableError, Tables};
use gpumm_contract::{Extent, Point, Segment, TableId, TimelineId};
use gpumm_sg_table::SgTables;
use gpumm_shell_support::State;
use gpumm_shell_support::trap::{at, site};

mod bindings {
    wit_bindgen::generate!({ world: "sg-table-keeper", path: "../../../wit", generate_all });
}

#[cfg_attr(
    not(target_arch = "wasm32"),
    allow(dead_code, reason = "only the export names it")
)]
struct Shell;

// Elsewhere the names of the exports are no names for a linker.
#[cfg(target_arch = "wasm32")]
bindings::export!(Shell with_types_in bindings);

thread_local! {
    static STATE: State<SgTables> = State::default();
}

fn with<R>(act: impl FnOnce(&mut SgTables) -> R) -> R {
    STATE.with(|state| state.with(act))
}

impl wit::Guest for Shell {
    fn clear() {
        at(site::TABLE_CLEAR);
        with(Tables::clear);
    }

    fn build(
        table: wit::TableId,
        extents: Vec<wit::Extent>,
        base: u64,
        max_segment: u64,
    ) -> Result<Vec<wit::Segment>, wit::TableError> {
        at(site::TABLE_BUILD);
        let extents: Vec<Extent> = extents
            .into_iter()
            .map(|e| Extent {
                offset: e.offset,
                bytes: e.bytes,
            })
            .collect();
        match with(|tables| tables.build(TableId(table), &extents, base, max_segment)) {
            Ok(segments) => Ok(segments
                .into_iter()
                .map(|s| wit::Segment {
                    address: s.address,
                    bytes: s.bytes,
                })
                .collect()),
            Err(why) => Err(error(why)),
        }
    }

    fn adopt(
        table: wit::TableId,
        segments: Vec<wit::Segment>,
        layout: bool,
        holds: Vec<wit::TimedHold>,
    ) -> Result<(), wit::TableError> {
        at(site::TABLE_ADOPT);
        let segments: Vec<Segment> = segments
            .into_iter()
            .map(|s| Segment {
                address: s.address,
                bytes: s.bytes,
            })
            .collect();
        let holds: Vec<Hold> = holds.into_iter().map(hold).collect();
        with(|tables| tables.adopt(TableId(table), &segments, layout, &holds)).map_err(error)
    }

    fn hold(table: wit::TableId, new: wit::TimedHold) -> Result<(), wit::TableError> {
        at(site::TABLE_HOLD);
        with(|tables| tables.hold(TableId(table), hold(new))).map_err(error)
    }

    fn put_layout(table: wit::TableId) -> Result<bool, wit::TableError> {
        at(site::TABLE_PUT_LAYOUT);
        with(|tables| tables.put_layout(TableId(table))).map_err(error)
    }

    fn retire(reached: wit::Point) -> Vec<wit::TableId> {
        at(site::TABLE_RETIRE);
        with(|tables| tables.retire(point(reached)))
            .into_iter()
            .map(|table| table.0)
            .collect()
    }
}

fn point(point: wit::Point) -> Point {
    Point {
        timeline: TimelineId(point.timeline),
        value: point.value,
    }
}

fn hold(hold: wit::TimedHold) -> Hold {
    let holder = match hold.holder {
        wit::Holder::Layout => Holder::Layout,
        wit::Holder::Access => Holder::Access,
        wit::Holder::Copy => Holder::Copy,
        wit::Holder::CpuFallback => Holder::CpuFallback,
        wit::Holder::Bind => Holder::Bind,
        wit::Holder::Mapping => Holder::Mapping,
        wit::Holder::Capture => Holder::Capture,
    };
    Hold {
        holder,
        until: point(hold.until),
    }
}

fn error(why: TableError) -> wit::TableError {
    match why {
        TableError::InUse => wit::TableError::InUse,
        TableError::Unknown => wit::TableError::Unknown,
        TableError::Empty => wit::TableError::Empty,
        TableError::MaxSegment => wit::TableError::MaxSegment,
        TableError::TooLarge => wit::TableError::TooLarge,
        TableError::Overflow => wit::TableError::Overflow,
    }
}
