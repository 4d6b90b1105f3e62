//! The strategy against a brute-force model: which chunks are free decides every answer.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

// Written once, beside the other strategy.
#[path = "../../allocator-tlsf/tests/common/mod.rs"]
mod common;

use common::{Checked, Model, allocate, foreign, wish};
use gpumm_allocator_buddy::Buddy;
use gpumm_contract::allocator::{Allocate, Allocator, Failure, Geometry, Refusal};
use gpumm_contract::{AllocationId, Extent};

impl Checked for Buddy {
    fn check(&self) {
        self.validate().unwrap();
    }
}

/// The kernel's default rule, done the slow way on a list of free chunks.
struct Rule {
    free: Vec<bool>,
}

impl Rule {
    /// The largest free blocks, ascending: offset and order.
    fn blocks(&self) -> Vec<(u64, u32)> {
        let mut runs = vec![0u64; self.free.len() + 1];
        for at in (0..self.free.len()).rev() {
            runs[at] = if self.free[at] { runs[at + 1] + 1 } else { 0 };
        }
        let (mut blocks, mut at) = (Vec::new(), 0u64);
        while at < self.free.len() as u64 {
            match runs[at as usize].checked_ilog2() {
                Some(most) => {
                    let order = most.min(at.trailing_zeros());
                    blocks.push((at, order));
                    at += 1 << order;
                }
                None => at += 1,
            }
        }
        blocks
    }

    /// One block of an order: lowest place in a window, or highest in the smallest block.
    fn one(&self, order: u32, step: u32, window: Option<(u64, u64)>) -> Option<u64> {
        let step = order.max(step);
        if let Some((start, end)) = window {
            let fits = |at: &u64| {
                at.is_multiple_of(1 << step)
                    && at + (1 << order) <= end
                    && (*at..at + (1 << order)).all(|chunk| self.free[chunk as usize])
            };
            return (start..end).find(fits);
        }
        let place = |&(offset, size): &(u64, u32)| {
            let places = (offset..offset + (1 << size)).rev();
            let fits = |at: &u64| {
                at.is_multiple_of(1 << step) && at + (1 << order) <= offset + (1 << size)
            };
            places.into_iter().find(fits)
        };
        let blocks = self.blocks();
        (order..20).find_map(|size| {
            blocks
                .iter()
                .rev()
                .filter(|block| block.1 == size && size >= order)
                .find_map(place)
        })
    }

    fn answer(mut self, model: &Model, wish: &Allocate) -> Option<Vec<Extent>> {
        let granule = model.granule;
        let chunks = wish.bytes / granule;
        let step = (wish.alignment.max(granule) / granule).trailing_zeros();
        let (start, end) = model.window(wish);
        if end.checked_sub(start)? == chunks {
            let fits =
                start.is_multiple_of(1 << step) && (start..end).all(|at| self.free[at as usize]);
            return fits.then(|| {
                vec![Extent {
                    offset: start * granule,
                    bytes: wish.bytes,
                }]
            });
        }
        let window = wish.range.map(|_| (start, end));
        let small = chunks.is_power_of_two() && chunks < 1 << step;
        let rounded = if small {
            chunks
        } else {
            chunks.next_multiple_of(1 << step)
        };
        let lowest = if small { chunks.ilog2() } else { step };
        let (mut left, mut order, mut extents) = (rounded, 63, Vec::new());
        while left > 0 {
            order = order.min(left.ilog2());
            match self.one(order, if small { step } else { 0 }, window) {
                Some(at) => {
                    (at..at + (1 << order)).for_each(|chunk| self.free[chunk as usize] = false);
                    extents.push(Extent {
                        offset: at * granule,
                        bytes: granule << order,
                    });
                    left -= 1 << order;
                }
                None if order == lowest => return None,
                None => order -= 1,
            }
        }
        extents.last_mut().unwrap().bytes -= (rounded - chunks) * granule;
        Some(extents)
    }
}

fn rule(model: &Model) -> Rule {
    Rule {
        free: model.owners.iter().map(Option::is_none).collect(),
    }
}

fn ask(model: &mut Model, buddy: &mut Buddy, twin: &mut Buddy, wish: &Allocate) {
    let answer = allocate(buddy, wish);
    assert_eq!(answer, allocate(twin, wish), "equal calls, equal answers");
    if let Some(why) = model.refusal(wish) {
        assert_eq!(answer, Err(Failure::Refused(why)), "{wish:?}");
        return;
    }
    let blocks = rule(model).blocks();
    let largest_hole = blocks
        .iter()
        .map(|block| model.granule << block.1)
        .max()
        .unwrap_or(0);
    let expected = rule(model)
        .answer(model, wish)
        .ok_or(Failure::NoSpace { largest_hole });
    assert_eq!(answer, expected, "{wish:?}");
    match answer {
        Ok(extents) => model.enter(wish, &extents),
        Err(_) if wish.alignment > model.granule => (),
        Err(_) => {
            let (start, end) = model.window(wish);
            let free = (start..end)
                .filter(|&at| model.owners[at as usize].is_none())
                .count() as u64;
            let whole = end.saturating_sub(start) * model.granule == wish.bytes;
            assert!(
                free * model.granule < wish.bytes || whole,
                "refused although enough is free"
            );
            assert!(free * model.granule < wish.bytes, "an exact range is free");
        }
    }
}

fn step(rng: &mut fastrand::Rng, model: &mut Model, buddy: &mut Buddy, twin: &mut Buddy) {
    let numbers = 40;
    match rng.u32(..100) {
        0..54 => {
            let wish = wish(rng, model, numbers);
            ask(model, buddy, twin, &wish);
        }
        54..97 => {
            let number = rng.u32(..numbers);
            let answer = buddy.free(AllocationId(number));
            assert_eq!(answer, twin.free(AllocationId(number)));
            let expected = if model.free(number) {
                Ok(())
            } else {
                Err(Refusal::NumberUnknown)
            };
            assert_eq!(answer, expected);
        }
        97..99 => {
            let units = (model.owners.len() as u64 + rng.u64(..40))
                .saturating_sub(20)
                .max(1);
            let geometry = Geometry {
                size: units * model.granule,
                granule: model.granule,
            };
            let expected = if model.resize(units) {
                Ok(())
            } else {
                Err(Refusal::Geometry)
            };
            assert_eq!(buddy.resize(geometry), expected);
            assert_eq!(twin.resize(geometry), expected);
        }
        // Only one of the two is restored: history must not show.
        _ => {
            *twin = model.restored();
            twin.check();
        }
    }
}

#[test]
fn every_answer_agrees_with_the_model() {
    let geometries = [
        (1, 1, 10_000),
        (7, 4096, 20_000),
        (16, 1, 20_000),
        (64, 4096, 20_000),
        (100, 1 << 20, 20_000),
        (127, 1 << 40, 10_000),
        (255, 4096, 4_000),
        (600, 1, 2_000),
    ];
    for (seed, (units, granule, steps)) in geometries.into_iter().enumerate() {
        let mut rng = fastrand::Rng::with_seed(seed as u64);
        let mut model = Model::new(units, granule);
        let mut buddy = Buddy::default();
        buddy.init(model.geometry()).unwrap();
        let mut twin = buddy.clone();
        for _ in 0..steps {
            step(&mut rng, &mut model, &mut buddy, &mut twin);
            model.compare(&buddy, rng.usize(1..50));
        }
        while let Some(&(number, _)) = model.live.first() {
            model.free(number);
            buddy.free(AllocationId(number)).unwrap();
            buddy.check();
        }
        assert_eq!(
            buddy.statistics().holes,
            u64::from(model.owners.len().count_ones())
        );
    }
}

#[test]
fn foreign_extents_are_adopted_and_leave_the_roots() {
    for seed in 0..300 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let units = rng.u64(1..400);
        let mut model = foreign(&mut rng, units, 4096);
        let mut buddy: Buddy = model.restored();
        model.compare(&buddy, 1 + seed as usize);
        rng.shuffle(&mut model.live);
        for (number, _) in model.live {
            buddy.free(AllocationId(number)).unwrap();
            buddy.check();
        }
        let statistics = buddy.statistics();
        assert_eq!(
            (statistics.holes, statistics.free_bytes),
            (u64::from(units.count_ones()), units * 4096)
        );
        assert_eq!(statistics.largest_hole, 4096 << units.ilog2());
    }
}

#[test]
fn what_is_free_can_be_had() {
    let mut rng = fastrand::Rng::with_seed(5);
    for seed in 0..200 {
        let units = 1 + rng.u64(..300);
        let mut model = foreign(&mut rng, units, 4096);
        let mut buddy: Buddy = model.restored();
        model
            .live
            .retain(|(number, _)| number.wrapping_mul(seed) % 3 != 1);
        let free = buddy.statistics().free_bytes;
        if free > 0 {
            let extents = allocate(&mut buddy, &Allocate::plain(AllocationId(1), free)).unwrap();
            assert_eq!(extents.iter().map(|extent| extent.bytes).sum::<u64>(), free);
            assert_eq!(buddy.statistics().free_bytes, 0);
        }
    }
}
