//! Looking for bytes that make a strategy wrong.
//!
//! Every strategy's suite has a test `fuzz`. By itself it replays the inputs that are kept in
//! `tests/fuzz/STRATEGY` and tries a few hundred new ones, always the same. `cargo xtask fuzz` tells it
//! by environment variables to go on for some time. An input that fails is made as small as it gets.

use crate::random::bytes;
use crate::{Description, Strategy, drive, hostile};
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{env, fs};

/// How long to look for new inputs, in seconds.
pub const SECONDS: &str = "GPUMM_FUZZ_SECONDS";
/// The first seed; others follow by one.
pub const SEED: &str = "GPUMM_FUZZ_SEED";
/// A file with one input, to try that alone.
pub const INPUT: &str = "GPUMM_FUZZ_INPUT";

/// New inputs where nobody says how long to look for them.
const FEW: u64 = 300;
/// An input is made smaller for no longer than this.
const SHRINK: Duration = Duration::from_secs(20);

/// Plays an input: its first byte says which game.
///
/// Panics where the strategy is wrong.
pub fn play<S: Strategy>(description: &Description<S>, input: &[u8]) {
    match input.split_first() {
        Some((first, rest)) if first % 4 == 0 => hostile(description, rest),
        Some((_, rest)) => drive(description, rest),
        None => (),
    }
}

/// Replays what was found before and tries new inputs.
///
/// Panics with the smallest failing input in hexadecimal digits, and where it was written to.
pub fn fuzz<S: Strategy>(description: &Description<S>) {
    if let Some(file) = env::var_os(INPUT) {
        let text = fs::read_to_string(&file).expect("the input can be read");
        play(
            description,
            &from_hex(&text).expect("the input is hexadecimal"),
        );
        return;
    }
    for file in kept(description.name) {
        let text = fs::read_to_string(&file).expect("a kept input can be read");
        let input = from_hex(&text).expect("a kept input is hexadecimal");
        println!("replaying {}", file.display());
        play(description, &input);
    }
    let number = |name| env::var(name).ok()?.parse().ok();
    let seconds: Option<u64> = number(SECONDS);
    let (first, begin) = (number(SEED).unwrap_or(1), Instant::now());
    let mut told = begin;
    for seed in first.. {
        match seconds {
            None if seed - first == FEW => break,
            Some(seconds) if begin.elapsed().as_secs() >= seconds => {
                println!(
                    "{} inputs, none failed; the next seed is {seed}",
                    seed - first
                );
                break;
            }
            Some(_) if told.elapsed().as_secs() >= 5 => {
                println!("{} inputs, {} s", seed - first, begin.elapsed().as_secs());
                told = Instant::now();
            }
            _ => (),
        }
        let input = input(seed);
        // The first run shows its message; those that follow are many.
        if fails(description, &input) {
            report(description, seed, input);
        }
    }
}

fn fails<S: Strategy>(description: &Description<S>, input: &[u8]) -> bool {
    catch_unwind(AssertUnwindSafe(|| play(description, input))).is_err()
}

/// Bytes of a seed, of several characters: any bytes, mostly small ones, and pieces that repeat.
fn input(seed: u64) -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(seed ^ 0x5eed);
    let length = 4 << rng.u32(..10);
    let mut input = bytes(seed, rng.usize(2..length + 2));
    match rng.u32(..4) {
        0 => input.iter_mut().for_each(|byte| *byte >>= rng.u32(..8)),
        1 => {
            for _ in 0..rng.usize(1..8) {
                let from = rng.usize(..input.len());
                let to = rng.usize(from..input.len());
                let at = rng.usize(..=input.len());
                let piece = input[from..to].to_vec();
                input.splice(at..at, piece);
            }
        }
        _ => (),
    }
    input
}

fn report<S: Strategy>(description: &Description<S>, seed: u64, input: Vec<u8>) -> ! {
    let hook = take_hook();
    set_hook(Box::new(|_| ()));
    let small = shrink(input, |input| fails(description, input));
    set_hook(hook);
    let hex = to_hex(&small);
    let file = env::temp_dir().join(format!("gpumm-fuzz-{}-{seed}.hex", description.name));
    let written = match fs::write(&file, &hex) {
        Ok(()) => format!("it is in {}", file.display()),
        Err(why) => format!("it could not be written: {why}"),
    };
    println!(
        "seed {seed} fails; {} bytes are left of it, {written}:\n{hex}",
        small.len()
    );
    println!(
        "kept in tests/fuzz/{}, it is replayed by every test run",
        description.name
    );
    // Once more, for its message.
    play(description, &small);
    panic!("the strategy is wrong now and then: equal inputs are not answered equally");
}

/// The smallest input that still fails, by leaving out pieces and by clearing bytes.
pub fn shrink(mut input: Vec<u8>, fails: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let begin = Instant::now();
    let mut piece = input.len();
    while piece > 0 && begin.elapsed() < SHRINK {
        let mut at = 0;
        let mut smaller = false;
        while at < input.len() && begin.elapsed() < SHRINK {
            let mut shorter = input.clone();
            shorter.drain(at..(at + piece).min(input.len()));
            if fails(&shorter) {
                input = shorter;
                smaller = true;
            } else {
                at += piece;
            }
        }
        if !smaller || piece > input.len() {
            piece /= 2;
        }
    }
    for at in 0..input.len() {
        let byte = std::mem::take(&mut input[at]);
        if byte != 0 && (begin.elapsed() >= SHRINK || !fails(&input)) {
            input[at] = byte;
        }
    }
    input
}

/// The files of a strategy's folder in `tests/fuzz`, by name.
fn kept(name: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../fuzz")
        .join(name);
    let list = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<_> = list.map(|entry| entry.path()).collect();
    files.retain(|file| file.extension().is_some_and(|ending| ending == "hex"));
    files.sort();
    files
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// Bytes of hexadecimal digits; white space and what follows a `#` do not count.
fn from_hex(text: &str) -> Option<Vec<u8>> {
    let lines = text
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default());
    let digits: String = lines.flat_map(str::split_whitespace).collect();
    let pairs = digits.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_is_made_as_small_as_it_gets() {
        // Fails with a 7 anywhere before a 9.
        let fails = |input: &[u8]| {
            let seven = input.iter().position(|byte| *byte == 7);
            seven.is_some_and(|at| input[at..].contains(&9))
        };
        let input: Vec<u8> = (0..=255).chain(0..=255).collect();
        assert!(fails(&input));
        assert_eq!(shrink(input, fails), [7, 9]);
        assert_eq!(shrink(vec![3; 100], |input| input.len() >= 5), [0; 5]);
    }

    #[test]
    fn inputs_are_told_in_hexadecimal() {
        assert_eq!(from_hex("00ff # why\n 7\t1"), Some(vec![0, 255, 0x71]));
        assert_eq!(from_hex("0g"), None);
        let input = input(5);
        assert_eq!(from_hex(&to_hex(&input)), Some(input));
    }
}
