//! Moves the bytes of a command, window by window: staging memory is bounded, and the CPU moves
//! bytes of one window while the GPU is at work on another.

use std::collections::VecDeque;

use crate::command::MemorySpace;
use crate::error::DeviceError;
use crate::runs::{Run, Runs};
use crate::sync::lock;

use super::context::Context;
use super::flight::{self, Flight};
use super::host::{End, Host};
use super::window::{WORD, Window};

/// How many bytes pass through a staging buffer at once; pieces are a part of that. Several times
/// what a submit costs, and little enough for a cache where the GPU is the CPU.
const WINDOW: u64 = 2 << 20;
const PIECE: u64 = 1 << 20;

/// How many parts go over the GPU at once: recording them takes several times what a submit does.
const PARTS: usize = 1 << 8;

/// The same for windows that change words in part, which wait for the GPU in between.
const WORD_PARTS: usize = 1 << 13;

/// How many windows are on their way when the next one is gathered.
const AHEAD: usize = 3;

/// Moves bytes; all of them are claimed.
pub(super) struct Transfer<'a, 'b, 'c> {
    context: &'a Context,
    host: Host<'b, 'c>,
    window: Window,
    /// Windows that were begun. One may read before an earlier one writes: a transfer writes no
    /// byte twice, and reads none that it writes.
    flights: VecDeque<Flight>,
}

impl<'a, 'b, 'c> Transfer<'a, 'b, 'c> {
    pub(super) fn new(context: &'a Context, host: Host<'b, 'c>) -> Transfer<'a, 'b, 'c> {
        Transfer {
            context,
            host,
            window: Window::default(),
            flights: VecDeque::new(),
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
            let parts = match self.window.changes_words() {
                true => WORD_PARTS,
                false => PARTS,
            };
            if self.window.staged() >= WINDOW || self.window.parts() >= parts {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), DeviceError> {
        let window = std::mem::take(&mut self.window);
        // From before words are read until what changes them is in the queue: what comes later,
        // of whomever, reads them as they are then.
        let words = window.changes_words().then(|| lock(&self.context.words));
        let mut flight = Flight::begin(window, self.context)?;
        let moved = match words.is_some() || flight.is_ready() {
            true => flight.go_on(self.context, &mut self.host),
            false => Ok(()),
        };
        drop(words);
        self.flights.push_back(flight);
        moved?;
        self.land(AHEAD)
    }

    /// Ends windows until so many are on their way.
    fn land(&mut self, left: usize) -> Result<(), DeviceError> {
        while self.flights.len() > left
            && let Some(flight) = self.flights.pop_front()
        {
            flight.end(self.context, &mut self.host)?;
        }
        Ok(())
    }

    /// Everything is moved when this ends.
    pub(super) fn finish(mut self) -> Result<(), DeviceError> {
        self.flush()?;
        self.land(0)
    }

    /// Everything is on its way when this ends; the answer is what is to be ended, in its order.
    pub(super) fn leave(mut self) -> Result<VecDeque<Flight>, DeviceError> {
        self.flush()?;
        Ok(std::mem::take(&mut self.flights))
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

    /// Reads a list into the answer, from a place of it on.
    pub(super) fn get(&mut self, source: Runs<'_>, at: u64) -> Result<(), DeviceError> {
        let mut to = End::Bytes(at);
        for run in source {
            self.add(end(run), to, run.bytes)?;
            to = to.advance(run.bytes);
        }
        Ok(())
    }
}

impl Drop for Transfer<'_, '_, '_> {
    fn drop(&mut self) {
        flight::abandon(&self.flights, self.context);
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

#[cfg(test)]
#[path = "transfer_tests.rs"]
mod tests;
