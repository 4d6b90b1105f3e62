//! Values over ranges of bytes.

use crate::extent::Extent;
use crate::journal::Journaled;
use alloc::vec::Vec;
use core::ops::Range;

/// A map from disjoint byte ranges to values; neighbours with equal values are one range.
///
/// Complexity: O(log n + pieces touched). Invariants: ranges are disjoint, not empty, ordered;
/// two touching ranges have different values.
#[derive(Clone, Debug)]
pub struct RangeMap<V> {
    map: Journaled<u64, (u64, V)>,
}

impl<V> Default for RangeMap<V> {
    fn default() -> Self {
        RangeMap {
            map: Journaled::default(),
        }
    }
}

impl<V: Clone + PartialEq> RangeMap<V> {
    /// Gives every byte of an extent one value, replacing older values.
    ///
    /// Bounds: an empty extent, or one whose end does not fit in 64 bits, changes nothing.
    pub fn set(&mut self, extent: Extent, value: V) {
        let (mut start, Some(mut end)) = (extent.offset, extent.end()) else {
            return;
        };
        if start == end {
            return;
        }
        // Most bytes of a memory are one tenant's for long, and most that are not stand alone.
        let before = self.map.range(..=start).next_back();
        if before.is_some_and(|(_, (to, old))| *to >= end && *old == value) {
            return;
        }
        let apart = |to: u64, old: &V| to < start || to == start && *old != value;
        if before.is_none_or(|(_, (to, old))| apart(*to, old)) {
            let after = self.map.range(start..=end).next();
            if after.is_none_or(|(&at, (_, old))| at == end && *old != value) {
                self.map.insert(start, (end, value));
                return;
            }
        }
        self.clear(extent);
        if let Some((&at, (to, old))) = self.map.range(..start).next_back()
            && *to == start
            && *old == value
        {
            start = at;
        }
        if let Some((to, old)) = self.map.get(&end)
            && *old == value
        {
            let to = *to;
            self.map.discard(&end);
            end = to;
        }
        self.map.insert(start, (end, value));
    }

    /// Takes the values of an extent's bytes away.
    pub fn clear(&mut self, extent: Extent) {
        let Some(end) = extent.end().filter(|_| extent.bytes > 0) else {
            return;
        };
        if self.map.is_empty() {
            return;
        }
        let begin = extent.offset;
        // What was set is mostly cleared in the same pieces.
        if self.map.get(&begin).is_some_and(|(to, _)| *to == end) {
            self.map.discard(&begin);
            return;
        }
        let before = self.map.range(..begin).next_back();
        if let Some((&start, &(to, _))) = before.filter(|(_, (to, _))| *to > begin)
            && let Some((short, value)) = self.map.get_mut(&start)
        {
            *short = begin;
            if to > end {
                let value = value.clone();
                self.map.insert(end, (to, value));
            }
        }
        while let Some((start, to)) = self.first_in(begin..end) {
            if to <= end {
                self.map.discard(&start);
            } else if let Some((_, value)) = self.map.remove(&start) {
                self.map.insert(end, (to, value));
            }
        }
    }

    /// The first range that begins among some bytes.
    fn first_in(&self, bytes: Range<u64>) -> Option<(u64, u64)> {
        let first = self.map.range(bytes).next();
        first.map(|(&start, &(to, _))| (start, to))
    }

    fn over(&self, extent: Extent) -> impl Iterator<Item = (u64, u64, &V)> {
        let end = extent.end().unwrap_or(extent.offset);
        let first = self
            .map
            .range(..=extent.offset)
            .next_back()
            .map_or(extent.offset, |(&at, _)| at);
        self.map
            .range(first.min(end)..end)
            .map(|(&start, (to, value))| (start, *to, value))
            .filter(move |&(_, to, _)| to > extent.offset)
    }

    /// The values of the ranges that share bytes with an extent.
    pub fn overlapping(&self, extent: Extent) -> impl Iterator<Item = &V> {
        self.over(extent).map(|(_, _, value)| value)
    }

    /// All ranges with their values, by address.
    pub fn iter(&self) -> impl Iterator<Item = (Extent, &V)> {
        self.map.iter().map(|(&offset, (end, value))| {
            (
                Extent {
                    offset,
                    bytes: end - offset,
                },
                value,
            )
        })
    }

    /// The end of the last range; 0 when no byte has a value.
    pub fn last_end(&self) -> u64 {
        self.map.iter().next_back().map_or(0, |(_, (end, _))| *end)
    }

    /// Keeps the ranges whose value passes.
    pub fn retain(&mut self, keep: impl Fn(&V) -> bool) {
        let gone: Vec<u64> = self
            .map
            .iter()
            .filter(|(_, (_, value))| !keep(value))
            .map(|(&at, _)| at)
            .collect();
        for at in gone {
            self.map.discard(&at);
        }
    }

    /// How many ranges.
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// Whether no byte has a value.
    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// Opens the journal.
    pub fn begin(&mut self) {
        self.map.begin();
    }

    /// Keeps all changes since `begin`.
    pub fn commit(&mut self) {
        self.map.commit();
    }

    /// Takes all changes since `begin` back.
    pub fn rollback(&mut self) {
        self.map.rollback();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Byte-wise model: whatever is done to the map, every byte has the value of the model.
    #[test]
    fn equals_a_byte_model() {
        let mut rng = fastrand::Rng::with_seed(11);
        let mut map = RangeMap::default();
        let mut model = [0u8; 64];
        for step in 0..20_000 {
            let start = rng.u64(0..64);
            let extent = Extent {
                offset: start,
                bytes: rng.u64(0..=64 - start),
            };
            let range = start as usize..(start + extent.bytes) as usize;
            let journaled = step % 3 == 0;
            let before = model;
            if journaled {
                map.begin();
            }
            match rng.u8(0..4) {
                0 => {
                    map.clear(extent);
                    model[range].fill(0);
                }
                value => {
                    map.set(extent, value);
                    model[range].fill(value);
                }
            }
            if journaled && rng.bool() {
                map.rollback();
                model = before;
            } else {
                map.commit();
            }
            let mut seen = [0u8; 64];
            let mut last: Option<(u64, u8)> = None;
            for (e, &v) in map.iter() {
                assert!(
                    e.bytes > 0
                        && last
                            .is_none_or(|(end, lv)| end < e.offset || end == e.offset && lv != v)
                );
                seen[e.offset as usize..(e.offset + e.bytes) as usize].fill(v);
                last = Some((e.offset + e.bytes, v));
            }
            assert_eq!(seen, model);
            let probe = rng.u64(0..60);
            let mut hit: Vec<u8> = map
                .overlapping(Extent {
                    offset: probe,
                    bytes: 4,
                })
                .copied()
                .collect();
            hit.dedup();
            let mut want: Vec<u8> = model[probe as usize..probe as usize + 4].to_vec();
            want.retain(|&v| v != 0);
            want.dedup();
            hit.dedup();
            // A hole between two equal values splits them in the map, not in the model.
            assert!(want.iter().all(|v| hit.contains(v)) && hit.iter().all(|v| want.contains(v)));
        }
    }
}
