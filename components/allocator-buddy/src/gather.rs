//! Which blocks an allocation gets, by the rules of the kernel's buddy allocator.

use crate::find::Rule;
use crate::piece::{Piece, Run, pieces};
use crate::space::Space;
use alloc::vec::Vec;
use gpumm_contract::extent::round_up;

/// A wish in chunks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) chunks: u64,
    /// Every extent begins at a multiple of `2^multiple` chunks.
    pub(crate) multiple: u32,
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// Whether the range was asked for; if not, it is the arena.
    pub(crate) ranged: bool,
    pub(crate) top: bool,
    pub(crate) contiguous: bool,
    pub(crate) clear: bool,
    /// Whether what was rounded up stays.
    pub(crate) keep: bool,
}

/// The free blocks, and the allocation in the making.
#[derive(Clone, Debug)]
pub(crate) struct Arena {
    pub(crate) space: Space,
    /// What has been taken, in the buffer's byte order; kept for its memory.
    pub(crate) taken: Vec<Run>,
}

impl Arena {
    /// Takes the block of a wish that is one block without further ado, as most are.
    ///
    /// `None`: nothing has changed, and [`Arena::gather`] knows more.
    #[inline]
    pub(crate) fn at_once(&mut self, wanted: &Wanted) -> Option<Run> {
        let order = wanted.chunks.trailing_zeros();
        let block = wanted.chunks == 1 << order && wanted.multiple <= order;
        let plain = block && !wanted.ranged && !wanted.top;
        let piece = plain.then(|| self.space.take_highest(order, wanted.clear))?;
        piece.map(Run::from)
    }

    /// Fills `taken` with blocks for a wish; those from the returned place on are one extent, those
    /// before it one each.
    ///
    /// `None`: no space; `taken` is empty, and the same chunks are free as before. Fewer of them
    /// may be clear: buddies that were joined for their size stay joined.
    ///
    /// Complexity: O(blocks * orders * log n), with clear memory also O(free blocks * log n).
    pub(crate) fn gather(&mut self, wanted: &Wanted) -> Option<usize> {
        self.taken.clear();
        let window = wanted.end.checked_sub(wanted.start)?;
        if wanted.chunks == window {
            return self.whole_window(wanted);
        }
        if wanted.chunks > self.space.size - wanted.start {
            return None;
        }
        let (chunks, lowest) = rounded(wanted);
        // Joining the classes of buddies may be all that comes of a wish, so a hopeless one is
        // refused early only where that cannot be.
        let joins = self.space.clear != 0 && lowest != 0 && window != 0;
        if wanted.chunks > window.min(self.space.free) && !joins {
            return None;
        }
        let Some(chunks) = chunks.filter(|&chunks| chunks <= self.space.size) else {
            return self.harder(wanted);
        };
        let coarse = wanted.multiple > lowest;
        let rule = match *wanted {
            Wanted { start, end, .. } if wanted.ranged => Rule::Window {
                multiple: if coarse { wanted.multiple } else { 0 },
                start,
                end,
            },
            // A small block at a coarse offset needs no block as coarse as the offset.
            _ if coarse => Rule::Multiple(wanted.multiple),
            _ if wanted.top => Rule::Topmost,
            _ => Rule::Highest,
        };
        if !self.descend(wanted, chunks, lowest, rule) {
            self.give_back();
            return self.harder(wanted);
        }
        let excess = chunks - wanted.chunks;
        let joined = match wanted.contiguous {
            true => 0,
            false => self.taken.len() - usize::from(excess != 0),
        };
        if !wanted.keep {
            self.trim_end(excess);
        }
        Some(joined)
    }

    /// Takes blocks of orders that never rise again, until `chunks` are taken.
    fn descend(&mut self, wanted: &Wanted, chunks: u64, lowest: u32, rule: Rule) -> bool {
        let (mut left, mut order) = (chunks, u32::MAX);
        while let Some(most) = left.checked_ilog2() {
            order = order.min(most);
            let piece = loop {
                if let Some(piece) = self.space.take(order, rule, wanted.clear) {
                    break piece;
                }
                if order > lowest {
                    order -= 1;
                    continue;
                }
                // Buddies of both classes may still make one block.
                let space = &mut self.space;
                let made = space.clear != 0 && space.force_merge(wanted.start, wanted.end, lowest);
                match made
                    .then(|| space.take(order, rule, wanted.clear))
                    .flatten()
                {
                    Some(piece) => break piece,
                    None => return false,
                }
            };
            self.taken.push(piece.into());
            left -= piece.chunks();
        }
        true
    }

    /// Takes exactly the window, whatever is asked for besides.
    fn whole_window(&mut self, wanted: &Wanted) -> Option<usize> {
        let aligned = wanted.start.trailing_zeros() >= wanted.multiple;
        if aligned && self.exactly(wanted.start, wanted.end) == wanted.end {
            return Some(0);
        }
        self.give_back();
        None
    }

    /// Takes the free blocks of `start..end` from its start on; where the first chunk that could
    /// not be taken is.
    ///
    /// A part that is split is not looked into while no memory is clear, for then one half of it
    /// is in use. So the kernel does it, and what is taken of a window that is not free shows it.
    ///
    /// Bounds: `end` is at most the arena's. Complexity: O(blocks * orders * log n).
    pub(crate) fn exactly(&mut self, start: u64, end: u64) -> u64 {
        let mut parts = pieces(start, end, false);
        parts.find_map(|part| self.part(part).err()).unwrap_or(end)
    }

    /// Takes a part of the arena, whole or in halves; on failure what is below the first chunk
    /// that could not be taken.
    fn part(&mut self, part: Piece) -> Result<(), u64> {
        if let Some(piece) = self.space.carve(part) {
            match self.taken.last_mut() {
                // Whatever they were taken as, neighbours of one class are the same blocks again.
                Some(last) if last.end == piece.offset && last.clear == piece.clear => {
                    last.end += piece.chunks();
                }
                _ => self.taken.push(piece.into()),
            }
            return Ok(());
        }
        let halves = part.halves().filter(|_| self.space.clear != 0);
        let [lower, upper] = halves.ok_or(part.offset)?;
        self.part(lower)?;
        self.part(upper)
    }

    /// Takes one gap-free extent out of neighbouring free blocks.
    ///
    /// Candidates are the free blocks of the largest power of two in the size, clear ones first,
    /// from the highest on: the extent begins with one of them, or else ends behind it.
    fn harder(&mut self, wanted: &Wanted) -> Option<usize> {
        if !wanted.contiguous || wanted.ranged || wanted.chunks > self.space.free {
            return None;
        }
        let order = wanted.chunks.ilog2();
        if order == 0 {
            return None;
        }
        for clear in [true, false] {
            let mut to = Some(u64::MAX);
            while let Some(key) = to {
                let key = self.space.set(order, clear).previous(&self.space.pool, key);
                let Some(key) = key else { break };
                if self.around(key << order, wanted) {
                    return Some(0);
                }
                self.give_back();
                to = key.checked_sub(1);
            }
        }
        None
    }

    /// Takes an extent that begins with, or extends to the left of, the block at an offset.
    fn around(&mut self, offset: u64, wanted: &Wanted) -> bool {
        // OVERFLOW: a wish is not larger than the arena.
        let end = offset + wanted.chunks.min(self.space.size - offset);
        let filled = self.exactly(offset, end) - offset;
        let Some(start) = offset.checked_sub(wanted.chunks - filled) else {
            return false;
        };
        let start = start >> wanted.multiple << wanted.multiple;
        let right = self.taken.len();
        if self.exactly(start, offset) != offset {
            return false;
        }
        self.taken.rotate_left(right);
        if !wanted.keep {
            self.trim_end(offset + filled - start - wanted.chunks);
        }
        true
    }

    /// Gives back the last `excess` chunks of what is taken.
    fn trim_end(&mut self, mut excess: u64) {
        while excess != 0 {
            let Some(last) = self.taken.pop() else { return };
            let cut = excess.min(last.chunks());
            let middle = last.end - cut;
            self.taken.extend(last.within(last.start, middle));
            self.space.release(Run {
                start: middle,
                ..last
            });
            excess -= cut;
        }
    }

    /// Frees what is taken, each block with its class.
    pub(crate) fn give_back(&mut self) {
        while let Some(run) = self.taken.pop() {
            self.space.release(run);
        }
    }
}

/// The size to take, `None` if it is larger than any arena, and the lowest order to take it in.
#[inline]
fn rounded(wanted: &Wanted) -> (Option<u64>, u32) {
    let Wanted {
        chunks, multiple, ..
    } = *wanted;
    if wanted.contiguous {
        let power = chunks.checked_next_power_of_two();
        (power, power.map_or(0, u64::trailing_zeros))
    } else if chunks.is_power_of_two() && chunks >> multiple == 0 {
        (Some(chunks), chunks.trailing_zeros())
    } else {
        (round_up(chunks, 1 << multiple), multiple)
    }
}
