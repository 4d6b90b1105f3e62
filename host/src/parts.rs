//! The seam between the planner and what it drives: a mechanism and strategies.
//!
//! The Runtime uses the built components (`wasm` module). Tests and benches put the native
//! libraries in their place through the same seam, which is what makes a differential test of
//! whole runs possible. Whatever implements these traits is judged by the same ledger.

use crate::capture::Component;
use crate::error::ComponentFault;
use gpumm_contract::allocator::Statistics;
use gpumm_contract::{AllocationId, Extents, Geometry, MemoryTypeId};
use std::any::Any;
use std::fmt::Debug;
use std::sync::Arc;

/// Answers a mechanism's import `slots.allocate` during a call.
///
/// The planner's desk is the one that counts; tests put recording and replaying ones around it.
pub trait SlotDesk: Any + Send {
    /// Has the strategy of a memory type execute packed commands.
    ///
    /// Errors: the call must end; the mechanism is rebuilt from the facts.
    fn allocate(
        &mut self,
        memory: MemoryTypeId,
        commands: &[u64],
    ) -> Result<Vec<u64>, ComponentFault>;

    /// Gives the device's DMA access to an allocation of host memory; whether it worked.
    ///
    /// Errors: the allocation is none that could be mapped; the call must end.
    fn map_dma(&mut self, allocation: AllocationId) -> Result<bool, ComponentFault>;
}

/// A mechanism: plans batches of one device.
pub trait Mechanism: Send {
    /// Forgets everything and takes packed fact lists.
    ///
    /// Errors: the component is unusable afterwards.
    fn restore(&mut self, facts: &[Vec<u64>]) -> Result<(), ComponentFault>;

    /// Plans a packed batch; strategy imports go to the desk, which must come back.
    ///
    /// Errors: the component is unusable afterwards.
    fn execute(&mut self, requests: &[u64], desk: Box<dyn SlotDesk>) -> Executed;
}

/// The desk, and the packed plan or what went wrong.
pub type Executed = (Box<dyn SlotDesk>, Result<Vec<u64>, ComponentFault>);

/// A strategy: decides which bytes of one arena an allocation gets.
pub trait Strategy: Send {
    /// Begins with an empty arena, forgetting everything.
    ///
    /// Errors: the component is unusable afterwards.
    fn init(&mut self, geometry: Geometry) -> Result<(), ComponentFault>;

    /// Gets an arena of another size, which everything that lives lies in.
    ///
    /// Errors: the component is unusable afterwards.
    fn resize(&mut self, geometry: Geometry) -> Result<(), ComponentFault>;

    /// Begins a restore: forgets everything and takes a geometry.
    ///
    /// Errors: the component is unusable afterwards.
    fn restore_begin(&mut self, geometry: Geometry) -> Result<(), ComponentFault>;

    /// Takes some of the live allocations.
    ///
    /// Errors: the component is unusable afterwards.
    fn restore_part(&mut self, live: &[(AllocationId, Extents)]) -> Result<(), ComponentFault>;

    /// Ends a restore that so many allocations were taken in; afterwards the strategy serves.
    ///
    /// Errors: the component is unusable afterwards.
    fn restore_end(&mut self, live: usize) -> Result<(), ComponentFault>;

    /// Forgets everything and takes a geometry and all live allocations.
    ///
    /// Errors: the component is unusable afterwards.
    fn restore(
        &mut self,
        geometry: Geometry,
        live: &[(AllocationId, Extents)],
    ) -> Result<(), ComponentFault> {
        /// Allocations per part.
        const PART: usize = 4096;
        if live.is_empty() {
            return self.init(geometry);
        }
        self.restore_begin(geometry)?;
        live.chunks(PART)
            .try_for_each(|part| self.restore_part(part))?;
        self.restore_end(live.len())
    }

    /// Executes packed commands.
    ///
    /// Errors: the component is unusable afterwards.
    fn execute(&mut self, commands: &[u64]) -> Result<Vec<u64>, ComponentFault>;

    /// Serves a plain wish with one extent; its offset.
    ///
    /// `None`: nothing has changed, and [`execute`](Self::execute) knows more.
    /// Errors: the component is unusable afterwards.
    fn allocate_one(
        &mut self,
        number: AllocationId,
        bytes: u64,
    ) -> Result<Option<u64>, ComponentFault> {
        let _ = (number, bytes);
        Ok(None)
    }

    /// Gives back what is filed under a number.
    ///
    /// `false`: nothing has changed, and [`execute`](Self::execute) says why.
    /// Errors: the component is unusable afterwards.
    fn free_one(&mut self, number: AllocationId) -> Result<bool, ComponentFault> {
        let _ = number;
        Ok(false)
    }

    /// What it says of its arena.
    ///
    /// Errors: the component is unusable afterwards.
    fn statistics(&mut self) -> Result<Statistics, ComponentFault>;
}

/// Makes mechanisms: one per start and restart.
pub trait MechanismSource: Send + Sync + Debug {
    /// A name for messages.
    fn name(&self) -> &str;

    /// A fresh instance that knows nothing.
    ///
    /// Errors: the component cannot be made to run.
    fn build(&self) -> Result<Box<dyn Mechanism>, ComponentFault>;

    /// What an error capture says about the component; none of native libraries.
    fn component(&self) -> Option<Component> {
        None
    }
}

/// Makes strategies: one per slot, start and restart.
pub trait StrategySource: Send + Sync + Debug {
    /// The strategy's name.
    fn name(&self) -> &str;

    /// A fresh instance that knows nothing.
    ///
    /// Errors: the component cannot be made to run.
    fn build(&self) -> Result<Box<dyn Strategy>, ComponentFault>;

    /// What an error capture says about the component; none of native libraries.
    fn component(&self) -> Option<Component> {
        None
    }
}

/// The parts a device is planned with.
#[derive(Clone, Debug)]
pub struct Parts {
    /// The mechanism.
    pub mechanism: Arc<dyn MechanismSource>,
    /// The strategy of every memory type that has a slot.
    pub strategy: Arc<dyn StrategySource>,
    /// What replaces a strategy that fails again right after its own restart.
    pub fallback: Arc<dyn StrategySource>,
}
