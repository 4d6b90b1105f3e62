//! A mechanism whose wishes ask for more than the built-in one has a use for, so that strategies can
//! be seen to break it.

use gpumm::ComponentFault;
use gpumm::parts::{Executed, Mechanism, MechanismSource, SlotDesk};
use gpumm_adversaries::Wishes;
use gpumm_contract::allocator::{Allocate, Command};
use gpumm_contract::wire::{Kind, Reader, Writer};
use gpumm_contract::{AllocationId, MemoryTypeId};
use std::any::Any;
use std::sync::Arc;

/// The alignment of aligned wishes, in bytes.
const ALIGNMENT: u64 = 16 << 10;

/// Makes mechanisms that change every wish for device memory.
#[derive(Debug)]
pub struct Demanding {
    source: Arc<dyn MechanismSource>,
    wishes: Wishes,
    vram: u64,
}

impl Demanding {
    /// Changes the wishes of another source's mechanisms; the device's memory has `vram` bytes.
    pub fn new(source: Arc<dyn MechanismSource>, wishes: Wishes, vram: u64) -> Self {
        Demanding {
            source,
            wishes,
            vram,
        }
    }
}

impl MechanismSource for Demanding {
    fn name(&self) -> &str {
        self.source.name()
    }

    fn build(&self) -> Result<Box<dyn Mechanism>, ComponentFault> {
        Ok(Box::new(Asking {
            inner: self.source.build()?,
            wishes: self.wishes,
            vram: self.vram,
        }))
    }
}

struct Asking {
    inner: Box<dyn Mechanism>,
    wishes: Wishes,
    vram: u64,
}

impl Mechanism for Asking {
    fn restore(&mut self, facts: &[Vec<u64>]) -> Result<(), ComponentFault> {
        self.inner.restore(facts)
    }

    fn execute(&mut self, requests: &[u64], inner: Box<dyn SlotDesk>) -> Executed {
        let (wishes, vram) = (self.wishes, self.vram);
        let desk = Box::new(Changing {
            inner,
            wishes,
            vram,
        });
        let (desk, plan) = self.inner.execute(requests, desk);
        let desk: Box<Changing> = (desk as Box<dyn Any>).downcast().expect("went in");
        (desk.inner, plan)
    }
}

/// Changes questions on their way to the host.
struct Changing {
    inner: Box<dyn SlotDesk>,
    wishes: Wishes,
    vram: u64,
}

impl Changing {
    fn change(&self, wish: Allocate) -> Allocate {
        match self.wishes {
            Wishes::Plain => wish,
            Wishes::Aligned => Allocate {
                alignment: ALIGNMENT,
                ..wish
            },
            Wishes::Ranged => Allocate {
                range: Some((self.vram / 16, self.vram)),
                ..wish
            },
            Wishes::Contiguous => Allocate {
                contiguous: true,
                ..wish
            },
        }
    }
}

impl SlotDesk for Changing {
    fn allocate(
        &mut self,
        memory: MemoryTypeId,
        commands: &[u64],
    ) -> Result<Vec<u64>, ComponentFault> {
        if memory != gpumm::VRAM {
            return self.inner.allocate(memory, commands);
        }
        let mut reader = Reader::new(commands, Kind::Commands).expect("the built-in's commands");
        let mut changed = Writer::new(Kind::Commands);
        while let Some(item) = reader.next().expect("the built-in's commands") {
            match Command::decode(&item).expect("the built-in's commands") {
                Command::Allocate(wish) => Command::Allocate(self.change(wish)),
                other => other,
            }
            .encode(&mut changed);
        }
        self.inner.allocate(memory, changed.words())
    }

    fn map_dma(&mut self, allocation: AllocationId) -> Result<bool, ComponentFault> {
        self.inner.map_dma(allocation)
    }
}
