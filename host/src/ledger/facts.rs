//! What the ledger keeps of each memory type, buffer, allocation and table.
//!
//! What is only there while something is in flight, is kept apart from what every live buffer has
//! for as long as it lives: most buffers rest most of the time.

use crate::shared::Shared;
use gpumm_contract::facts::{Content, MemoryType};
use gpumm_contract::journal::Journaled;
use gpumm_contract::ranges::RangeMap;
use gpumm_contract::request::Placement;
use gpumm_contract::table::{Hold, Holder};
use gpumm_contract::{
    AllocationId, BufferId, DeviceId, Extent, MemoryTypeId, Point, PointSet, Segment, Shows, Stamp,
    TableId, TenantId,
};

/// What is known about a memory type.
#[derive(Clone, Debug)]
pub(crate) struct MemoryFacts {
    pub(crate) kind: MemoryType,
    /// Extents of live allocations by offset.
    pub(super) live: Journaled<u64, (u64, AllocationId)>,
    /// Whose bytes free memory still shows.
    pub(super) residue: RangeMap<TenantId>,
    /// Free bytes that earlier owners have not finished with.
    pub(super) pending: RangeMap<PointSet>,
    /// The highest end ever placed.
    pub(crate) high_water: u64,
}

impl MemoryFacts {
    pub(super) fn new(kind: MemoryType) -> Self {
        let (residue, pending) = (RangeMap::default(), RangeMap::default());
        MemoryFacts {
            kind,
            live: Journaled::default(),
            residue,
            pending,
            high_water: 0,
        }
    }

    /// The extents of live allocations, by address.
    pub(crate) fn live_extents(&self) -> impl Iterator<Item = (Extent, AllocationId)> + '_ {
        let live = self.live.iter();
        live.map(|(&offset, &(bytes, number))| (Extent { offset, bytes }, number))
    }

    /// The live allocations that share bytes with an extent.
    pub(crate) fn overlapping(&self, extent: Extent) -> impl Iterator<Item = AllocationId> {
        let end = extent.offset.saturating_add(extent.bytes.max(1));
        let until = self.live.range(..end).rev();
        // They are disjoint: the first one that ends before the extent is behind all that share.
        let sharing = until.take_while(move |(start, (bytes, _))| *start + bytes > extent.offset);
        sharing.map(|(_, &(_, allocation))| allocation)
    }
}

/// A live buffer; whose it is and how large is known by its allocation.
#[derive(Clone, Debug)]
pub(super) struct BufferFacts {
    pub(super) placement: Placement,
    pub(super) stamp: Stamp,
    pub(super) allocation: AllocationId,
    pub(super) priority: u8,
    pub(super) content: Content,
}

/// An allocation, from its `place` until it is over.
#[derive(Clone, Debug)]
pub(super) struct AllocationFacts {
    pub(super) buffer: BufferId,
    /// The buffer's size, not rounded.
    pub(super) bytes: u64,
    pub(super) extents: Shared<Extent>,
    /// The copy that brings the content; none when it came about here.
    pub(super) arrives: PointSet,
    pub(super) table: Option<TableId>,
    pub(super) tenant: TenantId,
    pub(super) memory: MemoryTypeId,
    /// Whether the buffer's content is here, or on its way here.
    pub(super) holds_content: bool,
}

/// What is in flight on an allocation, and what was.
#[derive(Clone, Debug, Default)]
pub(super) struct Uses {
    pub(super) readers: PointSet,
    pub(super) writers: PointSet,
    /// Points of the bytes' earlier owners.
    pub(super) inherited: PointSet,
    /// The copy that took the content to the buffer's next place.
    pub(super) left: PointSet,
}

impl Uses {
    /// An allocation that nothing was ever in flight on.
    pub(super) const NONE: &Uses = &Uses {
        readers: PointSet::new(),
        writers: PointSet::new(),
        inherited: PointSet::new(),
        left: PointSet::new(),
    };
}

/// An allocation that is unplaced but not over.
#[derive(Clone, Debug)]
pub(super) struct Ending {
    /// The points after which it is gone.
    pub(super) after: PointSet,
    /// What its bytes show.
    pub(super) shows: Shows,
}

/// A live table; it may outlive its allocation until the mechanism drops it.
#[derive(Clone, Debug)]
pub(super) struct TableFacts {
    pub(super) segments: Shared<Segment>,
    pub(super) buffer: BufferId,
    pub(super) allocation: AllocationId,
    /// How many operations in flight hold it.
    pub(super) holds: u32,
    pub(super) memory: MemoryTypeId,
    /// Whether it describes a live allocation.
    pub(super) layout: bool,
    /// Whether the device's DMA may reach it.
    pub(super) mapped: bool,
    /// Whether its last holder is gone: the plan under judgement must drop it.
    pub(super) orphan: bool,
}

/// The holds that an operation in flight has of one table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    pub(super) table: TableId,
    pub(super) by: By,
    /// Later holds have higher numbers.
    pub(super) number: u64,
}

/// What holds a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    Use,
    /// A copy and, should it fail, its redo.
    Copy,
    Import,
    /// A write to page tables, or the invalidation after it.
    Bind,
}

impl By {
    /// The holds, as they are told to a mechanism.
    pub(super) fn holds(self, until: Point) -> impl Iterator<Item = Hold> {
        let holders: &[Holder] = match self {
            By::Use => &[Holder::Access],
            By::Copy => &[Holder::Copy, Holder::CpuFallback],
            By::Import => &[Holder::Mapping],
            By::Bind => &[Holder::Bind],
        };
        holders.iter().map(move |&holder| Hold { holder, until })
    }
}

/// Another device's import of a buffer.
#[derive(Clone, Debug)]
pub(super) struct AttachmentFacts {
    pub(super) buffer: BufferId,
    pub(super) device: DeviceId,
    /// Of the memory that it reads.
    pub(super) table: TableId,
}

// What a live buffer takes at rest; a slot of a page is no larger.
const _: () = assert!(size_of::<Option<BufferFacts>>() <= 24);
const _: () = assert!(size_of::<Option<AllocationFacts>>() <= 72);
const _: () = assert!(size_of::<Option<TableFacts>>() <= 48);
