//! An address space as a capture keeps it.

use super::input::Context;
use super::model::{AddressSpace, MappedRange, Segment, ShownTable};
use crate::ledger::VmView;
use gpumm_contract::vm::WRITE;
use std::collections::BTreeMap;

/// So many mappings are kept.
const MAPPINGS: usize = 4096;

/// What a job could see.
pub(super) fn address_space(view: &VmView, context: &Context<'_>) -> AddressSpace {
    let shown: BTreeMap<_, _> = view.members().collect();
    let mappings = view.mappings().map(|m| MappedRange {
        address: m.at.start,
        bytes: m.at.bytes,
        buffer: m.buffer.map(|b| b.0),
        offset: m.offset,
        write: m.attributes & WRITE != 0,
        table: m.buffer.and_then(|b| Some((*shown.get(&b)?)?.0)),
    });
    let mut mappings: Vec<MappedRange> = mappings.collect();
    let left_out = mappings.len().saturating_sub(MAPPINGS) as u64;
    mappings.truncate(MAPPINGS);
    let tables = view.memory().map(|m| ShownTable {
        table: m.table.0,
        allocation: m.allocation.0,
        buffer: m.buffer.0,
        memory: context.memory(m.kind),
        segments: m
            .segments
            .iter()
            .map(|s| Segment {
                address: s.address,
                bytes: s.bytes,
            })
            .collect(),
    });
    AddressSpace {
        vm: view.vm.0,
        tenant: view.tenant().0,
        mappings,
        left_out,
        tables: tables.take(MAPPINGS).collect(),
    }
}
