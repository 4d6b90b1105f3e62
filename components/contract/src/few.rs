//! Lists that nearly always have one item.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::Deref;
use core::slice;

/// A list that is read as a slice and does not change; one item takes no heap block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Few<T>(Items<T>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Items<T> {
    One(T),
    /// INVARIANT: not exactly one.
    Other(Box<[T]>),
}

impl<T> Few<T> {
    /// A list of one item.
    pub const fn one(item: T) -> Self {
        Few(Items::One(item))
    }
}

impl<T> Deref for Few<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        match &self.0 {
            Items::One(item) => slice::from_ref(item),
            Items::Other(items) => items,
        }
    }
}

impl<'a, T> IntoIterator for &'a Few<T> {
    type Item = &'a T;
    type IntoIter = slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<T> FromIterator<T> for Few<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        let mut items = items.into_iter();
        Few(match (items.next(), items.next()) {
            (Some(one), None) => Items::One(one),
            (first, second) => Items::Other(first.into_iter().chain(second).chain(items).collect()),
        })
    }
}

impl<T> From<Vec<T>> for Few<T> {
    fn from(items: Vec<T>) -> Self {
        match items.len() {
            1 => items.into_iter().collect(),
            _ => Few(Items::Other(items.into())),
        }
    }
}

impl<T: Copy> From<&[T]> for Few<T> {
    fn from(items: &[T]) -> Self {
        items.iter().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_any_length_is_its_slice() {
        for n in 0..4 {
            let list: Vec<u64> = (0..n).collect();
            let collected: Few<u64> = list.iter().copied().collect();
            assert_eq!(collected[..], list[..]);
            assert_eq!(Few::from(&list[..]), collected);
            assert_eq!(Few::from(list), collected);
        }
        assert_eq!(Few::one(7)[..], [7]);
    }
}
