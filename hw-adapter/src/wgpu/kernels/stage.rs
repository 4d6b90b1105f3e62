//! System memory that a dispatch uses, page by page in a staging buffer.

use crate::command::MemorySpace;
use crate::error::DeviceError;
use crate::exec::Access;
use crate::mmu::{PAGE, Window};
use crate::vm;

/// Which pages are staged, and what of them is read and written.
#[derive(Default)]
pub(super) struct Stage {
    /// Runs of pages: the first one's number, how many, and where they are staged, in pages.
    runs: Vec<(u64, u64, u64)>,
    reads: Vec<(u64, u64)>,
    writes: Vec<(u64, u64)>,
    pages: u64,
    /// What is written is not read: only all of it can be brought back, of so many bytes.
    whole: Option<u64>,
}

impl Stage {
    /// What windows have of system memory. With `write_only`, what is written is not read.
    pub(super) fn of<'w>(
        windows: impl Iterator<Item = (&'w Window, vm::Access)>,
        write_only: bool,
    ) -> Stage {
        let mut stage = Stage::default();
        let mut pages = Vec::new();
        for (window, access) in windows {
            for piece in &window.pieces {
                let Some((MemorySpace::System, offset)) = piece.place else {
                    continue;
                };
                pages.push((offset / PAGE, (offset + piece.bytes).div_ceil(PAGE)));
                let write = access == vm::Access::Write;
                if !write || !write_only {
                    stage.reads.push((offset, piece.bytes));
                }
                if write {
                    stage.writes.push((offset, piece.bytes));
                }
            }
        }
        pages.sort_unstable();
        for (mut start, end) in pages {
            if let Some((first, count, _)) = stage.runs.last_mut() {
                start = start.max(*first + *count);
                if start == *first + *count && start < end {
                    *count += end - start;
                    stage.pages += end - start;
                    continue;
                }
            }
            if start < end {
                stage.runs.push((start, end - start, stage.pages));
                stage.pages += end - start;
            }
        }
        stage
    }

    /// What is written is of so many bytes, and was not brought.
    pub(super) fn whole(&mut self, bytes: u64) {
        self.whole = Some(bytes);
    }

    /// Whether what was written can be brought back, if the first fault is at an offset. A page
    /// table that changes under a job must not show it what was staged before.
    pub(super) fn can_come_back(&self, fault: Option<u64>) -> bool {
        let whole = self.whole.zip(fault);
        whole.is_none_or(|(bytes, fault)| fault >= bytes)
    }

    /// Bytes of the staging buffer.
    pub(super) fn bytes(&self) -> u64 {
        self.pages * PAGE
    }

    pub(super) fn is_read(&self) -> bool {
        !self.reads.is_empty()
    }

    pub(super) fn is_written(&self) -> bool {
        !self.writes.is_empty()
    }

    /// The list for the shader, and its length.
    pub(super) fn list(&self) -> (impl Iterator<Item = u32>, usize) {
        let words = |run: &(u64, u64, u64)| [run.0 as u32, run.1 as u32, run.2 as u32];
        (self.runs.iter().flat_map(words), self.runs.len())
    }

    /// Where a byte of system memory is staged.
    fn at(&self, offset: u64) -> u64 {
        let page = offset / PAGE;
        let run = self.runs.partition_point(|(start, ..)| *start <= page);
        // Whatever is asked for is in the runs.
        let (start, _, staged) = self.runs[run.saturating_sub(1)];
        (staged + page - start) * PAGE + offset % PAGE
    }

    /// Brings what is read to an upload buffer.
    pub(super) fn bring(
        &self,
        access: &Access<'_>,
        view: &mut wgpu::BufferViewMut,
    ) -> Result<(), DeviceError> {
        for (offset, bytes) in &self.reads {
            let at = self.at(*offset);
            let source = access.system()?.read(*offset, *bytes)?;
            view.slice(at as usize..(at + bytes) as usize)
                .copy_from_slice(source);
        }
        Ok(())
    }

    /// Brings what was written back.
    pub(super) fn bring_back(
        &self,
        access: &mut Access<'_>,
        view: &[u8],
    ) -> Result<(), DeviceError> {
        for (offset, bytes) in &self.writes {
            let at = self.at(*offset);
            let target = access.system_mut()?.write(*offset, *bytes)?;
            target.copy_from_slice(&view[at as usize..(at + bytes) as usize]);
        }
        Ok(())
    }
}
