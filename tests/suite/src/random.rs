//! The games of [`drive`](crate::drive()) and [`hostile`](crate::hostile()) with bytes from a seeded generator.

use crate::{Description, Strategy, drive, hostile};

/// Bytes of a seed.
pub fn bytes(seed: u64, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    fastrand::Rng::with_seed(seed).fill(&mut bytes);
    bytes
}

/// Random commands, resizes and restores against the model of every granule.
pub fn every_answer_agrees_with_the_model<S: Strategy>(description: &Description<S>) {
    for seed in 0..48 {
        let mut bytes = bytes(seed, 12_000);
        // Every arena is played with, each four times, with another granule each time.
        bytes[0] = seed as u8;
        bytes[1] = (seed / 12) as u8;
        drive(description, &bytes);
    }
}

/// Whatever the words say, the strategy goes on and its invariants hold.
pub fn no_list_of_words_stops_the_strategy<S: Strategy>(description: &Description<S>) {
    for seed in 0..2_000 {
        hostile(description, &bytes(seed, 600));
    }
}
