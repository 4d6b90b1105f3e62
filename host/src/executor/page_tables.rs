//! Page-table writes and invalidations.

use super::{DeviceOp, Executor, Memory};
use crate::failsafe::What;
use gpumm_contract::Point;
use gpumm_contract::vm::VmId;
use gpumm_hw as hw;
use std::iter::Peekable;
use std::vec::IntoIter;

/// What page-table entries are to show.
#[derive(Clone, Debug)]
pub(crate) enum PteBacking {
    /// Nothing: who goes there fails.
    Invalid,
    /// Reads give zero, writes are dropped.
    Sparse,
    /// Memory from a byte on.
    Memory {
        memory: Memory,
        offset: u64,
        /// Whether jobs may write there.
        write: bool,
    },
}

/// A write of entries: its point, the addresses, and what they show.
pub(super) type Entries = (Point, u64, u64, PteBacking);

impl Executor {
    /// Writes entries; what follows for the same page tables without a wait is one command, which
    /// reaches the last point.
    pub(super) fn update_ptes(
        &mut self,
        vm: VmId,
        (at, address, bytes, backing): Entries,
        ops: &mut Peekable<IntoIter<DeviceOp>>,
    ) -> Result<(), hw::DeviceError> {
        let mut writes = vec![self.entries(address, bytes, &backing)?];
        let mut last = at;
        while let Some((at, address, bytes, backing)) = more_ptes(ops, vm, last) {
            writes.push(self.entries(address, bytes, &backing)?);
            last = at;
        }
        let (vm, writes) = (hw::VmId(vm.0), writes.into());
        self.page_tables(last, hw::Command::WritePtes { vm, writes })
    }

    /// The device's form of page-table entries.
    fn entries(
        &self,
        address: u64,
        bytes: u64,
        backing: &PteBacking,
    ) -> Result<hw::PteWrite, hw::DeviceError> {
        let backing = match backing {
            PteBacking::Invalid => hw::Backing::Invalid,
            PteBacking::Sparse => hw::Backing::Sparse,
            PteBacking::Memory {
                memory,
                offset,
                write,
            } => hw::Backing::Memory {
                segments: self.spaces.segments(memory)?,
                offset: *offset,
                write: *write,
            },
        };
        Ok(hw::PteWrite {
            address,
            bytes,
            backing,
        })
    }

    pub(super) fn page_tables(
        &mut self,
        at: Point,
        command: hw::Command,
    ) -> Result<(), hw::DeviceError> {
        let what = What::PageTables {
            command: command.clone(),
        };
        self.submit(at, command, None, Some(what))
    }
}

/// The next operation, if it writes more entries of the same page tables on the same timeline.
fn more_ptes(ops: &mut Peekable<IntoIter<DeviceOp>>, of: VmId, after: Point) -> Option<Entries> {
    let more = |op: &DeviceOp| {
        matches!(op, DeviceOp::UpdatePtes { at, vm, .. }
            if *vm == of && at.timeline == after.timeline)
    };
    match ops.next_if(more)? {
        DeviceOp::UpdatePtes {
            at,
            address,
            bytes,
            backing,
            ..
        } => Some((at, address, bytes, backing)),
        _ => None,
    }
}
