//! Words of the interface to words of the contract, and back.

use super::wit;
use gpumm_contract::vm::{
    Bind, BindError, Mapping, Needs, Op, Span, Unmap, VmBo, VmConfig, VmError,
};
use gpumm_contract::{BufferId, TableId};

pub(super) fn span(at: wit::Span) -> Span {
    Span {
        start: at.start,
        bytes: at.bytes,
    }
}

pub(super) fn config(config: wit::VmConfig) -> VmConfig {
    VmConfig {
        range: span(config.range),
        kernel: span(config.kernel),
        mappings: config.mappings,
        mappings_per_buffer: config.mappings_per_buffer,
    }
}

pub(super) fn mapping(mapping: wit::Mapping) -> Mapping {
    Mapping {
        at: span(mapping.at),
        buffer: mapping.buffer.map(BufferId),
        offset: mapping.offset,
        attributes: mapping.attributes,
    }
}

pub(super) fn told(mapping: Mapping) -> wit::Mapping {
    wit::Mapping {
        at: wit::Span {
            start: mapping.at.start,
            bytes: mapping.at.bytes,
        },
        buffer: mapping.buffer.map(|buffer| buffer.0),
        offset: mapping.offset,
        attributes: mapping.attributes,
    }
}

pub(super) fn mappings(found: Vec<Mapping>) -> Vec<wit::Mapping> {
    found.into_iter().map(told).collect()
}

pub(super) fn bind(bind: wit::Bind) -> Bind {
    match bind {
        wit::Bind::Map(new) => Bind::Map(mapping(new)),
        wit::Bind::Unmap(at) => Bind::Unmap(span(at)),
    }
}

fn unmap(unmap: Unmap) -> wit::Unmap {
    wit::Unmap {
        mapping: told(unmap.mapping),
        keep: unmap.keep,
    }
}

pub(super) fn steps(done: Vec<Op>) -> Vec<wit::Step> {
    let step = |op| match op {
        Op::Unmap(gone) => wit::Step::Unmap(unmap(gone)),
        Op::Remap(remap) => wit::Step::Remap(wit::Remap {
            unmap: unmap(remap.unmap),
            prev: remap.prev().map(told),
            next: remap.next().map(told),
        }),
        Op::Map(new) => wit::Step::Map(told(new)),
        Op::Ended(buffer) => wit::Step::Ended(buffer.0),
    };
    done.into_iter().map(step).collect()
}

pub(super) fn needs(needs: Needs) -> wit::Needs {
    let numbers = |of: Vec<BufferId>| of.into_iter().map(|buffer| buffer.0).collect();
    wit::Needs {
        evicted: numbers(needs.evicted),
        external: numbers(needs.external),
        private: numbers(needs.private),
        tables: needs
            .tables
            .into_iter()
            .map(|TableId(table)| table)
            .collect(),
    }
}

pub(super) fn vm_bo(member: VmBo) -> wit::VmBo {
    wit::VmBo {
        buffer: member.buffer.0,
        external: member.external,
        evicted: member.evicted,
        table: member.table.map(|TableId(table)| table),
        held: member.held,
        mappings: member.mappings,
    }
}

pub(super) fn error(why: VmError) -> wit::VmError {
    match why {
        VmError::UnknownVm => wit::VmError::UnknownVm,
        VmError::VmExists => wit::VmError::VmExists,
        VmError::Closed => wit::VmError::Closed,
        VmError::Empty => wit::VmError::Empty,
        VmError::Misaligned => wit::VmError::Misaligned,
        VmError::Range => wit::VmError::Range,
        VmError::KernelArea => wit::VmError::KernelArea,
        VmError::Limits => wit::VmError::Limits,
        VmError::UnknownBuffer => wit::VmError::UnknownBuffer,
        VmError::NotHeld => wit::VmError::NotHeld,
        VmError::TooManyHolds => wit::VmError::TooManyHolds,
        VmError::TooManyMappings => wit::VmError::TooManyMappings,
        VmError::TooManyOfBuffer => wit::VmError::TooManyOfBuffer,
        VmError::Overlap => wit::VmError::Overlap,
        VmError::Wire(why) => wit::VmError::Packed(why.to_string()),
    }
}

pub(super) fn refused(refused: BindError) -> wit::BindError {
    wit::BindError {
        request: refused.request,
        why: error(refused.why),
    }
}
