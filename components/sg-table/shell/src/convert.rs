//! Between the types of the WIT and those of the contract.

use crate::wit;
use gpumm_contract::table::{Hold, Holder, Limits, TableError, TableState};
use gpumm_contract::{Extent, Point, Segment, Segments, TimelineId};

pub(crate) fn extents(extents: Vec<wit::Extent>) -> Vec<Extent> {
    let extent = |e: wit::Extent| Extent {
        offset: e.offset,
        bytes: e.bytes,
    };
    extents.into_iter().map(extent).collect()
}

pub(crate) fn limits(limits: wit::Limits) -> Limits {
    Limits {
        bytes: limits.bytes,
        max_segment: limits.max_segment,
        page: limits.page,
    }
}

pub(crate) fn segments(
    built: Result<Segments, TableError>,
) -> Result<Vec<wit::Segment>, wit::TableError> {
    let segment = |s: Segment| wit::Segment {
        address: s.address,
        bytes: s.bytes,
    };
    match built {
        Ok(segments) => Ok(segments.iter().copied().map(segment).collect()),
        Err(why) => Err(error(why)),
    }
}

pub(crate) fn point(point: wit::Point) -> Point {
    Point {
        timeline: TimelineId(point.timeline),
        value: point.value,
    }
}

pub(crate) fn hold(hold: wit::TimedHold) -> Hold {
    Hold {
        holder: holder(hold.holder),
        until: point(hold.until),
    }
}

pub(crate) fn holder(holder: wit::Holder) -> Holder {
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

fn holder_out(holder: Holder) -> wit::Holder {
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

pub(crate) fn state(state: TableState) -> wit::TableState {
    let untimed = state.untimed.into_iter().map(|c| wit::CountedHold {
        holder: holder_out(c.holder),
        count: c.count,
    });
    let timed = state.timed.into_iter().map(|h| wit::TimedHold {
        holder: holder_out(h.holder),
        until: wit::Point {
            timeline: h.until.timeline.0,
            value: h.until.value,
        },
    });
    wit::TableState {
        table: state.table.0,
        untimed: untimed.collect(),
        timed: timed.collect(),
    }
}

pub(crate) fn error(why: TableError) -> wit::TableError {
    match why {
        TableError::InUse => wit::TableError::InUse,
        TableError::Unknown => wit::TableError::Unknown,
        TableError::Empty => wit::TableError::Empty,
        TableError::MaxSegment => wit::TableError::MaxSegment,
        TableError::TooLarge => wit::TableError::TooLarge,
        TableError::Overflow => wit::TableError::Overflow,
        TableError::NotHeld => wit::TableError::NotHeld,
        TableError::Short => wit::TableError::Short,
        TableError::Misaligned => wit::TableError::Misaligned,
    }
}
