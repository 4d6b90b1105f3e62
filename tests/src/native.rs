//! The native logic libraries behind the seam of the components.

use gpumm::ComponentFault;
use gpumm::parts::{
    Executed, Mechanism, MechanismSource, Parts, SlotDesk, Strategy, StrategySource,
};
use gpumm_allocator_buddy::Buddy;
use gpumm_allocator_id::Id;
use gpumm_allocator_linear::Linear;
use gpumm_allocator_range::RangeManager;
use gpumm_allocator_tlsf::Tlsf;
use gpumm_contract::allocator::{Refusal, Statistics};
use gpumm_contract::table::Tables;
use gpumm_contract::{AllocationId, Allocator, Extents, Geometry, MemoryTypeId, allocator};
use gpumm_gpuvm::GpuVm;
use gpumm_manager::{Manager, Slots};
use gpumm_sg_table::SgTables;
use std::fmt::Debug;
use std::marker::PhantomData;
use std::sync::Arc;

/// The strategy slots of the call in progress.
#[derive(Default)]
pub struct DeskSlots {
    desk: Option<Box<dyn SlotDesk>>,
    fault: Option<ComponentFault>,
}

impl Slots for DeskSlots {
    fn allocate(&mut self, memory: MemoryTypeId, commands: &[u64]) -> Vec<u64> {
        let desk = self.desk.as_mut().expect("a call is in progress");
        match desk.allocate(memory, commands) {
            Ok(answers) => answers,
            // A component would trap here; the fault is reported when the call ends.
            Err(fault) => {
                self.fault.get_or_insert(fault);
                Vec::new()
            }
        }
    }

    fn map_dma(&mut self, allocations: &[AllocationId]) -> Vec<bool> {
        let desk = self.desk.as_mut().expect("a call is in progress");
        let mapped = allocations.iter().map(|&allocation| {
            desk.map_dma(allocation).unwrap_or_else(|fault| {
                self.fault.get_or_insert(fault);
                false
            })
        });
        mapped.collect()
    }
}

/// The native manager with any table keeper.
pub struct NativeMechanism<T>(Manager<T, GpuVm, DeskSlots>);

impl<T: Tables + Send + Default> Mechanism for NativeMechanism<T> {
    fn restore(&mut self, facts: &[Vec<u64>]) -> Result<(), ComponentFault> {
        let refused = |e| ComponentFault::Restore(format!("{e:?}"));
        self.0.restore_begin();
        facts
            .iter()
            .try_for_each(|list| self.0.restore_part(list))
            .map_err(refused)?;
        self.0.restore_end().map_err(refused)
    }

    fn execute(&mut self, requests: &[u64], desk: Box<dyn SlotDesk>) -> Executed {
        self.0.slots_mut().desk = Some(desk);
        let plan = self.0.execute(requests);
        let slots = self.0.slots_mut();
        let desk = slots.desk.take().expect("put there above");
        (desk, slots.fault.take().map_or(Ok(plan), Err))
    }
}

/// Makes native managers with one kind of table keeper.
#[derive(Debug)]
pub struct NativeManager<T>(PhantomData<fn() -> T>);

impl<T> Default for NativeManager<T> {
    fn default() -> Self {
        NativeManager(PhantomData)
    }
}

impl<T: Tables + Default + Send + Debug + 'static> MechanismSource for NativeManager<T> {
    fn name(&self) -> &str {
        "native"
    }

    fn build(&self) -> Result<Box<dyn Mechanism>, ComponentFault> {
        Ok(Box::new(NativeMechanism(Manager::new(
            T::default(),
            GpuVm::default(),
            DeskSlots::default(),
        ))))
    }
}

/// A native strategy.
struct NativeStrategy<A>(A);

impl<A: Allocator + Send> Strategy for NativeStrategy<A> {
    fn init(&mut self, geometry: Geometry) -> Result<(), ComponentFault> {
        self.0.init(geometry).map_err(refused)
    }

    fn resize(&mut self, geometry: Geometry) -> Result<(), ComponentFault> {
        self.0.resize(geometry).map_err(refused)
    }

    fn restore_begin(&mut self, geometry: Geometry) -> Result<(), ComponentFault> {
        self.0.restore_begin(geometry).map_err(refused)
    }

    fn restore_part(&mut self, live: &[(AllocationId, Extents)]) -> Result<(), ComponentFault> {
        let file = |(number, extents): &(_, Extents)| self.0.restore_part(*number, extents);
        live.iter().try_for_each(file).map_err(refused)
    }

    fn restore_end(&mut self, _: usize) -> Result<(), ComponentFault> {
        self.0.restore_end().map_err(refused)
    }

    fn execute(&mut self, commands: &[u64]) -> Result<Vec<u64>, ComponentFault> {
        Ok(allocator::execute(&mut self.0, commands))
    }

    fn allocate_one(
        &mut self,
        number: AllocationId,
        bytes: u64,
    ) -> Result<Option<u64>, ComponentFault> {
        Ok(self.0.allocate_one(number, bytes))
    }

    fn free_one(&mut self, number: AllocationId) -> Result<bool, ComponentFault> {
        Ok(self.0.free(number).is_ok())
    }

    fn statistics(&mut self) -> Result<Statistics, ComponentFault> {
        Ok(self.0.statistics())
    }
}

fn refused(why: Refusal) -> ComponentFault {
    ComponentFault::Restore(format!("{why:?}"))
}

/// Makes native strategies of one kind.
#[derive(Debug)]
pub struct NativeAllocator<A>(&'static str, PhantomData<fn() -> A>);

impl<A> NativeAllocator<A> {
    /// A source with a name.
    pub fn new(name: &'static str) -> Self {
        NativeAllocator(name, PhantomData)
    }
}

impl<A: Allocator + Default + Send + Debug + 'static> StrategySource for NativeAllocator<A> {
    fn name(&self) -> &str {
        self.0
    }

    fn build(&self) -> Result<Box<dyn Strategy>, ComponentFault> {
        Ok(Box::new(NativeStrategy(A::default())))
    }
}

/// The strategies that [`strategy`] knows; a new one works without being among them.
pub const STRATEGIES: [&str; 5] = ["buddy", "id", "linear", "range", "tlsf"];

/// A native strategy by name.
pub fn strategy(name: &str) -> Arc<dyn StrategySource> {
    match name {
        "tlsf" => Arc::new(NativeAllocator::<Tlsf>::new("tlsf")),
        "range" => Arc::new(NativeAllocator::<RangeManager>::new("range")),
        "buddy" => Arc::new(NativeAllocator::<Buddy>::new("buddy")),
        "id" => Arc::new(NativeAllocator::<Id>::new("id")),
        "linear" => Arc::new(NativeAllocator::<Linear>::new("linear")),
        other => panic!("no native strategy {other}"),
    }
}

/// Native parts with a strategy.
pub fn parts(name: &str) -> Parts {
    let mechanism = Arc::new(NativeManager::<SgTables>::default());
    Parts {
        mechanism,
        strategy: strategy(name),
        fallback: strategy("tlsf"),
    }
}
