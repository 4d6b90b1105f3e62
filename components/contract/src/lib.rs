//! The words every part of gpumm shares.
//!
//! Identifiers and points ([`id`], [`point`]), byte ranges ([`extent`], [`ranges`]), the packed
//! encodings that cross the sandbox boundary ([`wire`], [`allocator`], [`request`], [`plan`],
//! [`facts`]), and the traits that a strategy and an sg-table keeper implement
//! ([`allocator::Allocator`], [`table::Tables`]).
//!
//! Invariant: this crate depends on nothing, allocates only through `alloc`, and contains no
//! decision. It is compiled into every component and into the host.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod allocator;
pub mod extent;
pub mod facts;
pub mod few;
pub mod id;
pub mod journal;
pub mod numbers;
pub mod paged;
pub mod plan;
pub mod point;
pub mod ranges;
pub mod request;
pub mod residue;
pub mod table;
pub mod vm;
pub mod wire;

pub use allocator::{Allocator, Geometry};
pub use extent::{Extent, Extents, Segment, Segments};
pub use few::Few;
pub use id::{
    AllocationId, AttachmentId, BufferId, DeviceId, JobId, MemoryTypeId, Stamp, TableId, TenantId,
    TimelineId,
};
pub use plan::Op;
pub use point::{Point, PointSet};
pub use request::Request;
pub use residue::Shows;
