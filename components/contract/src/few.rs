//! Lists that nearly always have one item.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::Deref;
use core::slice;

/// A list that is read as a slice and does not change; one item takes no heap block.
///
/// `B` is the block that keeps any other number of items: `Box<[T]>` for a list with one owner,
/// `Arc<[T]>` for one that is shared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Few<T, B = Box<[T]>>(Items<T, B>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Items<T, B> {
    One(T),
    /// INVARIANT: not exactly one.
    Other(B),
}

impl<T, B> Few<T, B> {
    /// A list of one item.
    pub const fn one(item: T) -> Self {
        Few(Items::One(item))
    }
}

impl<T, B: Deref<Target = [T]>> Deref for Few<T, B> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        match &self.0 {
            Items::One(item) => slice::from_ref(item),
            Items::Other(items) => items,
        }
    }
}

impl<'a, T, B: Deref<Target = [T]>> IntoIterator for &'a Few<T, B> {
    type Item = &'a T;
    type IntoIter = slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<T, B: FromIterator<T>> FromIterator<T> for Few<T, B> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        let mut items = items.into_iter();
        Few(match (items.next(), items.next()) {
            (Some(one), None) => Items::One(one),
            (first, second) => Items::Other(first.into_iter().chain(second).chain(items).collect()),
        })
    }
}

impl<T, B: FromIterator<T> + From<Vec<T>>> From<Vec<T>> for Few<T, B> {
    fn from(items: Vec<T>) -> Self {
        match items.len() {
            1 => items.into_iter().collect(),
            _ => Few(Items::Other(items.into())),
        }
    }
}

impl<T: Copy, B: for<'a> From<&'a [T]>> From<&[T]> for Few<T, B> {
    fn from(items: &[T]) -> Self {
        match items {
            &[one] => Few::one(one),
            _ => Few(Items::Other(items.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::sync::Arc;

    #[test]
    fn a_list_of_any_length_is_its_slice() {
        for n in 0..4 {
            let list: Vec<u64> = (0..n).collect();
            let shared: Few<u64, Arc<[u64]>> = Few::from(&list[..]);
            assert_eq!(shared[..], list[..]);
            let collected: Few<u64> = list.iter().copied().collect();
            assert_eq!(collected[..], list[..]);
            assert_eq!(Few::from(&list[..]), collected);
            assert_eq!(Few::from(list), collected);
        }
        assert_eq!(Few::<u64>::one(7)[..], [7]);
    }
}
