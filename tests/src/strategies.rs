//! Strategies that misbehave, one way each, and otherwise serve as the native tlsf does.

use gpumm::ComponentFault;
use gpumm::parts::{Strategy, StrategySource};
use gpumm_contract::allocator::{Answer, Command, Mode, Statistics};
use gpumm_contract::wire::{Kind, Reader, Writer};
use gpumm_contract::{AllocationId, Extents, Geometry};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Changes the answers of one call.
pub type Twist = fn(&mut Vec<Answer>);

/// Makes strategies whose n-th answer list is twisted.
#[derive(Debug)]
pub struct Twisted {
    inner: Arc<dyn StrategySource>,
    at: u64,
    twist: Twist,
}

impl Twisted {
    /// Twists the `at`-th call's answers (from 1) of every instance.
    pub fn new(inner: Arc<dyn StrategySource>, at: u64, twist: Twist) -> Self {
        Twisted { inner, at, twist }
    }
}

impl StrategySource for Twisted {
    fn name(&self) -> &str {
        "twisted"
    }

    fn build(&self) -> Result<Box<dyn Strategy>, ComponentFault> {
        Ok(Box::new(Twisting {
            inner: self.inner.build()?,
            left: self.at,
            twist: self.twist,
        }))
    }
}

/// Makes strategies that answer otherwise each second time one is made. No component can do that:
/// nothing is offered to it that differs.
#[derive(Debug)]
pub struct Fickle {
    inner: Arc<dyn StrategySource>,
    made: AtomicU64,
}

impl Fickle {
    /// Begins honest; the inner strategy must know [`Mode::High`].
    pub fn new(inner: Arc<dyn StrategySource>) -> Self {
        let made = AtomicU64::new(0);
        Fickle { inner, made }
    }
}

impl StrategySource for Fickle {
    fn name(&self) -> &str {
        "fickle"
    }

    fn build(&self) -> Result<Box<dyn Strategy>, ComponentFault> {
        let inner = self.inner.build()?;
        match self.made.fetch_add(1, Ordering::Relaxed) % 2 {
            0 => Ok(inner),
            _ => Ok(Box::new(FromTheTop(inner))),
        }
    }
}

/// Takes every wish for one for the highest hole.
struct FromTheTop(Box<dyn Strategy>);

impl Strategy for FromTheTop {
    fn init(&mut self, geometry: Geometry) -> Result<(), ComponentFault> {
        self.0.init(geometry)
    }

    fn resize(&mut self, geometry: Geometry) -> Result<(), ComponentFault> {
        self.0.resize(geometry)
    }

    fn restore_begin(&mut self, geometry: Geometry) -> Result<(), ComponentFault> {
        self.0.restore_begin(geometry)
    }

    fn restore_part(&mut self, live: &[(AllocationId, Extents)]) -> Result<(), ComponentFault> {
        self.0.restore_part(live)
    }

    fn restore_end(&mut self, live: usize) -> Result<(), ComponentFault> {
        self.0.restore_end(live)
    }

    fn statistics(&mut self) -> Result<Statistics, ComponentFault> {
        self.0.statistics()
    }

    fn execute(&mut self, commands: &[u64]) -> Result<Vec<u64>, ComponentFault> {
        let mut changed = Writer::new(Kind::Commands);
        let mut reader = Reader::new(commands, Kind::Commands).expect("commands");
        while let Some(item) = reader.next().expect("commands") {
            let mut command = Command::decode(&item).expect("a command");
            if let Command::Allocate(wish) = &mut command {
                wish.mode = Mode::High;
            }
            command.encode(&mut changed);
        }
        self.0.execute(changed.words())
    }
}

struct Twisting {
    inner: Box<dyn Strategy>,
    left: u64,
    twist: Twist,
}

impl Strategy for Twisting {
    fn init(&mut self, geometry: Geometry) -> Result<(), ComponentFault> {
        self.inner.init(geometry)
    }

    fn resize(&mut self, geometry: Geometry) -> Result<(), ComponentFault> {
        self.inner.resize(geometry)
    }

    fn restore_begin(&mut self, geometry: Geometry) -> Result<(), ComponentFault> {
        self.inner.restore_begin(geometry)
    }

    fn restore_part(&mut self, live: &[(AllocationId, Extents)]) -> Result<(), ComponentFault> {
        self.inner.restore_part(live)
    }

    fn restore_end(&mut self, live: usize) -> Result<(), ComponentFault> {
        self.inner.restore_end(live)
    }

    fn statistics(&mut self) -> Result<Statistics, ComponentFault> {
        self.inner.statistics()
    }

    fn execute(&mut self, commands: &[u64]) -> Result<Vec<u64>, ComponentFault> {
        let answers = self.inner.execute(commands)?;
        self.left = self.left.wrapping_sub(1);
        if self.left != 0 {
            return Ok(answers);
        }
        let mut list = Vec::new();
        let mut reader = Reader::new(&answers, Kind::Answers).expect("answers");
        while let Some(item) = reader.next().expect("answers") {
            list.push(Answer::decode(&item).expect("an answer"));
        }
        (self.twist)(&mut list);
        let mut out = Writer::new(Kind::Answers);
        assert!(list.iter().all(|a| a.encode(&mut out)));
        Ok(out.finish())
    }
}
