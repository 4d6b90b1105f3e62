//! Maps that can take back what was done to them since a mark.

use crate::paged::Paged;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::RangeBounds;

/// A B-tree map whose changes since [`begin`](Journaled::begin) can be kept or taken back.
///
/// Complexity: as a B-tree; while a journal is open, one entry is cloned per change.
/// Invariants: outside `begin`..`commit`/`rollback` nothing is recorded.
#[derive(Clone, Debug)]
pub struct Journaled<K, V> {
    map: BTreeMap<K, V>,
    undo: Vec<(K, Option<V>)>,
    open: bool,
}

/// How much room the record of changes keeps for the next ones.
const KEPT: usize = 1024;

impl<K, V> Default for Journaled<K, V> {
    fn default() -> Self {
        Journaled {
            map: BTreeMap::new(),
            undo: Vec::new(),
            open: false,
        }
    }
}

impl<K: Ord + Clone, V: Clone> Journaled<K, V> {
    /// Opens the journal; an open one goes on.
    pub fn begin(&mut self) {
        self.open = true;
    }

    /// Keeps all changes.
    pub fn commit(&mut self) {
        self.open = false;
        self.undo.clear();
        self.undo.shrink_to(KEPT);
    }

    /// Takes all changes back, the last one first.
    pub fn rollback(&mut self) {
        while let Some((key, old)) = self.undo.pop() {
            match old {
                Some(value) => self.map.insert(key, value),
                None => self.map.remove(&key),
            };
        }
        self.commit();
    }

    /// Puts a value under a key and returns the old one.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        if !self.open {
            return self.map.insert(key, value);
        }
        let old = self.map.insert(key.clone(), value);
        self.undo.push((key, old.clone()));
        old
    }

    /// Takes the value of a key out.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let old = self.map.remove(key);
        if let Some(old) = old.as_ref().filter(|_| self.open) {
            self.undo.push((key.clone(), Some(old.clone())));
        }
        old
    }

    /// Takes the value of a key out, without a copy; whether there was one.
    pub fn discard(&mut self, key: &K) -> bool {
        let old = self.map.remove(key);
        let some = old.is_some();
        if some && self.open {
            self.undo.push((key.clone(), old));
        }
        some
    }

    /// The value of a key, to change.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let value = self.map.get_mut(key)?;
        if self.open {
            self.undo.push((key.clone(), Some(value.clone())));
        }
        Some(value)
    }

    /// The value of a key.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.map.get(key)
    }

    /// Whether a key has a value.
    pub fn contains_key(&self, key: &K) -> bool {
        self.map.contains_key(key)
    }

    /// Entries by key.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&K, &V)> {
        self.map.iter()
    }

    /// Entries of a key range.
    pub fn range(&self, range: impl RangeBounds<K>) -> impl DoubleEndedIterator<Item = (&K, &V)> {
        self.map.range(range)
    }

    /// How many entries.
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }
}

/// [`Paged`] whose changes since [`begin`](JournaledPages::begin) can be kept or taken back.
///
/// Complexity: as [`Paged`]; while a journal is open, a value is cloned when it is changed for the
/// first time, and not at all when it is only put in or taken out. `begin` is O(1), the others
/// O(values touched).
/// Invariants: outside `begin`..`commit`/`rollback` nothing is recorded and no slot is marked; a
/// marked slot stands in the record as it was.
#[derive(Clone, Debug)]
pub struct JournaledPages<V> {
    pages: Paged<V>,
    undo: Vec<(u64, Option<V>)>,
    open: bool,
}

impl<V> Default for JournaledPages<V> {
    fn default() -> Self {
        JournaledPages {
            pages: Paged::default(),
            undo: Vec::new(),
            open: false,
        }
    }
}

impl<V: Clone> JournaledPages<V> {
    /// Opens the journal; an open one goes on.
    pub fn begin(&mut self) {
        self.open = true;
    }

    /// Keeps all changes.
    pub fn commit(&mut self) {
        for (number, _) in self.undo.drain(..) {
            self.pages.unmark(number);
        }
        self.undo.shrink_to(KEPT);
        self.open = false;
    }

    /// Takes all changes back, the last one first.
    pub fn rollback(&mut self) {
        while let Some((number, old)) = self.undo.pop() {
            match old {
                Some(value) => _ = self.pages.insert(number, value),
                None => _ = self.pages.remove(number),
            }
            self.pages.unmark(number);
        }
        self.commit();
    }

    /// Gives a number a value, replacing an older one.
    pub fn insert(&mut self, number: u64, value: V) {
        let old = self.pages.insert(number, value);
        if self.open && self.pages.mark(number) {
            self.undo.push((number, old));
        }
    }

    /// Takes the value of a number out; whether there was one.
    pub fn remove(&mut self, number: u64) -> bool {
        // The slot keeps its mark unless its page goes; then the number stands in the record twice,
        // which takes back to the same.
        let fresh = self.open && self.pages.mark(number);
        match self.pages.remove(number) {
            Some(old) if fresh => {
                self.undo.push((number, Some(old)));
                true
            }
            Some(_) => true,
            None => {
                if fresh {
                    self.pages.unmark(number);
                }
                false
            }
        }
    }

    /// The value of a number, to change.
    pub fn get_mut(&mut self, number: u64) -> Option<&mut V> {
        if !self.open {
            return self.pages.get_mut(number);
        }
        let (value, fresh) = self.pages.get_marked(number)?;
        if fresh {
            self.undo.push((number, Some(value.clone())));
        }
        Some(value)
    }

    /// The value of a number, to change; a number without one gets the default.
    pub fn get_or_default(&mut self, number: u64) -> &mut V
    where
        V: Default,
    {
        let (value, new, fresh) = self.pages.get_or_default(number, self.open);
        if fresh {
            self.undo.push((number, (!new).then(|| value.clone())));
        }
        value
    }

    /// The value of a number.
    pub fn get(&self, number: u64) -> Option<&V> {
        self.pages.get(number)
    }

    /// Whether a number has a value.
    pub fn contains(&self, number: u64) -> bool {
        self.pages.contains(number)
    }

    /// Numbers and values, by number.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (u64, &V)> {
        self.pages.iter()
    }

    /// How many numbers have a value.
    pub fn len(&self) -> usize {
        self.pages.len()
    }

    /// Whether no number has a value.
    pub fn is_empty(&self) -> bool {
        self.pages.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rollback_restores_every_entry() {
        let mut map = Journaled::default();
        for key in 0..10 {
            map.insert(key, key * 10);
        }
        let before: Vec<_> = map.iter().map(|(k, v)| (*k, *v)).collect();
        map.begin();
        map.insert(3, 1);
        map.insert(3, 2);
        map.remove(&3);
        map.insert(20, 5);
        *map.get_mut(&4).expect("there") = 7;
        map.remove(&4);
        map.remove(&99);
        map.rollback();
        assert!(map.iter().map(|(k, v)| (*k, *v)).eq(before));
        map.begin();
        map.insert(3, 1);
        map.commit();
        map.rollback();
        assert_eq!(map.get(&3), Some(&1));
    }

    /// Whatever is done to the pages, they are a map, and go back to what they were.
    #[test]
    fn pages_equal_a_map() {
        let mut rng = fastrand::Rng::with_seed(4);
        let (mut pages, mut map) = (JournaledPages::default(), BTreeMap::new());
        for step in 0..4_000u64 {
            let before = map.clone();
            let journal = rng.u8(0..4) > 0;
            if journal {
                pages.begin();
            }
            for _ in 0..rng.u8(0..10) {
                // Few numbers on each of many pages, so that pages come and go.
                let number = rng.u64(0..5) * 32 + rng.u64(0..3);
                match rng.u8(0..5) {
                    0 => {
                        pages.insert(number, step);
                        map.insert(number, step);
                    }
                    1 => {
                        *pages.get_or_default(number) += 1;
                        *map.entry(number).or_default() += 1;
                    }
                    2 => {
                        let both = pages
                            .get_mut(number)
                            .into_iter()
                            .chain(map.get_mut(&number));
                        both.for_each(|v| *v += 7);
                    }
                    _ => assert_eq!(pages.remove(number), map.remove(&number).is_some()),
                }
                assert_eq!(pages.get(number), map.get(&number));
                assert_eq!(pages.contains(number), map.contains_key(&number));
            }
            if journal && rng.bool() {
                pages.rollback();
                map = before;
            } else {
                pages.commit();
            }
            assert!(pages.iter().eq(map.iter().map(|(&n, v)| (n, v))));
            assert_eq!((pages.len(), pages.is_empty()), (map.len(), map.is_empty()));
            assert!(pages.undo.is_empty());
        }
    }
}
