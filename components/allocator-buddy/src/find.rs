//! Which free block serves: the rules of the kernel's buddy allocator.

use crate::piece::{Piece, pieces};
use crate::space::Space;
use gpumm_contract::extent::round_up;

/// Where a block may come from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Rule {
    /// The highest free block of the smallest sufficient order, and its upper end.
    Highest,
    /// The highest free block of all sufficient orders, and its upper end.
    Topmost,
    /// As [`Rule::Highest`], among the places whose offset is a multiple of `2^n` chunks.
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

/// A place found: the free block, and the offset in it.
type Found = (Piece, u64);

/// The upper end of a free block.
fn upper_end(holder: Piece, order: u32) -> Found {
    (holder, holder.offset + (holder.chunks() - (1 << order)))
}

impl Space {
    /// Takes a block of an order by a rule, of the class wished for if there is one.
    ///
    /// Complexity: O(orders * log n); for [`Rule::Multiple`] and [`Rule::Window`] see there.
    #[inline]
    pub(crate) fn take(&mut self, order: u32, rule: Rule, clear: bool) -> Option<Piece> {
        let found = match rule {
            Rule::Highest => None,
            Rule::Topmost => self.topmost(order, clear),
            Rule::Multiple(multiple) => Some(self.highest_multiple(order, multiple, clear)?),
            Rule::Window {
                multiple,
                start,
                end,
            } => Some(self.in_window(order, multiple, start, end, clear)?),
        };
        match found {
            Some((holder, offset)) => Some(self.cut(holder, offset, order as u8)),
            None => self.take_highest(order, clear),
        }
    }

    /// Takes the upper end of the highest free block of the smallest sufficient order.
    #[inline]
    pub(crate) fn take_highest(&mut self, order: u32, clear: bool) -> Option<Piece> {
        let (mut class, mut orders) = (clear, self.orders_from(order, clear));
        if orders == 0 {
            class = !clear;
            orders = self.orders_from(order, class);
        }
        let from = orders.trailing_zeros();
        (orders != 0).then(|| self.cut_highest(from, class, order))?
    }

    fn topmost(&self, order: u32, clear: bool) -> Option<Found> {
        let mut orders = self.orders_from(order, clear);
        let mut best: Option<Piece> = None;
        while orders != 0 {
            let here = orders.trailing_zeros();
            orders &= orders - 1;
            let key = self.set(here, clear).last(&self.pool)?;
            let piece = Piece::at(key, here, clear);
            best = best.into_iter().chain([piece]).max_by_key(|p| p.offset);
        }
        Some(upper_end(best?, order))
    }

    /// The highest aligned place in the smallest order that has one.
    ///
    /// An order without one makes the other class the preferred one of the next order: so the
    /// kernel does it.
    ///
    /// Complexity: O(orders * log n), but where an order has both blocks that are aligned enough
    /// and others above them, these cost a 64th of their number.
    fn highest_multiple(&mut self, order: u32, multiple: u32, clear: bool) -> Option<Found> {
        let mut orders = self.all_orders() & u64::MAX << order;
        while orders != 0 {
            let here = orders.trailing_zeros();
            orders &= orders - 1;
            let first = clear ^ ((here - order) & 1 != 0);
            for class in [first, !first] {
                let zeros = multiple.saturating_sub(here);
                self.sets[usize::from(class)][here as usize].count_zeros(&self.pool);
                if let Some(key) = self.set(here, class).last_multiple(&self.pool, zeros) {
                    let holder = Piece::at(key, here, class);
                    // The uppermost place in it that is aligned; the holder itself is.
                    let (_, end) = upper_end(holder, order.max(multiple).min(here));
                    return Some((holder, end));
                }
            }
        }
        None
    }

    /// The lowest place of an order in a window.
    ///
    /// A block that is split counts as dirty, so a clear one is preferred only while it is a whole
    /// root: so the kernel does it.
    ///
    /// Complexity: O(orders * log n); a multiple above the order costs the free blocks between
    /// its multiples, too.
    fn in_window(
        &self,
        order: u32,
        multiple: u32,
        start: u64,
        end: u64,
        clear: bool,
    ) -> Option<Found> {
        let step = order.max(multiple);
        if !clear {
            let dirty = self.lowest_in(order, step, start, end, false);
            return dirty.or_else(|| self.lowest_in(order, step, start, end, true));
        }
        let root = |root: Piece| {
            let fits = |place: u64| place + ((1 << order) - 1) <= root.last().min(end - 1);
            let place = round_up(start.max(root.offset), 1 << step).filter(|&place| fits(place));
            let free = |_: &u64| {
                self.set(root.order.into(), true)
                    .contains(&self.pool, root.key())
            };
            Some((root, place.filter(free)?))
        };
        let whole = pieces(0, self.size, true).filter(|root| root.order as u32 >= order);
        whole.into_iter().find_map(root).or_else(|| {
            let classes = [false, true].map(|class| self.lowest_in(order, step, start, end, class));
            let both = classes.into_iter().flatten();
            both.min_by_key(|(_, place)| *place)
        })
    }

    fn lowest_in(&self, order: u32, step: u32, start: u64, end: u64, clear: bool) -> Option<Found> {
        let mut best: Option<Found> = None;
        let mut orders = self.orders_from(order, clear);
        while orders != 0 {
            let here = orders.trailing_zeros();
            orders &= orders - 1;
            let end = best.map_or(end, |(_, lowest)| end.min(lowest));
            let found = self.lowest_of(here, order, step, start, end, clear);
            best = found.or(best);
        }
        best
    }

    /// The same among the free blocks of one order and class.
    fn lowest_of(
        &self,
        here: u32,
        order: u32,
        step: u32,
        start: u64,
        end: u64,
        clear: bool,
    ) -> Option<Found> {
        let set = self.set(here, clear);
        let mut from = start;
        loop {
            // The first free block that ends behind the first place still possible.
            let place = round_up(from, 1 << step)?;
            let key = set.next(&self.pool, place >> here)?;
            let place = place.max(key << here);
            if place
                .checked_add(1 << order)
                .is_none_or(|behind| behind > end)
            {
                return None;
            }
            if place.is_multiple_of(1 << step) {
                return Some((Piece::at(key, here, clear), place));
            }
            from = place;
        }
    }
}
