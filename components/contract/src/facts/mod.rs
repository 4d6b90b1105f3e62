//! Facts: what the host's ledger knows, from which a mechanism is rebuilt.
//!
//! Shape of a fact list ([`Kind::Facts`](crate::wire::Kind::Facts)): memory types and timelines first, then tables,
//! buffers, residue and pending ranges in any order, attachments after their buffers, then address spaces,
//! vm-bos and mappings. A restore is any number of lists.
//!
//! | fact | operand | body |
//! |---|---|---|
//! | 1 memory type | id | `size, granule, evict to, base, max segment, aperture, hop` (255 none) |
//! | 2 timeline | id | `completed, role`, and of a gate `device` |
//! | 3 table | id | `flags (1 layout, 2 mapped), holds`, then `holder, timeline, value` per hold, then `address, bytes` per segment |
//! | 4 buffer | tenant | `buffer, bytes, placement, priority, stamp, content, allocation, memory type, table, arrives, extents, readers, writers, inherited`, then the extents and the three point lists as pairs |
//! | 5 residue | memory type | `offset, bytes, tenant` |
//! | 6 pending | memory type | `offset, bytes`, then `timeline, value` per point |
//! | 7 leaving | table | `buffer, arrives, left`, then `timeline, value` per point |
//! | 8 attachment | device | `attachment, buffer` |
//! | 9 vm | tenant | `vm, start, bytes, kernel start, kernel bytes, mappings, mappings per buffer, written`, then `timeline, value` per point, `written` of page-table writes, the others of jobs |
//! | 10 vm-bo | flags (1 external, 2 evicted) | `vm, buffer, table (2^32 - 1 none), held` |
//! | 11 mapping | attributes, 256 sparse | `vm, start, bytes, buffer, offset` |
//!
//! `arrives` and `left` are two words each, timeline and value; value 0 stands for none.

mod codec;
mod vm;

pub use codec::decode;
pub use vm::{MappingFact, VmBoFact, VmFact};

use crate::extent::{Extent, Segment};
use crate::id::{
    AllocationId, AttachmentId, BufferId, DeviceId, MemoryTypeId, Stamp, TableId, TenantId,
};
use crate::point::{Point, PointSet};
use crate::request::Placement;
use crate::table::Hold;
use alloc::vec::Vec;

/// A kind of memory of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryType {
    /// Which one.
    pub id: MemoryTypeId,
    /// Bytes in its arena.
    pub size: u64,
    /// Granule of its extents, a power of two.
    pub granule: u64,
    /// Where its buffers are evicted to; `None` when they are not evicted.
    pub evict_to: Option<MemoryTypeId>,
    /// DMA address of its first byte.
    pub base: u64,
    /// Largest segment that its DMA takes.
    pub max_segment: u64,
    /// Host memory only: the memory type that stands for these bytes while the device's DMA may
    /// reach them, whose size bounds how much of it is mapped at once.
    pub aperture: Option<MemoryTypeId>,
    /// The memory type that every copy between this one and another one goes through; `None`
    /// when the copy engines reach it directly.
    pub hop: Option<MemoryTypeId>,
}

impl MemoryType {
    /// Whether it is host memory, which the host hands out clean and keeps through a reset.
    pub fn is_host(&self) -> bool {
        self.aperture.is_some()
    }
}

/// What a buffer's bytes are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Content {
    /// Nobody has written any; a move need not carry them.
    #[default]
    Never = 0,
    /// A job may have written them.
    Valid = 1,
    /// Zeros, by a fill of the memory manager.
    Clean = 2,
    /// Lost; nobody may read them.
    Poisoned = 3,
}

impl Content {
    /// The content of a code.
    pub fn from_code(code: u64) -> Option<Self> {
        use Content::*;
        [Never, Valid, Clean, Poisoned]
            .into_iter()
            .find(|c| *c as u64 == code)
    }

    /// Whether a move has to carry it.
    pub fn moves(self) -> bool {
        matches!(self, Content::Valid | Content::Clean)
    }
}

/// What a timeline of the device is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Jobs of clients.
    Run,
    /// Copies of the memory manager.
    Copy,
    /// Accesses of the CPU, one at a time on each such timeline. Their buffers stay resident.
    Cpu,
    /// Accesses of the CPU that end when their buffer is moved.
    RevocableCpu,
    /// What imports by a device have ended: only `notify` takes its points, the host reaches them.
    Gate(DeviceId),
    /// Page-table writes.
    Bind,
    /// Jobs on address spaces, which the host submits and whose points it assigns.
    Job,
}

impl Role {
    fn words(self) -> (u64, Option<DeviceId>) {
        match self {
            Role::Run => (0, None),
            Role::Copy => (1, None),
            Role::Cpu => (2, None),
            Role::RevocableCpu => (3, None),
            Role::Gate(device) => (4, Some(device)),
            Role::Bind => (5, None),
            Role::Job => (6, None),
        }
    }

    fn from_words(role: u64, device: Option<DeviceId>) -> Option<Self> {
        Some(match (role, device) {
            (0, None) => Role::Run,
            (1, None) => Role::Copy,
            (2, None) => Role::Cpu,
            (3, None) => Role::RevocableCpu,
            (4, Some(device)) => Role::Gate(device),
            (5, None) => Role::Bind,
            (6, None) => Role::Job,
            _ => return None,
        })
    }
}

/// A buffer with its current place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BufferFact {
    /// Which one.
    pub buffer: BufferId,
    /// Whose.
    pub tenant: TenantId,
    /// The client's size.
    pub bytes: u64,
    /// Where it may live.
    pub placement: Placement,
    /// Eviction priority.
    pub priority: u8,
    /// Last use.
    pub stamp: Stamp,
    /// What its bytes are.
    pub content: Content,
    /// Its allocation.
    pub allocation: AllocationId,
    /// Of which memory type.
    pub memory: MemoryTypeId,
    /// The allocation's table.
    pub table: TableId,
    /// The copy that brings the content here; `None` when it came about here.
    pub arrives: Option<Point>,
    /// The allocation's extents.
    pub extents: Vec<Extent>,
    /// Points of operations that read the allocation.
    pub readers: PointSet,
    /// Points of operations that write the allocation.
    pub writers: PointSet,
    /// Points of the bytes' earlier owners.
    pub inherited: PointSet,
}

/// One fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// A memory type.
    Memory(MemoryType),
    /// A timeline of the device.
    Timeline {
        /// Which one and how far it has come, as delivered.
        completed: Point,
        /// What it is for.
        role: Role,
    },
    /// A live table.
    Table {
        /// Which one.
        table: TableId,
        /// Whether the layout holds it.
        layout: bool,
        /// Whether the device's DMA may reach its memory.
        mapped: bool,
        /// The other holders.
        holds: Vec<Hold>,
        /// Its segments.
        segments: Vec<Segment>,
    },
    /// A live buffer.
    Buffer(BufferFact),
    /// Bytes that still show what a tenant left there.
    Residue {
        /// Of which memory type.
        memory: MemoryTypeId,
        /// Where.
        extent: Extent,
        /// Whose.
        tenant: TenantId,
    },
    /// Free bytes that earlier owners have not finished with.
    Pending {
        /// Of which memory type.
        memory: MemoryTypeId,
        /// Where.
        extent: Extent,
        /// Until when.
        after: PointSet,
    },
    /// Host memory that a live buffer has left, and from which its content could be taken again.
    Leaving {
        /// The memory's table.
        table: TableId,
        /// The buffer.
        buffer: BufferId,
        /// The copy that brought the content; `None` when it came about there.
        arrives: Option<Point>,
        /// The copy that takes the content away.
        left: Point,
        /// When the memory is given back.
        after: PointSet,
    },
    /// Another device reads a buffer where it lies; the buffer's table has an untimed hold for it.
    Attachment {
        /// Which one.
        attachment: AttachmentId,
        /// The buffer.
        buffer: BufferId,
        /// The importing device.
        device: DeviceId,
    },
    /// An address space that is not closed.
    Vm(VmFact),
    /// A buffer as a member of an address space.
    VmBo(VmBoFact),
    /// A mapping of an address space.
    Mapping(MappingFact),
}
