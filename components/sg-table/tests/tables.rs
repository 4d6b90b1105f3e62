//! Building, holding and releasing tables. Case numbers C-n are those of the reference.
#![allow(clippy::unwrap_used)]

use gpumm_contract::table::{Hold, Holder, TableError, Tables};
use gpumm_contract::{Extent, Point, Segment, TableId, TimelineId};
use gpumm_sg_table::{SgTables, segments};

const P: u64 = 4096;
const M: u64 = 0xffff_f000;
const T: TableId = TableId(1);

fn extents(list: &[(u64, u64)]) -> Vec<Extent> {
    list.iter()
        .map(|&(offset, bytes)| Extent { offset, bytes })
        .collect()
}

fn lengths(list: &[(u64, u64)], base: u64, max: u64) -> Vec<(u64, u64)> {
    segments(&extents(list), base, max)
        .unwrap()
        .iter()
        .map(|s| (s.address, s.bytes))
        .collect()
}

fn hold(timeline: u32, value: u64) -> Hold {
    Hold {
        holder: Holder::Copy,
        until: Point {
            timeline: TimelineId(timeline),
            value,
        },
    }
}

fn retire(tables: &mut SgTables, timeline: u32, value: u64) -> Vec<TableId> {
    tables.retire(Point {
        timeline: TimelineId(timeline),
        value,
    })
}

#[test]
fn c_1_page_lists_coalesce() {
    let count = |pages: &[u64], max| {
        let list: Vec<_> = pages.iter().map(|&p| (p * P, P)).collect();
        lengths(&list, 0, max).len()
    };
    let cases: [(&[u64], u64, usize); 17] = [
        (&[0], M, 1),
        (&[0, 1], M, 1),
        (&[1, 0], M, 2),
        (&[0, 1, 2], M, 1),
        (&[0, 2, 1], M, 3),
        (&[0, 1, 3], M, 2),
        (&[1, 2, 4], M, 2),
        (&[1, 3, 4], M, 2),
        (&[0, 1, 3, 4], M, 2),
        (&[0, 1, 3, 4, 5], M, 2),
        (&[0, 1, 3, 4, 6], M, 3),
        (&[0, 1, 2, 3, 4], M, 1),
        (&[0, 1, 2, 3, 4], 2 * P, 3),
        (&[0, 1, 2, 3, 4, 5], 2 * P, 3),
        (&[0, 2, 3, 4, 5, 6], 2 * P, 4),
        (&[0, 1, 3, 4, 5, 6], 2 * P, 3),
        (&[0], P, 1),
    ];
    for (pages, max, want) in cases {
        assert_eq!(count(pages, max), want, "{pages:?} max {max}");
    }
    assert_eq!(
        segments(&extents(&[(0, P)]), 0, 0),
        Err(TableError::MaxSegment)
    );
}

#[test]
fn c_4_c_5_one_run_is_cut_only_at_the_maximum() {
    assert_eq!(
        lengths(&[(16 * P, P)], 0x1_0000_0000, M),
        [(0x1_0001_0000, P)]
    );
    let five = 5 << 30;
    assert_eq!(lengths(&[(0, five)], 0, M), [(0, M), (M, five - M)]);
    let two_meg = 0xffe0_0000;
    assert_eq!(
        lengths(&[(0, five)], 0, two_meg),
        [(0, two_meg), (two_meg, five - two_meg)]
    );
}

#[test]
fn c_7_c_8_blocks_merge_in_list_order() {
    assert_eq!(
        lengths(&[(0, 8192), (8192, P), (16384, P)], 0, M),
        [(0, 12288), (16384, P)]
    );
    assert_eq!(lengths(&[(8192, P), (0, 8192)], 0, M).len(), 2);
    let g2 = 2u64 << 30;
    assert_eq!(
        lengths(&[(0, g2), (g2, g2), (2 * g2, P)], 0, M),
        [(0, M), (M, 0x2000)]
    );
}

#[test]
fn wrong_extents_build_nothing() {
    let mut tables = SgTables::default();
    let mut build = |list: &[(u64, u64)], base, max| tables.build(T, &extents(list), base, max);
    assert_eq!(build(&[], 0, M), Err(TableError::Empty));
    assert_eq!(build(&[(0, 0)], 0, M), Err(TableError::Empty));
    assert_eq!(build(&[(u64::MAX - 1, 1)], 2, M), Err(TableError::Overflow));
    assert_eq!(
        build(&[(u64::MAX - P, 2 * P)], 0, M),
        Err(TableError::Overflow)
    );
    assert_eq!(build(&[(0, 1 << 60)], 0, P), Err(TableError::TooLarge));
    assert!(tables.is_empty());
}

#[test]
fn c_11_released_exactly_once() {
    let mut tables = SgTables::default();
    let built = tables.build(T, &extents(&[(0, P)]), 0, M).unwrap();
    assert_eq!(
        built,
        [Segment {
            address: 0,
            bytes: P
        }]
    );
    assert_eq!(
        tables.build(T, &extents(&[(0, P)]), 0, M),
        Err(TableError::InUse)
    );
    tables.hold(T, hold(0, 5)).unwrap();
    tables.hold(T, hold(1, 9)).unwrap();
    assert_eq!(tables.put_layout(T), Ok(false));
    assert_eq!(tables.put_layout(T), Err(TableError::Unknown));
    assert!(retire(&mut tables, 0, 4).is_empty());
    assert!(retire(&mut tables, 0, 5).is_empty());
    assert_eq!(tables.dump(), [(T, false, vec![hold(1, 9)])]);
    assert_eq!(retire(&mut tables, 1, 100), [T]);
    assert!(retire(&mut tables, 1, 100).is_empty());
    assert_eq!(tables.hold(T, hold(0, 9)), Err(TableError::Unknown));
    assert!(tables.is_empty());
}

#[test]
fn a_table_without_holds_goes_with_its_layout() {
    let mut tables = SgTables::default();
    tables.build(T, &extents(&[(0, P)]), 0, M).unwrap();
    assert_eq!(tables.put_layout(T), Ok(true));
    assert!(tables.is_empty());
}

/// Random life against a count per table; a restored keeper releases the same tables at the same
/// points.
#[test]
fn random_life_and_restore_agree_with_a_model() {
    let mut rng = fastrand::Rng::with_seed(3);
    let mut tables = SgTables::default();
    let mut model: std::collections::BTreeMap<TableId, (bool, Vec<Hold>)> = Default::default();
    let mut now = [0u64; 3];
    for step in 0..30_000 {
        let id = TableId(rng.u32(0..40));
        match rng.u8(0..5) {
            0 => {
                let built = tables.build(id, &extents(&[(0, P)]), 0, M);
                assert_eq!(built.is_err(), model.contains_key(&id));
                model.entry(id).or_insert((true, vec![]));
            }
            1 | 2 => {
                let t = rng.u32(0..3);
                let h = hold(t, now[t as usize] + rng.u64(1..20));
                assert_eq!(tables.hold(id, h).is_ok(), model.contains_key(&id));
                if let Some((_, holds)) = model.get_mut(&id) {
                    holds.push(h);
                }
            }
            3 => {
                let want = model.get(&id).filter(|m| m.0).map(|m| m.1.is_empty());
                assert_eq!(tables.put_layout(id).ok(), want);
                if let Some(m) = model.get_mut(&id) {
                    m.0 = false;
                }
            }
            _ => {
                let t = rng.usize(0..3);
                now[t] += rng.u64(0..10);
                let released = retire(&mut tables, t as u32, now[t]);
                let mut want = vec![];
                for (&id, (layout, holds)) in &mut model {
                    let before = holds.len();
                    holds.retain(|h| h.until.timeline.0 as usize != t || h.until.value > now[t]);
                    if before > holds.len() && holds.is_empty() && !*layout {
                        want.push(id);
                    }
                }
                assert_eq!(released, want);
            }
        }
        model.retain(|_, (layout, holds)| *layout || !holds.is_empty());
        assert_eq!(tables.len(), model.len());
        if step % 500 == 0 {
            let mut again = SgTables::default();
            for (id, layout, holds) in tables.dump() {
                again
                    .adopt(
                        id,
                        &[Segment {
                            address: 0,
                            bytes: P,
                        }],
                        layout,
                        &holds,
                    )
                    .unwrap();
            }
            assert_eq!(again.dump(), tables.dump());
            tables = again;
        }
    }
}
