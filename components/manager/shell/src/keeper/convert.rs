//! Between the types of the contract and those of the import.

use crate::bindings::gpumm::memory::sg_table as wit;
use gpumm_contract::table::{Counted, Hold, Holder, TableError, TableState};
use gpumm_contract::{Extent, Point, Segment, Segments, TableId, TimelineId};

pub(super) fn extents(extents: &[Extent]) -> Vec<wit::Extent> {
    let extent = |e: &Extent| wit::Extent {
        offset: e.offset,
        bytes: e.bytes,
    };
    extents.iter().map(extent).collect()
}

pub(super) fn segments(
    built: Result<Vec<wit::Segment>, wit::TableError>,
) -> Result<Segments, TableError> {
    let segment = |s: wit::Segment| Segment {
        address: s.address,
        bytes: s.bytes,
    };
    match built {
        Ok(segments) => Ok(segments.into_iter().map(segment).collect()),
        Err(why) => Err(error(why)),
    }
}

pub(super) fn point(point: Point) -> wit::Point {
    wit::Point {
        timeline: point.timeline.0,
        value: point.value,
    }
}

pub(super) fn hold(hold: Hold) -> wit::TimedHold {
    wit::TimedHold {
        holder: holder(hold.holder),
        until: point(hold.until),
    }
}

pub(super) fn holder(holder: Holder) -> wit::Holder {
    match holder {
        Holder::Layout => wit::Holder::Layout,
        Holder::Access => wit::Holder::Access,
        Holder::Copy => wit::Holder::Copy,
        Holder::CpuFallback => wit::Holder::CpuFallback,
        Holder::Bind => wit::Holder::Bind,
        Holder::Mapping => wit::Holder::Mapping,
        Holder::Capture => wit::Holder::Capture,
    }
}

fn holder_back(holder: wit::Holder) -> Holder {
    match holder {
        wit::Holder::Layout => Holder::Layout,
        wit::Holder::Access => Holder::Access,
        wit::Holder::Copy => Holder::Copy,
        wit::Holder::CpuFallback => Holder::CpuFallback,
        wit::Holder::Bind => Holder::Bind,
        wit::Holder::Mapping => Holder::Mapping,
        wit::Holder::Capture => Holder::Capture,
    }
}

pub(super) fn state(state: wit::TableState) -> TableState {
    let untimed = state.untimed.into_iter().map(|c| Counted {
        holder: holder_back(c.holder),
        count: c.count,
    });
    let timed = state.timed.into_iter().map(|h| Hold {
        holder: holder_back(h.holder),
        until: Point {
            timeline: TimelineId(h.until.timeline),
            value: h.until.value,
        },
    });
    TableState {
        table: TableId(state.table),
        untimed: untimed.collect(),
        timed: timed.collect(),
    }
}

pub(super) fn error(why: wit::TableError) -> TableError {
    match why {
        wit::TableError::InUse => TableError::InUse,
        wit::TableError::Unknown => TableError::Unknown,
        wit::TableError::Empty => TableError::Empty,
        wit::TableError::MaxSegment => TableError::MaxSegment,
        wit::TableError::TooLarge => TableError::TooLarge,
        wit::TableError::Overflow => TableError::Overflow,
        wit::TableError::NotHeld => TableError::NotHeld,
        wit::TableError::Short => TableError::Short,
        wit::TableError::Misaligned => TableError::Misaligned,
    }
}
