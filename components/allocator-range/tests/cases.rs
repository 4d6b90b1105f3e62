//! Single rules: every refusal, restore, resize, quality of fit, and what no input may do.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use gpumm_allocator_range::RangeManager;
use gpumm_contract::allocator::{
    self, Allocate, Allocator, Answer, Block, Failure, Geometry, Mode, Refusal,
};
use gpumm_contract::wire::{Kind, Reader, Writer};
use gpumm_contract::{AllocationId, Extent};

const K: u64 = 1024;

fn range(units: u64) -> RangeManager {
    let mut range = RangeManager::new();
    range
        .init(Geometry {
            size: units * 4 * K,
            granule: 4 * K,
        })
        .unwrap();
    range
}

fn get(range: &mut RangeManager, wish: Allocate) -> Result<Extent, Failure> {
    let mut extents = Vec::new();
    let result = range.allocate(&wish, &mut extents);
    range.validate().unwrap();
    result.map(|()| extents[0])
}

fn plain(number: u32, units: u64) -> Allocate {
    Allocate::plain(AllocationId(number), units * 4 * K)
}

fn refused(range: &mut RangeManager, wish: Allocate, why: Refusal) {
    let before = range.blocks(0, usize::MAX);
    assert_eq!(get(range, wish), Err(Failure::Refused(why)));
    assert_eq!(range.blocks(0, usize::MAX), before);
}

#[test]
fn every_refusal_of_a_wish() {
    let mut t = range(16);
    get(&mut t, plain(1, 1)).unwrap();
    refused(&mut t, plain(1, 1), Refusal::NumberInUse);
    refused(&mut t, plain(2, 0), Refusal::Size);
    refused(
        &mut t,
        Allocate {
            bytes: 4 * K + 1,
            ..plain(2, 1)
        },
        Refusal::Size,
    );
    refused(
        &mut t,
        Allocate {
            alignment: 6 * K,
            ..plain(2, 1)
        },
        Refusal::Alignment,
    );
    for range in [(0, 65 * K), (4 * K, 4 * K), (8 * K, 4 * K), (0, u64::MAX)] {
        refused(
            &mut t,
            Allocate {
                range: Some(range),
                ..plain(2, 1)
            },
            Refusal::Range,
        );
    }
    for number in [1 << 26, u32::MAX - 1, u32::MAX] {
        refused(&mut t, plain(number, 1), Refusal::Unsupported);
        assert_eq!(t.free(AllocationId(number)), Err(Refusal::NumberUnknown));
    }
    get(&mut t, plain((1 << 26) - 1, 1)).unwrap();
    assert_eq!(t.free(AllocationId(7)), Err(Refusal::NumberUnknown));
    t.free(AllocationId(1)).unwrap();
    assert_eq!(t.free(AllocationId(1)), Err(Refusal::NumberUnknown));
}

#[test]
fn nothing_serves_without_a_geometry() {
    let mut t = RangeManager::default();
    refused(&mut t, plain(1, 1), Refusal::Geometry);
    assert_eq!(t.free(AllocationId(1)), Err(Refusal::Geometry));
    assert_eq!(
        t.resize(Geometry {
            size: 4096,
            granule: 4096
        }),
        Err(Refusal::Geometry)
    );
    assert_eq!(t.restore_part(AllocationId(1), &[]), Err(Refusal::Geometry));
    assert_eq!(t.restore_end(), Err(Refusal::Geometry));
    assert_eq!(t.statistics(), allocator::Statistics::default());
    for (size, granule) in [
        (0, 4096),
        (4097, 4096),
        (4096, 0),
        (12288, 12288),
        (2048, 4096),
    ] {
        assert_eq!(t.init(Geometry { size, granule }), Err(Refusal::Geometry));
        assert_eq!(
            t.restore_begin(Geometry { size, granule }),
            Err(Refusal::Geometry)
        );
    }
    t.restore_begin(Geometry {
        size: 8192,
        granule: 4096,
    })
    .unwrap();
    refused(&mut t, plain(1, 1), Refusal::Geometry);
    t.restore_end().unwrap();
    assert_eq!(t.restore_end(), Err(Refusal::Geometry));
    get(&mut t, plain(1, 2)).unwrap();
    // A wrong geometry forgets nothing.
    assert_eq!(
        t.init(Geometry {
            size: 1,
            granule: 4096
        }),
        Err(Refusal::Geometry)
    );
    assert_eq!(t.statistics().allocations, 1);
}

#[test]
fn a_restore_refuses_what_is_off_outside_or_taken() {
    let mut t = RangeManager::new();
    t.restore_begin(Geometry {
        size: 64 * K,
        granule: 4 * K,
    })
    .unwrap();
    let e = |offset, bytes| Extent { offset, bytes };
    t.restore_part(AllocationId(1), &[e(16 * K, 8 * K), e(0, 4 * K)])
        .unwrap();
    assert_eq!(
        t.restore_part(AllocationId(1), &[e(32 * K, 4 * K)]),
        Err(Refusal::NumberInUse)
    );
    for wrong in [
        e(K, 4 * K),
        e(4 * K, K),
        e(4 * K, 0),
        e(60 * K, 8 * K),
        e(64 * K, 4 * K),
        e(u64::MAX - 4095, 4096),
        e(16 * K, 8 * K),
        e(12 * K, 8 * K),
        e(20 * K, 8 * K),
        e(8 * K, 32 * K),
    ] {
        let parts = [e(28 * K, 4 * K), wrong];
        assert_eq!(
            t.restore_part(AllocationId(2), &parts),
            Err(Refusal::Extent),
            "{wrong:?}"
        );
    }
    let twice = [e(28 * K, 4 * K), e(28 * K, 4 * K)];
    assert_eq!(
        t.restore_part(AllocationId(2), &twice),
        Err(Refusal::Extent)
    );
    assert_eq!(t.restore_part(AllocationId(2), &[]), Err(Refusal::Extent));
    assert_eq!(
        t.restore_part(AllocationId(1 << 26), &[e(28 * K, 4 * K)]),
        Err(Refusal::Unsupported)
    );
    // None of the failed parts left anything behind.
    t.restore_part(AllocationId(2), &[e(28 * K, 4 * K)])
        .unwrap();
    t.restore_end().unwrap();
    t.validate().unwrap();
    let owners: Vec<_> = t
        .blocks(0, 99)
        .iter()
        .map(|b| (b.extent.offset / K, b.owner.map(|n| n.0)))
        .collect();
    let expected = [
        (0, Some(1)),
        (4, None),
        (16, Some(1)),
        (24, None),
        (28, Some(2)),
        (32, None),
    ];
    assert_eq!(owners, expected);
    t.free(AllocationId(1)).unwrap();
    t.free(AllocationId(2)).unwrap();
    assert_eq!(
        t.blocks(0, 9),
        [Block {
            extent: e(0, 64 * K),
            owner: None
        }]
    );
}

#[test]
fn resize_cuts_only_what_is_free() {
    let mut t = range(16);
    let at = |size| Geometry {
        size,
        granule: 4 * K,
    };
    get(&mut t, plain(1, 4)).unwrap();
    assert_eq!(t.resize(at(12 * K)), Err(Refusal::Geometry));
    assert_eq!(
        t.resize(Geometry {
            size: 64 * K,
            granule: 8 * K
        }),
        Err(Refusal::Geometry)
    );
    assert_eq!(t.statistics().free_bytes, 48 * K);
    for size in [16 * K, 20 * K, 20 * K, 64 * K, 16 * K] {
        t.resize(at(size)).unwrap();
        t.validate().unwrap();
        assert_eq!(t.statistics().largest_hole, size - 16 * K);
    }
    assert_eq!(
        get(&mut t, plain(2, 1)),
        Err(Failure::NoSpace { largest_hole: 0 })
    );
    t.free(AllocationId(1)).unwrap();
    t.resize(at(!4095u64)).unwrap();
    t.validate().unwrap();
    assert_eq!(t.statistics().largest_hole, !4095);
}

#[test]
fn the_whole_of_the_largest_arenas_can_be_taken() {
    for granule in [1, 4096, 1 << 40, 1 << 63] {
        let mut t = RangeManager::new();
        let size = !(granule - 1);
        t.init(Geometry { size, granule }).unwrap();
        let wish = Allocate::plain(AllocationId(0), size);
        assert_eq!(
            get(&mut t, wish),
            Ok(Extent {
                offset: 0,
                bytes: size
            })
        );
        t.free(AllocationId(0)).unwrap();
        for mode in Mode::ALL {
            let small = Allocate {
                mode,
                ..Allocate::plain(AllocationId(1), granule)
            };
            let offset = if mode == Mode::High {
                size - granule
            } else {
                0
            };
            let bytes = granule;
            assert_eq!(get(&mut t, small), Ok(Extent { offset, bytes }));
            t.free(AllocationId(1)).unwrap();
        }
        let high = Allocate {
            bytes: granule,
            alignment: 1 << 63,
            range: Some((1, size)),
            ..wish
        };
        let expected = if granule == 1 << 63 {
            Err(Failure::NoSpace { largest_hole: size })
        } else {
            Ok(Extent {
                offset: 1 << 63,
                bytes: granule,
            })
        };
        assert_eq!(get(&mut t, high), expected);
    }
}

#[test]
fn blocks_are_paged_from_any_byte() {
    let mut t = range(16);
    for number in 0..4 {
        get(&mut t, plain(number, 2)).unwrap();
    }
    t.free(AllocationId(1)).unwrap();
    let offsets = |from, limit| {
        t.blocks(from, limit)
            .iter()
            .map(|b| b.extent.offset / K)
            .collect::<Vec<_>>()
    };
    assert_eq!(offsets(0, 99), [0, 8, 16, 24, 32]);
    assert_eq!(offsets(0, 2), [0, 8]);
    assert_eq!(offsets(8 * K - 1, 2), [0, 8]);
    assert_eq!(offsets(8 * K, 2), [8, 16]);
    assert_eq!(offsets(40 * K, 2), [32]);
    assert_eq!(offsets(64 * K, 2), []);
    assert_eq!(offsets(u64::MAX, 2), []);
    assert_eq!(offsets(0, 0), []);
}

#[test]
fn no_list_of_words_stops_the_strategy() {
    let mut rng = fastrand::Rng::with_seed(4);
    let sizes = [
        (1, 1),
        (u64::MAX, 1),
        (!4095u64, 4096),
        (1 << 63, 1 << 63),
        (100 << 12, 4096),
    ];
    let mut seen = [0; 15];
    for round in 0..2_000 {
        let (size, granule) = sizes[round % sizes.len()];
        let mut t = RangeManager::new().with_guard(rng.u64(..3));
        let odd = |rng: &mut fastrand::Rng| match rng.u32(..7) {
            0 => rng.u64(..),
            1 => u64::MAX - rng.u64(..3),
            2 => size.wrapping_sub(rng.u64(..3).wrapping_mul(granule)),
            3 => 1 << rng.u32(..64),
            4 => (rng.u64(..) >> rng.u32(..64)) / granule * granule,
            _ => rng.u64(..20).wrapping_mul(granule),
        };
        if round % 7 != 0 {
            t.init(Geometry { size, granule }).unwrap();
        }
        let mut writer = Writer::new(Kind::Commands);
        let extents = |rng: &mut fastrand::Rng| Extent {
            offset: odd(rng),
            bytes: odd(rng),
        };
        if rng.u32(..4) == 0 {
            let _ = t.restore_begin(Geometry { size, granule });
            for number in 0..10 {
                let list: Vec<_> = (0..rng.u32(..3)).map(|_| extents(&mut rng)).collect();
                let _ = t.restore_part(AllocationId(number), &list);
            }
            let _ = t.restore_end();
            t.validate().unwrap();
        }
        for _ in 0..30 {
            let number = if rng.u32(..9) == 0 {
                rng.u32(..) | 1 << 25
            } else {
                rng.u32(..12)
            };
            let op = if round % 11 == 0 {
                rng.u8(1..10)
            } else {
                [1, 1, 1, 1, 2, 2, 3, 4, 5, 6, 6, 6, 7, 7, 8][rng.usize(..15)]
            };
            let lengths: &[usize] = match op {
                1 => &[1, 1, 2, 4, 5, 6],
                3 => &[1, 2],
                4 => &[1],
                5 => &[6],
                _ => &[0],
            };
            let wrong = usize::from(round % 9 == 0 && rng.u8(..8) == 0);
            let length = lengths[rng.usize(..lengths.len())] + wrong;
            let mut body: Vec<u64> = (0..length).map(|_| odd(&mut rng)).collect();
            // Flags that nobody knows, or a range that nobody means, stop the whole list.
            if let (1 | 5, [_, _, start, end, rest @ ..]) = (op, &mut body[..]) {
                let plain = op == 1 && rest.is_empty();
                let flags = rng.u64(..5) + if op == 1 { 16 * rng.u64(1..16) } else { 0 };
                if rng.bool() && !plain {
                    (*start, *end) = (0, 0);
                    rest[0] = flags;
                } else if !plain {
                    rest[0] = flags + 8;
                }
                if let [_, colour] = rest {
                    *colour = 1 + rng.u64(..3);
                }
            }
            let number = if matches!(op, 4 | 5 | 8) { 0 } else { number };
            let body = if op == 4 { vec![rng.u64(..2)] } else { body };
            assert!(writer.item(op, number, |out| out.extend(&body)));
        }
        let mut words = writer.finish();
        if round % 5 == 0 {
            let at = rng.usize(..words.len());
            words[at] = odd(&mut rng);
        }
        let answers = allocator::execute(&mut t, &words);
        let mut reader = Reader::new(&answers, Kind::Answers).unwrap();
        while let Some(item) = reader.next().unwrap() {
            let code = match Answer::decode(&item).unwrap() {
                Answer::Extents(..) => 0,
                Answer::NoSpace { .. } => 1,
                Answer::Freed(_) => 2,
                Answer::Done(_, false) => 3,
                Answer::Done(_, true) => 4,
                Answer::Refused(_, why) => 4 + why as usize,
            };
            seen[code] += 1;
        }
        t.validate().unwrap();
        let _ = allocator::restore_part(&mut t, &answers);
        let _ = t.resize(Geometry {
            size: odd(&mut rng),
            granule,
        });
        let _ = t.blocks(odd(&mut rng), 10);
        t.validate().unwrap();
        let random: Vec<u64> = (0..rng.usize(..9)).map(|_| odd(&mut rng)).collect();
        allocator::execute(&mut t, &random);
    }
    // Every answer there is has been given; a missing one would show that little was tried. Only
    // a restore speaks of extents.
    let extent = 4 + Refusal::Extent as usize;
    let tried = |(code, &count): (usize, &u32)| (count > 10) == (code != extent);
    assert!(seen.iter().enumerate().all(tried), "{seen:?}");
}

/// Restored and original answer alike in the modes that say so.
#[test]
fn history_does_not_show_in_modes_that_do_not_ask_for_it() {
    let mut rng = fastrand::Rng::with_seed(11);
    let mut t = range(200);
    let modes = [Mode::Low, Mode::High, Mode::BestLow];
    for round in 0..2_000 {
        let number = rng.u32(..40);
        let wish = Allocate {
            mode: modes[rng.usize(..3)],
            alignment: (4 * K) << rng.u32(..3),
            ..plain(number, rng.u64(1..12))
        };
        if round % 40 == 0 {
            let mut fresh = RangeManager::new();
            let size = 800 * K;
            let granule = 4 * K;
            fresh.restore_begin(Geometry { size, granule }).unwrap();
            for block in t.blocks(0, usize::MAX).iter().rev() {
                if let Some(owner) = block.owner {
                    fresh.restore_part(owner, &[block.extent]).unwrap();
                }
            }
            fresh.restore_end().unwrap();
            assert_eq!(get(&mut fresh, wish), get(&mut t, wish));
        }
        let _ = get(&mut t, wish);
        let _ = t.free(AllocationId(rng.u32(..40)));
    }
}
