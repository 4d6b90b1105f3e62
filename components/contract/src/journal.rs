//! An ordered map that can take back what was done to it since a mark.

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
    undo: Option<Vec<(K, Option<V>)>>,
}

impl<K, V> Default for Journaled<K, V> {
    fn default() -> Self {
        Journaled {
            map: BTreeMap::new(),
            undo: None,
        }
    }
}

impl<K: Ord + Clone, V: Clone> Journaled<K, V> {
    /// Opens the journal; an open one goes on.
    pub fn begin(&mut self) {
        self.undo.get_or_insert_default();
    }

    /// Keeps all changes.
    pub fn commit(&mut self) {
        self.undo = None;
    }

    /// Takes all changes back, the last one first.
    pub fn rollback(&mut self) {
        for (key, old) in self.undo.take().into_iter().flatten().rev() {
            match old {
                Some(value) => self.map.insert(key, value),
                None => self.map.remove(&key),
            };
        }
    }

    /// Puts a value under a key and returns the old one.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        match &mut self.undo {
            None => self.map.insert(key, value),
            Some(undo) => {
                let old = self.map.insert(key.clone(), value);
                undo.push((key, old.clone()));
                old
            }
        }
    }

    /// Takes the value of a key out.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let old = self.map.remove(key);
        if let (Some(undo), Some(old)) = (&mut self.undo, &old) {
            undo.push((key.clone(), Some(old.clone())));
        }
        old
    }

    /// The value of a key, to change.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let value = self.map.get_mut(key)?;
        if let Some(undo) = &mut self.undo {
            undo.push((key.clone(), Some(value.clone())));
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
}
