//! The strategy against a brute-force model of every granule.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod common;

use common::{Checked, Model, allocate, foreign, wish};
use gpumm_allocator_tlsf::Tlsf;
use gpumm_contract::AllocationId;
use gpumm_contract::allocator::{Allocator, Failure, Geometry, Refusal};

impl Checked for Tlsf {
    fn check(&self) {
        self.validate().unwrap();
    }
}

fn step(rng: &mut fastrand::Rng, model: &mut Model, tlsf: &mut Tlsf, twin: &mut Tlsf) {
    let numbers = 40;
    match rng.u32(..100) {
        0..54 => {
            let wish = wish(rng, model, numbers);
            let answer = allocate(tlsf, &wish);
            assert_eq!(answer, allocate(twin, &wish), "equal calls, equal answers");
            match (model.refusal(&wish), answer) {
                (Some(why), answer) => assert_eq!(answer, Err(Failure::Refused(why)), "{wish:?}"),
                (None, Ok(extents)) => {
                    assert_eq!(extents.len(), 1);
                    if wish
                        .range
                        .is_some_and(|range| range != (0, model.geometry().size))
                    {
                        assert_eq!(Some(extents[0].offset), model.lowest(&wish));
                    }
                    model.enter(&wish, &extents);
                }
                (None, answer) => {
                    assert!(
                        model.lowest(&wish).is_none(),
                        "refused although a hole fits: {wish:?}"
                    );
                    let largest = model.holes().iter().map(|hole| hole.1).max().unwrap_or(0);
                    let largest_hole = largest as u64 * model.granule;
                    assert_eq!(answer, Err(Failure::NoSpace { largest_hole }));
                }
            }
        }
        54..97 => {
            let number = rng.u32(..numbers);
            let answer = tlsf.free(AllocationId(number));
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
            assert_eq!(tlsf.resize(geometry), expected);
            assert_eq!(twin.resize(geometry), expected);
        }
        _ => {
            *tlsf = model.restored();
            // The order of the parts does not matter, only what is restored.
            rng.shuffle(&mut model.live);
            *twin = model.restored();
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
        let mut tlsf = Tlsf::default();
        tlsf.init(model.geometry()).unwrap();
        let mut twin = tlsf.clone();
        for _ in 0..steps {
            step(&mut rng, &mut model, &mut tlsf, &mut twin);
            model.compare(&tlsf, rng.usize(1..50));
        }
        while let Some(&(number, _)) = model.live.first() {
            model.free(number);
            tlsf.free(AllocationId(number)).unwrap();
            tlsf.check();
        }
        assert_eq!(tlsf.statistics().holes, 1);
    }
}

#[test]
fn foreign_extents_are_adopted_and_leave_one_hole() {
    for seed in 0..300 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let units = rng.u64(1..400);
        let mut model = foreign(&mut rng, units, 4096);
        let mut tlsf: Tlsf = model.restored();
        model.compare(&tlsf, 1 + seed as usize);
        rng.shuffle(&mut model.live);
        for (number, _) in model.live {
            tlsf.free(AllocationId(number)).unwrap();
            tlsf.check();
        }
        let statistics = tlsf.statistics();
        assert_eq!(
            (statistics.holes, statistics.largest_hole),
            (1, units * 4096)
        );
    }
}

#[test]
fn pages_of_blocks_are_right_in_a_large_arena() {
    let mut rng = fastrand::Rng::with_seed(9);
    let mut model = Model::new(20_000, 4096);
    let mut tlsf = Tlsf::default();
    tlsf.init(model.geometry()).unwrap();
    for _ in 0..4_000 {
        let wish = wish(&mut rng, &Model::new(20, 4096), 4_000);
        let wish = gpumm_contract::allocator::Allocate {
            range: None,
            ..wish
        };
        if let Ok(extents) = allocate(&mut tlsf, &wish) {
            model.enter(&wish, &extents);
        }
        let number = rng.u32(..4_000);
        assert_eq!(tlsf.free(AllocationId(number)).is_ok(), model.free(number));
    }
    for page in [1, 3, 100, 100_000] {
        model.compare(&tlsf, page);
    }
}
