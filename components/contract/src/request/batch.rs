//! What a batch may use, and the batch as a list.

use super::Request;
use crate::id::TimelineId;
use crate::point::Point;
use crate::wire::{Item, Kind, Reader, WireError, Writer};
use alloc::vec::Vec;

/// A run of consecutive numbers that nobody uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The lowest number.
    pub first: u32,
    /// How many.
    pub count: u32,
}

/// What a batch may use: the mechanism takes the lowest numbers first and values in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    /// Unused allocation numbers, ascending.
    pub allocations: Vec<Run>,
    /// Unused table numbers, ascending.
    pub tables: Vec<Run>,
    /// For each timeline of the device the next value; later ones follow it.
    pub timelines: Vec<Point>,
}

impl Grants {
    /// Appends the grants to an empty request list.
    ///
    /// Errors: `false` when there are more runs than one item holds.
    #[must_use]
    pub fn encode(&self, out: &mut Writer) -> bool {
        let runs = |runs: &[Run], body: &mut Vec<u64>| {
            body.extend(
                runs.iter()
                    .flat_map(|r| [u64::from(r.first), u64::from(r.count)]),
            );
        };
        out.item(1, 0, |body| runs(&self.allocations, body))
            && out.item(2, 0, |body| runs(&self.tables, body))
            && self
                .timelines
                .iter()
                .all(|p| out.item(3, p.timeline.0, |body| body.push(p.value)))
    }
}

/// A decoded request list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// What the batch may use.
    pub grants: Grants,
    /// The requests, in order.
    pub requests: Vec<Request>,
}

impl Batch {
    /// The packed list.
    ///
    /// Errors: `None` when a request or the grants do not fit in an item.
    pub fn encode(&self) -> Option<Vec<u64>> {
        let mut out = Writer::new(Kind::Requests);
        let fits = self.grants.encode(&mut out) && self.requests.iter().all(|r| r.encode(&mut out));
        fits.then(|| out.finish())
    }

    /// Reads a packed list.
    pub fn decode(words: &[u64]) -> Result<Self, WireError> {
        let mut reader = Reader::new(words, Kind::Requests)?;
        let mut batch = Batch::default();
        while let Some(item) = reader.next()? {
            match item.op {
                1 => runs(&item, &mut batch.grants.allocations)?,
                2 => runs(&item, &mut batch.grants.tables)?,
                3 => {
                    let [value] = item.exactly()?;
                    batch.grants.timelines.push(Point {
                        timeline: TimelineId(item.operand),
                        value,
                    });
                }
                _ => batch.requests.push(Request::decode(&item)?),
            }
        }
        Ok(batch)
    }
}

fn runs(item: &Item<'_>, into: &mut Vec<Run>) -> Result<(), WireError> {
    if !item.body.len().is_multiple_of(2) {
        return Err(WireError::Length(item.number));
    }
    for pair in item.body.chunks_exact(2) {
        let run = Run {
            first: item.narrow(pair[0])?,
            count: item.narrow(pair[1])?,
        };
        let after = into
            .last()
            .map_or(0, |l: &Run| u64::from(l.first) + u64::from(l.count));
        if run.count == 0 || u64::from(run.first) < after {
            return Err(WireError::Value(item.number));
        }
        into.push(run);
    }
    Ok(())
}
