//! Mechanisms that die between calls: before calls that chance chooses, a fresh one is restored
//! from the facts and goes on.

use gpumm::parts::{Executed, Mechanism, MechanismSource, SlotDesk};
use gpumm::{ComponentFault, Desk};
use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Makes mechanisms of any source that die.
#[derive(Debug)]
pub struct Killing {
    source: Arc<dyn MechanismSource>,
    seed: u64,
    deaths: Arc<AtomicU64>,
}

impl Killing {
    /// One call in two begins with a death; equal seeds choose alike.
    pub fn new(source: Arc<dyn MechanismSource>, seed: u64) -> Self {
        Killing {
            source,
            seed,
            deaths: Arc::default(),
        }
    }

    /// A counter of deaths.
    pub fn deaths(&self) -> Arc<AtomicU64> {
        self.deaths.clone()
    }
}

impl MechanismSource for Killing {
    fn name(&self) -> &str {
        self.source.name()
    }

    fn build(&self) -> Result<Box<dyn Mechanism>, ComponentFault> {
        Ok(Box::new(Mortal {
            alive: self.source.build()?,
            source: self.source.clone(),
            rng: fastrand::Rng::with_seed(self.seed),
            deaths: self.deaths.clone(),
        }))
    }
}

struct Mortal {
    alive: Box<dyn Mechanism>,
    source: Arc<dyn MechanismSource>,
    rng: fastrand::Rng,
    deaths: Arc<AtomicU64>,
}

impl Mechanism for Mortal {
    fn restore(&mut self, facts: &[Vec<u64>]) -> Result<(), ComponentFault> {
        self.alive.restore(facts)
    }

    fn execute(&mut self, requests: &[u64], desk: Box<dyn SlotDesk>) -> Executed {
        let desk: Box<Desk> = (desk as Box<dyn Any>)
            .downcast()
            .expect("the planner's own desk");
        if self.rng.bool() {
            self.alive = self.source.build().expect("another mechanism");
            self.alive
                .restore(&desk.facts())
                .expect("the ledger's facts");
            self.deaths.fetch_add(1, Ordering::Relaxed);
        }
        self.alive.execute(requests, desk)
    }
}
