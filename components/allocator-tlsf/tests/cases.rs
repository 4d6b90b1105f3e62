//! Single rules: every refusal, restore, resize, quality of fit, and what no input may do.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use gpumm_allocator_tlsf::Tlsf;
use gpumm_contract::allocator::{
    self, Allocate, Allocator, Answer, Block, Failure, Geometry, Refusal,
};
use gpumm_contract::wire::{Kind, Reader, Writer};
use gpumm_contract::{AllocationId, Extent};

const K: u64 = 1024;

fn tlsf(units: u64) -> Tlsf {
    let mut tlsf = Tlsf::new();
    tlsf.init(Geometry {
        size: units * 4 * K,
        granule: 4 * K,
    })
    .unwrap();
    tlsf
}

fn get(tlsf: &mut Tlsf, wish: Allocate) -> Result<Extent, Failure> {
    let mut extents = Vec::new();
    let result = tlsf.allocate(&wish, &mut extents);
    tlsf.validate().unwrap();
    result.map(|()| extents[0])
}

fn plain(number: u32, units: u64) -> Allocate {
    Allocate::plain(AllocationId(number), units * 4 * K)
}

fn refused(tlsf: &mut Tlsf, wish: Allocate, why: Refusal) {
    let before = tlsf.blocks(0, usize::MAX);
    assert_eq!(get(tlsf, wish), Err(Failure::Refused(why)));
    assert_eq!(tlsf.blocks(0, usize::MAX), before);
}

#[test]
fn every_refusal_of_a_wish() {
    let mut t = tlsf(16);
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
            alignment: 12 * K,
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
    let mut t = Tlsf::default();
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
    let mut t = Tlsf::new();
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
    let mut t = tlsf(16);
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
        let mut t = Tlsf::new();
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

/// Takes everything as pieces separated by one granule each, then frees the pieces.
fn holes(sizes: &[u64]) -> Tlsf {
    let mut t = tlsf(sizes.iter().map(|units| units + 1).sum());
    for (number, &units) in (0..).zip(sizes) {
        get(&mut t, plain(2 * number, units)).unwrap();
        get(&mut t, plain(2 * number + 1, 1)).unwrap();
    }
    for number in 0..sizes.len() as u32 {
        t.free(AllocationId(2 * number)).unwrap();
    }
    t
}

#[test]
fn the_lowest_fitting_hole_of_the_own_bin_is_taken() {
    // 64..=67 units share a bin; the lowest hole is freed first and last in its list.
    let mut t = holes(&[67, 66, 67, 200]);
    for (number, units, offset) in [(100, 65, 0), (101, 66, 68), (102, 65, 135), (103, 67, 203)] {
        let extent = get(&mut t, plain(number, units)).unwrap();
        assert_eq!(extent.offset, offset * 4 * K);
    }
    // Left are what was cut from both holes of 67, and from 200.
    assert_eq!(t.statistics().holes, 3);
}

#[test]
fn a_hole_that_fits_exactly_ends_the_search() {
    let mut t = holes(&[67, 65]);
    assert_eq!(get(&mut t, plain(100, 65)).unwrap().offset, 68 * 4 * K);
    assert_eq!(t.statistics().holes, 1);
}

#[test]
fn a_fitting_hole_behind_the_bounded_search_is_found() {
    // The one that fits was freed first and is last in a list of 41.
    let mut sizes = vec![67];
    sizes.resize(41, 64);
    let mut t = holes(&sizes);
    assert_eq!(
        get(&mut t, plain(900, 67)),
        Ok(Extent {
            offset: 0,
            bytes: 67 * 4 * K
        })
    );
    assert_eq!(
        get(&mut t, plain(901, 65)),
        Err(Failure::NoSpace {
            largest_hole: 256 * K
        })
    );
    // Aligned: only one of many holes of the size holds an aligned place.
    let mut t = holes(&[3; 40]);
    let coarse = |number| Allocate {
        alignment: 1024 * K,
        ..plain(number, 3)
    };
    assert_eq!(
        get(&mut t, coarse(900)),
        Ok(Extent {
            offset: 0,
            bytes: 12 * K
        })
    );
    assert_eq!(
        get(&mut t, coarse(901)),
        Err(Failure::NoSpace {
            largest_hole: 12 * K
        })
    );
}

#[test]
fn ranges_take_the_lowest_place() {
    let mut t = tlsf(64);
    let within = |number, start, end| Allocate {
        range: Some((start, end)),
        ..plain(number, 2)
    };
    assert_eq!(
        get(&mut t, within(1, 100 * K, 200 * K)).unwrap().offset,
        100 * K
    );
    assert_eq!(
        get(&mut t, within(2, 97 * K, 200 * K)).unwrap().offset,
        108 * K
    );
    assert_eq!(
        get(&mut t, within(3, 92 * K, 101 * K)).unwrap().offset,
        92 * K
    );
    let full = get(&mut t, within(4, 93 * K, 115 * K));
    assert_eq!(
        full,
        Err(Failure::NoSpace {
            largest_hole: 140 * K
        })
    );
    let exact = Allocate {
        alignment: 4 * K,
        ..within(5, 248 * K, 256 * K)
    };
    assert_eq!(get(&mut t, exact).unwrap().offset, 248 * K);
    let narrow = get(&mut t, within(6, K, 2 * K));
    assert!(matches!(narrow, Err(Failure::NoSpace { .. })));
}

#[test]
fn blocks_are_paged_from_any_byte() {
    let mut t = tlsf(16);
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
    for round in 0..2_000 {
        let (size, granule) = sizes[round % sizes.len()];
        let mut t = Tlsf::new();
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
            let length = [0, 1, 1, 2, 2, 4, 4, 3][rng.usize(..8 - usize::from(round % 9 != 0))];
            let op = if length == 0 {
                2
            } else {
                1 + u8::from(round % 11 == 0)
            };
            assert!(writer.item(op, number, |body| {
                body.extend((0..length).map(|_| odd(&mut rng)))
            }));
        }
        let mut words = writer.finish();
        if round % 5 == 0 {
            let at = rng.usize(..words.len());
            words[at] = odd(&mut rng);
        }
        let answers = allocator::execute(&mut t, &words);
        let mut reader = Reader::new(&answers, Kind::Answers).unwrap();
        while let Some(item) = reader.next().unwrap() {
            Answer::decode(&item).unwrap();
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
}
