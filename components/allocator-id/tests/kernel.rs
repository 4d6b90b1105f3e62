//! The cases of part B of the kernel reference that are about managers of ids.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use gpumm_allocator_id::contexts::{Contexts, PinError, Pinned};
use gpumm_allocator_id::paged::{NoId, PagedIds};
use gpumm_contract::AllocationId;
use gpumm_contract::allocator::{Allocator, Refusal};
use std::collections::BTreeMap;

fn n(number: u32) -> AllocationId {
    AllocationId(number)
}

#[test]
fn b_20_ids_with_pages() {
    let mut ids = PagedIds::new(4, Some(100)).unwrap();
    for number in 0..4 {
        assert_eq!(ids.allocate(n(number), 10), Ok(number));
    }
    assert_eq!(ids.allocate(n(4), 10), Err(NoId::Ids));
    ids.free(n(2)).unwrap();
    assert_eq!(ids.allocate(n(4), 80), Err(NoId::Pages { left: 70 }));
    // The id is free again, and so are the pages.
    assert_eq!(ids.used_pages(), 30);
    assert_eq!(ids.allocate(n(4), 10), Ok(2));
}

#[test]
fn pages_without_a_budget_are_counted() {
    let mut ids = PagedIds::new(3, None).unwrap();
    assert_eq!(ids.allocate(n(0), 1 << 40), Ok(0));
    assert_eq!(
        ids.allocate(n(0), 1),
        Err(NoId::Refused(Refusal::NumberInUse))
    );
    // Not even without a budget does the sum overflow.
    let left = u64::MAX - (1 << 40);
    assert_eq!(ids.allocate(n(1), left + 1), Err(NoId::Pages { left }));
    assert_eq!(ids.allocate(n(1), left), Ok(1));
    ids.free(n(1)).unwrap();
    assert_eq!(ids.used_pages(), 1 << 40);
    assert_eq!(ids.free(n(1)), Err(Refusal::NumberUnknown));
    // The budget may be exactly used up.
    let mut ids = PagedIds::new(3, Some(5)).unwrap();
    assert_eq!(ids.allocate(n(0), 5), Ok(0));
    assert_eq!(ids.allocate(n(1), 0), Ok(1));
    assert_eq!(ids.allocate(n(2), 1), Err(NoId::Pages { left: 0 }));
}

#[test]
fn b_21_context_ids() {
    let mut contexts = Contexts::new(32).unwrap();
    for number in 0..30 {
        assert_eq!(contexts.pin(n(number)), Ok(Pinned::Assigned(2 + number)));
    }
    assert_eq!(contexts.pin(n(30)), Err(PinError::Again));
    contexts.unpin(n(7)).unwrap();
    let stolen = Pinned::Stolen { id: 9, from: n(7) };
    assert_eq!(contexts.pin(n(30)), Ok(stolen));
    assert!(stolen.is_new());
    assert_eq!((contexts.id(n(7)), contexts.id(n(30))), (None, Some(9)));
    // The victim has to take another one's.
    assert_eq!(contexts.pin(n(7)), Err(PinError::Again));
    contexts.unpin(n(20)).unwrap();
    let stolen = Pinned::Stolen {
        id: 22,
        from: n(20),
    };
    assert_eq!(contexts.pin(n(7)), Ok(stolen));
    // A parent and a child have the whole of the low ids; nobody waits for them.
    assert_eq!(contexts.pin_parallel(n(40), 1), Ok(Pinned::Assigned(0)));
    contexts.unpin(n(40)).unwrap();
    assert_eq!(contexts.pin_parallel(n(41), 1), Err(PinError::NoSpace));
    // A run that is not pinned is no victim either.
    assert_eq!(contexts.pin(n(20)), Err(PinError::Again));
    contexts.release(n(40)).unwrap();
    assert_eq!(contexts.pin_parallel(n(41), 1), Ok(Pinned::Assigned(0)));
    assert_eq!(contexts.strategy().validate(), Ok(()));
}

#[test]
fn a_context_keeps_its_id_until_somebody_needs_it() {
    let mut contexts = Contexts::new(3).unwrap();
    assert_eq!(contexts.pin(n(0)), Ok(Pinned::Assigned(0)));
    contexts.unpin(n(0)).unwrap();
    assert_eq!(contexts.pin(n(0)), Ok(Pinned::Kept(0)));
    assert!(!Pinned::Kept(0).is_new());
    // Two pins need two ends.
    assert_eq!(contexts.pin(n(0)), Ok(Pinned::Kept(0)));
    contexts.unpin(n(0)).unwrap();
    assert_eq!(contexts.release(n(0)), Err(Refusal::NumberUnknown));
    contexts.pin(n(1)).unwrap();
    contexts.pin(n(2)).unwrap();
    assert_eq!(contexts.pin(n(3)), Err(PinError::Again));
    // The one that was unpinned first loses; being used again makes it the last.
    for number in [1, 0, 2, 1] {
        let _ = contexts
            .pin(n(number))
            .map(|pinned| assert!(!pinned.is_new()));
        contexts.unpin(n(number)).unwrap();
        let _ = contexts.unpin(n(number));
    }
    let from = |pinned: Result<Pinned, PinError>| match pinned {
        Ok(Pinned::Stolen { from, .. }) => from.0,
        other => panic!("{other:?}"),
    };
    assert_eq!(from(contexts.pin(n(3))), 0);
    assert_eq!(from(contexts.pin(n(4))), 2);
    assert_eq!(from(contexts.pin(n(5))), 1);
    assert_eq!(contexts.unpin(n(1)), Err(Refusal::NumberUnknown));
    // Who is gone leaves a free id, which is not stolen.
    contexts.unpin(n(4)).unwrap();
    contexts.release(n(4)).unwrap();
    assert_eq!(contexts.pin(n(6)), Ok(Pinned::Assigned(2)));
    assert_eq!(contexts.pin(n(7)), Err(PinError::Again));
}

#[test]
fn children_have_the_ids_behind_their_parent() {
    // 16 of 256 ids are for parallel contexts.
    let mut contexts = Contexts::new(256).unwrap();
    for (number, children, id) in [(0, 1, 0), (1, 2, 4), (2, 1, 2), (3, 6, 8)] {
        assert_eq!(
            contexts.pin_parallel(n(number), children),
            Ok(Pinned::Assigned(id)),
            "parent {number}"
        );
    }
    assert_eq!(contexts.pin_parallel(n(4), 1), Err(PinError::NoSpace));
    // A run is not stolen, and a single context has no place among the runs.
    contexts.unpin(n(1)).unwrap();
    assert_eq!(contexts.pin_parallel(n(4), 1), Err(PinError::NoSpace));
    assert_eq!(contexts.pin(n(5)), Ok(Pinned::Assigned(16)));
    assert_eq!(contexts.pin_parallel(n(1), 2), Ok(Pinned::Kept(4)));
    // A context stays what it is.
    let other = Err(PinError::Refused(Refusal::Size));
    assert_eq!(contexts.pin(n(1)), other);
    assert_eq!(contexts.pin_parallel(n(5), 1), other);
    assert_eq!(contexts.pin_parallel(n(1), 5), other);
    for children in [0, 16, u32::MAX - 1, u32::MAX] {
        assert_eq!(
            contexts.pin_parallel(n(9), children),
            Err(PinError::NoSpace)
        );
    }
    // With few ids there are none for parallel contexts.
    let mut few = Contexts::new(15).unwrap();
    assert_eq!(few.pin_parallel(n(0), 1), Err(PinError::NoSpace));
    assert_eq!(few.pin(n(0)), Ok(Pinned::Assigned(0)));
}

/// Whatever happens, no id is held twice and no pinned context loses its own.
#[test]
fn pinned_ids_are_never_stolen() {
    for seed in 0..20 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut contexts = Contexts::new(64).unwrap();
        // What the contexts know: their id and how often they are pinned.
        let mut known: BTreeMap<u32, (u32, u32)> = BTreeMap::new();
        let mut unpinned: Vec<u32> = Vec::new();
        for _ in 0..4_000 {
            let number = rng.u32(..90);
            match rng.u32(..5) {
                0..3 => match contexts.pin(n(number)) {
                    Ok(pinned) => {
                        if let Pinned::Stolen { id, from } = pinned {
                            // The oldest without a pin, and nobody else.
                            assert_eq!(from.0, unpinned.remove(0));
                            assert_eq!(known.remove(&from.0), Some((id, 0)));
                        }
                        let held = known.entry(number).or_insert((pinned.id(), 0));
                        assert_eq!(held.0, pinned.id());
                        assert_eq!(pinned.is_new(), held.1 == 0 && !unpinned.contains(&number));
                        held.1 += 1;
                        unpinned.retain(|other| *other != number);
                    }
                    Err(why) => {
                        assert_eq!(why, PinError::Again);
                        assert!(known.len() == 60 && known.values().all(|held| held.1 > 0));
                    }
                },
                3 => {
                    let held = known.get_mut(&number).filter(|held| held.1 > 0);
                    assert_eq!(contexts.unpin(n(number)).is_ok(), held.is_some());
                    if let Some(held) = held {
                        held.1 -= 1;
                        if held.1 == 0 {
                            unpinned.push(number);
                        }
                    }
                }
                _ => {
                    let idle = known.get(&number).is_some_and(|held| held.1 == 0);
                    assert_eq!(contexts.release(n(number)).is_ok(), idle);
                    if idle {
                        known.remove(&number);
                        unpinned.retain(|other| *other != number);
                    }
                }
            }
            let mut ids: Vec<u32> = known.values().map(|held| held.0).collect();
            ids.sort_unstable();
            ids.dedup();
            assert_eq!(ids.len(), known.len(), "an id is held twice");
            assert!(ids.first().is_none_or(|id| *id >= 4));
            assert!(
                known
                    .iter()
                    .all(|(number, held)| contexts.id(n(*number)) == Some(held.0))
            );
        }
        assert_eq!(contexts.strategy().validate(), Ok(()));
        assert!(known.len() > 50, "the ids were never scarce");
    }
}
