//! Strategies that do harm, as components, and what the host says of each.
//!
//! [`ADVERSARIES`] names them; [`component`] gives the bytes of one. They are built when this
//! package is, from the packages in its folders `guest` and `importer`.
#![forbid(unsafe_code)]

pub use gpumm_adversaries_guest::{ADVERSARIES, Adversary, Expected, Fault, Kind, Wishes};
use gpumm_shell_support::trap;

const GUEST: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/guest.wasm"));
const IMPORTER: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/importer.wasm"));

/// The component that all adversaries but `imports` are made of, as it is built: honest.
pub fn honest() -> &'static [u8] {
    GUEST
}

/// The adversary of a name as a component that takes its n-th chance, counted from 1; a restarted
/// one takes its first.
///
/// `None` when there is no adversary of that name.
pub fn component(name: &str, chance: u64) -> Option<Vec<u8>> {
    let number = ADVERSARIES.iter().position(|row| row.name == name)?;
    if name == "imports" {
        return Some(IMPORTER.to_vec());
    }
    trap::patch(
        GUEST,
        gpumm_adversaries_guest::FIRST + number as u64,
        chance,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_adversary_has_bytes_of_its_own() {
        let mut all: Vec<Vec<u8>> = ADVERSARIES
            .iter()
            .map(|row| component(row.name, 1).expect(row.name))
            .chain([GUEST.to_vec()])
            .collect();
        let count = all.len();
        all.sort();
        all.dedup();
        assert_eq!(
            (all.len(), component("none of that name", 1)),
            (count, None)
        );
    }
}
