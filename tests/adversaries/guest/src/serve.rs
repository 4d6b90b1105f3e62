//! The strategy that the component exports: `tlsf`, and the deed that its bytes name.

use crate::deed::{Deed, Scene};
use crate::{ADVERSARIES, FIRST};
use gpumm_allocator_tlsf::Tlsf;
use gpumm_contract::allocator::{
    Allocate, Allocator, Block, Failure, Geometry, Refusal, Statistics,
};
use gpumm_contract::{AllocationId, Extent};
use gpumm_shell_support::trap;
use gpumm_strategy_shell::bindings::exports::gpumm::memory::allocator as wit;
use gpumm_strategy_shell::{Shell, State};
use std::cell::Cell;

/// What the bytes name.
fn deed() -> &'static Deed {
    let number = trap::chosen().wrapping_sub(FIRST);
    let adversary = usize::try_from(number)
        .ok()
        .and_then(|at| ADVERSARIES.get(at));
    adversary.map_or(&Deed::HONEST, |adversary| &adversary.deed)
}

/// The strategy behind the shell.
#[derive(Default)]
struct Strategy {
    tlsf: Tlsf,
    geometry: Option<Geometry>,
    /// Whether somebody has put it where another one was.
    restored: bool,
    /// Whether it has begun with what it does again and again.
    begun: Cell<bool>,
}

impl Strategy {
    /// Counts a chance; whether it is taken. One that was restarted takes every chance, so that the
    /// same request meets it again.
    fn time(&self) -> bool {
        let taken = self.restored || self.begun.get() || trap::due(trap::chosen());
        if taken && deed().keeps_on {
            self.begun.set(true);
        }
        taken
    }

    fn spoil(&self, commands: &[u64], answers: Vec<u64>) -> Vec<u64> {
        let spoilt = self.geometry.and_then(|geometry| {
            let tlsf = &self.tlsf;
            deed().spoil(&Scene { geometry, tlsf }, commands, &answers)
        });
        match spoilt {
            Some(spoilt) if self.time() => spoilt,
            _ => answers,
        }
    }
}

impl Allocator for Strategy {
    fn init(&mut self, geometry: Geometry) -> Result<(), Refusal> {
        self.geometry = Some(geometry);
        self.tlsf.init(geometry)
    }

    fn resize(&mut self, geometry: Geometry) -> Result<(), Refusal> {
        self.tlsf.resize(geometry)?;
        self.geometry = Some(geometry);
        Ok(())
    }

    fn allocate(&mut self, wish: &Allocate, extents: &mut Vec<Extent>) -> Result<(), Failure> {
        let refused = self
            .geometry
            .zip(deed().wish)
            .and_then(|(geometry, refuse)| {
                let tlsf = &self.tlsf;
                refuse(&Scene { geometry, tlsf }, wish)
            });
        match refused {
            Some(why) if self.time() => Err(why),
            _ => self.tlsf.allocate(wish, extents),
        }
    }

    fn free(&mut self, number: AllocationId) -> Result<(), Refusal> {
        self.tlsf.free(number)
    }

    fn restore_begin(&mut self, geometry: Geometry) -> Result<(), Refusal> {
        if let Some(act) = deed().restoring {
            return Err(act());
        }
        self.restored = true;
        self.geometry = Some(geometry);
        self.tlsf.restore_begin(geometry)
    }

    fn restore_part(&mut self, number: AllocationId, extents: &[Extent]) -> Result<(), Refusal> {
        self.tlsf.restore_part(number, extents)
    }

    fn restore_end(&mut self) -> Result<(), Refusal> {
        self.tlsf.restore_end()
    }

    fn statistics(&self) -> Statistics {
        let honest = self.tlsf.statistics();
        let mut sums = honest;
        match deed().statistics {
            Some(change) if change(&mut sums) && self.time() => sums,
            _ => honest,
        }
    }

    fn blocks(&self, from: u64, limit: usize) -> Vec<Block> {
        self.tlsf.blocks(from, limit)
    }
}

std::thread_local! {
    static STATE: State<Strategy> = State::default();
}

/// What every strategy exports.
struct Inner;

impl Shell for Inner {
    type Strategy = Strategy;

    fn with<R>(act: impl FnOnce(&mut Strategy) -> R) -> R {
        STATE.with(|state| state.with(act))
    }
}

/// What the component exports: `tlsf`, with the words of its answers in the adversary's hand.
pub struct Adversarial;

impl wit::Guest for Adversarial {
    fn init(geometry: wit::Geometry) -> Result<(), wit::Refusal> {
        <Inner as wit::Guest>::init(geometry)
    }

    fn resize(geometry: wit::Geometry) -> Result<(), wit::Refusal> {
        <Inner as wit::Guest>::resize(geometry)
    }

    fn execute(commands: Vec<u64>) -> Vec<u64> {
        if let Some(act) = deed().call
            && Inner::with(|strategy| strategy.time())
        {
            act();
        }
        let answers = <Inner as wit::Guest>::execute(commands.clone());
        Inner::with(|strategy| strategy.spoil(&commands, answers))
    }

    /// Has every wish come in a list, where the deeds are done.
    fn allocate_one(_: u32, _: u64) -> u64 {
        u64::MAX
    }

    fn free_one(_: u32) -> bool {
        false
    }

    fn restore_begin(geometry: wit::Geometry) -> Result<(), wit::Refusal> {
        <Inner as wit::Guest>::restore_begin(geometry)
    }

    fn restore_part(allocations: Vec<u64>) -> Result<(), wit::Refusal> {
        <Inner as wit::Guest>::restore_part(allocations)
    }

    fn restore_end() -> Result<(), wit::Refusal> {
        <Inner as wit::Guest>::restore_end()
    }

    fn statistics() -> wit::ArenaStatistics {
        <Inner as wit::Guest>::statistics()
    }

    fn blocks(start: u64, limit: u32) -> Vec<wit::Block> {
        <Inner as wit::Guest>::blocks(start, limit)
    }
}

#[cfg(target_arch = "wasm32")]
gpumm_strategy_shell::bindings::export!(Adversarial with_types_in gpumm_strategy_shell::bindings);
