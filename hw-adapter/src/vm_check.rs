//! Checks page table entries before they are written: once, at submission.

use std::sync::Arc;

use crate::command::Segment;
use crate::error::{DeviceError, ListSide};
use crate::footprint::{Sizes, Window, check_window};
use crate::runs::Runs;
use crate::vm::{Backing, PAGE_BYTES, PteWrite};

/// Checks that writes name whole pages inside their memories.
///
/// # Errors
/// [`DeviceError::NotAPage`], [`DeviceError::SegmentOutOfBounds`], [`DeviceError::ListTooShort`].
pub(crate) fn check(writes: &[PteWrite], sizes: Sizes) -> Result<(), DeviceError> {
    let mut last: Option<Known<'_>> = None;
    for write in writes {
        whole(write.address)?;
        whole(write.bytes)?;
        let Backing::Memory {
            segments, offset, ..
        } = &write.backing
        else {
            continue;
        };
        whole(*offset)?;
        let end = offset.checked_add(write.bytes);
        // Neighbours come from one list: it is looked at once.
        let known = last.filter(|known| {
            Arc::ptr_eq(known.list, segments) && end.is_some_and(|end| end <= known.bytes)
        });
        let known = match known {
            Some(known) => known,
            None => {
                let window = Window {
                    side: ListSide::Source,
                    list: segments,
                    offset: *offset,
                    bytes: write.bytes,
                };
                check_window(&window, sizes)?;
                Known::of(segments)
            }
        };
        last = Some(known);
        if known.pages {
            continue;
        }
        for run in Runs::new(segments, *offset, write.bytes) {
            whole(run.offset)?;
            whole(run.bytes)?;
        }
    }
    Ok(())
}

/// Checks that a number is a multiple of a page.
pub(crate) fn whole(value: u64) -> Result<(), DeviceError> {
    match value.is_multiple_of(PAGE_BYTES) {
        true => Ok(()),
        false => Err(DeviceError::NotAPage { value }),
    }
}

/// A list that was looked at.
#[derive(Clone, Copy)]
struct Known<'a> {
    list: &'a Arc<[Segment]>,
    /// The sum, saturated.
    bytes: u64,
    /// Every segment is made of whole pages.
    pages: bool,
}

impl Known<'_> {
    fn of(list: &Arc<[Segment]>) -> Known<'_> {
        let (mut bytes, mut bits) = (0_u64, 0);
        for segment in list.iter() {
            bytes = bytes.saturating_add(segment.bytes);
            bits |= segment.offset | segment.bytes;
        }
        Known {
            list,
            bytes,
            pages: bits.is_multiple_of(PAGE_BYTES),
        }
    }
}
