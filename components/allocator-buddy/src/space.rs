//! The free space: for every order and class a set of free blocks, buddies of one class joined.
//!
//! A block of order `k` has `2^k` chunks and begins at a multiple of its size. An aligned block
//! that lies in the arena lies in exactly one root, so roots need no record: a block is a root
//! when the block twice as large would reach beyond the arena. The free blocks are therefore a
//! function of which chunks are free and which of these are clear, whatever happened before.

use crate::offsets::Set;
use crate::piece::{ORDERS, Piece, Run, pieces};
use crate::pool::Pool;
use alloc::boxed::Box;
use alloc::vec::Vec;

/// The free blocks of an arena.
///
/// Units: chunks. Invariants: free buddies differ in class; `free` and `clear` are the sums of the
/// sets; bit `k` of `orders` is set exactly when the set of order `k` is not empty.
#[derive(Clone, Debug)]
pub(crate) struct Space {
    pub(crate) size: u64,
    pub(crate) free: u64,
    /// Of these, those known to be zero.
    pub(crate) clear: u64,
    /// By class: dirty, clear.
    pub(crate) orders: [u64; 2],
    pub(crate) sets: Box<[[Set; ORDERS]; 2]>,
    pub(crate) pool: Pool,
}

impl Space {
    /// An arena without a chunk.
    pub(crate) fn nothing() -> Self {
        Space {
            size: 0,
            free: 0,
            clear: 0,
            orders: [0; 2],
            sets: Box::new([const { [Set::EMPTY; ORDERS] }; 2]),
            pool: Pool::default(),
        }
    }

    /// The set a free block belongs to.
    #[inline]
    pub(crate) fn set(&self, order: u32, clear: bool) -> &Set {
        &self.sets[usize::from(clear)][order as usize & (ORDERS - 1)]
    }

    /// The orders, from one on, that have a free block of a class.
    #[inline]
    pub(crate) fn orders_from(&self, order: u32, clear: bool) -> u64 {
        self.orders[usize::from(clear)] & u64::MAX << order
    }

    /// The orders that have a free block of any class.
    #[inline]
    pub(crate) fn all_orders(&self) -> u64 {
        self.orders[0] | self.orders[1]
    }

    #[inline]
    pub(crate) fn insert(&mut self, piece: Piece) {
        let (class, order) = (usize::from(piece.clear), piece.order as usize);
        self.sets[class][order & (ORDERS - 1)].insert(&mut self.pool, piece.key());
        self.orders[class] |= 1 << order;
    }

    #[inline]
    pub(crate) fn remove(&mut self, piece: Piece) -> bool {
        let (class, order) = (usize::from(piece.clear), piece.order as usize);
        if self.orders[class] >> order & 1 == 0 {
            return false;
        }
        let set = &mut self.sets[class][order & (ORDERS - 1)];
        let found = set.remove(&mut self.pool, piece.key());
        if set.len == 0 {
            self.orders[class] &= !(1 << order);
        }
        found
    }

    /// Makes taken chunks free, as blocks that are joined with their buddies as often as these
    /// are free and of their class.
    ///
    /// Complexity: O(orders * log n), however many blocks it was taken as.
    #[inline]
    pub(crate) fn release(&mut self, run: Run) {
        self.free += run.chunks();
        if run.clear {
            self.clear += run.chunks();
        }
        self.join(run);
    }

    /// Enters chunks into the sets, joined with their buddies of the same class.
    #[inline]
    pub(crate) fn join(&mut self, run: Run) {
        let Run {
            mut start,
            mut end,
            clear,
        } = run;
        // From the lowest order on: what sticks out at either end of the run has its buddy
        // outside, is joined with that or stays a block; what is left is coarser.
        while start != end {
            let order = (start | end).trailing_zeros();
            let size = 1 << order;
            if end - start == size {
                return self.join_block(Piece::at(start >> order, order, clear));
            }
            if start & size != 0 {
                if self.pair(Piece::at(start >> order, order, clear)) {
                    start -= size;
                } else {
                    start += size;
                }
            }
            if end & size != 0 {
                if self.pair(Piece::at((end - size) >> order, order, clear)) {
                    end += size;
                } else {
                    end -= size;
                }
            }
        }
    }

    #[inline]
    fn join_block(&mut self, mut piece: Piece) {
        while self.pair(piece) {
            piece.offset &= !piece.chunks();
            piece.order += 1;
        }
    }

    /// Enters a block into its set, or takes its buddy out of there and says so.
    #[inline(always)]
    fn pair(&mut self, piece: Piece) -> bool {
        let (class, order) = (
            usize::from(piece.clear),
            piece.order as usize & (ORDERS - 1),
        );
        let set = &mut self.sets[class][order];
        // A root's buddy would reach beyond the arena and is therefore in no set; nor is there
        // one of the last order.
        let paired = set.pair(&mut self.pool, piece.key());
        if !paired {
            self.orders[class] |= 1 << order;
        } else if set.len == 0 {
            self.orders[class] &= !(1 << order);
        }
        paired
    }

    /// Takes exactly this block out of the free block that holds it, and says its class.
    ///
    /// Errors: `None`, and nothing changed, when no free block holds the whole of it.
    /// Complexity: O(orders * log n).
    pub(crate) fn carve(&mut self, piece: Piece) -> Option<Piece> {
        for clear in [false, true] {
            let mut orders = self.orders_from(piece.order.into(), clear);
            while orders != 0 {
                let order = orders.trailing_zeros();
                let key = piece.offset >> order;
                if self.set(order, clear).contains(&self.pool, key) {
                    return Some(self.cut(Piece::at(key, order, clear), piece.offset, piece.order));
                }
                orders &= orders - 1;
            }
        }
        None
    }

    /// Takes the block of an order at an offset out of the free block `holder`; the halves left
    /// over stay free.
    pub(crate) fn cut(&mut self, holder: Piece, offset: u64, order: u8) -> Piece {
        self.remove(holder);
        self.halve(holder, offset, order)
    }

    /// Takes the upper end of the highest free block of an order and a class.
    #[inline]
    pub(crate) fn cut_highest(&mut self, from: u32, clear: bool, order: u32) -> Option<Piece> {
        let (class, from) = (usize::from(clear), from as usize & (ORDERS - 1));
        let set = &mut self.sets[class][from];
        let key = set.pop(&mut self.pool)?;
        if set.len == 0 {
            self.orders[class] &= !(1 << from);
        }
        let holder = Piece::at(key, from as u32, clear);
        let end = holder.offset + (holder.chunks() - (1 << order));
        Some(self.halve(holder, end, order as u8))
    }

    /// The same for a block that has been taken out of its set.
    #[inline]
    fn halve(&mut self, holder: Piece, offset: u64, order: u8) -> Piece {
        for order in order..holder.order {
            let inside = offset >> order << order;
            self.insert(Piece {
                offset: inside ^ (1 << order),
                order,
                ..holder
            });
        }
        let piece = Piece {
            offset,
            order,
            ..holder
        };
        self.free -= piece.chunks();
        if piece.clear {
            self.clear -= piece.chunks();
        }
        piece
    }

    /// The order of the largest free block.
    pub(crate) fn largest(&self) -> Option<u32> {
        self.all_orders().checked_ilog2()
    }

    /// How many free blocks there are.
    pub(crate) fn count(&self) -> u64 {
        self.sets.iter().flatten().map(|set| set.len).sum()
    }

    /// The first free block that ends behind a chunk.
    ///
    /// Complexity: O(orders * log n).
    pub(crate) fn first_behind(&self, chunk: u64) -> Option<Piece> {
        let mut best: Option<Piece> = None;
        for clear in [false, true] {
            let mut orders = self.orders_from(0, clear);
            while orders != 0 {
                let order = orders.trailing_zeros();
                orders &= orders - 1;
                let key = self.set(order, clear).next(&self.pool, chunk >> order);
                let piece = key.map(|key| Piece::at(key, order, clear));
                best = piece
                    .into_iter()
                    .chain(best)
                    .min_by_key(|piece| piece.offset);
            }
        }
        best
    }

    /// Moves the arena's end.
    ///
    /// Errors: `false`, and nothing changed, when a taken chunk would be cut off.
    /// Complexity: O(free blocks cut off * orders * log n).
    #[must_use]
    pub(crate) fn resize(&mut self, size: u64) -> bool {
        let before = self.size;
        if size < before {
            let mut holders = Vec::new();
            let mut at = size;
            while at < before {
                match self.first_behind(at) {
                    Some(piece) if piece.offset <= at => {
                        holders.push(piece);
                        // The end of the arena is a 64-bit number, so the end of a block is.
                        at = piece.offset + piece.chunks();
                    }
                    _ => return false,
                }
            }
            for holder in holders {
                let end = holder.offset + holder.chunks();
                for piece in pieces(size.max(holder.offset), end, false) {
                    self.carve(piece);
                }
            }
        }
        self.size = size;
        let largest = size.saturating_sub(1);
        for set in self.sets.iter_mut() {
            for (set, order) in set.iter_mut().zip(0..) {
                set.reach(&mut self.pool, largest >> order);
            }
        }
        if before < size {
            self.release(Run {
                start: before,
                end: size,
                clear: false,
            });
        }
        true
    }

    /// Checks the sets from scratch.
    pub(crate) fn validate(&self) -> Result<(), &'static str> {
        let sets = self.sets.iter().flatten();
        self.pool.consistent(sets.filter_map(Set::tree))?;
        let (mut free, mut clear) = (0u64, 0u64);
        for class in [false, true] {
            for order in 0..ORDERS as u32 {
                let set = self.set(order, class);
                if (self.orders[usize::from(class)] >> order & 1 != 0) != (set.len != 0) {
                    return Err("the bitmap of orders equals the sets");
                }
                if !set.counted(&self.pool) {
                    return Err("the alignments are counted");
                }
                for key in set.keys(&self.pool) {
                    let piece = Piece::at(key, order, class);
                    if piece.last() >= self.size {
                        return Err("free blocks lie in the arena");
                    }
                    if set.contains(&self.pool, key ^ 1) {
                        return Err("no two buddies of one class are free");
                    }
                    free = free
                        .checked_add(piece.chunks())
                        .ok_or("free blocks do not overlap")?;
                    clear += if class { piece.chunks() } else { 0 };
                }
            }
        }
        if (free, clear) == (self.free, self.clear) {
            Ok(())
        } else {
            Err("free and clear chunks are counted")
        }
    }
}
