//! The strategies' components answer as their libraries do, word for word.
#![allow(clippy::unwrap_used)]

use gpumm::parts::StrategySource;
use gpumm::wasm::WasmStrategy;
use gpumm_contract::allocator::{Allocate, Answer, Command, encode_adopt};
use gpumm_contract::wire::{Kind, Reader, Writer};
use gpumm_contract::{AllocationId, Extents, Geometry};
use gpumm_tests::native;
use std::collections::BTreeMap;

const GRANULE: u64 = 4096;
const GRANULES: u64 = 1000;

/// A list of random commands; every length is one that every strategy serves.
fn commands(rng: &mut fastrand::Rng) -> Vec<u64> {
    let mut writer = Writer::new(Kind::Commands);
    for _ in 0..rng.usize(1..20) {
        let number = AllocationId(rng.u32(..100));
        let mut wish = Allocate::plain(number, GRANULE << rng.u32(..7));
        if rng.u32(..4) == 0 {
            wish.alignment = GRANULE << rng.u32(..5);
        }
        if rng.u32(..4) == 0 {
            let start = rng.u64(..GRANULES);
            wish.range = Some((start * GRANULE, rng.u64(start + 1..=GRANULES) * GRANULE));
        }
        let command = match rng.u32(..3) {
            0 => Command::free(number),
            _ => Command::Allocate(wish),
        };
        command.encode(&mut writer);
    }
    let mut words = writer.finish();
    if rng.u32(..16) == 0 {
        words.truncate(rng.usize(..words.len()));
    }
    words
}

#[test]
fn every_component_answers_as_its_library() {
    for name in native::STRATEGIES {
        let mut rng = fastrand::Rng::with_seed(3);
        let geometry = Geometry {
            size: GRANULES * GRANULE,
            granule: GRANULE,
        };
        let mut built = WasmStrategy::built_in(name).unwrap().build().unwrap();
        let mut library = native::strategy(name).build().unwrap();
        let mut live: BTreeMap<AllocationId, Extents> = BTreeMap::new();
        let mut served = 0;
        for round in 0..200 {
            if round % 20 == 0 {
                let live: Vec<_> = live.clone().into_iter().collect();
                // Every second time only a half is restored, and the rest adopted while serving.
                let half = if round % 40 == 0 {
                    live.len()
                } else {
                    live.len() / 2
                };
                let (restored, adopted) = live.split_at(half);
                built.restore(geometry, restored).unwrap();
                library.restore(geometry, restored).unwrap();
                let mut words = Writer::new(Kind::Commands);
                let adopt = |(number, extents): &(_, Extents)| {
                    assert!(encode_adopt(*number, extents, &mut words));
                };
                adopted.iter().for_each(adopt);
                let answers = built.execute(words.words()).unwrap();
                assert_eq!(answers, library.execute(words.words()).unwrap(), "{name}");
                assert_eq!(built.statistics().unwrap(), library.statistics().unwrap());
                if built.statistics().unwrap().allocations != live.len() as u64 {
                    // Some take what lives only as a whole.
                    assert!(matches!(name, "id" | "linear"), "{name}");
                    built.restore(geometry, &live).unwrap();
                    library.restore(geometry, &live).unwrap();
                }
            }
            let words = commands(&mut rng);
            let answers = built.execute(&words).unwrap();
            assert_eq!(answers, library.execute(&words).unwrap(), "{name}");
            let mut reader = Reader::new(&answers, Kind::Answers).unwrap();
            while let Some(item) = reader.next().unwrap() {
                match Answer::decode(&item).unwrap() {
                    Answer::Extents(number, extents) => {
                        served += 1;
                        live.insert(number, extents.into());
                    }
                    Answer::Freed(number) => drop(live.remove(&number)),
                    _ => (),
                }
            }
        }
        assert!(served > 100, "{name} served {served}");
    }
}
