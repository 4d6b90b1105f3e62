//! From extents to segments.

use alloc::vec::Vec;
use gpumm_contract::table::TableError;
use gpumm_contract::{Extent, Segment};

/// The most segments a table holds: what one plan item, or one fact with its holds, can carry.
const MAX_SEGMENTS: usize = (1 << 23) - 4096;

/// The segments of extents in order: touching neighbours are joined, and pieces longer than
/// `max_segment` are cut.
///
/// Shape: extents in list order are the buffer's byte order; only list neighbours are joined, so
/// a descending list stays in pieces.
///
/// ```text
/// extents   [0,8K) [8K,12K) [16K,20K)      (C-7)
/// segments  [0,12K)         [16K,20K)
/// ```
///
/// Errors: [`TableError::Empty`], [`TableError::MaxSegment`], [`TableError::Overflow`],
/// [`TableError::TooLarge`].
/// Complexity: O(extents + bytes / max_segment).
pub fn segments(
    extents: &[Extent],
    base: u64,
    max_segment: u64,
) -> Result<Vec<Segment>, TableError> {
    if max_segment == 0 {
        return Err(TableError::MaxSegment);
    }
    if extents.is_empty() {
        return Err(TableError::Empty);
    }
    let mut out: Vec<Segment> = Vec::with_capacity(extents.len());
    for extent in extents {
        if extent.bytes == 0 {
            return Err(TableError::Empty);
        }
        let mut address = base
            .checked_add(extent.offset)
            .ok_or(TableError::Overflow)?;
        address
            .checked_add(extent.bytes)
            .ok_or(TableError::Overflow)?;
        if extent.bytes / max_segment > (MAX_SEGMENTS - out.len().min(MAX_SEGMENTS)) as u64 {
            return Err(TableError::TooLarge);
        }
        let mut left = extent.bytes;
        if let Some(last) = out.last_mut()
            && last.address + last.bytes == address
        {
            let take = left.min(max_segment - last.bytes);
            last.bytes += take;
            address += take;
            left -= take;
        }
        while left > 0 {
            let bytes = left.min(max_segment);
            out.push(Segment { address, bytes });
            address += bytes;
            left -= bytes;
        }
        if out.len() > MAX_SEGMENTS {
            return Err(TableError::TooLarge);
        }
    }
    Ok(out)
}
