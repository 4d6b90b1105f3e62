//! The order of eviction: priority, then last use, then age.

use alloc::collections::BTreeSet;
use core::ops::Bound::{Excluded, Unbounded};
use gpumm_contract::paged::Paged;
use gpumm_contract::{BufferId, Stamp};

/// A buffer's place in the order of eviction.
pub(crate) type LruKey = (u8, Stamp, BufferId);

/// How many priorities there are.
const PRIORITIES: usize = 4;

/// The buffers of a memory type in the order of eviction.
///
/// Stamps grow, so nearly every buffer that is filed comes last of its priority: those are in
/// linked lists. One that comes earlier (its use is older than another one's that is filed
/// already, as when it was moved here) is kept aside in a sorted set.
///
/// Complexity: O(1); O(log n) for what is aside.
/// Invariants: a key is in its list or aside, never in both; lists are sorted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lru {
    ends: [Option<Ends>; PRIORITIES],
    links: Paged<Link>,
    aside: BTreeSet<LruKey>,
}

/// The first and the last of a list.
#[derive(Clone, Copy, Debug)]
struct Ends {
    first: BufferId,
    last: BufferId,
}

/// What a list knows of one of its buffers. The first one is its own `before`, the last one its
/// own `behind`.
#[derive(Clone, Copy, Debug)]
struct Link {
    priority: u8,
    stamp: Stamp,
    before: BufferId,
    behind: BufferId,
}

impl Lru {
    /// Files a buffer.
    ///
    /// Bounds: the priority is below 4, and the buffer is not filed here.
    pub(crate) fn insert(&mut self, key: LruKey) {
        let (priority, stamp, id) = key;
        let Some(ends) = self.ends.get_mut(usize::from(priority)) else {
            return;
        };
        let before = match ends {
            None => id,
            Some(Ends { last, .. }) => {
                let last = *last;
                let Some(link) = self.links.get_mut(last.0) else {
                    return;
                };
                if (link.stamp, last) >= (stamp, id) {
                    self.aside.insert(key);
                    return;
                }
                link.behind = id;
                last
            }
        };
        let first = ends.map_or(id, |e| e.first);
        *ends = Some(Ends { first, last: id });
        let link = Link {
            priority,
            stamp,
            before,
            behind: id,
        };
        self.links.insert(id.0, link);
    }

    /// Takes a buffer out, if it is filed.
    pub(crate) fn remove(&mut self, key: LruKey) {
        let (priority, _, id) = key;
        let Some(Link { before, behind, .. }) = self.links.remove(id.0) else {
            self.aside.remove(&key);
            return;
        };
        let (is_first, is_last) = (before == id, behind == id);
        if let Some(ends) = self.ends.get_mut(usize::from(priority)) {
            match ends {
                Some(_) if is_first && is_last => *ends = None,
                Some(ends) if is_first => ends.first = behind,
                Some(ends) if is_last => ends.last = before,
                _ => {}
            }
        }
        if let Some(link) = self.links.get_mut(before.0) {
            link.behind = if is_last { before } else { behind };
        }
        if let Some(link) = self.links.get_mut(behind.0) {
            link.before = if is_first { behind } else { before };
        }
    }

    /// The first key of all, or the first one behind a key, which need not be filed any more.
    ///
    /// Complexity: O(1) where that key is still filed or everything before it is gone, O(n) else.
    fn next(&self, after: Option<LruKey>) -> Option<LruKey> {
        let behind = (after.map_or(Unbounded, Excluded), Unbounded);
        let aside = self.aside.range(behind).next().copied();
        let from = after.map_or(0, |key| key.0);
        let listed = (from..PRIORITIES as u8).find_map(|priority| {
            let after = after.filter(|key| key.0 == priority);
            self.next_listed(priority, after)
        });
        listed.into_iter().chain(aside).min()
    }

    fn next_listed(&self, priority: u8, after: Option<LruKey>) -> Option<LruKey> {
        let key = |id: BufferId| Some((priority, self.links.get(id.0)?.stamp, id));
        let behind = |id: BufferId| {
            let next = self.links.get(id.0)?.behind;
            (next != id).then_some(next)
        };
        let filed = after.filter(|&(priority, stamp, id)| {
            let link = self.links.get(id.0);
            link.is_some_and(|l| (l.priority, l.stamp) == (priority, stamp))
        });
        let mut at = match filed {
            Some((.., id)) => behind(id)?,
            None => {
                self.ends
                    .get(usize::from(priority))
                    .copied()
                    .flatten()?
                    .first
            }
        };
        loop {
            let found = key(at)?;
            if after.is_none_or(|after| found > after) {
                return Some(found);
            }
            at = behind(at)?;
        }
    }

    /// Keys in the order of eviction, all of them or those behind one.
    pub(crate) fn behind(&self, after: Option<LruKey>) -> impl Iterator<Item = LruKey> + '_ {
        core::iter::successors(self.next(after), |&key| self.next(Some(key)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    /// Whatever is filed and taken out, the order is that of a sorted set.
    #[test]
    fn equals_a_sorted_set() {
        let mut rng = fastrand::Rng::with_seed(9);
        let (mut lru, mut set) = (Lru::default(), BTreeSet::new());
        let mut filed: Vec<Option<LruKey>> = [None; 60].into();
        for step in 0..20_000u64 {
            let id = rng.usize(0..filed.len());
            match filed[id].take() {
                Some(key) => {
                    lru.remove(key);
                    assert!(set.remove(&key));
                }
                None => {
                    // Mostly later than everything, at times older.
                    let stamp = Stamp(if rng.u8(0..4) > 0 {
                        step
                    } else {
                        rng.u64(0..=step)
                    });
                    let key = (rng.u8(0..4), stamp, BufferId(id as u64));
                    lru.insert(key);
                    set.insert(key);
                    filed[id] = Some(key);
                }
            }
            lru.remove((0, Stamp(0), BufferId(1 << 40)));
            let probe = (
                rng.u8(0..4),
                Stamp(rng.u64(0..=step)),
                BufferId(rng.u64(0..60)),
            );
            let behind = set.range((Excluded(probe), Unbounded)).next().copied();
            assert_eq!(lru.next(Some(probe)), behind);
            if step % 64 == 0 {
                assert!(lru.behind(None).eq(set.iter().copied()));
            }
        }
    }
}
