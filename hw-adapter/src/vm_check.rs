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
    let mut last: Option<(&Arc<[Segment]>, u64)> = None;
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
        let known = last.filter(|(list, _)| Arc::ptr_eq(list, segments));
        if known.is_none_or(|(_, bytes)| end.is_none_or(|end| end > bytes)) {
            check_window(
                &Window {
                    side: ListSide::Source,
                    list: segments,
                    offset: *offset,
                    bytes: write.bytes,
                },
                sizes,
            )?;
            let bytes = segments.iter().map(|segment| segment.bytes);
            last = Some((segments, bytes.fold(0, u64::saturating_add)));
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
