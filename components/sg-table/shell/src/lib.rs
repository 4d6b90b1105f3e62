//! WIT shell of sg-table.

use bindings::exports::gpumm::memory::sg_table as wit;
use gpumm_contract::table::Tables;
use gpumm_contract::{Segment, TableId};
use gpumm_sg_table::SgTables;
use gpumm_shell_support::State;
use gpumm_shell_support::trap::{at, site};

mod convert;

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
        let extents = convert::extents(extents);
        let built = with(|tables| tables.build(TableId(table), &extents, base, max_segment));
        convert::segments(built)
    }

    fn build_clamped(
        table: wit::TableId,
        extents: Vec<wit::Extent>,
        base: u64,
        limits: wit::Limits,
    ) -> Result<Vec<wit::Segment>, wit::TableError> {
        at(site::TABLE_BUILD_CLAMPED);
        let (extents, limits) = (convert::extents(extents), convert::limits(limits));
        let built = with(|tables| tables.build_clamped(TableId(table), &extents, base, limits));
        convert::segments(built)
    }

    fn adopt(
        table: wit::TableId,
        segments: Vec<wit::Segment>,
        layout: bool,
        holds: Vec<wit::TimedHold>,
    ) -> Result<(), wit::TableError> {
        at(site::TABLE_ADOPT);
        let segment = |s: wit::Segment| Segment {
            address: s.address,
            bytes: s.bytes,
        };
        let segments: Vec<Segment> = segments.into_iter().map(segment).collect();
        let holds: Vec<_> = holds.into_iter().map(convert::hold).collect();
        with(|tables| tables.adopt(TableId(table), &segments, layout, &holds))
            .map_err(convert::error)
    }

    fn hold(table: wit::TableId, new: wit::TimedHold) -> Result<(), wit::TableError> {
        at(site::TABLE_HOLD);
        with(|tables| tables.hold(TableId(table), convert::hold(new))).map_err(convert::error)
    }

    fn get(table: wit::TableId, holder: wit::Holder) -> Result<(), wit::TableError> {
        at(site::TABLE_GET);
        with(|tables| tables.get(TableId(table), convert::holder(holder))).map_err(convert::error)
    }

    fn put(table: wit::TableId, holder: wit::Holder) -> Result<bool, wit::TableError> {
        at(site::TABLE_PUT);
        with(|tables| tables.put(TableId(table), convert::holder(holder))).map_err(convert::error)
    }

    fn put_layout(table: wit::TableId) -> Result<bool, wit::TableError> {
        at(site::TABLE_PUT_LAYOUT);
        with(|tables| tables.put_layout(TableId(table))).map_err(convert::error)
    }

    fn retire(reached: wit::Point) -> Vec<wit::TableId> {
        at(site::TABLE_RETIRE);
        let released = with(|tables| tables.retire(convert::point(reached)));
        released.into_iter().map(|table| table.0).collect()
    }

    fn dump() -> Vec<wit::TableState> {
        at(site::TABLE_DUMP);
        let states = with(|tables| tables.dump());
        states.into_iter().map(convert::state).collect()
    }
}
