//! What the executor tells about a failed operation.

use super::model::{Component, Fence, Operation, Repaired, Role};
use crate::ledger::VmView;
use crate::shared::Shared;
use gpumm_contract::{AllocationId, BufferId, MemoryTypeId, Point, Segment, TableId, TenantId};
use gpumm_hw::DeviceError;

/// A device operation that failed.
pub(crate) struct FailedOp<'a> {
    pub(crate) operation: Operation,
    /// The point that it reaches, once the capture is taken.
    pub(crate) at: Point,
    pub(crate) error: DeviceError,
    /// The client's job in words; nothing for copies and fills.
    pub(crate) job: Option<&'a str>,
    pub(crate) repaired: Repaired,
    pub(crate) tables: &'a [TableSubmitted],
    /// The address space of a job that names addresses.
    pub(crate) vm: Option<&'a VmView>,
}

/// An sg-table as an operation was submitted with it; the operation holds it (holder `capture`).
#[derive(Clone, Debug)]
pub(crate) struct TableSubmitted {
    pub(crate) role: Role,
    pub(crate) table: TableId,
    pub(crate) allocation: AllocationId,
    pub(crate) buffer: BufferId,
    pub(crate) tenant: TenantId,
    pub(crate) memory: MemoryTypeId,
    /// How many bytes of it the buffer has: so many are read.
    pub(crate) bytes: u64,
    pub(crate) segments: Shared<Segment>,
    /// Whether a capture keeps the first bytes themselves.
    pub(crate) keep_content: bool,
}

/// What else a capture names.
pub(crate) struct Context<'a> {
    /// The device's name.
    pub(crate) device: &'a str,
    /// Every timeline of the device. Names differ: captures are filed under them.
    pub(crate) timelines: &'a [Fence],
    pub(crate) memories: &'a [(MemoryTypeId, &'a str)],
    pub(crate) components: &'a [Component],
}

impl Context<'_> {
    /// The timeline's name.
    pub(super) fn timeline(&self, number: u32) -> String {
        let found = self.timelines.iter().find(|t| t.timeline == number);
        found.map_or_else(|| format!("timeline {number}"), |t| t.name.clone())
    }

    /// The memory type's name.
    pub(super) fn memory(&self, memory: MemoryTypeId) -> String {
        let found = self.memories.iter().find(|(id, _)| *id == memory);
        found.map_or_else(|| format!("memory type {memory}"), |(_, n)| (*n).into())
    }
}

/// Reads bytes of a submitted table: which, the first byte, how many.
pub(crate) type Read<'a> = &'a dyn Fn(&TableSubmitted, u64, u64) -> Result<Vec<u8>, DeviceError>;

/// The error as one word.
pub(super) fn cause(error: &DeviceError) -> &'static str {
    match error {
        DeviceError::Injected => "injected",
        DeviceError::TimedOut => "timed-out",
        DeviceError::Lost => "lost",
        DeviceError::Reset => "reset",
        DeviceError::Stopped => "stopped",
        DeviceError::IommuFault { .. } => "iommu",
        DeviceError::Poisoned => "poisoned",
        DeviceError::Conflict { .. } => "conflict",
        DeviceError::CpuRefused => "cpu-refused",
        DeviceError::NoRescueMemory
        | DeviceError::Reserve { .. }
        | DeviceError::Commit { .. }
        | DeviceError::HostMemory { .. }
        | DeviceError::NotInVram(_)
        | DeviceError::GpuMemory
        | DeviceError::Thread { .. } => "no-memory",
        DeviceError::UnknownEngine(_)
        | DeviceError::UnknownTimeline(_)
        | DeviceError::ValueNotIncreasing { .. }
        | DeviceError::WaitsForItself { .. }
        | DeviceError::SegmentOutOfBounds { .. }
        | DeviceError::ListTooShort { .. }
        | DeviceError::Overlap { .. }
        | DeviceError::OutOfBounds { .. }
        | DeviceError::DmaMap
        | DeviceError::DmaMapped { .. }
        | DeviceError::NotMapped { .. }
        | DeviceError::InvalidDma
        | DeviceError::NoAdapter
        | DeviceError::UnknownShader(_)
        | DeviceError::LimitTooSmall { .. }
        | DeviceError::InvalidConfig(_) => "refused",
        DeviceError::VmFault { .. } => "page-fault",
        DeviceError::PageTablesLost => "vm-lost",
        DeviceError::PageTableMemory => "no-memory",
        DeviceError::UnknownVm(_)
        | DeviceError::VmExists(_)
        | DeviceError::OutsideVm { .. }
        | DeviceError::NotAPage { .. } => "refused",
        DeviceError::Cancelled => "cancelled",
        DeviceError::Killed => "killed",
        DeviceError::Driver(_) | DeviceError::Bug(_) => "bug",
    }
}
