//! Moves the bytes of a command, window by window, so that staging memory is bounded.

use crate::command::MemorySpace;
use crate::error::DeviceError;
use crate::runs::{Run, Runs};

use super::context::Context;
use super::host::{End, Host};
use super::window::{WORD, Window};

/// How many bytes pass through staging memory at once; pieces are a part of that.
const WINDOW: u64 = 16 << 20;
const PIECE: u64 = 4 << 20;

/// How many parts go over the GPU at once.
const PARTS: usize = 1 << 15;

/// Moves bytes; all of them are claimed.
pub(super) struct Transfer<'a, 'b, 'c> {
    context: &'a Context,
    host: Host<'b, 'c>,
    window: Window,
}

impl<'a, 'b, 'c> Transfer<'a, 'b, 'c> {
    pub(super) fn new(context: &'a Context, host: Host<'b, 'c>) -> Transfer<'a, 'b, 'c> {
        Transfer {
            context,
            host,
            window: Window::default(),
        }
    }

    /// Moves bytes, now or in [`Transfer::finish`].
    pub(super) fn add(
        &mut self,
        mut from: End,
        mut to: End,
        mut bytes: u64,
    ) -> Result<(), DeviceError> {
        let chunk = self.context.chunk_bytes;
        while bytes > 0 {
            let mut now = bytes;
            for end in [from, to] {
                if let End::Vram(at) = end {
                    now = now.min(chunk - at % chunk);
                }
            }
            if !direct(from, to, chunk) {
                now = now.min(PIECE);
            }
            if let End::Vram(at) = to {
                // Cuts of our own are between words.
                let over = (at + now) % WORD;
                now -= if now < bytes && over < now { over } else { 0 };
            }
            self.window.add(from, to, now, chunk);
            from = from.advance(now);
            to = to.advance(now);
            bytes -= now;
            if self.window.staged() >= WINDOW || self.window.parts() >= PARTS {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), DeviceError> {
        std::mem::take(&mut self.window).flush(self.context, &mut self.host)
    }

    /// Everything is moved when this ends.
    pub(super) fn finish(mut self) -> Result<(), DeviceError> {
        self.flush()
    }

    /// Copies between two lists whose cuts differ.
    pub(super) fn copy(
        &mut self,
        mut source: Runs<'_>,
        mut target: Runs<'_>,
    ) -> Result<(), DeviceError> {
        let (mut from, mut to) = (source.next(), target.next());
        while let (Some(read), Some(write)) = (from, to) {
            let bytes = read.bytes.min(write.bytes);
            self.add(end(read), end(write), bytes)?;
            from = rest(read, bytes).or_else(|| source.next());
            to = rest(write, bytes).or_else(|| target.next());
        }
        Ok(())
    }

    /// Writes a list.
    pub(super) fn put(&mut self, mut from: End, target: Runs<'_>) -> Result<(), DeviceError> {
        for run in target {
            self.add(from, end(run), run.bytes)?;
            from = from.advance(run.bytes);
        }
        Ok(())
    }

    /// Reads a list into the answer.
    pub(super) fn get(&mut self, source: Runs<'_>) -> Result<(), DeviceError> {
        let mut to = End::Bytes(0);
        for run in source {
            self.add(end(run), to, run.bytes)?;
            to = to.advance(run.bytes);
        }
        Ok(())
    }
}

/// Whether the GPU alone moves it, whatever its size.
fn direct(from: End, to: End, chunk: u64) -> bool {
    match (from, to) {
        (End::Vram(source), End::Vram(target)) => {
            source % WORD == target % WORD && source / chunk != target / chunk
        }
        (End::Pattern(_), End::Vram(_)) => true,
        _ => false,
    }
}

fn end(run: Run) -> End {
    match run.memory {
        MemorySpace::Vram => End::Vram(run.offset),
        MemorySpace::System => End::System(run.offset),
    }
}

/// What is left of a run after its first bytes.
fn rest(run: Run, bytes: u64) -> Option<Run> {
    (run.bytes > bytes).then(|| Run {
        offset: run.offset + bytes,
        bytes: run.bytes - bytes,
        ..run
    })
}
