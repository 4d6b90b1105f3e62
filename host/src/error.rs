//! What can go wrong, for callers of this crate.

use crate::ledger::Refusal;
use gpumm_contract::plan::Status;
use gpumm_contract::vm::VmId;
use gpumm_hw::DeviceError;
use std::sync::Arc;

/// Why a component failed. The Store it lived in is gone; the host rebuilds it from facts.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ComponentFault {
    /// It trapped: a panic, or what the sandbox forbids.
    #[error("it trapped: {0}")]
    Trap(String),
    /// It used up its fuel.
    #[error("it ran longer than its fuel of {0} allows")]
    Fuel(u64),
    /// It ran past its deadline.
    #[error("it ran past its deadline")]
    Deadline,
    /// A strategy's answer cannot be true.
    #[error("its answer cannot be true: {0}")]
    Lie(String),
    /// A mechanism asked its strategies for what makes no sense.
    #[error("it asked for what makes no sense: {0}")]
    Nonsense(String),
    /// A mechanism's plan was refused by the ledger.
    #[error("its plan was refused: {0}")]
    Refused(#[from] Refusal),
    /// It does not take the facts it is restored from.
    #[error("it does not take the facts: {0}")]
    Restore(String),
    /// The bytes are no component of the expected world.
    #[error("it is not a component that fits: {0}")]
    NotAComponent(String),
    /// A strategy failed again and again, and so did the built-in one.
    #[error("strategy '{name}' failed and could not be replaced: {last}")]
    StrategyLost {
        /// The strategy.
        name: String,
        /// The last fault.
        last: String,
    },
}

/// An error of the Runtime.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The request could not be served; the state is as the status says.
    #[error("{0}")]
    Refused(Status),
    /// The mechanism failed on this request, and failed again after a restart.
    #[error("the mechanism failed on this request: {0}")]
    Request(ComponentFault),
    /// The device's planner has ended because a component could not be replaced.
    #[error("the device has stopped: {0}")]
    Stopped(Arc<Error>),
    /// A component could not be made to run.
    #[error("component '{name}' failed: {fault}")]
    Component {
        /// Which one.
        name: String,
        /// Why.
        #[source]
        fault: ComponentFault,
    },
    /// The device refused an operation or could not be made.
    #[error("the device failed: {0}")]
    Device(#[from] DeviceError),
    /// The device does not take a shader.
    #[error(transparent)]
    Shader(#[from] gpumm_hw::ShaderError),
    /// No strategy of that name is built in.
    #[error("there is no strategy '{name}'; built in are: {known}")]
    UnknownStrategy {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// Another strategy is being brought in already.
    #[error("another strategy is being brought in; wait until it serves")]
    SwapInProgress,
    /// No strategy served before the one that does.
    #[error("there is no earlier strategy to go back to")]
    NoWayBack,
    /// A size, offset or name of the caller is out of bounds.
    #[error("{0}")]
    Argument(String),
    /// A move of the buffer has ended the CPU's access to it.
    #[error("a move of the buffer has ended this access")]
    Revoked,
    /// A buffer lies in several pieces of GPU memory, and one slice of it was asked for.
    #[error(
        "the buffer lies in {pieces} pieces of GPU memory, of which the first has {first} bytes"
    )]
    Cut {
        /// How many there are.
        pieces: usize,
        /// The bytes of the first.
        first: u64,
    },
    /// The buffer behind an import was moved or released by its exporter.
    #[error("the exporter has moved or released the buffer that this imports")]
    Invalidated,
    /// The device has no page tables, so no address spaces and no jobs on them.
    #[error(
        "the device has no page tables: it has no engine for binds and none for jobs of queues"
    )]
    NoPageTables,
    /// Every hardware context of the device belongs to a queue.
    #[error("all {contexts} contexts of the device are in use; drop a queue first")]
    NoContext {
        /// How many there are.
        contexts: usize,
    },
    /// The page tables of an address space could not be written, by the device or by the CPU.
    #[error("the page tables of address space {0} are lost; it can only be closed")]
    VmLost(VmId),
    /// The request log could not be written or read.
    #[error("request log: {0}")]
    Log(String),
    /// The operating system refused something.
    #[error("{0}")]
    System(String),
}

impl Error {
    /// An address space that a tenant does not have, or not any more.
    pub(crate) fn no_vm(vm: VmId) -> Self {
        Error::Argument(format!(
            "vm {vm} is not a live address space of this client"
        ))
    }

    /// Whether the arena or the host ran out of room.
    pub fn is_out_of_memory(&self) -> bool {
        matches!(
            self,
            Error::Refused(Status::NoSpace { .. } | Status::TooLarge { .. })
        )
    }

    /// Whether a component failed and could not be replaced.
    pub fn is_component_failure(&self) -> bool {
        match self {
            Error::Request(_) | Error::Component { .. } => true,
            Error::Stopped(inner) => inner.is_component_failure(),
            _ => false,
        }
    }
}
