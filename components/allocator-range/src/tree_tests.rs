//! The tree of holes against a sorted list.

use crate::tree::{Entry, Tree};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

fn entry((&key, &(most, child)): (&u64, &(u64, u32))) -> Entry {
    let key = key.into();
    Entry { key, most, child }
}

#[track_caller]
fn same(tree: &Tree, list: &BTreeMap<u64, (u64, u32)>, rng: &mut fastrand::Rng, keys: u64) {
    let holes: Vec<Entry> = list.iter().map(entry).collect();
    assert_eq!(tree.validate(), Ok(holes));
    assert_eq!(tree.len(), list.len() as u64);
    let largest = list.values().map(|hole| hole.0).max();
    assert_eq!(tree.largest(), largest.unwrap_or(0));
    for _ in 0..4 {
        let (key, units) = (rng.u64(..=keys), rng.u64(1..110));
        let fits = |hole: &(&u64, &(u64, u32))| hole.1.0 >= units;
        let before = list.range(..key).next_back().map(entry);
        let first = list.range(key..).find(fits).map(entry);
        let last = list.range(..key).rfind(fits).map(entry);
        assert_eq!(tree.before(key.into()), before, "{key}");
        assert_eq!(tree.first(key.into(), units), first, "{key} {units}");
        assert_eq!(tree.last(key.into(), units), last, "{key} {units}");
    }
}

#[test]
fn every_operation_agrees_with_a_sorted_list() {
    // Growing and shrinking, so that pages split, join, and share evenly on every level.
    for (seed, keys, steps) in [(1, 30, 3_000), (2, 300, 6_000), (3, 40_000, 24_000)] {
        let mut rng = fastrand::Rng::with_seed(seed);
        let (mut tree, mut list) = (Tree::new(), BTreeMap::new());
        let mut high = 0;
        for step in 0..steps {
            let grow = if step / (steps / 6) % 2 == 0 { 8 } else { 2 };
            let key = 10 * rng.u64(..keys);
            let hole = (rng.u64(1..100), rng.u32(..));
            let near = list.range(key..).next().map(|(&key, _)| key);
            match (rng.u32(..10) < grow, near) {
                (true, _) if !list.contains_key(&key) => {
                    list.insert(key, hole);
                    tree.insert(entry((&key, &hole)));
                }
                // Grows or shrinks at its beginning, up to its neighbours.
                (true, Some(key)) => {
                    list.remove(&key);
                    let moved = (key + rng.u64(..10)).saturating_sub(rng.u64(..9));
                    let free = list.range(moved..=key.max(moved)).next().is_none()
                        && list.range(key.min(moved)..=moved).next().is_none();
                    let moved = if free { moved } else { key };
                    list.insert(moved, hole);
                    tree.change(key.into(), entry((&moved, &hole)));
                }
                (false, Some(key)) => {
                    list.remove(&key);
                    tree.remove(key.into());
                }
                _ => (),
            }
            high = high.max(list.len());
            if step % (1 + keys as usize / 500) == 0 {
                same(&tree, &list, &mut rng, 10 * keys + 20);
            }
        }
        // More than two levels hold, where there is room for so many.
        assert!(high as u64 > keys.min(2_000) / 2, "{high}");
        let left: Vec<u64> = list.keys().copied().collect();
        for key in left {
            list.remove(&key);
            tree.remove(key.into());
        }
        same(&tree, &list, &mut rng, 10);
    }
}

#[test]
fn keys_may_come_in_order() {
    let mut rng = fastrand::Rng::with_seed(4);
    let orders: [fn(u64) -> u64; 2] = [|n| n, |n| 5_000 - n];
    for order in orders {
        let (mut tree, mut list) = (Tree::new(), BTreeMap::new());
        for n in 0..5_000 {
            let hole = (n % 97 + 1, n as u32);
            list.insert(order(n), hole);
            tree.insert(entry((&order(n), &hole)));
        }
        same(&tree, &list, &mut rng, 5_000);
        for n in 0..4_990 {
            list.remove(&order(n));
            tree.remove(order(n).into());
        }
        same(&tree, &list, &mut rng, 5_000);
    }
}
