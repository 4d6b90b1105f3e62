//! Any sequence of calls against a model that knows only what was promised: jobs of an entity run
//! and finish in order and once, no dependency is violated, everything ends with what it should.
#![allow(clippy::unwrap_used)]

mod model;

use model::{Model, Options};

fn jobs_of(seeds: std::ops::Range<u64>, options: Options) -> u64 {
    let mut finished = 0;
    for seed in seeds {
        let mut model = Model::new(seed, options);
        model.run();
        finished += model.finish();
    }
    finished
}

#[test]
fn any_calls() {
    let plain = Options::default();
    let finished = jobs_of(0..700, plain);
    assert!(finished >= 100_000, "{finished}");
}

/// Jobs also wait for values that are pushed later, so that some wait for each other.
#[test]
fn any_calls_with_circles() {
    let circles = true;
    let finished = jobs_of(
        10_000..10_400,
        Options {
            circles,
            lost: false,
        },
    );
    assert!(finished >= 50_000, "{finished}");
}

#[test]
fn any_calls_until_the_device_is_lost() {
    let lost = true;
    let finished = jobs_of(
        20_000..20_200,
        Options {
            circles: false,
            lost,
        },
    );
    assert!(finished >= 20_000, "{finished}");
}

/// The same calls give the same actions.
#[test]
fn equal_calls_give_equal_actions() {
    for seed in 0..20 {
        let [mut one, mut other] = [(); 2].map(|()| Model::new(seed, Options::default()));
        one.run();
        other.run();
        assert_eq!(one.log, other.log);
        assert!(!one.log.is_empty());
    }
}
