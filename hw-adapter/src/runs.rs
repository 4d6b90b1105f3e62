//! Walks segment lists: from pieces in logical order to the longest contiguous runs.

use crate::command::{MemorySpace, Segment};

/// Contiguous bytes of one memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) memory: MemorySpace,
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
}

/// The runs of a window of a segment list; neighbouring segments are merged.
#[derive(Clone, Debug)]
pub(crate) struct Runs<'a> {
    segments: &'a [Segment],
    /// Bytes of the front segments that lie before the window.
    skip: u64,
    /// Bytes of the window that no piece was made of yet.
    left: u64,
    /// A piece that did not continue the run before it.
    ahead: Option<Run>,
}

impl<'a> Runs<'a> {
    /// The window of `bytes` bytes that begins at the logical `offset`. A list that is too
    /// short ends early.
    pub(crate) fn new(segments: &'a [Segment], offset: u64, bytes: u64) -> Runs<'a> {
        Runs {
            segments,
            skip: offset,
            left: bytes,
            ahead: None,
        }
    }

    fn piece(&mut self) -> Option<Run> {
        while self.left > 0 {
            let (first, rest) = self.segments.split_first()?;
            self.segments = rest;
            if self.skip >= first.bytes {
                self.skip -= first.bytes;
                continue;
            }
            let bytes = (first.bytes - self.skip).min(self.left);
            let offset = first.offset + self.skip;
            self.skip = 0;
            self.left -= bytes;
            return Some(Run {
                memory: first.memory,
                offset,
                bytes,
            });
        }
        None
    }
}

impl Iterator for Runs<'_> {
    type Item = Run;

    fn next(&mut self) -> Option<Run> {
        let mut run = self.ahead.take().or_else(|| self.piece())?;
        while let Some(next) = self.piece() {
            if next.memory == run.memory && next.offset == run.offset + run.bytes {
                run.bytes += next.bytes;
            } else {
                self.ahead = Some(next);
                break;
            }
        }
        Some(run)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(segments: &[Segment], offset: u64, bytes: u64) -> Vec<(u64, u64)> {
        Runs::new(segments, offset, bytes)
            .map(|run| (run.offset, run.bytes))
            .collect()
    }

    #[test]
    fn neighbours_merge_and_windows_cut() {
        let list = [
            Segment::vram(0, 8),
            Segment::vram(8, 8),
            Segment::vram(0, 0),
            Segment::vram(16, 4),
            Segment::vram(100, 5),
            Segment::system(105, 5),
        ];
        assert_eq!(runs(&list, 0, 30), [(0, 20), (100, 5), (105, 5)]);
        assert_eq!(runs(&list, 3, 14), [(3, 14)]);
        assert_eq!(runs(&list, 20, 7), [(100, 5), (105, 2)]);
        assert_eq!(runs(&list, 20, 0), []);
        assert_eq!(runs(&list, 30, 1), []);
        assert_eq!(runs(&list, 26, 99), [(106, 4)]);
    }
}
