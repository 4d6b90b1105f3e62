//! What an accepted plan is to those who perform it.

use super::vm_view::VmView;
use crate::executor::DeviceOp;
use crate::shared::Shared;
use gpumm_contract::plan::{Op, Status};
use gpumm_contract::wire::{Kind, Reader, WireError};
use gpumm_contract::{AllocationId, BufferId, Extent, MemoryTypeId, Point, Shows, TenantId};
use std::collections::BTreeSet;

/// What accepted plans did, counted from the first one on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Operations in accepted plans.
    pub plan_ops: u64,
    /// Moves out of a memory type to make room.
    pub evictions: u64,
    /// Moves back.
    pub swap_ins: u64,
    /// Bytes in copies.
    pub bytes_moved: u64,
    /// Bytes cleared before somebody else could see them.
    pub bytes_cleared: u64,
    /// Mappings made in address spaces.
    pub binds: u64,
    /// Ranges of addresses unmapped by request, and mappings that ended with their buffer.
    pub unbinds: u64,
    /// Page-table writes that showed a buffer again.
    pub rebinds: u64,
}

impl Counts {
    /// Adds what another plan did.
    pub fn add(&mut self, other: Counts) {
        self.plan_ops += other.plan_ops;
        self.evictions += other.evictions;
        self.swap_ins += other.swap_ins;
        self.bytes_moved += other.bytes_moved;
        self.bytes_cleared += other.bytes_cleared;
        self.binds += other.binds;
        self.unbinds += other.unbinds;
        self.rebinds += other.rebinds;
    }
}

/// An accepted plan, resolved for the executor.
#[derive(Debug, Default)]
pub(crate) struct Accepted {
    /// One status per request.
    pub(crate) answers: Vec<Status>,
    /// Device operations in order.
    pub(crate) ops: Vec<DeviceOp>,
    pub(crate) counts: Counts,
    /// The points of the jobs, in order.
    pub(crate) runs: Vec<Point>,
    /// New places, with the tenant that will see them.
    pub(crate) placed: Vec<Placed>,
    /// Allocations that are over.
    pub(crate) ended: Vec<(MemoryTypeId, Shows, Shared<Extent>)>,
    /// Buffers that were given up.
    pub(crate) poisoned: Vec<BufferId>,
    /// Allocations whose memory the plan says is mapped.
    pub(crate) mapped: BTreeSet<AllocationId>,
    /// By request, when what it did on page tables is done: of binds nothing where there was
    /// nothing to do; of a submit what its job waits for.
    pub(crate) fences: Vec<(u32, Point)>,
    /// Address spaces that were made, changed or closed; those that were closed come first.
    pub(crate) vms: Vec<VmView>,
    pub(super) high_water: Vec<(MemoryTypeId, u64)>,
}

/// A new place of a buffer.
#[derive(Debug)]
pub(crate) struct Placed {
    pub(crate) allocation: AllocationId,
    pub(crate) memory: MemoryTypeId,
    pub(crate) tenant: TenantId,
    pub(crate) extents: Shared<Extent>,
}

impl Accepted {
    /// Reads a plan to its end, and makes room for what it does; and how many allocations it ends.
    ///
    /// Errors: the first operation that cannot be read.
    pub(super) fn room_for(words: &[u64], requests: usize) -> Result<(Self, usize), WireError> {
        let (mut places, mut unplaces, mut runs, mut performed) = (0, 0, 0, 0);
        let mut all = Reader::new(words, Kind::Plan)?;
        while let Some(item) = all.next()? {
            match Op::outline(&item)? {
                Op::Place { .. } => places += 1,
                Op::Unplace { .. } => unplaces += 1,
                Op::Table { .. } | Op::DropTable { .. } | Op::MapDma { .. } => {}
                Op::Answer { .. } | Op::Poison { .. } => {}
                op => {
                    performed += 1;
                    runs += usize::from(matches!(op, Op::Run { .. }));
                }
            }
        }
        let accepted = Accepted {
            answers: Vec::with_capacity(requests),
            ops: Vec::with_capacity(performed),
            runs: Vec::with_capacity(runs),
            placed: Vec::with_capacity(places),
            high_water: Vec::with_capacity(places),
            ..Accepted::default()
        };
        Ok((accepted, unplaces))
    }

    /// The allocations that the plan made places of buffers.
    pub(crate) fn placed_numbers(&self) -> BTreeSet<AllocationId> {
        self.placed.iter().map(|p| p.allocation).collect()
    }
}
