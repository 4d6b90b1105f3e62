//! Walking over the segments of a table: entry by entry, page by page, or a window of bytes.

use core::iter::FusedIterator;
use core::slice;
use gpumm_contract::Segment;

/// A segment and where it is in the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The buffer's byte that the segment begins with.
    pub offset: u64,
    /// The segment.
    pub segment: Segment,
}

/// The segments with their offsets in the buffer.
///
/// Complexity: O(1) per entry.
pub fn entries(segments: &[Segment]) -> Entries<'_> {
    Entries {
        rest: segments.iter(),
        offset: 0,
    }
}

/// What [`entries`] answers.
#[derive(Clone, Debug)]
pub struct Entries<'a> {
    rest: slice::Iter<'a, Segment>,
    offset: u64,
}

impl Iterator for Entries<'_> {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        let segment = *self.rest.next()?;
        let offset = self.offset;
        self.offset = offset.wrapping_add(segment.bytes);
        Some(Entry { offset, segment })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.rest.size_hint()
    }
}

impl ExactSizeIterator for Entries<'_> {}
impl FusedIterator for Entries<'_> {}

/// The DMA address of each page of the segments, in the buffer's byte order.
///
/// Units: `page` in bytes. Bounds: `page` is a power of two, and segments begin at multiples of
/// it; a last piece that is no whole page counts as one.
/// Complexity: O(1) per page; `nth` skips whole segments.
pub fn addresses(segments: &[Segment], page: u64) -> Addresses<'_> {
    debug_assert!(page.is_power_of_two());
    Addresses {
        rest: segments.iter(),
        now: Segment::default(),
        page: page.max(1),
    }
}

/// What [`addresses`] answers.
#[derive(Clone, Debug)]
pub struct Addresses<'a> {
    rest: slice::Iter<'a, Segment>,
    /// What is left of the segment in progress.
    now: Segment,
    page: u64,
}

impl Iterator for Addresses<'_> {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        self.nth(0)
    }

    fn nth(&mut self, n: usize) -> Option<u64> {
        let mut skip = n as u64;
        loop {
            let pages = self.now.bytes.div_ceil(self.page);
            if skip < pages {
                break;
            }
            skip -= pages;
            // Nothing stays behind for a call after the last one.
            self.now = Segment::default();
            self.now = *self.rest.next()?;
        }
        let address = self.now.address + skip * self.page;
        let left = self.now.bytes - skip * self.page;
        let step = left.min(self.page);
        self.now = Segment {
            address: address.wrapping_add(step),
            bytes: left - step,
        };
        Some(address)
    }
}

impl FusedIterator for Addresses<'_> {}

/// The number of each page frame of the segments, in the buffer's byte order.
///
/// Units, bounds and complexity: those of [`addresses`].
pub fn pages(segments: &[Segment], page: u64) -> Pages<'_> {
    Pages(addresses(segments, page))
}

/// What [`pages`] answers.
#[derive(Clone, Debug)]
pub struct Pages<'a>(Addresses<'a>);

impl Iterator for Pages<'_> {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        self.nth(0)
    }

    fn nth(&mut self, n: usize) -> Option<u64> {
        Some(self.0.nth(n)? / self.0.page)
    }
}

impl FusedIterator for Pages<'_> {}

/// The bitwise or of all lengths: its lowest bit is the largest page size that divides them all.
///
/// Complexity: O(segments).
pub fn sizes(segments: &[Segment]) -> u64 {
    segments.iter().fold(0, |bits, s| bits | s.bytes)
}

/// The segments of `bytes` bytes of the buffer from `offset` on, or `None` where the buffer ends
/// before.
///
/// ```text
/// segments  [0,12K) [16K,20K)     offset 8K, bytes 6K
/// slice     [8K,12K) [16K,18K)
/// ```
///
/// Complexity: O(segments) to find both ends, since the list has no index; then O(1) per segment
/// of the window.
pub fn slice(segments: &[Segment], offset: u64, bytes: u64) -> Option<Slice<'_>> {
    let mut skip = offset;
    let mut first = 0;
    while let Some(segment) = segments.get(first)
        && segment.bytes <= skip
    {
        skip -= segment.bytes;
        first += 1;
    }
    let rest = segments.get(first..)?;
    let mut need = skip.checked_add(bytes)?;
    for segment in rest {
        if need == 0 {
            break;
        }
        need = need.saturating_sub(segment.bytes);
    }
    (need == 0).then_some(Slice {
        rest: rest.iter(),
        skip,
        left: bytes,
    })
}

/// What [`slice()`] answers.
#[derive(Clone, Debug)]
pub struct Slice<'a> {
    rest: slice::Iter<'a, Segment>,
    /// Bytes of the next segment that are before the window.
    skip: u64,
    /// Bytes of the window to come.
    left: u64,
}

impl Iterator for Slice<'_> {
    type Item = Segment;

    fn next(&mut self) -> Option<Segment> {
        while self.left > 0 {
            let segment = self.rest.next()?;
            let skip = core::mem::take(&mut self.skip);
            let bytes = (segment.bytes - skip).min(self.left);
            self.left -= bytes;
            if bytes > 0 {
                let address = segment.address + skip;
                return Some(Segment { address, bytes });
            }
        }
        None
    }
}

impl FusedIterator for Slice<'_> {}
