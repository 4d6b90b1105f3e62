//! Called by the device around an operation: keeps poison from spreading, and repairs.

use super::{Event, Failsafe};
use crate::capture::{FailedOp, Operation, Repaired, Role, TableSubmitted};
use crate::executor::{Memory, Spaces};
use crate::runtime::IMPORT;
use gpumm_contract::Point;
use gpumm_contract::vm::VmId;
use gpumm_hw as hw;
use std::sync::Arc;

/// An operation with everything its repair needs: the tables as they were submitted.
#[derive(Debug)]
pub(crate) struct Watch {
    pub(crate) failsafe: Arc<Failsafe>,
    pub(crate) spaces: Arc<Spaces>,
    pub(crate) at: Point,
    pub(crate) what: What,
}

/// What the operation does.
#[derive(Debug)]
pub(crate) enum What {
    /// A move of a buffer.
    Copy {
        source: Memory,
        target: Memory,
        command: hw::Command,
    },
    /// A clear before first use.
    Fill {
        target: Memory,
        command: hw::Command,
    },
    /// Entries of page tables, or what the device remembers of them.
    PageTables { command: hw::Command },
    /// A client's job.
    Job { memory: Vec<Memory>, name: String },
}

impl What {
    fn operation(&self) -> Operation {
        match self {
            What::Copy { .. } => Operation::Copy,
            What::Fill { .. } => Operation::Fill,
            What::PageTables { .. } => Operation::Bind,
            What::Job { .. } => Operation::Job,
        }
    }

    /// The tables with their roles.
    fn tables(&self) -> Vec<TableSubmitted> {
        match self {
            What::Copy { source, target, .. } => {
                vec![
                    source.submitted(Role::Source),
                    target.submitted(Role::Target),
                ]
            }
            What::Fill { target, .. } => vec![target.submitted(Role::Target)],
            What::PageTables { .. } => Vec::new(),
            What::Job { memory, .. } => memory.iter().map(|m| m.submitted(Role::Buffer)).collect(),
        }
    }

    /// Whose page tables the operation changes.
    fn vm(&self) -> Option<VmId> {
        match self {
            What::PageTables {
                command: hw::Command::WritePtes { vm, .. } | hw::Command::InvalidateTlb { vm },
            } => Some(VmId(vm.0)),
            _ => None,
        }
    }

    /// What the operation would read, or use at all in the case of a job.
    fn needs(&self) -> &[Memory] {
        match self {
            What::Copy { source, .. } => std::slice::from_ref(source),
            What::Fill { .. } | What::PageTables { .. } => &[],
            What::Job { memory, .. } => memory,
        }
    }
}

/// What became of a failed operation.
struct Repair {
    how: Repaired,
    outcome: Result<hw::OutcomeValue, hw::DeviceError>,
    /// Whether the target's content is gone.
    poisons: bool,
}

impl Watch {
    fn repair(&self, error: hw::DeviceError, cpu: &dyn hw::CpuAccess) -> Repair {
        use hw::DeviceError as E;
        let (how, poisons) = match (&self.what, error) {
            (What::Job { .. }, E::Lost) => (Repaired::Lost, false),
            (What::Job { .. }, _) => (Repaired::NotNeeded, false),
            (_, E::Lost | E::Reset | E::Stopped) => (Repaired::Lost, false),
            // The source is lost already; there is nothing to do again.
            (_, E::Poisoned) => (Repaired::Poisoned, true),
            (
                What::Copy { command, .. }
                | What::Fill { command, .. }
                | What::PageTables { command },
                _,
            ) => match cpu.perform(command) {
                Ok(outcome) => {
                    return Repair {
                        how: Repaired::ByCpu,
                        outcome: Ok(outcome),
                        poisons: false,
                    };
                }
                Err(refused) if let Some(vm) = self.what.vm() => {
                    tracing::warn!(%error, %refused, point = ?self.at, %vm, "page tables are lost");
                    self.failsafe.gate.lose(vm);
                    (Repaired::VmLost, false)
                }
                Err(refused) => {
                    tracing::warn!(%error, %refused, point = ?self.at, "content is lost");
                    (Repaired::Poisoned, true)
                }
            },
        };
        Repair {
            how,
            outcome: Err(error),
            poisons,
        }
    }

    /// What of the target was written is nobody's to see: it becomes zero before the point is
    /// reached, so before anybody else gets the memory.
    fn clear(&self, target: &Memory, cpu: &dyn hw::CpuAccess) {
        let cleared = self.spaces.segments(target).and_then(|dst| {
            cpu.perform(&hw::Command::Fill {
                dst,
                offset: 0,
                bytes: target.bytes,
                pattern: 0,
            })
        });
        if let Err(error) = cleared {
            // The facts call it nobody's, so it is cleared by the device before its next use.
            tracing::warn!(%error, "lost content is not cleared yet");
        }
    }
}

impl hw::Hooks for Watch {
    fn before(&self) -> Result<(), hw::DeviceError> {
        match self
            .what
            .needs()
            .iter()
            .any(|m| self.failsafe.is_poisoned(m))
        {
            true => Err(hw::DeviceError::Poisoned),
            false => Ok(()),
        }
    }

    fn failed(
        &self,
        error: hw::DeviceError,
        cpu: &dyn hw::CpuAccess,
    ) -> Result<hw::OutcomeValue, hw::DeviceError> {
        if error == hw::DeviceError::Stopped {
            // The Runtime is being dropped: nobody is left to tell.
            return Err(error);
        }
        let tables = self.what.tables();
        let fences = self.failsafe.fences();
        let context = self.failsafe.site.context(&fences);
        let read = |table: &TableSubmitted, offset, bytes| {
            read_table(&self.spaces, cpu, table, offset, bytes)
        };
        let captures = &self.failsafe.captures;
        let looked = captures.look(self.at, &tables, &context, &read);
        let repair = self.repair(error, cpu);
        let failed = FailedOp {
            operation: self.what.operation(),
            at: self.at,
            error,
            job: match &self.what {
                What::Job { name, .. } => Some(name),
                _ => None,
            },
            repaired: repair.how,
            tables: &tables,
            vm: None,
        };
        captures.keep(looked, &failed, &context);
        match (&self.what, &repair) {
            (
                What::Copy { target, .. } | What::Fill { target, .. },
                Repair { poisons: true, .. },
            ) => {
                self.clear(target, cpu);
                self.failsafe.poison(self.at, target);
            }
            (
                _,
                Repair {
                    how: Repaired::Lost,
                    ..
                },
            ) => self.failsafe.note(self.at, Event::Lost),
            _ => {}
        }
        if repair.how == Repaired::ByCpu {
            self.failsafe.state().cpu_fallbacks += 1;
        }
        repair.outcome
    }
}

/// What a submitted table shows now, by the CPU.
pub(super) fn read_table(
    spaces: &Spaces,
    cpu: &dyn hw::CpuAccess,
    table: &TableSubmitted,
    offset: u64,
    bytes: u64,
) -> Result<Vec<u8>, hw::DeviceError> {
    if table.memory == IMPORT {
        // It may be over, and the bytes another one's.
        return Err(hw::DeviceError::CpuRefused);
    }
    let src = spaces.list(table.memory, &table.segments)?;
    match cpu.perform(&hw::Command::Read { src, offset, bytes })? {
        hw::OutcomeValue::Bytes(bytes) => Ok(bytes),
        _ => Err(hw::DeviceError::Bug("a read without bytes")),
    }
}
