//! Between the types of the contract and those of the import.

use crate::bindings::gpumm::memory::gpuvm as wit;
use gpumm_contract::vm::{BindError, Mapping, Op, Remap, Span, Unmap, VmBo, VmError};
use gpumm_contract::wire::WireError;
use gpumm_contract::{BufferId, TableId};

pub(super) fn span(at: Span) -> wit::Span {
    wit::Span {
        start: at.start,
        bytes: at.bytes,
    }
}

pub(super) fn told(mapping: Mapping) -> wit::Mapping {
    wit::Mapping {
        at: span(mapping.at),
        buffer: mapping.buffer.map(|buffer| buffer.0),
        offset: mapping.offset,
        attributes: mapping.attributes,
    }
}

pub(super) fn mapping(mapping: wit::Mapping) -> Mapping {
    Mapping {
        at: Span {
            start: mapping.at.start,
            bytes: mapping.at.bytes,
        },
        buffer: mapping.buffer.map(BufferId),
        offset: mapping.offset,
        attributes: mapping.attributes,
    }
}

pub(super) fn mappings(found: Vec<wit::Mapping>) -> Vec<Mapping> {
    found.into_iter().map(mapping).collect()
}

fn unmap(unmap: wit::Unmap) -> Unmap {
    Unmap {
        mapping: mapping(unmap.mapping),
        keep: unmap.keep,
    }
}

/// The hole between what is left of a mapping.
fn remap(remap: wit::Remap) -> Remap {
    let unmap = unmap(remap.unmap);
    let at = unmap.mapping.at;
    let prev = remap.prev.map_or(at.start, |p| p.at.start + p.at.bytes);
    let next = remap.next.map_or(at.start + at.bytes, |n| n.at.start);
    let hole = Span {
        start: prev,
        bytes: next - prev,
    };
    Remap { unmap, hole }
}

pub(super) fn steps(done: Vec<wit::Step>) -> impl Iterator<Item = Op> {
    done.into_iter().map(|step| match step {
        wit::Step::Unmap(gone) => Op::Unmap(unmap(gone)),
        wit::Step::Remap(cut) => Op::Remap(remap(cut)),
        wit::Step::Map(new) => Op::Map(mapping(new)),
        wit::Step::Ended(buffer) => Op::Ended(BufferId(buffer)),
    })
}

pub(super) fn vm_bo(member: wit::VmBo) -> VmBo {
    VmBo {
        buffer: BufferId(member.buffer),
        external: member.external,
        evicted: member.evicted,
        table: member.table.map(TableId),
        held: member.held,
        mappings: member.mappings,
    }
}

pub(super) fn error(why: wit::VmError) -> VmError {
    match why {
        wit::VmError::UnknownVm => VmError::UnknownVm,
        wit::VmError::VmExists => VmError::VmExists,
        wit::VmError::Closed => VmError::Closed,
        wit::VmError::Empty => VmError::Empty,
        wit::VmError::Misaligned => VmError::Misaligned,
        wit::VmError::Range => VmError::Range,
        wit::VmError::KernelArea => VmError::KernelArea,
        wit::VmError::Limits => VmError::Limits,
        wit::VmError::UnknownBuffer => VmError::UnknownBuffer,
        wit::VmError::NotHeld => VmError::NotHeld,
        wit::VmError::TooManyHolds => VmError::TooManyHolds,
        wit::VmError::TooManyMappings => VmError::TooManyMappings,
        wit::VmError::TooManyOfBuffer => VmError::TooManyOfBuffer,
        wit::VmError::Overlap => VmError::Overlap,
        // Which damage it was does not matter to a caller that wrote the list itself.
        wit::VmError::Packed(_) => VmError::Wire(WireError::Truncated),
    }
}

pub(super) fn refused(refused: wit::BindError) -> BindError {
    BindError {
        request: refused.request,
        why: error(refused.why),
    }
}
