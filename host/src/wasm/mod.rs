//! Running components in Wasmtime: engines, compilation, and faults by name.
//!
//! Two engines: mechanisms run with an epoch deadline, strategies with fuel (reproducible) and a
//! memory cap. Each component lives in a Store of its own; a trap loses that Store and nothing else.

mod bindings;
mod mechanism;
mod strategy;

pub use mechanism::WasmMechanism;
pub use strategy::WasmStrategy;

use crate::error::ComponentFault;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;
use wasmtime::component::Component;
use wasmtime::{Config, Engine, Inlining, Trap};

/// Length of an epoch.
const TICK: Duration = Duration::from_millis(100);

/// The engines of the process, and every component compiled with them.
struct Engines {
    mechanism: Engine,
    strategy: Engine,
    compiled: Mutex<HashMap<([u8; 32], Role), Component>>,
}

/// Which engine a component runs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Role {
    Mechanism,
    Strategy,
}

fn config() -> Config {
    let mut config = Config::new();
    config.concurrency_support(false);
    config.compiler_inlining(Inlining::InterModule);
    // Equal calls give equal answers, on every machine: what a log replays, and what is restored,
    // hangs on it. No other source of difference is offered to a component.
    config.cranelift_nan_canonicalization(true);
    config.relaxed_simd_deterministic(true);
    config
}

fn engines() -> Result<&'static Engines, ComponentFault> {
    static ENGINES: OnceLock<Result<Engines, ComponentFault>> = OnceLock::new();
    ENGINES.get_or_init(start).as_ref().map_err(Clone::clone)
}

fn start() -> Result<Engines, ComponentFault> {
    let fault = |e: wasmtime::Error| ComponentFault::NotAComponent(one_line(&e));
    let mechanism = Engine::new(config().epoch_interruption(true)).map_err(fault)?;
    let strategy = Engine::new(config().consume_fuel(true)).map_err(fault)?;
    let ticked = mechanism.weak();
    let tick = move || {
        while let Some(engine) = ticked.upgrade() {
            engine.increment_epoch();
            drop(engine);
            std::thread::sleep(TICK);
        }
    };
    let spawned = std::thread::Builder::new()
        .name("gpumm-epoch".into())
        .spawn(tick);
    spawned.map_err(|e| ComponentFault::NotAComponent(format!("no thread for the epoch: {e}")))?;
    Ok(Engines {
        mechanism,
        strategy,
        compiled: Mutex::new(HashMap::new()),
    })
}

impl Engines {
    fn of(&self, role: Role) -> &Engine {
        match role {
            Role::Mechanism => &self.mechanism,
            Role::Strategy => &self.strategy,
        }
    }

    /// Compiles a component, once per content and engine.
    fn compile(&self, role: Role, bytes: &[u8]) -> Result<Component, ComponentFault> {
        let key = (Sha256::digest(bytes).into(), role);
        let mut compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(component) = compiled.get(&key) {
            return Ok(component.clone());
        }
        let component = Component::new(self.of(role), bytes)
            .map_err(|e| ComponentFault::NotAComponent(one_line(&e)))?;
        compiled.insert(key, component.clone());
        Ok(component)
    }
}

/// The first line of an error's cause.
fn one_line(error: &wasmtime::Error) -> String {
    let text = error.root_cause().to_string();
    text.lines().next().unwrap_or("no reason given").to_owned()
}

/// The first lines of an error and of its causes: what could not be done, with what, and why.
fn whole_line(error: &wasmtime::Error) -> String {
    let first = |cause: String| cause.lines().next().unwrap_or("").to_owned();
    let causes: Vec<String> = error.chain().map(|c| first(c.to_string())).collect();
    causes.join(": ")
}

/// The name of a failed call.
fn fault(error: &wasmtime::Error, fuel: u64) -> ComponentFault {
    match error.downcast_ref::<Trap>() {
        Some(Trap::OutOfFuel) => ComponentFault::Fuel(fuel),
        Some(Trap::Interrupt) => ComponentFault::Deadline,
        _ => ComponentFault::Trap(one_line(error)),
    }
}
