//! Part B of the reference against the built component; natively the same checks run in
//! `components/allocator-range/tests/kernel.rs`.
#![allow(clippy::unwrap_used)]

// Written once, beside the strategy.
#[path = "../../components/allocator-range/tests/suite/mod.rs"]
mod suite;

use gpumm::parts::{Strategy, StrategySource};
use gpumm::wasm::WasmStrategy;
use gpumm_contract::Geometry;
use suite::Executor;

/// The component in its Store. A trap ends the test.
struct Built(Box<dyn Strategy>);

impl Executor for Built {
    fn execute(&mut self, commands: &[u64]) -> Vec<u64> {
        self.0.execute(commands).unwrap()
    }
}

fn built(size: u64, guard: u64) -> Box<dyn Executor> {
    assert_eq!(guard, 0, "a component takes no notice of colours");
    let source = WasmStrategy::built_in("range").unwrap();
    let mut strategy = source.build().unwrap();
    let granule = 1;
    strategy.restore(Geometry { size, granule }, &[]).unwrap();
    Box::new(Built(strategy))
}

/// A check of the suite, by the name of its case.
macro_rules! cases {
    ($($test:ident: $check:ident,)*) => {
        $(#[test]
        fn $test() {
            suite::$check(&built);
        })*
    };
}

cases! {
    b_1_init: init,
    b_2_reserve_errors: reserve_errors,
    b_3_reserve: reserve,
    b_4_insert: insert,
    b_5_insert_range: insert_range,
    b_6_outside_range: outside_range,
    b_7_fragmentation: fragmentation,
    b_8_align: align,
    b_10_evict_nothing: evict_nothing,
    b_10_evict_everything: evict_everything,
    b_10_evict_something: evict_something,
    evict_around_holes: evict_around_holes,
    b_11_evict_range: evict_range,
    b_12_topdown_and_bottomup: directions,
    b_13_once: once,
    b_16_best_is_smallest: best_is_smallest,
    ties_of_best_fit: ties,
    b_17_high_align: high_align,
    b_18_evict_is_newest: evict_is_newest,
    b_19_range_of_pages: pages,
}
