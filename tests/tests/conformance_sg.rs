//! Part C of the reference: sg-tables. Every case runs against the library and the component.
#![allow(clippy::unwrap_used)]

use gpumm_allocator_buddy::Buddy;
use gpumm_allocator_tlsf::Tlsf;
use gpumm_contract::allocator::Allocate;
use gpumm_contract::table::{Counted, Hold, Holder, Limits, TableError, TableState, Tables};
use gpumm_contract::{AllocationId, Allocator, Extent, Geometry, Point, Segment, Segments};
use gpumm_contract::{TableId, TimelineId};
use gpumm_sg_table::{addresses, entries, pages, sizes};
use gpumm_tests::tables::both;
use std::fs;
use std::path::Path;

const P: u64 = 4096;
const T: TableId = TableId(1);

/// The rows of a file of cases, without its head, as cells.
fn rows<const N: usize>(file: &str) -> Vec<[String; N]> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("conformance")
        .join(file);
    let text = fs::read_to_string(path).unwrap();
    let cells = |line: &str| -> Vec<String> { line.split(',').map(str::to_owned).collect() };
    let row = |line| cells(line).try_into().unwrap();
    text.lines().skip(1).map(row).collect()
}

/// A number as the files spell it: decimal with K, M, G or T, or hexadecimal.
fn number(text: &str) -> u64 {
    if let Some(digits) = text.strip_prefix("0x") {
        return u64::from_str_radix(digits, 16).unwrap();
    }
    let units = [("K", 10), ("M", 20), ("G", 30), ("T", 40)];
    let unit = |(name, bits)| Some(text.strip_suffix(name)?.parse::<u64>().unwrap() << bits);
    units
        .into_iter()
        .find_map(unit)
        .unwrap_or_else(|| text.parse().unwrap())
}

/// Pairs as the files spell them: `0+8K 16K+4K`.
fn pairs(text: &str) -> Vec<(u64, u64)> {
    let pair = |pair: &str| {
        let (at, bytes) = pair.split_once('+').unwrap();
        (number(at), number(bytes))
    };
    text.split(' ').map(pair).collect()
}

fn extents(pairs: &[(u64, u64)]) -> Vec<Extent> {
    let extent = |&(offset, bytes): &(u64, u64)| Extent { offset, bytes };
    pairs.iter().map(extent).collect()
}

fn refusal(name: &str) -> Option<TableError> {
    Some(match name {
        "max-segment" => TableError::MaxSegment,
        "too-large" => TableError::TooLarge,
        "short" => TableError::Short,
        _ => return None,
    })
}

/// Builds a table and lets it go; afterwards nothing is left.
fn built(
    tables: &mut dyn Tables,
    extents: &[Extent],
    base: u64,
    limits: Limits,
) -> Result<Segments, TableError> {
    let built = tables.build_clamped(T, extents, base, limits);
    let released = tables.put_layout(T);
    assert_eq!(released.ok(), built.is_ok().then_some(true));
    assert_eq!(tables.dump(), []);
    if let Ok(segments) = &built {
        lawful(segments, limits);
    }
    built
}

/// The invariants of part C that can be seen in a list of segments.
fn lawful(segments: &[Segment], limits: Limits) {
    let max = limits.max_segment / limits.page * limits.page;
    assert_eq!(
        segments.iter().map(|s| s.bytes).sum::<u64>(),
        limits.bytes,
        "C.3.2"
    );
    for s in segments {
        assert!(s.bytes > 0 && s.bytes <= max, "C.3.1: {s:?}");
        assert_eq!(s.address % limits.page, 0, "C.3.1: {s:?}");
    }
    for pair in segments.windows(2) {
        let touch = pair[0].address + pair[0].bytes == pair[1].address;
        assert!(!touch || pair[0].bytes == max, "C.3.3: {pair:?}");
        assert_eq!(pair[0].bytes % limits.page, 0, "C.3.1: {pair:?}");
    }
}

#[test]
fn c_1_coalescing() {
    both(|tables| {
        for [frames, bytes, max, want] in rows("c_1_coalescing.csv") {
            let frames: Vec<_> = frames.split(' ').map(|f| (number(f) * P, P)).collect();
            let limits = Limits {
                bytes: number(&bytes),
                max_segment: number(&max),
                page: P,
            };
            let count = built(tables, &extents(&frames), 0, limits).map(|s| s.len());
            let wanted = refusal(&want).map_or_else(|| Ok(number(&want) as usize), Err);
            assert_eq!(count, wanted, "{frames:?} {limits:?}");
        }
    });
}

/// Every row of the file that belongs to a case.
fn builds(case: &str) {
    both(|tables| {
        let mut count = 0;
        for [id, over, bytes, base, max, page, want] in rows("c_builds.csv") {
            if id != case {
                continue;
            }
            count += 1;
            let limits = Limits {
                bytes: number(&bytes),
                max_segment: number(&max),
                page: number(&page),
            };
            let over = extents(&pairs(&over));
            let segments = built(tables, &over, number(&base), limits)
                .map(|list| list.iter().map(|s| (s.address, s.bytes)).collect());
            let wanted = refusal(&want).map_or_else(|| Ok(pairs(&want)), Err);
            assert_eq!(segments, wanted, "{case}: {over:?}");
        }
        assert!(count > 0, "{case} has no row");
    });
}

#[test]
fn c_4_range_node() {
    builds("C-4");
}

#[test]
fn c_5_range_node_split() {
    builds("C-5");
}

#[test]
fn c_6_too_large() {
    builds("C-6");
    // Segments are what is limited: the same bytes in fewer of them are a table.
    both(|tables| {
        let bytes = (1 << 44) + P;
        let limits = Limits {
            bytes,
            max_segment: u32::MAX.into(),
            page: P,
        };
        let segments = built(tables, &extents(&[(0, bytes)]), 0, limits).unwrap();
        assert_eq!(segments.len() as u64, bytes.div_ceil(0xffff_f000));
    });
}

#[test]
fn c_7_buddy_merge() {
    builds("C-7");
}

#[test]
fn c_8_buddy_max_segment_boundary() {
    builds("C-8");
}

#[test]
fn c_10_clamp() {
    builds("C-10");
}

/// The whole of an arena as a strategy gives it, after a splinter at its beginning has come and,
/// if wanted, stayed.
fn whole(strategy: &mut dyn Allocator, size: u64, granule: u64, splinter: bool) -> Vec<Extent> {
    strategy.init(Geometry { size, granule }).unwrap();
    let mut got = Vec::new();
    let mut bytes = size;
    if splinter {
        let one = Allocate::plain(AllocationId(1), granule);
        strategy.allocate(&one, &mut got).unwrap();
        got.clear();
        bytes -= granule;
    }
    let rest = Allocate::plain(AllocationId(2), bytes);
    strategy.allocate(&rest, &mut got).unwrap();
    got
}

#[test]
fn c_9_max_segment_of_a_region() {
    const SIZE: u64 = 8 << 30;
    both(|tables| {
        for page in [4 << 10, 64 << 10, 2 << 20] {
            let max = u64::from(u32::MAX) / page * page;
            for splinter in [false, true] {
                let lists = [
                    whole(&mut Buddy::new(), SIZE, page, splinter),
                    whole(&mut Tlsf::default(), SIZE, page, splinter),
                ];
                for list in lists {
                    assert!(list.iter().any(|e| e.bytes >= max), "{list:?}");
                    let limits = Limits {
                        bytes: list.iter().map(|e| e.bytes).sum(),
                        max_segment: u32::MAX.into(),
                        page,
                    };
                    // `built` looks at lengths and alignment.
                    let segments = built(tables, &list, 1 << 40, limits).unwrap();
                    assert!(segments.len() >= 2);
                }
            }
        }
    });
}

/// How many pages each entry of a table of C-2 has, in five ways; with the largest power of two
/// for which the pages are not too many for a test.
fn generators(count: u64) -> [(&'static str, u32, Vec<u64>); 5] {
    let mut rng = fastrand::Rng::with_seed(count);
    let mut any = |pages: &mut dyn FnMut(&mut fastrand::Rng) -> u64| {
        (0..count).map(|_| pages(&mut rng)).collect()
    };
    [
        ("one", 19, vec![1; count as usize]),
        ("growing", 11, (1..=count).collect()),
        ("shrinking", 11, (1..=count).rev().collect()),
        ("random", 11, any(&mut |rng| rng.u64(1..=1024))),
        (
            "of three",
            13,
            any(&mut |rng| [1, 16, 512][rng.usize(0..3)]),
        ),
    ]
}

/// Every page frame of the runs, by each of three iterators.
fn same_frames(segments: &[Segment], runs: &[(u64, u64)]) {
    let want = || runs.iter().flat_map(|&(frame, n)| frame..frame + n);
    let by_entry = entries(segments).flat_map(|e| {
        let first = e.segment.address / P;
        first..first + e.segment.bytes / P
    });
    assert!(by_entry.eq(want()));
    assert!(pages(segments, P).eq(want()));
    assert!(addresses(segments, P).eq(want().map(|frame| frame * P)));
    let (mut end, mut all) = (0, true);
    for e in entries(segments) {
        all &= e.offset == end;
        end += e.segment.bytes;
    }
    assert!(all, "an offset is not the sum of the lengths before");
}

#[test]
fn c_2_three_iterators_agree() {
    both(|tables| {
        for power in [2u32, 3, 5, 7, 11, 13, 17, 19] {
            for count in [(1 << power) - 1, 1 << power, (1 << power) + 1] {
                for (name, most, sizes) in generators(count) {
                    if power <= most {
                        iterate(tables, name, &sizes);
                    }
                }
            }
        }
    });
}

/// Builds entries of so many pages each, and compares what the iterators find.
fn iterate(tables: &mut dyn Tables, name: &str, sizes: &[u64]) {
    let total: u64 = sizes.iter().sum();
    // Entries that touch are one segment; with a page between, each is one.
    for gap in [0, 1] {
        let mut frame = 1024;
        let run = |&pages: &u64| {
            let first = frame;
            frame += pages + gap;
            (first, pages)
        };
        let runs: Vec<_> = sizes.iter().map(run).collect();
        let over: Vec<_> = runs.iter().map(|&(f, n)| (f * P, n * P)).collect();
        let limits = Limits {
            bytes: total * P,
            max_segment: u32::MAX.into(),
            page: P,
        };
        let segments = built(tables, &extents(&over), 0, limits).unwrap();
        let want = match gap {
            0 => (total * P).div_ceil(0xffff_f000) as usize,
            _ => sizes.len(),
        };
        assert_eq!(segments.len(), want, "{name} {}", sizes.len());
        same_frames(&segments, &runs);
    }
}

#[test]
fn c_11_released_exactly_once() {
    both(|tables| {
        let extents = extents(&[(0, P)]);
        let until = |timeline, value| Point {
            timeline: TimelineId(timeline),
            value,
        };
        let copy = |timeline, value| Hold {
            holder: Holder::Copy,
            until: until(timeline, value),
        };
        let layout = Counted {
            holder: Holder::Layout,
            count: 1,
        };
        let state = |untimed: &[Counted], timed: &[Hold]| {
            vec![TableState {
                table: T,
                untimed: untimed.to_vec(),
                timed: timed.to_vec(),
            }]
        };
        // One holder at first; a second one; two puts, of which the second releases.
        tables.build(T, &extents, 0, P).unwrap();
        assert_eq!(tables.dump(), state(&[layout], &[]));
        tables.get(T, Holder::Layout).unwrap();
        let two = Counted { count: 2, ..layout };
        assert_eq!(tables.dump(), state(&[two], &[]));
        assert_eq!(tables.put(T, Holder::Layout), Ok(false));
        assert_eq!(tables.put(T, Holder::Layout), Ok(true));
        // Below zero, and after the release: an answer, and nothing comes back to life.
        assert_eq!(tables.put(T, Holder::Layout), Err(TableError::Unknown));
        assert_eq!(tables.put_layout(T), Err(TableError::Unknown));
        assert_eq!(tables.get(T, Holder::Capture), Err(TableError::Unknown));
        assert_eq!(tables.hold(T, copy(0, 1)), Err(TableError::Unknown));
        assert_eq!(tables.dump(), []);

        // Counts are per holder, and every holder counts.
        tables.build(T, &extents, 0, P).unwrap();
        assert_eq!(
            tables.build(T, &extents, 0, P).map(drop),
            Err(TableError::InUse)
        );
        for holder in Holder::ALL.into_iter().skip(1) {
            assert_eq!(tables.put(T, holder), Err(TableError::NotHeld));
            tables.get(T, holder).unwrap();
            tables.get(T, holder).unwrap();
        }
        assert_eq!(tables.put_layout(T), Ok(false));
        assert_eq!(tables.put_layout(T), Err(TableError::Unknown));
        assert_eq!(tables.put(T, Holder::Layout), Err(TableError::NotHeld));
        for holder in Holder::ALL.into_iter().skip(1) {
            assert_eq!(tables.put(T, holder), Ok(false), "{holder:?}");
            let last = holder == Holder::Capture;
            assert_eq!(tables.put(T, holder), Ok(last), "{holder:?}");
        }
        assert_eq!(tables.dump(), []);

        // A point ends a hold once, and the last one of all releases, whichever kind it is.
        tables.build(T, &extents, 0, P).unwrap();
        tables.hold(T, copy(0, 5)).unwrap();
        tables.hold(T, copy(0, 5)).unwrap();
        tables.hold(T, copy(1, 9)).unwrap();
        let all = [copy(0, 5), copy(0, 5), copy(1, 9)];
        assert_eq!(tables.dump(), state(&[layout], &all));
        tables.get(T, Holder::Mapping).unwrap();
        assert_eq!(tables.put_layout(T), Ok(false));
        assert_eq!(tables.retire(until(0, 4)), []);
        assert_eq!(tables.retire(until(0, 5)), []);
        assert_eq!(tables.put(T, Holder::Copy), Err(TableError::NotHeld));
        assert_eq!(tables.put(T, Holder::Mapping), Ok(false));
        assert_eq!(tables.dump(), state(&[], &[copy(1, 9)]));
        assert_eq!(tables.retire(until(1, u64::MAX)), [T]);
        assert_eq!(tables.retire(until(1, u64::MAX)), []);
        assert_eq!(tables.dump(), []);
    });
}

#[test]
fn c_18_sizes() {
    both(|tables| {
        let over = extents(&[(0, 64 << 10), (4 << 20, 2 << 20), (1 << 20, P)]);
        let limits = Limits {
            bytes: over.iter().map(|e| e.bytes).sum(),
            max_segment: u32::MAX.into(),
            page: P,
        };
        let segments = built(tables, &over, 0, limits).unwrap();
        assert_eq!(segments.len(), 3);
        assert_eq!(sizes(&segments), 0x21_1000);
        assert_eq!(1u64 << sizes(&segments).trailing_zeros(), P);
        assert_eq!(sizes(&[]), 0);
    });
}
