//! A small sorted map for keys that mostly come in order.

/// A map in a vector. Grants use the lowest numbers first, so what is filed during a call is
/// nearly always filed last.
///
/// Complexity: insert O(1) behind the last key, O(n) elsewhere; get O(log n).
#[derive(Clone, Debug)]
pub(super) struct Sorted<K, V>(Vec<(K, V)>);

impl<K, V> Default for Sorted<K, V> {
    fn default() -> Self {
        Sorted(Vec::new())
    }
}

impl<K: Ord + Copy, V> Sorted<K, V> {
    fn place(&self, key: K) -> Result<usize, usize> {
        match self.0.last() {
            Some((last, _)) if *last >= key => self.0.binary_search_by_key(&key, |e| e.0),
            _ => Err(self.0.len()),
        }
    }

    pub(super) fn insert(&mut self, key: K, value: V) {
        match self.place(key) {
            Ok(at) => self.0[at].1 = value,
            Err(at) => self.0.insert(at, (key, value)),
        }
    }

    pub(super) fn remove(&mut self, key: K) {
        if let Ok(at) = self.place(key) {
            self.0.remove(at);
        }
    }

    pub(super) fn get(&self, key: K) -> Option<&V> {
        self.place(key).ok().map(|at| &self.0[at].1)
    }

    pub(super) fn contains(&self, key: K) -> bool {
        self.place(key).is_ok()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (K, &V)> {
        self.0.iter().map(|(key, value)| (*key, value))
    }

    pub(super) fn into_iter(self) -> impl Iterator<Item = (K, V)> {
        self.0.into_iter()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn equals_a_map() {
        let mut rng = fastrand::Rng::with_seed(2);
        let (mut sorted, mut map) = (Sorted::default(), BTreeMap::new());
        for step in 0..5_000 {
            let key = rng.u8(0..50);
            if rng.bool() {
                sorted.insert(key, step);
                map.insert(key, step);
            } else {
                sorted.remove(key);
                map.remove(&key);
            }
            assert_eq!(sorted.get(key), map.get(&key));
            assert_eq!(sorted.contains(key), map.contains_key(&key));
            assert_eq!(sorted.is_empty(), map.is_empty());
            assert!(sorted.iter().eq(map.iter().map(|(k, v)| (*k, v))));
        }
        assert!(sorted.into_iter().eq(map));
    }
}
