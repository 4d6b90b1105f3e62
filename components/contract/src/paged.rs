//! A map over numbers that are mostly dense.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

/// Numbers per page: few, so that one survivor among many short-lived neighbours keeps little.
const PAGE: usize = 32;
/// Pages per shelf.
const SHELF: usize = 4096;

/// A map from 64-bit numbers to values, for numbers that are handed out in ascending order and
/// may end in any order.
///
/// Complexity: O(1) but for the choice of the shelf, of which there is one per 131,072
/// consecutive numbers. Memory: a value takes its own size, a page is given back with its last
/// value, and no number, however large, asks for more than one shelf.
/// Invariants: iteration is by number; no page is empty, no shelf is without a page.
#[derive(Clone, Debug)]
pub struct Paged<V> {
    shelves: BTreeMap<u64, Shelf<V>>,
    len: usize,
}

#[derive(Clone, Debug)]
struct Shelf<V> {
    pages: Vec<Option<Box<Page<V>>>>,
    filled: u32,
}

#[derive(Clone, Debug)]
struct Page<V> {
    slots: [Option<V>; PAGE],
    filled: u32,
    /// A bit per slot, filled or not.
    marks: u32,
}

const _: () = assert!(PAGE == u32::BITS as usize);

impl<V> Default for Paged<V> {
    fn default() -> Self {
        Paged {
            shelves: BTreeMap::new(),
            len: 0,
        }
    }
}

/// Shelf, page and slot of a number.
#[inline]
fn place(number: u64) -> (u64, usize, usize) {
    let page = number / PAGE as u64;
    (
        page / SHELF as u64,
        (page % SHELF as u64) as usize,
        (number % PAGE as u64) as usize,
    )
}

#[inline]
fn page_or_new<V>(shelves: &mut BTreeMap<u64, Shelf<V>>, number: u64) -> (&mut Page<V>, usize) {
    let (shelf, page, slot) = place(number);
    let shelf = shelves.entry(shelf).or_insert_with(|| Shelf {
        pages: Vec::new(),
        filled: 0,
    });
    if shelf.pages.len() <= page {
        shelf.pages.resize_with(page + 1, || None);
    }
    let filled = &mut shelf.filled;
    let page = shelf.pages[page].get_or_insert_with(|| {
        *filled += 1;
        Box::new(Page {
            slots: [const { None }; PAGE],
            filled: 0,
            marks: 0,
        })
    });
    (page, slot)
}

impl<V> Paged<V> {
    /// The value of a number.
    #[inline]
    pub fn get(&self, number: u64) -> Option<&V> {
        let (shelf, page, slot) = place(number);
        let page = self.shelves.get(&shelf)?.pages.get(page)?.as_deref()?;
        page.slots[slot].as_ref()
    }

    /// The value of a number, to change.
    #[inline]
    pub fn get_mut(&mut self, number: u64) -> Option<&mut V> {
        let (page, slot) = self.page_mut(number)?;
        page.slots[slot].as_mut()
    }

    /// Whether a number has a value.
    #[inline]
    pub fn contains(&self, number: u64) -> bool {
        self.get(number).is_some()
    }

    /// Gives a number a value and returns the old one.
    pub fn insert(&mut self, number: u64, value: V) -> Option<V> {
        let (page, slot) = page_or_new(&mut self.shelves, number);
        let old = page.slots[slot].replace(value);
        if old.is_none() {
            page.filled += 1;
            self.len += 1;
        }
        old
    }

    /// Takes the value of a number out.
    pub fn remove(&mut self, number: u64) -> Option<V> {
        let (at, page_at, slot) = place(number);
        let shelf = self.shelves.get_mut(&at)?;
        let page = shelf.pages.get_mut(page_at)?.as_deref_mut()?;
        let old = page.slots[slot].take()?;
        self.len -= 1;
        page.filled -= 1;
        if page.filled == 0 {
            shelf.pages[page_at] = None;
            shelf.filled -= 1;
            if shelf.filled == 0 {
                self.shelves.remove(&at);
            }
        }
        Some(old)
    }

    #[inline]
    fn page_mut(&mut self, number: u64) -> Option<(&mut Page<V>, usize)> {
        let (shelf, page, slot) = place(number);
        let shelf = self.shelves.get_mut(&shelf)?;
        Some((shelf.pages.get_mut(page)?.as_deref_mut()?, slot))
    }

    /// Marks a number, with or without a value, for whoever keeps books of changes; whether it was
    /// not marked before. A number whose neighbours have no values either cannot be marked, and
    /// loses its mark when the last value goes.
    #[inline]
    pub(crate) fn mark(&mut self, number: u64) -> bool {
        self.page_mut(number).is_some_and(|(page, slot)| {
            let fresh = page.marks & 1 << slot == 0;
            page.marks |= 1 << slot;
            fresh
        })
    }

    /// Takes the mark of a number away.
    #[inline]
    pub(crate) fn unmark(&mut self, number: u64) {
        if let Some((page, slot)) = self.page_mut(number) {
            page.marks &= !(1 << slot);
        }
    }

    /// The value of a number, to change, and [marked](Paged::mark); whether it was not before.
    #[inline]
    pub(crate) fn get_marked(&mut self, number: u64) -> Option<(&mut V, bool)> {
        let (page, slot) = self.page_mut(number)?;
        let value = page.slots[slot].as_mut()?;
        let fresh = page.marks & 1 << slot == 0;
        page.marks |= 1 << slot;
        Some((value, fresh))
    }

    /// The value of a number, to change, the default where there was none; whether that was so, and
    /// whether it is [marked](Paged::mark), if it shall be, for the first time.
    #[inline]
    pub(crate) fn get_or_default(&mut self, number: u64, mark: bool) -> (&mut V, bool, bool)
    where
        V: Default,
    {
        let (page, slot) = page_or_new(&mut self.shelves, number);
        let new = page.slots[slot].is_none();
        page.filled += u32::from(new);
        self.len += usize::from(new);
        let fresh = mark && page.marks & 1 << slot == 0;
        page.marks |= u32::from(mark) << slot;
        (page.slots[slot].get_or_insert_default(), new, fresh)
    }

    /// Numbers and values, by number.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (u64, &V)> {
        self.shelves.iter().flat_map(|(&shelf, of)| {
            let pages = of.pages.iter().enumerate();
            pages.flat_map(move |(at, page)| {
                let first = (shelf * SHELF as u64 + at as u64) * PAGE as u64;
                let slots = page.iter().flat_map(|page| page.slots.iter().enumerate());
                slots.filter_map(move |(slot, value)| Some((first + slot as u64, value.as_ref()?)))
            })
        })
    }

    /// How many numbers have a value.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no number has a value.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_a_map() {
        let mut rng = fastrand::Rng::with_seed(3);
        let (mut paged, mut map) = (Paged::default(), BTreeMap::new());
        for step in 0..30_000u64 {
            let number = match rng.u8(0..8) {
                0 => u64::MAX - rng.u64(0..40),
                1 => rng.u64(0..1 << 40) & !0xffff,
                _ => rng.u64(0..300),
            };
            match rng.u8(0..4) {
                0 => assert_eq!(paged.insert(number, step), map.insert(number, step)),
                1 => {
                    let (a, b) = (paged.get_mut(number), map.get_mut(&number));
                    assert_eq!(a, b);
                    a.into_iter().chain(b).for_each(|v| *v += 1);
                }
                _ => assert_eq!(paged.remove(number), map.remove(&number)),
            }
            assert_eq!(paged.get(number), map.get(&number));
            assert_eq!((paged.len(), paged.is_empty()), (map.len(), map.is_empty()));
            if step % 500 == 0 {
                assert!(paged.iter().eq(map.iter().map(|(&n, v)| (n, v))));
                assert!(
                    paged
                        .iter()
                        .rev()
                        .eq(map.iter().rev().map(|(&n, v)| (n, v)))
                );
            }
        }
        let all: Vec<u64> = paged.iter().map(|(n, _)| n).collect();
        all.iter().for_each(|&n| assert!(paged.remove(n).is_some()));
        assert!(
            paged.shelves.is_empty(),
            "nothing is kept of what has ended"
        );
    }
}
