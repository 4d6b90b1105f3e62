//! Stretches of addresses: mappings, and page-table entries that show one thing.
//!
//! Invariants: the stretches of a map are disjoint and end within 64 bits; each is filed under its
//! first address.

use gpumm_contract::TableId;
use gpumm_contract::vm::{Mapping, Span};
use imbl::OrdMap;

/// What page-table entries show; those that show nothing are absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shows {
    /// Reads give zero, writes are dropped.
    Sparse,
    /// Memory from a byte of a table on.
    Table {
        /// The table.
        table: TableId,
        /// The first byte.
        offset: u64,
    },
}

/// Page-table entries that show one stretch of the same thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pte {
    pub(super) bytes: u64,
    pub(super) shows: Shows,
    pub(super) attributes: u8,
}

/// What takes a stretch of addresses from its key on.
pub(super) trait Stretch: Copy {
    fn bytes(&self) -> u64;

    /// What is left of it behind the first `skip` bytes, of `bytes` bytes.
    fn part(&self, skip: u64, bytes: u64) -> Self;
}

impl Stretch for Pte {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn part(&self, skip: u64, bytes: u64) -> Self {
        let shows = match self.shows {
            Shows::Sparse => Shows::Sparse,
            Shows::Table { table, offset } => Shows::Table {
                table,
                offset: offset + skip,
            },
        };
        let attributes = self.attributes;
        Pte {
            bytes,
            shows,
            attributes,
        }
    }
}

impl Stretch for Mapping {
    fn bytes(&self) -> u64 {
        self.at.bytes
    }

    fn part(&self, skip: u64, bytes: u64) -> Self {
        let start = self.at.start + skip;
        Mapping::part(self, start, start + bytes)
    }
}

/// A stretch, or a part of one, that is taken out.
pub(super) struct Gone<V> {
    pub(super) start: u64,
    pub(super) of: V,
    /// Whether something of it is left in front.
    pub(super) front: bool,
    /// Whether something of it is left behind.
    pub(super) back: bool,
}

/// The stretches that share addresses with a span, ascending.
pub(super) fn overlapping<V: Stretch>(
    map: &OrdMap<u64, V>,
    at: Span,
) -> impl Iterator<Item = (u64, V)> {
    // OVERFLOW: the span's end fits in 64 bits.
    let end = at.start + at.bytes;
    let first = map.get_prev(&at.start);
    let first = first.filter(|(start, of)| **start < at.start && **start + of.bytes() > at.start);
    let rest = map.range(at.start..end);
    first
        .into_iter()
        .chain(rest)
        .map(|(&start, &of)| (start, of))
}

/// Takes a span out; what was there, in pieces that lie inside.
pub(super) fn cut<V: Stretch>(map: &mut OrdMap<u64, V>, at: Span) -> Vec<Gone<V>> {
    let end = at.start + at.bytes;
    let found: Vec<(u64, V)> = overlapping(map, at).collect();
    // An address space that ends takes one step for all of them.
    let all = found.len() == map.len();
    if all {
        map.clear();
    }
    let piece = |(start, of): (u64, V)| {
        let ends = start + of.bytes();
        let (from, to) = (start.max(at.start), ends.min(end));
        let (front, back) = (start < from, to < ends);
        if front {
            map.insert(start, of.part(0, from - start));
        } else if !all {
            map.remove(&start);
        }
        if back {
            map.insert(to, of.part(to - start, ends - to));
        }
        Gone {
            start: from,
            of: of.part(from - start, to - from),
            front,
            back,
        }
    };
    found.into_iter().map(piece).collect()
}
