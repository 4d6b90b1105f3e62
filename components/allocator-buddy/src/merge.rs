//! Joining free buddies of different classes, and giving all free blocks one class.

use crate::piece::{ORDERS, Piece};
use crate::space::Space;

impl Space {
    /// Joins free buddies of different classes inside `start..end` until a block of an order is
    /// made; what is joined is dirty.
    ///
    /// `false`: none was made; what has been joined stays joined.
    ///
    /// Complexity: O(free blocks below the order * log n).
    pub(crate) fn force_merge(&mut self, start: u64, end: u64, wanted: u32) -> bool {
        for clear in [true, false] {
            for order in (0..wanted.min(ORDERS as u32)).rev() {
                // Of the blocks that end in the window the highest.
                let mut to = (end >> order).checked_sub(1);
                while let Some(key) =
                    to.and_then(|to| self.set(order, clear).previous(&self.pool, to))
                {
                    to = key.checked_sub(1);
                    let piece = Piece::at(key, order, clear);
                    if piece.offset < start {
                        break;
                    }
                    let buddy = Piece::at(key ^ 1, order, !clear);
                    if !self.set(order, !clear).contains(&self.pool, key ^ 1) {
                        continue;
                    }
                    self.remove(piece);
                    self.clear -= if clear { piece.chunks() } else { 0 };
                    if self.join_all(piece, buddy) >= wanted {
                        return true;
                    }
                }
            }
        }
        false
    }

    /// Joins a block that is in no set with its buddy, and so on whatever their class; the order
    /// reached.
    fn join_all(&mut self, mut piece: Piece, mut buddy: Piece) -> u32 {
        while self.remove(buddy) {
            self.clear -= if buddy.clear { buddy.chunks() } else { 0 };
            piece = Piece {
                offset: piece.offset & buddy.offset,
                order: piece.order + 1,
                clear: false,
            };
            let key = piece.key() ^ 1;
            let clear = self.set(piece.order.into(), true).contains(&self.pool, key);
            buddy = Piece::at(key, piece.order.into(), clear);
        }
        self.insert(piece);
        piece.order.into()
    }

    /// Makes every free block clear, or dirty.
    ///
    /// Complexity: O(free blocks of the other class * orders * log n).
    pub(crate) fn reset_clear(&mut self, clear: bool) {
        while let Some(order) = self.orders_from(0, !clear).checked_ilog2() {
            let Some(key) = self.set(order, !clear).last(&self.pool) else {
                return;
            };
            self.remove(Piece::at(key, order, !clear));
            self.join(Piece::at(key, order, clear).into());
        }
        self.clear = if clear { self.free } else { 0 };
    }
}
