//! The free space: for every order a set of free blocks, buddies always joined.
//!
//! A block of order `k` has `2^k` chunks and begins at a multiple of its size. An aligned block
//! that lies in the arena lies in exactly one root, so roots need no record: a block is a root
//! when the block twice as large would reach beyond the arena. The free blocks are therefore a
//! function of which chunks are free, whatever happened before.

use crate::offsets::Set;
use crate::piece::{ORDERS, Piece, pieces};
use crate::pool::Pool;

/// Which free blocks serve.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Rule {
    /// The highest block of the smallest sufficient order, and its upper end.
    Highest,
    /// The same among the places whose offset is a multiple of `2^n` chunks.
    Multiple(u32),
    /// The lowest place in `start..end` whose offset is a multiple of `2^multiple` chunks.
    Window {
        /// Its offset has at least so many low bits clear.
        multiple: u32,
        /// First chunk of the window.
        start: u64,
        /// First chunk behind the window.
        end: u64,
    },
}

/// The free blocks of an arena.
///
/// Units: chunks. Invariants: no two free buddies; `free` is the sum of the sets; bit `k` of
/// `orders` is set exactly when the set of order `k` is not empty.
#[derive(Clone, Debug)]
pub(crate) struct Space {
    pub(crate) size: u64,
    pub(crate) free: u64,
    orders: u64,
    // One class of sets; clear and dirty blocks will be two.
    sets: [Set; ORDERS],
    pool: Pool,
}

impl Space {
    /// An arena of `size` chunks, all taken.
    pub(crate) fn taken(size: u64) -> Self {
        Space {
            size,
            free: 0,
            orders: 0,
            sets: [Set::default(); ORDERS],
            pool: Pool::default(),
        }
    }

    #[inline]
    fn insert(&mut self, piece: Piece) {
        self.sets[piece.order as usize].insert(&mut self.pool, piece.offset >> piece.order);
        self.orders |= 1 << piece.order;
    }

    #[inline]
    fn remove(&mut self, piece: Piece) -> bool {
        if self.orders >> piece.order & 1 == 0 {
            return false;
        }
        let set = &mut self.sets[piece.order as usize];
        let found = set.remove(&mut self.pool, piece.offset >> piece.order);
        if set.len == 0 {
            self.orders &= !(1 << piece.order);
        }
        found
    }

    /// Makes a taken block free and joins it with its buddy as often as that is free.
    pub(crate) fn release(&mut self, mut piece: Piece) {
        self.free += piece.chunks();
        while let Some(parent) = piece.parent() {
            let buddy = Piece {
                offset: piece.offset ^ piece.chunks(),
                ..piece
            };
            // A root's buddy would reach beyond the arena and is therefore in no set.
            if !self.remove(buddy) {
                break;
            }
            piece = parent;
        }
        self.insert(piece);
    }

    /// Takes exactly this block out of the free block that holds it.
    ///
    /// Errors: `false`, and nothing changed, when a chunk of it is taken or outside.
    /// Complexity: O(orders * log n).
    pub(crate) fn carve(&mut self, piece: Piece) -> bool {
        let mut orders = self.orders & (u64::MAX << piece.order);
        while orders != 0 {
            let order = orders.trailing_zeros();
            let holder = Piece {
                offset: piece.offset >> order << order,
                order,
            };
            if self.sets[order as usize].contains(&self.pool, piece.offset >> order) {
                self.cut(holder, piece);
                return true;
            }
            orders &= orders - 1;
        }
        false
    }

    /// Takes a block of an order by a rule.
    ///
    /// Complexity: O(orders * log n); for [`Rule::Window`] see [`Space::lowest_in`].
    pub(crate) fn take(&mut self, order: u32, rule: Rule) -> Option<Piece> {
        let (holder, offset) = match rule {
            Rule::Highest => self.highest(order, 0)?,
            Rule::Multiple(multiple) => self.highest(order, multiple)?,
            Rule::Window {
                multiple,
                start,
                end,
            } => self.lowest_in(order, multiple, start, end)?,
        };
        let piece = Piece { offset, order };
        self.cut(holder, piece);
        Some(piece)
    }

    /// Takes `piece` out of the free block `holder`; the halves left over stay free.
    fn cut(&mut self, holder: Piece, piece: Piece) {
        self.remove(holder);
        for order in piece.order..holder.order {
            let inside = piece.offset >> order << order;
            self.insert(Piece {
                offset: inside ^ (1 << order),
                order,
            });
        }
        self.free -= piece.chunks();
    }

    fn highest(&self, order: u32, multiple: u32) -> Option<(Piece, u64)> {
        let mut orders = self.orders & (u64::MAX << order);
        while orders != 0 {
            let order_here = orders.trailing_zeros();
            let set = &self.sets[order_here as usize];
            if let Some(key) = set.last_multiple(&self.pool, multiple.saturating_sub(order_here)) {
                let holder = Piece {
                    offset: key << order_here,
                    order: order_here,
                };
                // The uppermost place in it that is aligned; the holder itself is.
                let step = order.max(multiple).min(order_here);
                return Some((holder, holder.offset + (holder.chunks() - (1 << step))));
            }
            orders &= orders - 1;
        }
        None
    }

    /// The lowest place of an order in a window, and its free block.
    ///
    /// Complexity: O(orders * log n); a multiple above the order costs the free blocks between
    /// its multiples, too.
    fn lowest_in(&self, order: u32, multiple: u32, start: u64, end: u64) -> Option<(Piece, u64)> {
        let mut best: Option<(Piece, u64)> = None;
        let mut orders = self.orders & (u64::MAX << order);
        while orders != 0 {
            let here = orders.trailing_zeros();
            orders &= orders - 1;
            let end = best.map_or(end, |(_, lowest)| end.min(lowest));
            if let Some(found) = self.lowest_of(here, order, multiple, start, end) {
                best = Some(found);
            }
        }
        best
    }

    /// The same among the free blocks of one order.
    fn lowest_of(
        &self,
        here: u32,
        order: u32,
        multiple: u32,
        start: u64,
        end: u64,
    ) -> Option<(Piece, u64)> {
        let set = &self.sets[here as usize];
        let step = order.max(multiple);
        let mut from = start;
        loop {
            // The first free block that ends behind the first place still possible.
            let place = next_multiple(from, step)?;
            let key = set.next(&self.pool, place >> here)?;
            let place = place.max(key << here);
            if place
                .checked_add(1 << order)
                .is_none_or(|behind| behind > end)
            {
                return None;
            }
            if place.is_multiple_of(1 << step) {
                return Some((
                    Piece {
                        offset: key << here,
                        order: here,
                    },
                    place,
                ));
            }
            from = place;
        }
    }

    /// The order of the largest free block.
    pub(crate) fn largest(&self) -> Option<u32> {
        self.orders.checked_ilog2()
    }

    /// How many free blocks there are.
    pub(crate) fn count(&self) -> u64 {
        self.sets.iter().map(|set| set.len).sum()
    }

    /// The first free block that ends behind a chunk.
    ///
    /// Complexity: O(orders * log n).
    pub(crate) fn first_behind(&self, chunk: u64) -> Option<Piece> {
        let mut best: Option<Piece> = None;
        let mut orders = self.orders;
        while orders != 0 {
            let order = orders.trailing_zeros();
            orders &= orders - 1;
            let key = self.sets[order as usize].next(&self.pool, chunk >> order);
            let piece = key.map(|key| Piece {
                offset: key << order,
                order,
            });
            best = piece
                .into_iter()
                .chain(best)
                .min_by_key(|piece| piece.offset);
        }
        best
    }

    /// Moves the arena's end.
    ///
    /// Errors: `false`, and nothing changed, when a taken chunk would be cut off.
    #[must_use]
    pub(crate) fn resize(&mut self, size: u64) -> bool {
        let before = self.size;
        self.size = size.max(before);
        pieces(before, size).for_each(|piece| self.release(piece));
        let mut reached = size;
        for piece in pieces(size, before) {
            if !self.carve(piece) {
                pieces(size, reached).for_each(|piece| self.release(piece));
                return false;
            }
            reached = piece.offset + piece.chunks();
        }
        self.size = size;
        true
    }

    /// Checks the sets from scratch.
    pub(crate) fn validate(&self) -> Result<(), &'static str> {
        self.pool
            .consistent(self.sets.iter().filter_map(Set::tree))?;
        let mut free = 0u64;
        for (set, order) in self.sets.iter().zip(0..) {
            if (self.orders >> order & 1 != 0) != (set.len != 0) {
                return Err("the bitmap of orders equals the sets");
            }
            for key in set.keys(&self.pool) {
                let piece = Piece {
                    offset: key << order,
                    order,
                };
                if piece
                    .offset
                    .checked_add(piece.chunks())
                    .is_none_or(|end| end > self.size)
                {
                    return Err("free blocks lie in the arena");
                }
                if set.contains(&self.pool, key ^ 1) {
                    return Err("no two buddies are free");
                }
                free = free
                    .checked_add(piece.chunks())
                    .ok_or("free blocks do not overlap")?;
            }
        }
        if free == self.free {
            Ok(())
        } else {
            Err("free chunks are counted")
        }
    }
}

/// `value` rounded up to a multiple of `2^order`.
fn next_multiple(value: u64, order: u32) -> Option<u64> {
    gpumm_contract::extent::round_up(value, 1 << order)
}
