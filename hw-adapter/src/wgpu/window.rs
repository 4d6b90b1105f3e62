//! What goes over the GPU at once: copies gathered and merged, for at most two submits.
//!
//! wgpu copies whole words of 4 bytes. A piece of other bounds is cut: what are whole words of
//! its destination goes as such, and the words at its ends are read, changed and written back.

use std::collections::BTreeMap;

use super::host::End;

/// What wgpu copies are multiples of, in bytes.
pub(super) const WORD: u64 = 4;

/// Fills repeat a block of at most so many bytes.
const BLOCK: u64 = 64 << 10;

/// Words of a chunk, and where they are in a staging buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Staged {
    pub(super) chunk: u64,
    pub(super) offset: u64,
    pub(super) bytes: u64,
    pub(super) at: u64,
}

/// Words of one chunk for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Direct {
    pub(super) from: (u64, u64),
    pub(super) to: (u64, u64),
    pub(super) bytes: u64,
}

/// Bytes that the CPU moves between the two submits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Move {
    pub(super) from: End,
    pub(super) to: End,
    pub(super) bytes: u64,
}

/// What goes over the GPU at once.
#[derive(Default)]
pub(super) struct Window {
    /// From chunks to the buffer that is read back.
    pub(super) downloads: Vec<Staged>,
    pub(super) readback_bytes: u64,
    pub(super) moves: Vec<Move>,
    /// From the buffer that is uploaded to chunks.
    pub(super) uploads: Vec<Staged>,
    pub(super) upload_bytes: u64,
    /// Within one chunk, by way of a buffer: wgpu copies only between different ones.
    pub(super) bounces: Vec<Direct>,
    pub(super) bounce_bytes: u64,
    pub(super) copies: Vec<Direct>,
    pub(super) clears: Vec<(u64, u64, u64)>,
    /// Words of vram that are changed in part, and where they are uploaded from.
    words: BTreeMap<u64, u64>,
    /// Blocks of a pattern: where they are uploaded from, and their length.
    blocks: BTreeMap<u64, (u64, u64)>,
}

impl Window {
    /// How many bytes of staging memory it needs.
    pub(super) fn staged(&self) -> u64 {
        self.readback_bytes + self.upload_bytes + self.bounce_bytes
    }

    /// Whether it reads words to write them back with other bytes changed.
    pub(super) fn changes_words(&self) -> bool {
        !self.words.is_empty()
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
            End::Pattern(word) => {
                let (at, block) = self.block(word, bytes);
                let mut done = 0;
                while done < bytes {
                    let now = block.min(bytes - done);
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

    /// A block of a pattern for a fill of so many bytes; the answer is where it is uploaded from,
    /// and its length, which is a multiple of 8 unless it is all that is asked for.
    fn block(&mut self, word: u64, bytes: u64) -> (u64, u64) {
        let needed = bytes.min(BLOCK);
        if let Some(block) = self.blocks.get(&word).filter(|block| block.1 >= needed) {
            return *block;
        }
        let block = (self.upload_bytes, needed);
        self.upload_bytes += needed;
        self.blocks.insert(word, block);
        self.moves.push(Move {
            from: End::Pattern(word),
            to: End::Upload(block.0),
            bytes: needed,
        });
        block
    }

    /// Merges what goes on in vram and was added in another order.
    pub(super) fn settle(&mut self) {
        let downloads = settle(&mut self.downloads);
        // Several pieces are uploaded from one block.
        let uploads = match self.blocks.is_empty() {
            true => settle(&mut self.uploads),
            false => Vec::new(),
        };
        if !downloads.is_empty() || !uploads.is_empty() {
            for Move { from, to, .. } in &mut self.moves {
                if let End::Readback(at) = from {
                    *at = settled(&downloads, *at);
                }
                if let End::Upload(at) = to {
                    *at = settled(&uploads, *at);
                }
            }
        }
        self.clears.sort_unstable();
        self.clears.dedup_by(|next, last| {
            let goes_on = (last.0, last.1 + last.2) == (next.0, next.1);
            last.2 += if goes_on { next.2 } else { 0 };
            goes_on
        });
        for list in [&mut self.copies, &mut self.bounces] {
            list.sort_unstable_by_key(|copy| copy.from);
            list.dedup_by(|next, last| {
                let goes_on = (last.from.0, last.from.1 + last.bytes) == next.from
                    && (last.to.0, last.to.1 + last.bytes) == next.to;
                last.bytes += if goes_on { next.bytes } else { 0 };
                goes_on
            });
        }
    }

    /// Whether anything of it is in vram.
    pub(super) fn uses_gpu(&self) -> bool {
        self.parts() > self.moves.len()
    }

    /// The chunks it uses.
    pub(super) fn chunks(&self) -> Vec<u64> {
        let staged = self.downloads.iter().chain(&self.uploads).map(|s| s.chunk);
        let direct = self.bounces.iter().chain(&self.copies);
        let direct = direct.flat_map(|copy| [copy.from.0, copy.to.0]);
        let clears = self.clears.iter().map(|(chunk, ..)| *chunk);
        let mut all: Vec<_> = staged.chain(direct).chain(clears).collect();
        all.sort_unstable();
        all.dedup();
        all
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
}

/// Lays a staging buffer out in the order of vram, so that what goes on there goes on in it, too.
/// The answer is where each entry was, in ascending order, and where it is.
fn settle(list: &mut Vec<Staged>) -> Vec<(u64, u64)> {
    let mut order: Vec<usize> = (0..list.len()).collect();
    order.sort_unstable_by_key(|index| (list[*index].chunk, list[*index].offset));
    let goes_on = |pair: &[usize]| {
        let (a, b) = (list[pair[0]], list[pair[1]]);
        a.chunk == b.chunk && a.offset + a.bytes == b.offset
    };
    if !order.windows(2).any(goes_on) {
        return Vec::new();
    }
    let (mut settled, mut end) = (Vec::new(), 0);
    let mut places: Vec<_> = list.iter().map(|staged| (staged.at, 0)).collect();
    for index in order {
        let staged = Staged {
            at: end,
            ..list[index]
        };
        places[index].1 = end;
        end += staged.bytes;
        push(&mut settled, staged);
    }
    *list = settled;
    places
}

/// Where a byte of a staging buffer is after [`settle`].
fn settled(places: &[(u64, u64)], at: u64) -> u64 {
    let index = places.partition_point(|(was, _)| *was <= at);
    match index.checked_sub(1).and_then(|index| places.get(index)) {
        Some((was, is)) => is + (at - was),
        None => at,
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
