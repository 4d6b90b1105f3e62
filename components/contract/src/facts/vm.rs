//! Facts of address spaces.

use super::codec::{points, put_points};
use crate::id::{BufferId, TableId, TenantId};
use crate::point::PointSet;
use crate::vm::packed::{get_mapping, mapping_operand};
use crate::vm::{Mapping, VmConfig, VmId};
use crate::wire::{Item, WireError, Writer};

/// An address space that is not closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VmFact {
    /// Which one.
    pub vm: VmId,
    /// Whose.
    pub tenant: TenantId,
    /// Its addresses and limits.
    pub config: VmConfig,
    /// Page-table writes and invalidations that may not be over.
    pub written: PointSet,
    /// Jobs that may use every member and may not be over.
    pub busy: PointSet,
}

/// A buffer as a member of an address space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VmBoFact {
    /// The address space.
    pub vm: VmId,
    /// The buffer.
    pub buffer: BufferId,
    /// Whether others use it too.
    pub external: bool,
    /// Whether it must be shown again before a job uses it.
    pub evicted: bool,
    /// The table that the page tables show; `None` while they show none.
    pub table: Option<TableId>,
    /// How often it is held apart from its mappings.
    pub held: u32,
}

/// A mapping of an address space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MappingFact {
    /// The address space.
    pub vm: VmId,
    /// The mapping.
    pub mapping: Mapping,
}

const EXTERNAL: u32 = 1;
const EVICTED: u32 = 2;

impl VmFact {
    pub(super) fn encode(&self, out: &mut Writer) -> bool {
        out.item(9, self.tenant.0, |body| {
            body.push(self.vm.0);
            body.extend(self.config.words());
            body.push(self.written.len() as u64);
            put_points(&self.written, body);
            put_points(&self.busy, body);
        })
    }

    pub(super) fn decode(item: &Item<'_>) -> Result<Self, WireError> {
        let ([vm, a, b, c, d, e, f, written], mut rest) = item.at_least()?;
        let config = VmConfig::from_words([a, b, c, d, e, f]);
        let written = points(item, &mut rest, written)?;
        let others = (rest.len() / 2) as u64;
        let busy = points(item, &mut rest, others)?;
        if !rest.is_empty() {
            return Err(WireError::Length(item.number));
        }
        Ok(VmFact {
            vm: VmId(vm),
            tenant: TenantId(item.operand),
            config: config.ok_or(WireError::Value(item.number))?,
            written,
            busy,
        })
    }
}

impl VmBoFact {
    pub(super) fn encode(&self, out: &mut Writer) -> bool {
        let external = if self.external { EXTERNAL } else { 0 };
        let evicted = if self.evicted { EVICTED } else { 0 };
        out.item(10, external | evicted, |body| {
            let table = self.table.unwrap_or(TableId::NONE);
            body.extend([self.vm.0, self.buffer.0, table.0.into(), self.held.into()]);
        })
    }

    pub(super) fn decode(item: &Item<'_>) -> Result<Self, WireError> {
        let [vm, buffer, table, held] = item.exactly()?;
        let table = TableId(item.narrow(table)?);
        if item.operand & !(EXTERNAL | EVICTED) != 0 {
            return Err(WireError::Value(item.number));
        }
        Ok(VmBoFact {
            vm: VmId(vm),
            buffer: BufferId(buffer),
            external: item.operand & EXTERNAL != 0,
            evicted: item.operand & EVICTED != 0,
            table: (table != TableId::NONE).then_some(table),
            held: item.narrow(held)?,
        })
    }
}

impl MappingFact {
    pub(super) fn encode(&self, out: &mut Writer) -> bool {
        let m = &self.mapping;
        out.item(11, mapping_operand(m), |body| {
            let buffer = m.buffer.map_or(0, |b| b.0);
            body.extend([self.vm.0, m.at.start, m.at.bytes, buffer, m.offset]);
        })
    }

    pub(super) fn decode(item: &Item<'_>) -> Result<Self, WireError> {
        let [vm, start, bytes, buffer, offset] = item.exactly()?;
        Ok(MappingFact {
            vm: VmId(vm),
            mapping: get_mapping(item, 0, [start, bytes, buffer, offset])?,
        })
    }
}
