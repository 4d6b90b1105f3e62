//! The sg-table keeper, library and component alike: random life against a model, leaks, memory,
//! and traps.
#![allow(clippy::unwrap_used)]

use gpumm_components::{part_trap, patch_trap, trap_site as site};
use gpumm_contract::table::{Counted, Hold, Holder, Limits, TableError, TableState, Tables};
use gpumm_contract::{Extent, Point, Segment, TableId, TimelineId};
use gpumm_tests::tables::{TableComponent, both};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

const P: u64 = 4096;
const PAGE: [Extent; 1] = [Extent {
    offset: 0,
    bytes: P,
}];
const TIMELINES: u32 = 3;

fn at(timeline: u32, value: u64) -> Point {
    Point {
        timeline: TimelineId(timeline),
        value,
    }
}

/// What a keeper should know, told in the plainest way.
#[derive(Default)]
struct Model {
    live: BTreeMap<TableId, (BTreeMap<Holder, u32>, Vec<Hold>)>,
    built: u32,
    released: u32,
}

impl Model {
    /// Forgets the tables that nobody holds, and returns them.
    fn release(&mut self) -> Vec<TableId> {
        let free = |(&id, (untimed, timed)): (&TableId, &(BTreeMap<_, _>, Vec<_>))| {
            (untimed.is_empty() && timed.is_empty()).then_some(id)
        };
        let gone: Vec<TableId> = self.live.iter().filter_map(free).collect();
        gone.iter().for_each(|id| _ = self.live.remove(id));
        self.released += gone.len() as u32;
        gone
    }

    fn put(&mut self, table: TableId, holder: Holder) -> Result<bool, TableError> {
        let (untimed, _) = self.live.get_mut(&table).ok_or(TableError::Unknown)?;
        let count = untimed.get_mut(&holder).ok_or(TableError::NotHeld)?;
        *count -= 1;
        if *count == 0 {
            untimed.remove(&holder);
        }
        Ok(self.release() == [table])
    }

    fn retire(&mut self, reached: Point) -> Vec<TableId> {
        let due = |p: Point| p.timeline == reached.timeline && p.value <= reached.value;
        for (_, timed) in self.live.values_mut() {
            timed.retain(|hold| !due(hold.until));
        }
        self.release()
    }

    fn dump(&self) -> Vec<TableState> {
        let state = |(&table, (untimed, timed)): (&TableId, &(BTreeMap<_, _>, Vec<Hold>))| {
            let counted = |(&holder, &count)| Counted { holder, count };
            let mut timed = timed.clone();
            timed.sort_by_key(|h| (h.until, h.holder));
            TableState {
                table,
                untimed: untimed.iter().map(counted).collect(),
                timed,
            }
        };
        self.live.iter().map(state).collect()
    }
}

/// Does something random to both, and checks that both answer alike.
fn step(tables: &mut dyn Tables, model: &mut Model, now: &mut [u64], rng: &mut fastrand::Rng) {
    let table = TableId(rng.u32(0..40));
    let holder = Holder::ALL[rng.usize(0..7)];
    let known = model.live.contains_key(&table);
    let unknown = if known {
        Ok(())
    } else {
        Err(TableError::Unknown)
    };
    match rng.u8(0..10) {
        0 | 1 => {
            let limits = Limits {
                bytes: P,
                max_segment: P,
                page: P,
            };
            let built = match rng.bool() {
                true => tables.build(table, &PAGE, 0, P),
                false => tables.build_clamped(table, &PAGE, 0, limits),
            };
            assert_eq!(built.is_ok(), !known);
            if !known {
                let layout = BTreeMap::from([(Holder::Layout, 1)]);
                model.live.insert(table, (layout, vec![]));
                model.built += 1;
            }
        }
        2 | 3 => {
            let timeline = rng.u32(0..TIMELINES);
            let until = at(timeline, now[timeline as usize] + rng.u64(1..20));
            let hold = Hold { holder, until };
            assert_eq!(tables.hold(table, hold), unknown);
            if let Some((_, timed)) = model.live.get_mut(&table) {
                timed.push(hold);
            }
        }
        4 => {
            assert_eq!(tables.get(table, holder), unknown);
            if let Some((untimed, _)) = model.live.get_mut(&table) {
                *untimed.entry(holder).or_insert(0) += 1;
            }
        }
        5 | 6 => assert_eq!(tables.put(table, holder), model.put(table, holder)),
        7 => {
            let want = model
                .put(table, Holder::Layout)
                .map_err(|_| TableError::Unknown);
            assert_eq!(tables.put_layout(table), want);
        }
        _ => {
            let timeline = rng.u32(0..TIMELINES);
            let value = &mut now[timeline as usize];
            *value += rng.u64(0..10);
            let reached = at(timeline, *value);
            assert_eq!(tables.retire(reached), model.retire(reached));
        }
    }
}

/// Ends every hold, in an order of no meaning.
fn end_all(tables: &mut dyn Tables, model: &mut Model, rng: &mut fastrand::Rng) {
    let mut ends: Vec<Result<(TableId, Holder), u32>> = (0..TIMELINES).map(Err).collect();
    for state in model.dump() {
        for held in state.untimed {
            ends.extend((0..held.count).map(|_| Ok((state.table, held.holder))));
        }
    }
    rng.shuffle(&mut ends);
    for end in ends {
        match end {
            Ok((table, holder)) => {
                assert_eq!(tables.put(table, holder), model.put(table, holder));
            }
            Err(timeline) => {
                let end = at(timeline, u64::MAX);
                assert_eq!(tables.retire(end), model.retire(end));
            }
        }
    }
}

#[test]
fn random_life_leaves_nothing_and_releases_each_table_once() {
    both(|tables| {
        let mut rng = fastrand::Rng::with_seed(11);
        let (mut model, mut now) = (Model::default(), [0; TIMELINES as usize]);
        for round in 0..20 {
            for n in 0..1000 {
                step(tables, &mut model, &mut now, &mut rng);
                if n % 50 == 0 {
                    assert_eq!(tables.dump(), model.dump());
                }
            }
            assert!(!model.live.is_empty());
            end_all(tables, &mut model, &mut rng);
            assert_eq!(tables.dump(), [], "round {round}");
            assert!(model.live.is_empty());
            // Every release was answered once: the model's answers were compared.
            assert_eq!(model.built, model.released);
        }
        assert!(model.built > 1000);
    });
}

/// A keeper that takes over what a dump says goes on like the first one.
#[test]
fn a_dump_says_everything() {
    let segments = [Segment {
        address: 0,
        bytes: P,
    }];
    both(|tables| {
        let mut rng = fastrand::Rng::with_seed(5);
        let (mut model, mut now) = (Model::default(), [0; TIMELINES as usize]);
        for _ in 0..20 {
            for _ in 0..300 {
                step(tables, &mut model, &mut now, &mut rng);
            }
            let dump = tables.dump();
            tables.clear();
            assert_eq!(tables.dump(), []);
            for state in &dump {
                tables
                    .adopt(state.table, &segments, true, &state.timed)
                    .unwrap();
                for held in &state.untimed {
                    (0..held.count).for_each(|_| tables.get(state.table, held.holder).unwrap());
                }
                tables.put_layout(state.table).unwrap();
            }
            assert_eq!(tables.dump(), dump);
        }
    });
}

#[test]
fn a_refused_takeover_changes_nothing() {
    both(|tables| {
        let segments = [Segment {
            address: 0,
            bytes: P,
        }];
        let hold = Hold {
            holder: Holder::Copy,
            until: at(0, 1),
        };
        let (one, two) = (TableId(1), TableId(2));
        assert_eq!(
            tables.adopt(one, &[], true, &[hold]),
            Err(TableError::Empty)
        );
        assert_eq!(
            tables.adopt(one, &segments, false, &[]),
            Err(TableError::Empty)
        );
        assert_eq!(tables.dump(), []);
        tables.adopt(one, &segments, false, &[hold, hold]).unwrap();
        tables.adopt(two, &segments, true, &[]).unwrap();
        let dump = tables.dump();
        for table in [one, two] {
            let again = tables.adopt(table, &segments, true, &[hold]);
            assert_eq!(again, Err(TableError::InUse));
        }
        assert_eq!(tables.dump(), dump);
        assert_eq!(tables.retire(at(0, 1)), [one]);
        assert_eq!(tables.put_layout(two), Ok(true));
        assert_eq!(tables.dump(), []);
    });
}

#[test]
fn wrong_extents_build_nothing() {
    both(|tables| {
        let limits = Limits {
            bytes: 2 * P,
            max_segment: 4 * P,
            page: P,
        };
        let mut refused = |pairs: &[(u64, u64)], base, limits, why| {
            let extent = |&(offset, bytes): &(u64, u64)| Extent { offset, bytes };
            let extents: Vec<Extent> = pairs.iter().map(extent).collect();
            let built = tables.build_clamped(TableId(1), &extents, base, limits);
            assert_eq!(built, Err(why), "{pairs:?} {limits:?}");
            assert_eq!(tables.dump(), []);
        };
        let with = |change: fn(&mut Limits)| {
            let mut changed = limits;
            change(&mut changed);
            changed
        };
        let good = [(0, 2 * P)];
        refused(&[], 0, limits, TableError::Empty);
        refused(&[(0, P), (P, 0), (P, P)], 0, limits, TableError::Empty);
        refused(&good, 0, with(|l| l.bytes = 0), TableError::Empty);
        refused(&[(0, P)], 0, limits, TableError::Short);
        refused(&[(0, P), (1, P)], 0, limits, TableError::Misaligned);
        refused(&[(0, P + 1), (8 * P, P)], 0, limits, TableError::Misaligned);
        refused(&good, 1, limits, TableError::Misaligned);
        refused(&good, 0u64.wrapping_sub(P), limits, TableError::Overflow);
        refused(
            &[(u64::MAX - P + 1, 2 * P)],
            P,
            limits,
            TableError::Overflow,
        );
        let max = TableError::MaxSegment;
        refused(&good, 0, with(|l| l.max_segment = 0), max);
        refused(&good, 0, with(|l| l.max_segment = P - 1), max);
        refused(&good, 0, with(|l| l.page = 0), max);
        refused(&good, 0, with(|l| l.page = 3 * 1024), max);
    });
}

/// The project's budget is 512 bytes per buffer over all components; this is the keeper's share.
#[test]
fn a_table_costs_few_bytes_of_the_component() {
    const COUNT: u32 = 100_000;
    let mut tables = TableComponent::built();
    let mut first = None;
    for round in 0..3 {
        let start = tables.memory();
        for n in 0..COUNT {
            tables.build(TableId(n), &PAGE, 0, P).unwrap();
        }
        let with_tables = tables.memory();
        for n in 0..COUNT {
            let until = at(n % TIMELINES, u64::from(n));
            let holder = Holder::Access;
            tables.hold(TableId(n), Hold { holder, until }).unwrap();
        }
        let with_holds = tables.memory();
        for n in 0..COUNT {
            assert_eq!(tables.put_layout(TableId(n)), Ok(false));
        }
        let ends = (0..TIMELINES).map(|t| at(t, u64::MAX));
        let released: usize = ends.map(|end| tables.retire(end).len()).sum();
        assert_eq!(released, COUNT as usize);
        if round == 0 {
            let table = (with_tables - start) / COUNT as usize;
            let hold = (with_holds - with_tables) / COUNT as usize;
            println!("{table} bytes per table, {hold} bytes per timed hold");
            assert!((8..=64).contains(&table), "{table} bytes per table");
            assert!((8..=64).contains(&hold), "{hold} bytes per timed hold");
        }
        // What went is used again.
        let peak = *first.get_or_insert(tables.memory());
        assert!(tables.memory() <= peak + peak / 8, "round {round}");
    }
}

#[test]
fn every_export_has_its_trap_site() {
    type Call = fn(&mut TableComponent);
    const ONE: TableId = TableId(1);
    const LIMITS: Limits = Limits {
        bytes: P,
        max_segment: P,
        page: P,
    };
    let calls: [(u64, Call); 10] = [
        (site::TABLE_CLEAR, |t| t.clear()),
        (site::TABLE_BUILD, |t| _ = t.build(ONE, &PAGE, 0, P)),
        (site::TABLE_BUILD_CLAMPED, |t| {
            _ = t.build_clamped(ONE, &[], 0, LIMITS);
        }),
        (site::TABLE_ADOPT, |t| _ = t.adopt(ONE, &[], false, &[])),
        (site::TABLE_HOLD, |t| {
            let (holder, until) = (Holder::Bind, at(0, 1));
            _ = t.hold(ONE, Hold { holder, until });
        }),
        (site::TABLE_GET, |t| _ = t.get(ONE, Holder::Bind)),
        (site::TABLE_PUT, |t| _ = t.put(ONE, Holder::Bind)),
        (site::TABLE_PUT_LAYOUT, |t| _ = t.put_layout(ONE)),
        (site::TABLE_RETIRE, |t| _ = t.retire(at(0, 1))),
        (site::TABLE_DUMP, |t| _ = t.dump()),
    ];
    let bytes = part_trap("sg-table").unwrap();
    for (armed, _) in calls {
        let patched = patch_trap(bytes, armed, 1).unwrap();
        let mut tables = TableComponent::new(&patched);
        for (_, call) in calls.iter().filter(|(site, _)| *site != armed) {
            call(&mut tables);
        }
        let (_, call) = calls.iter().find(|(site, _)| *site == armed).unwrap();
        let ended = catch_unwind(AssertUnwindSafe(|| call(&mut tables)));
        assert!(ended.is_err(), "site {armed}");
    }
}
