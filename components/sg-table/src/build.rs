//! From extents to segments.

use alloc::vec::Vec;
use gpumm_contract::extent::total;
use gpumm_contract::table::{Limits, TableError};
use gpumm_contract::{Extent, Segment, Segments};

/// The most segments a table holds: what one plan item, or one fact with its holds, can carry.
pub const MAX_SEGMENTS: usize = (1 << 23) - 4096;

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
pub fn segments(extents: &[Extent], base: u64, max_segment: u64) -> Result<Segments, TableError> {
    let limits = Limits {
        bytes: total(extents).ok_or(TableError::Overflow)?,
        max_segment,
        page: 1,
    };
    segments_of(extents, base, limits)
}

/// The segments of a buffer of `limits.bytes` bytes that begins with the extents: as
/// [`segments`], but for what the extents hold behind the buffer, and in whole pages.
///
/// Shape: the maximum is rounded down to the page, so every cut is at a page; the last segment
/// ends with the buffer, also inside a page. Extents behind the buffer's end are not looked at.
/// The list is as long as it has to be, without spare room.
///
/// ```text
/// extents   [0,16K)   bytes 12K            (C-10)
/// segments  [0,12K)
/// ```
///
/// Errors: those of [`segments`], [`TableError::Short`], [`TableError::Misaligned`].
/// Complexity: O(extents + bytes / max_segment).
pub fn segments_of(extents: &[Extent], base: u64, limits: Limits) -> Result<Segments, TableError> {
    if !limits.page.is_power_of_two() || limits.max_segment < limits.page {
        return Err(TableError::MaxSegment);
    }
    let max = limits.max_segment & !(limits.page - 1);
    let (mut count, mut last) = (0u64, Segment::default());
    runs(extents, base, limits, |run| {
        count = count.saturating_add(run.bytes.div_ceil(max));
        last = run;
    })?;
    if count == 1 {
        return Ok(Segments::one(last));
    }
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    if count > MAX_SEGMENTS {
        return Err(TableError::TooLarge);
    }
    let mut out = Vec::with_capacity(count);
    runs(extents, base, limits, |mut run| {
        while run.bytes > 0 {
            let bytes = run.bytes.min(max);
            out.push(Segment { bytes, ..run });
            run.bytes -= bytes;
            // OVERFLOW: the run's end fits in 64 bits.
            run.address += bytes;
        }
    })?;
    Ok(out.into())
}

/// Calls `act` with each run of touching extents, clamped to the buffer's size.
///
/// Errors: all but those of the maximum segment size.
fn runs(
    extents: &[Extent],
    base: u64,
    limits: Limits,
    mut act: impl FnMut(Segment),
) -> Result<(), TableError> {
    if extents.is_empty() || limits.bytes == 0 {
        return Err(TableError::Empty);
    }
    let mut left = limits.bytes;
    let mut run = Segment::default();
    for extent in extents {
        if left == 0 {
            break;
        }
        if extent.bytes == 0 {
            return Err(TableError::Empty);
        }
        let address = base
            .checked_add(extent.offset)
            .ok_or(TableError::Overflow)?;
        address
            .checked_add(extent.bytes)
            .ok_or(TableError::Overflow)?;
        if (address | extent.bytes) & (limits.page - 1) != 0 {
            return Err(TableError::Misaligned);
        }
        let bytes = extent.bytes.min(left);
        left -= bytes;
        if run.bytes > 0 && run.address + run.bytes == address {
            run.bytes += bytes;
        } else {
            act(run);
            run = Segment { address, bytes };
        }
    }
    if left > 0 {
        return Err(TableError::Short);
    }
    act(run);
    Ok(())
}
