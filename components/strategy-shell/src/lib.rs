//! The WIT shell of an allocator strategy, written once for all of them.
//!
//! A strategy's shell crate is one line:
//!
//! ```ignore
//! gpumm_strategy_shell::strategy_shell!(gpumm_allocator_mine::Mine);
//! ```
//!
//! Invariant: a shell maps words and decides nothing; what a strategy answers before `init`, or to
//! a list it cannot read, is the logic's business.

use bindings::exports::gpumm::memory::allocator as wit;
use gpumm_contract::AllocationId;
use gpumm_contract::allocator::{self, Allocator, Block, Geometry, Refusal, Statistics};
use gpumm_shell_support::trap::{at, site};

#[doc(hidden)]
#[allow(
    missing_docs,
    reason = "generated from the WIT package, which is documented"
)]
pub mod bindings {
    wit_bindgen::generate!({
        world: "strategy",
        path: "../../wit",
        generate_all,
        pub_export_macro: true,
        default_bindings_module: "gpumm_strategy_shell::bindings",
    });
}

#[doc(hidden)]
pub use gpumm_shell_support::State;

/// A shell type, which knows where its instance's strategy is. Made by [`strategy_shell!`].
pub trait Shell {
    /// The strategy.
    type Strategy: Allocator;

    /// Calls `act` with the instance's strategy.
    fn with<R>(act: impl FnOnce(&mut Self::Strategy) -> R) -> R;
}

/// Exports a strategy, which is `Default + gpumm_contract::Allocator`, as the world `strategy`.
#[macro_export]
macro_rules! strategy_shell {
    ($strategy:ty) => {
        #[cfg_attr(not(target_arch = "wasm32"), allow(dead_code))]
        struct StrategyShell;

        ::std::thread_local! {
            static STATE: $crate::State<$strategy> = ::std::default::Default::default();
        }

        impl $crate::Shell for StrategyShell {
            type Strategy = $strategy;

            fn with<R>(act: impl FnOnce(&mut $strategy) -> R) -> R {
                STATE.with(|state| state.with(act))
            }
        }

        // Elsewhere the names of the exports are no names for a linker.
        #[cfg(target_arch = "wasm32")]
        $crate::bindings::export!(StrategyShell with_types_in $crate::bindings);
    };
}

impl<S: Shell> wit::Guest for S {
    fn init(geometry: wit::Geometry) -> Result<(), wit::Refusal> {
        at(site::STRATEGY_INIT);
        S::with(|strategy| strategy.init(geometry.into())).map_err(Into::into)
    }

    fn resize(geometry: wit::Geometry) -> Result<(), wit::Refusal> {
        at(site::STRATEGY_RESIZE);
        S::with(|strategy| strategy.resize(geometry.into())).map_err(Into::into)
    }

    fn execute(commands: Vec<u64>) -> Vec<u64> {
        at(site::STRATEGY_EXECUTE);
        let answers = S::with(|strategy| allocator::execute(strategy, &commands));
        at(site::STRATEGY_EXECUTED);
        answers
    }

    fn allocate_one(number: u32, bytes: u64) -> u64 {
        at(site::STRATEGY_EXECUTE);
        let offset = S::with(|strategy| strategy.allocate_one(AllocationId(number), bytes));
        at(site::STRATEGY_EXECUTED);
        offset.unwrap_or(u64::MAX)
    }

    fn free_one(number: u32) -> bool {
        at(site::STRATEGY_EXECUTE);
        let freed = S::with(|strategy| strategy.free(AllocationId(number)));
        at(site::STRATEGY_EXECUTED);
        freed.is_ok()
    }

    fn restore_begin(geometry: wit::Geometry) -> Result<(), wit::Refusal> {
        at(site::STRATEGY_RESTORE_BEGIN);
        S::with(|strategy| strategy.restore_begin(geometry.into())).map_err(Into::into)
    }

    fn restore_part(allocations: Vec<u64>) -> Result<(), wit::Refusal> {
        at(site::STRATEGY_RESTORE_PART);
        S::with(|strategy| allocator::restore_part(strategy, &allocations)).map_err(Into::into)
    }

    fn restore_end() -> Result<(), wit::Refusal> {
        at(site::STRATEGY_RESTORE_END);
        S::with(|strategy| strategy.restore_end()).map_err(Into::into)
    }

    fn statistics() -> wit::ArenaStatistics {
        at(site::STRATEGY_STATISTICS);
        S::with(|strategy| strategy.statistics()).into()
    }

    fn blocks(start: u64, limit: u32) -> Vec<wit::Block> {
        at(site::STRATEGY_BLOCKS);
        let blocks = S::with(|strategy| strategy.blocks(start, limit as usize));
        blocks.into_iter().map(Into::into).collect()
    }
}

impl From<wit::Geometry> for Geometry {
    fn from(geometry: wit::Geometry) -> Self {
        Geometry {
            size: geometry.size,
            granule: geometry.granule,
        }
    }
}

impl From<Refusal> for wit::Refusal {
    fn from(why: Refusal) -> Self {
        match why {
            Refusal::NumberInUse => wit::Refusal::NumberInUse,
            Refusal::NumberUnknown => wit::Refusal::NumberUnknown,
            Refusal::Size => wit::Refusal::Size,
            Refusal::Alignment => wit::Refusal::Alignment,
            Refusal::Range => wit::Refusal::Range,
            Refusal::Geometry => wit::Refusal::Geometry,
            Refusal::Extent => wit::Refusal::Extent,
            Refusal::Unsupported => wit::Refusal::Unsupported,
            Refusal::Malformed => wit::Refusal::Malformed,
            Refusal::Scan => wit::Refusal::Scan,
        }
    }
}

impl From<Statistics> for wit::ArenaStatistics {
    fn from(sums: Statistics) -> Self {
        wit::ArenaStatistics {
            used_bytes: sums.used_bytes,
            free_bytes: sums.free_bytes,
            largest_hole: sums.largest_hole,
            allocations: sums.allocations,
            holes: sums.holes,
        }
    }
}

impl From<Block> for wit::Block {
    fn from(block: Block) -> Self {
        let where_ = wit::Extent {
            offset: block.extent.offset,
            bytes: block.extent.bytes,
        };
        wit::Block {
            where_,
            owner: block.owner.map(|number| number.0),
        }
    }
}
