//! A build that traps by counter: one binary for every test of what happens when a component
//! dies at a certain place.
//!
//! With the feature `trap`, every module holds a *marker block* of four words in its data segment:
//! two magic words, a site and a countdown. A shell calls [`at`] at each of its sites; when the
//! site is the block's, the countdown falls by one, and at zero the instance traps. A test writes
//! site and countdown into the binary with [`patch`]. A new instance begins with the binary's
//! values again, so a component that is restarted traps again after as many passes.

use core::hint::black_box;

/// The first two words of a marker block.
pub const MAGIC: [u64; 2] = [0x7061_7274_6d6d_7570, 0x9e37_79b9_7f4a_7c15];

/// The site of a build as it comes from the compiler: no place has it.
pub const NEVER: u64 = u64::MAX;

/// Added to a site: the build runs for ever there instead of trapping.
pub const LOOP: u64 = 1 << 32;

/// Added to a site: the build takes memory there until it gets no more.
pub const GROW: u64 = 1 << 33;

/// The places where a build can be made to trap.
pub mod site {
    /// The manager's `execute` begins.
    pub const MANAGER_EXECUTE: u64 = 0;
    /// The manager's `execute` has its plan.
    pub const MANAGER_EXECUTED: u64 = 1;
    /// The manager's `restore-part` begins.
    pub const MANAGER_RESTORE_PART: u64 = 2;
    /// The manager is about to ask a strategy.
    pub const MANAGER_BEFORE_SLOT: u64 = 3;
    /// The manager has a strategy's answer.
    pub const MANAGER_AFTER_SLOT: u64 = 4;
    /// The manager is about to ask the sg-table keeper.
    pub const MANAGER_BEFORE_TABLE: u64 = 5;
    /// The manager has the sg-table keeper's answer.
    pub const MANAGER_AFTER_TABLE: u64 = 6;
    /// The manager's `restore-begin` begins.
    pub const MANAGER_RESTORE_BEGIN: u64 = 7;
    /// The manager's `restore-end` begins.
    pub const MANAGER_RESTORE_END: u64 = 8;

    /// The manager is about to ask the keeper of address spaces.
    pub const MANAGER_BEFORE_VM: u64 = 30;
    /// The manager has the answer of the keeper of address spaces.
    pub const MANAGER_AFTER_VM: u64 = 31;

    /// The sg-table keeper's `build` begins.
    pub const TABLE_BUILD: u64 = 10;
    /// The sg-table keeper's `hold` begins.
    pub const TABLE_HOLD: u64 = 11;
    /// The sg-table keeper's `put-layout` begins.
    pub const TABLE_PUT_LAYOUT: u64 = 12;
    /// The sg-table keeper's `retire` begins.
    pub const TABLE_RETIRE: u64 = 13;
    /// The sg-table keeper's `adopt` begins.
    pub const TABLE_ADOPT: u64 = 14;
    /// The sg-table keeper's `clear` begins.
    pub const TABLE_CLEAR: u64 = 15;
    /// The sg-table keeper's `build-clamped` begins.
    pub const TABLE_BUILD_CLAMPED: u64 = 16;
    /// The sg-table keeper's `get` begins.
    pub const TABLE_GET: u64 = 17;
    /// The sg-table keeper's `put` begins.
    pub const TABLE_PUT: u64 = 18;
    /// The sg-table keeper's `dump` begins.
    pub const TABLE_DUMP: u64 = 19;

    /// A strategy's `execute` begins.
    pub const STRATEGY_EXECUTE: u64 = 20;
    /// A strategy's `execute` has its answers.
    pub const STRATEGY_EXECUTED: u64 = 21;
    /// A strategy's `restore-part` begins.
    pub const STRATEGY_RESTORE_PART: u64 = 22;
    /// A strategy's `init` begins.
    pub const STRATEGY_INIT: u64 = 23;
    /// A strategy's `resize` begins.
    pub const STRATEGY_RESIZE: u64 = 24;
    /// A strategy's `restore-begin` begins.
    pub const STRATEGY_RESTORE_BEGIN: u64 = 25;
    /// A strategy's `restore-end` begins.
    pub const STRATEGY_RESTORE_END: u64 = 26;
    /// A strategy's `statistics` begins.
    pub const STRATEGY_STATISTICS: u64 = 27;
    /// A strategy's `blocks` begins.
    pub const STRATEGY_BLOCKS: u64 = 28;
}

/// Counts a pass of a site; traps when the build's countdown ends here.
///
/// Without the feature `trap` this is nothing.
#[inline]
pub fn at(site: u64) {
    #[cfg(feature = "trap")]
    armed::at(site);
    #[cfg(not(feature = "trap"))]
    let _ = site;
}

/// A copy of a build that traps at the `countdown`-th pass of `site`; a countdown of 0 never ends.
///
/// Every marker block is written: a composed component has one for each of its modules. `None`
/// when there is none, because the build has no trap sites.
pub fn patch(wasm: &[u8], site: u64, countdown: u64) -> Option<Vec<u8>> {
    const WORD: usize = size_of::<u64>();
    let magic = MAGIC.map(u64::to_le_bytes).concat();
    let values = [site, countdown].map(u64::to_le_bytes).concat();
    let blocks: Vec<usize> = (0..wasm.len().saturating_sub(4 * WORD - 1))
        .filter(|&start| wasm[start..].starts_with(&magic))
        .collect();
    let mut patched = wasm.to_vec();
    for &start in &blocks {
        patched[start + 2 * WORD..start + 4 * WORD].copy_from_slice(&values);
    }
    (!blocks.is_empty()).then_some(patched)
}

/// Counts a pass of a site; whether the build's countdown ends here.
///
/// For builds that do something of their own at a site; `false` without the feature `trap`.
#[inline]
pub fn due(site: u64) -> bool {
    #[cfg(feature = "trap")]
    return armed::due(site);
    #[cfg(not(feature = "trap"))]
    {
        let _ = site;
        false
    }
}

/// The site that was written into the build; [`NEVER`] when none was, and without the feature
/// `trap`.
#[inline]
pub fn chosen() -> u64 {
    #[cfg(feature = "trap")]
    return armed::chosen();
    #[cfg(not(feature = "trap"))]
    NEVER
}

/// Traps.
pub fn fail() -> ! {
    #[cfg(target_arch = "wasm32")]
    core::arch::wasm32::unreachable();
    #[cfg(not(target_arch = "wasm32"))]
    panic!("a trap site was reached")
}

/// Never comes back.
pub fn run_for_ever() -> ! {
    let mut turns = 0u64;
    loop {
        turns = black_box(turns.wrapping_add(1));
    }
}

/// Takes memory until there is no more.
pub fn take_everything() -> ! {
    let mut taken: Vec<Vec<u8>> = Vec::new();
    loop {
        // Not written to: that would be a matter of fuel.
        taken.push(black_box(Vec::with_capacity(1 << 20)));
    }
}

#[cfg(feature = "trap")]
mod armed {
    use super::{GROW, LOOP, MAGIC, NEVER};
    use core::hint::black_box;
    use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

    /// The marker block: magic, magic, site, countdown.
    #[used]
    static BLOCK: [AtomicU64; 4] = [
        AtomicU64::new(MAGIC[0]),
        AtomicU64::new(MAGIC[1]),
        AtomicU64::new(NEVER),
        AtomicU64::new(NEVER),
    ];

    pub(super) fn chosen() -> u64 {
        // The values stand in the binary for tests to overwrite: without the black box the
        // optimiser, which sees every store, would take the site for a constant.
        black_box(&BLOCK)[2].load(Relaxed)
    }

    #[inline(never)]
    pub(super) fn due(site: u64) -> bool {
        let wanted = chosen();
        if wanted == NEVER || wanted & !(LOOP | GROW) != site {
            return false;
        }
        let countdown = &black_box(&BLOCK)[3];
        let left = countdown.load(Relaxed).wrapping_sub(1);
        countdown.store(left, Relaxed);
        left == 0
    }

    #[inline(never)]
    pub(super) fn at(site: u64) {
        if !due(site) {
            return;
        }
        match chosen() {
            wanted if wanted & LOOP != 0 => super::run_for_ever(),
            wanted if wanted & GROW != 0 => super::take_everything(),
            _ => super::fail(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build(blocks: usize) -> Vec<u8> {
        let block = [MAGIC[0], MAGIC[1], NEVER, NEVER]
            .map(u64::to_le_bytes)
            .concat();
        (0..blocks)
            .flat_map(|n| [vec![n as u8; n + 3], block.clone()].concat())
            .chain([1, 2])
            .collect()
    }

    #[test]
    fn every_block_is_patched_and_nothing_else() {
        let (plain, patched) = (build(2), patch(&build(2), 5, 1).expect("two blocks"));
        let differing = |from: usize| (from..from + 16).collect::<Vec<_>>();
        let expected: Vec<usize> = [differing(3 + 16), differing(3 + 32 + 4 + 16)].concat();
        let changed: Vec<usize> = (0..plain.len())
            .filter(|&i| plain[i] != patched[i])
            .collect();
        assert_eq!(changed, expected);
        assert_eq!(patched[19..35], [5u64, 1].map(u64::to_le_bytes).concat());
    }

    #[test]
    fn a_build_without_sites_cannot_be_patched() {
        assert_eq!(patch(&build(0), 5, 1), None);
        assert_eq!(patch(&[], 5, 1), None);
    }

    #[test]
    fn an_unpatched_build_never_traps() {
        (0..100).for_each(at);
    }
}
