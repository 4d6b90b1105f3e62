//! The restore property as a mechanism: beside the one that serves, others run that were restored
//! from the facts before each of the last calls, and every plan of theirs must be the same.

use gpumm::parts::{Executed, Mechanism, MechanismSource, SlotDesk};
use gpumm::{ComponentFault, Desk};
use gpumm_contract::{AllocationId, MemoryTypeId};
use std::any::Any;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A question to the host, and its answer.
#[derive(Clone, Debug)]
enum Exchange {
    Allocate(MemoryTypeId, Vec<u64>, Vec<u64>),
    MapDma(AllocationId, bool),
}

/// Passes calls on and remembers them.
struct Recording {
    inner: Box<dyn SlotDesk>,
    seen: Vec<Exchange>,
}

impl SlotDesk for Recording {
    fn allocate(
        &mut self,
        memory: MemoryTypeId,
        commands: &[u64],
    ) -> Result<Vec<u64>, ComponentFault> {
        let answers = self.inner.allocate(memory, commands)?;
        let exchange = Exchange::Allocate(memory, commands.to_vec(), answers.clone());
        self.seen.push(exchange);
        Ok(answers)
    }

    fn map_dma(&mut self, allocation: AllocationId) -> Result<bool, ComponentFault> {
        let mapped = self.inner.map_dma(allocation)?;
        self.seen.push(Exchange::MapDma(allocation, mapped));
        Ok(mapped)
    }
}

/// Answers what was answered before; another question is the failure this looks for.
struct Replaying {
    rest: VecDeque<Exchange>,
}

impl SlotDesk for Replaying {
    fn allocate(
        &mut self,
        memory: MemoryTypeId,
        commands: &[u64],
    ) -> Result<Vec<u64>, ComponentFault> {
        match self.rest.pop_front() {
            Some(Exchange::Allocate(m, c, answers)) if m == memory && c == commands => Ok(answers),
            other => Err(ComponentFault::Nonsense(format!(
                "a restored mechanism asked {memory} {commands:?} where {other:?} was asked"
            ))),
        }
    }

    fn map_dma(&mut self, allocation: AllocationId) -> Result<bool, ComponentFault> {
        match self.rest.pop_front() {
            Some(Exchange::MapDma(number, mapped)) if number == allocation => Ok(mapped),
            other => Err(ComponentFault::Nonsense(format!(
                "a restored mechanism mapped {allocation} where {other:?} was asked"
            ))),
        }
    }
}

/// Makes shadowed mechanisms of any source.
#[derive(Debug)]
pub struct Shadowed {
    source: Arc<dyn MechanismSource>,
    /// For how many calls a restored mechanism is compared.
    steps: usize,
    /// Plans compared so far.
    compared: Arc<AtomicU64>,
}

impl Shadowed {
    /// Compares for `steps` calls after every restore.
    pub fn new(source: Arc<dyn MechanismSource>, steps: usize) -> Self {
        Shadowed {
            source,
            steps,
            compared: Arc::default(),
        }
    }

    /// A counter of compared plans.
    pub fn compared(&self) -> Arc<AtomicU64> {
        self.compared.clone()
    }
}

impl MechanismSource for Shadowed {
    fn name(&self) -> &str {
        self.source.name()
    }

    fn build(&self) -> Result<Box<dyn Mechanism>, ComponentFault> {
        Ok(Box::new(Shadowing {
            main: self.source.build()?,
            source: self.source.clone(),
            steps: self.steps,
            shadows: VecDeque::new(),
            compared: self.compared.clone(),
        }))
    }
}

struct Shadowing {
    main: Box<dyn Mechanism>,
    source: Arc<dyn MechanismSource>,
    steps: usize,
    shadows: VecDeque<(usize, Box<dyn Mechanism>)>,
    compared: Arc<AtomicU64>,
}

fn facts_of(desk: Box<dyn SlotDesk>) -> (Box<dyn SlotDesk>, Vec<Vec<u64>>) {
    let desk: Box<Desk> = (desk as Box<dyn Any>)
        .downcast()
        .expect("the planner's own desk");
    let facts = desk.facts();
    (desk, facts)
}

impl Mechanism for Shadowing {
    fn restore(&mut self, facts: &[Vec<u64>]) -> Result<(), ComponentFault> {
        self.main.restore(facts)
    }

    fn execute(&mut self, requests: &[u64], desk: Box<dyn SlotDesk>) -> Executed {
        let (inner, facts) = facts_of(desk);
        let mut fresh = self.source.build().expect("a second mechanism");
        fresh.restore(&facts).expect("the ledger's facts");
        self.shadows.push_back((self.steps, fresh));
        let recording = Box::new(Recording {
            inner,
            seen: Vec::new(),
        });
        let (desk, plan) = self.main.execute(requests, recording);
        let recording: Box<Recording> = (desk as Box<dyn Any>).downcast().expect("went in");
        let Recording { inner, seen } = *recording;
        if let Ok(plan) = &plan {
            for (left, shadow) in &mut self.shadows {
                *left -= 1;
                let replaying = Box::new(Replaying {
                    rest: seen.clone().into(),
                });
                let (_, again) = shadow.execute(requests, replaying);
                assert_eq!(
                    again.as_ref().expect("a plan"),
                    plan,
                    "{} calls after a restore",
                    self.steps - *left
                );
                self.compared.fetch_add(1, Ordering::Relaxed);
            }
            self.shadows.retain(|(left, _)| *left > 0);
        }
        (inner, plan)
    }
}
