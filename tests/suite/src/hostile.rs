//! What no caller should send.

use crate::description::{Description, Strategy};
use crate::dice::Dice;
use crate::drive::decode;
use gpumm_contract::allocator::{Geometry, execute, restore_part};
use gpumm_contract::wire::{Kind, Writer};
use gpumm_contract::{AllocationId, Extent};

/// The largest and the oddest arenas.
const ARENAS: [(u64, u64); 7] = [
    (1, 1),
    (u64::MAX, 1),
    (!4095, 4096),
    (1 << 63, 1 << 63),
    (100 << 12, 4096),
    (1 << 26, 1),
    (4097 << 40, 1 << 40),
];

/// Sends a strategy restores, lists and geometries made of numbers that break sums, and lists that
/// are damaged anywhere.
///
/// Panics where the strategy does, where its invariants do not hold, and where its answers cannot be
/// read. Complexity: O(bytes).
pub fn hostile<S: Strategy>(description: &Description<S>, bytes: &[u8]) {
    let mut dice = Dice::new(bytes);
    let (size, granule) = dice.pick(&ARENAS);
    // An arena whose size costs memory is kept small.
    let most = match description.most_granules {
        u64::MAX => u64::MAX,
        most => most.min(1 << 12),
    };
    let size = size.min(most.saturating_mul(granule));
    let geometry = Geometry { size, granule };
    let mut strategy = (description.new)();
    if !dice.once_in(7) {
        strategy.init(geometry).unwrap();
    }
    while !dice.is_empty() {
        match dice.below(8) {
            0 => restore(&mut dice, &mut strategy, geometry),
            1 => {
                let _ = strategy.resize(Geometry {
                    size: odd(&mut dice, geometry).min(size),
                    granule,
                });
                let _ = strategy.blocks(odd(&mut dice, geometry), 10);
            }
            2 => {
                let count = dice.below(9);
                let words: Vec<u64> = (0..count).map(|_| odd(&mut dice, geometry)).collect();
                decode(&execute(&mut strategy, &words));
                let _ = restore_part(&mut strategy, &words);
            }
            _ => {
                let words = list(&mut dice, geometry);
                let answers = execute(&mut strategy, &words);
                decode(&answers);
                // Answers are no part of a restore that nobody began.
                assert_eq!(strategy.validate(), Ok(()), "{words:x?}");
                let _ = restore_part(&mut strategy, &answers);
            }
        }
        assert_eq!(strategy.validate(), Ok(()));
    }
}

fn restore<S: Strategy>(dice: &mut Dice<'_>, strategy: &mut S, geometry: Geometry) {
    let _ = strategy.restore_begin(geometry);
    for number in 0..dice.below(10) {
        let count = dice.below(3);
        let extents: Vec<_> = (0..count)
            .map(|_| Extent {
                offset: odd(dice, geometry),
                bytes: odd(dice, geometry),
            })
            .collect();
        let _ = strategy.restore_part(AllocationId(number as u32), &extents);
    }
    let _ = strategy.restore_end();
}

/// Items with known and unknown operations, bodies of any length, and now and then one word that
/// is something else.
fn list(dice: &mut Dice<'_>, geometry: Geometry) -> Vec<u64> {
    let mut writer = Writer::new(Kind::Commands);
    for _ in 0..dice.below(12) {
        let number = match dice.below(9) {
            8 => dice.word() as u32 | 1 << 25,
            _ => dice.below(12) as u32,
        };
        let (op, length) = match dice.below(16) {
            0 => (dice.below(12) as u8, dice.below(7)),
            1 => (3, 1 + dice.below(2)),
            2 => (5 + dice.below(4) as u8, 0),
            3..7 => (2, 0),
            _ => (1, dice.pick(&[1, 1, 2, 2, 4])),
        };
        assert!(writer.item(op, number, |body| {
            body.extend((0..length).map(|_| odd(dice, geometry)));
        }));
    }
    let mut words = writer.finish();
    if dice.once_in(5) {
        let at = dice.below(words.len() as u64) as usize;
        words[at] = odd(dice, geometry);
    }
    if dice.once_in(9) {
        words.truncate(dice.below(words.len() as u64 + 1) as usize);
    }
    words
}

/// A number near the ends of the arena, of 64 bits, or of nothing in particular.
fn odd(dice: &mut Dice<'_>, Geometry { size, granule }: Geometry) -> u64 {
    match dice.below(7) {
        0 => dice.word(),
        1 => u64::MAX - dice.below(3),
        2 => size.wrapping_sub(dice.below(3).wrapping_mul(granule)),
        3 => 1 << dice.below(64),
        4 => (dice.word() >> dice.below(64)) / granule * granule,
        _ => dice.below(20).wrapping_mul(granule),
    }
}
