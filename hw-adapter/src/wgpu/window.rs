//! What goes over the GPU at once: copies gathered, merged, and done in at most two submits.
//!
//! wgpu copies whole words of 4 bytes. A piece of other bounds is cut: what are whole words of
//! its destination goes as such, and the words at its ends are read, changed and written back.

use std::collections::BTreeMap;

use crate::error::DeviceError;
use crate::sync::lock;

use super::context::Context;
use super::host::{End, Host};
use super::staging::{NOT_MAPPED, Use};

/// What wgpu copies are multiples of, in bytes.
pub(super) const WORD: u64 = 4;

/// A longer fill repeats a block of so many bytes.
const BLOCK: u64 = 64 << 10;

/// Words of a chunk, and where they are in a staging buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Staged {
    chunk: u64,
    offset: u64,
    bytes: u64,
    at: u64,
}

/// Words of one chunk for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Direct {
    from: (u64, u64),
    to: (u64, u64),
    bytes: u64,
}

/// Bytes that the CPU moves between the two submits.
#[derive(Clone, Copy, Debug)]
struct Move {
    from: End,
    to: End,
    bytes: u64,
}

/// What goes over the GPU at once.
#[derive(Default)]
pub(super) struct Window {
    /// From chunks to the buffer that is read back.
    downloads: Vec<Staged>,
    readback_bytes: u64,
    moves: Vec<Move>,
    /// From the buffer that is uploaded to chunks.
    uploads: Vec<Staged>,
    upload_bytes: u64,
    /// Within one chunk, by way of a buffer: wgpu copies only between different ones.
    bounces: Vec<Direct>,
    bounce_bytes: u64,
    copies: Vec<Direct>,
    clears: Vec<(u64, u64, u64)>,
    /// Words of vram that are changed in part, and where they are uploaded from.
    words: BTreeMap<u64, u64>,
    /// Blocks of a pattern, and where they are uploaded from.
    blocks: BTreeMap<u64, u64>,
}

impl Window {
    /// How many bytes of staging memory it needs.
    pub(super) fn staged(&self) -> u64 {
        self.readback_bytes + self.upload_bytes + self.bounce_bytes
    }

    /// How many parts it has.
    pub(super) fn parts(&self) -> usize {
        self.downloads.len()
            + self.moves.len()
            + self.uploads.len()
            + self.bounces.len()
            + self.copies.len()
            + self.clears.len()
    }

    /// Adds a piece whose ends in vram each lie in one chunk.
    pub(super) fn add(&mut self, from: End, to: End, bytes: u64, chunk: u64) {
        match (from, to) {
            (End::Vram(source), End::Vram(target)) => {
                if source % WORD == target % WORD {
                    self.put(from, target, bytes, chunk);
                } else {
                    let from = self.get(source, bytes, chunk);
                    self.put(from, target, bytes, chunk);
                }
            }
            (End::Vram(source), _) => {
                let from = self.get(source, bytes, chunk);
                self.moves.push(Move { from, to, bytes });
            }
            (_, End::Vram(target)) => self.put(from, target, bytes, chunk),
            (_, _) => self.moves.push(Move { from, to, bytes }),
        }
    }

    /// Reads bytes of vram back.
    fn get(&mut self, source: u64, bytes: u64, chunk: u64) -> End {
        let into = source % WORD;
        let words = (into + bytes).next_multiple_of(WORD);
        let staged = Staged {
            chunk: source / chunk,
            offset: source % chunk - into,
            bytes: words,
            at: self.readback_bytes,
        };
        self.readback_bytes += words;
        push(&mut self.downloads, staged);
        End::Readback(staged.at + into)
    }

    /// Writes bytes of vram. A source in vram lies in the words as the destination does.
    fn put(&mut self, from: End, target: u64, bytes: u64, chunk: u64) {
        let head = (target.next_multiple_of(WORD) - target).min(bytes);
        let whole = (bytes - head) / WORD * WORD;
        self.put_part(from, target, head, chunk);
        if whole > 0 {
            self.put_words(from.advance(head), target + head, whole, chunk);
        }
        let done = head + whole;
        self.put_part(from.advance(done), target + done, bytes - done, chunk);
    }

    /// Writes a part of a word.
    fn put_part(&mut self, from: End, target: u64, bytes: u64, chunk: u64) {
        if bytes == 0 {
            return;
        }
        let from = match from {
            End::Vram(source) => self.get(source, bytes, chunk),
            other => other,
        };
        let word = target - target % WORD;
        let at = match self.words.get(&word) {
            Some(at) => *at,
            None => {
                let old = self.get(word, WORD, chunk);
                let at = self.upload(word, WORD, chunk);
                self.words.insert(word, at);
                self.moves.push(Move {
                    from: old,
                    to: End::Upload(at),
                    bytes: WORD,
                });
                at
            }
        };
        let to = End::Upload(at + target % WORD);
        self.moves.push(Move { from, to, bytes });
    }

    /// Writes whole words.
    fn put_words(&mut self, from: End, target: u64, bytes: u64, chunk: u64) {
        let (to, offset) = (target / chunk, target % chunk);
        match from {
            End::Vram(source) => {
                let copy = Direct {
                    from: (source / chunk, source % chunk),
                    to: (to, offset),
                    bytes,
                };
                if copy.from.0 == to {
                    self.bounces.push(copy);
                    self.bounce_bytes += bytes;
                } else {
                    self.copies.push(copy);
                }
            }
            End::Pattern(0) => self.clears.push((to, offset, bytes)),
            End::Pattern(word) if bytes > BLOCK => {
                let at = match self.blocks.get(&word) {
                    Some(at) => *at,
                    None => {
                        let at = self.upload_bytes;
                        self.upload_bytes += BLOCK;
                        self.blocks.insert(word, at);
                        self.moves.push(Move {
                            from,
                            to: End::Upload(at),
                            bytes: BLOCK,
                        });
                        at
                    }
                };
                let mut done = 0;
                while done < bytes {
                    let now = BLOCK.min(bytes - done);
                    self.uploads.push(Staged {
                        chunk: to,
                        offset: offset + done,
                        bytes: now,
                        at,
                    });
                    done += now;
                }
            }
            other => {
                let at = self.upload(target, bytes, chunk);
                self.moves.push(Move {
                    from: other,
                    to: End::Upload(at),
                    bytes,
                });
            }
        }
    }

    /// Lets words be uploaded; the answer is from where.
    fn upload(&mut self, target: u64, bytes: u64, chunk: u64) -> u64 {
        let at = self.upload_bytes;
        self.upload_bytes += bytes;
        let staged = Staged {
            chunk: target / chunk,
            offset: target % chunk,
            bytes,
            at,
        };
        push(&mut self.uploads, staged);
        at
    }

    /// Does all of it, and waits for the GPU.
    ///
    /// # Errors
    /// Those of [`Context::guarded`]; part of it may be done.
    pub(super) fn flush(
        self,
        context: &Context,
        host: &mut Host<'_, '_>,
    ) -> Result<(), DeviceError> {
        let chunks = self.chunks();
        context.touch(&chunks)?;
        let gpu = !chunks.is_empty();
        if !gpu {
            return self.moves(host, &[], None);
        }
        context.guarded(|| self.perform(context, host))
    }

    /// The chunks it uses that may not be there.
    fn chunks(&self) -> Vec<u64> {
        let staged = self.downloads.iter().chain(&self.uploads).map(|s| s.chunk);
        let direct = self.bounces.iter().chain(&self.copies);
        let direct = direct.flat_map(|copy| [copy.from.0, copy.to.0]);
        let clears = self.clears.iter().map(|(chunk, ..)| *chunk);
        let mut all: Vec<_> = staged.chain(direct).chain(clears).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    fn perform(self, context: &Context, host: &mut Host<'_, '_>) -> Result<(), DeviceError> {
        // From before words are read until what changes them is in the queue.
        let words = (!self.words.is_empty()).then(|| lock(&context.words));
        let upload = match self.upload_bytes {
            0 => None,
            bytes => Some(context.upload(bytes)?),
        };
        let view = upload.as_ref().map(|buffer| {
            let view = buffer.get_mapped_range_mut(..self.upload_bytes);
            view.map_err(|_| NOT_MAPPED)
        });
        let mut view = view.transpose()?;
        if self.downloads.is_empty() {
            self.moves(host, &[], view.as_mut())?;
        } else {
            let bytes = self.readback_bytes;
            let readback = context.pool.take(context, Use::Readback, bytes);
            let mut encoder = context.device.create_command_encoder(&Default::default());
            for staged in &self.downloads {
                let chunk = context.chunk(staged.chunk);
                let (offset, at, bytes) = (staged.offset, staged.at, staged.bytes);
                encoder.copy_buffer_to_buffer(&chunk, offset, &readback, at, bytes);
            }
            context.read_back(encoder, &readback, bytes, |bytes| {
                self.moves(host, bytes, view.as_mut())
            })?;
            context.pool.give(Use::Readback, readback);
        }
        drop(view);
        if let Some(buffer) = &upload {
            buffer.unmap();
        }
        let bounce = (self.bounce_bytes > 0)
            .then(|| context.pool.take(context, Use::Bounce, self.bounce_bytes));
        let Some(encoder) = self.encode(context, upload.as_ref(), bounce.as_ref()) else {
            return Ok(());
        };
        let index = context.queue.submit([encoder.finish()]);
        drop(words);
        context.wait(index)?;
        for (kind, buffer) in [(Use::Upload, upload), (Use::Bounce, bounce)] {
            if let Some(buffer) = buffer {
                context.pool.give(kind, buffer);
            }
        }
        Ok(())
    }

    /// What the second submit does, if anything.
    fn encode(
        &self,
        context: &Context,
        upload: Option<&wgpu::Buffer>,
        bounce: Option<&wgpu::Buffer>,
    ) -> Option<wgpu::CommandEncoder> {
        let direct = self.bounces.len() + self.copies.len() + self.clears.len();
        if upload.is_none() && direct == 0 {
            return None;
        }
        let mut encoder = context.device.create_command_encoder(&Default::default());
        // All that is read by way of the bounce buffer comes before all that is written: nothing
        // of a command reads what it writes, and the GPU waits less often.
        if let Some(bounce) = bounce {
            let mut at = 0;
            for copy in &self.bounces {
                let chunk = context.chunk(copy.from.0);
                encoder.copy_buffer_to_buffer(&chunk, copy.from.1, bounce, at, copy.bytes);
                at += copy.bytes;
            }
            at = 0;
            for copy in &self.bounces {
                let chunk = context.chunk(copy.to.0);
                encoder.copy_buffer_to_buffer(bounce, at, &chunk, copy.to.1, copy.bytes);
                at += copy.bytes;
            }
        }
        for copy in &self.copies {
            let (from, to) = (context.chunk(copy.from.0), context.chunk(copy.to.0));
            encoder.copy_buffer_to_buffer(&from, copy.from.1, &to, copy.to.1, copy.bytes);
        }
        for (chunk, offset, bytes) in &self.clears {
            encoder.clear_buffer(&context.chunk(*chunk), *offset, Some(*bytes));
        }
        if let Some(upload) = upload {
            for staged in &self.uploads {
                let chunk = context.chunk(staged.chunk);
                let (offset, at, bytes) = (staged.offset, staged.at, staged.bytes);
                encoder.copy_buffer_to_buffer(upload, at, &chunk, offset, bytes);
            }
        }
        Some(encoder)
    }

    /// What the CPU moves.
    fn moves(
        &self,
        host: &mut Host<'_, '_>,
        readback: &[u8],
        mut upload: Option<&mut wgpu::BufferViewMut>,
    ) -> Result<(), DeviceError> {
        for Move { from, to, bytes } in &self.moves {
            host.transfer(*from, *to, *bytes, readback, upload.as_deref_mut())?;
        }
        Ok(())
    }
}

/// Adds to a list, or to its last entry when it goes on there in both places.
fn push(list: &mut Vec<Staged>, staged: Staged) {
    if let Some(last) = list.last_mut()
        && last.chunk == staged.chunk
        && last.offset + last.bytes == staged.offset
        && last.at + last.bytes == staged.at
    {
        last.bytes += staged.bytes;
    } else {
        list.push(staged);
    }
}

#[cfg(test)]
#[path = "window_tests.rs"]
mod tests;
