//! An address space as the rest of the host sees it.

use super::Ledger;
use super::stretch::overlapping;
use super::vm_facts::VmFacts;
use crate::executor::Memory;
use gpumm_contract::facts::{Fact, MappingFact, VmBoFact, VmFact};
use gpumm_contract::request::{Intent, SpanUse};
use gpumm_contract::vm::{Mapping, Span, VmConfig, VmId};
use gpumm_contract::{BufferId, Few, Point, PointSet, TableId, TenantId};

/// An address space at an accepted plan.
///
/// Complexity: a copy is O(1), and keeps what has changed since.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VmView {
    pub(crate) vm: VmId,
    /// Whether it has ended.
    pub(crate) closed: bool,
    facts: VmFacts,
}

/// What a job finds at the addresses that it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Covers {
    /// The buffers, by number, and what the job does with each.
    pub(crate) uses: Few<(BufferId, Intent)>,
    /// Whether there is something everywhere, and all of it may be used once the address space is
    /// ready.
    pub(crate) fresh: bool,
}

impl VmView {
    pub(super) fn closed(vm: VmId, facts: VmFacts) -> Self {
        VmView {
            vm,
            closed: true,
            facts,
        }
    }

    /// Whose it is.
    pub(crate) fn tenant(&self) -> TenantId {
        self.facts.tenant
    }

    /// Its addresses and limits.
    pub(crate) fn config(&self) -> &VmConfig {
        &self.facts.config
    }

    /// What a job uses that names addresses; one that names none, uses every member and may write
    /// each.
    pub(crate) fn covers(&self, spans: &[SpanUse]) -> Covers {
        let (uses, mapped) = match spans {
            [] => (self.facts.named(&[]).into(), true),
            // Nearly every job, so without a list.
            [span] if let Some(buffer) = self.facts.only(span.at) => {
                (Few::one((buffer, span.intent)), true)
            }
            spans => {
                let (uses, mapped) = self.facts.walk(spans);
                (uses.into(), mapped)
            }
        };
        let fresh = |(buffer, _): &_| self.facts.bos.get(buffer).is_some_and(|bo| bo.fresh);
        // What is not mapped may be on its way out of the page tables.
        let fresh = mapped && uses.iter().all(fresh);
        Covers { uses, fresh }
    }

    /// What a job on fresh members must wait for; reached points are not taken out.
    pub(crate) fn ready(&self) -> Option<Point> {
        self.facts.ready
    }

    /// Page-table writes and invalidations that may not be over; of one that has ended, the last.
    pub(crate) fn written(&self) -> &PointSet {
        &self.facts.written
    }

    /// By address.
    pub(crate) fn mappings(&self) -> impl Iterator<Item = &Mapping> {
        self.facts.mappings.values()
    }

    /// The members, by number, each with the table that the page tables show, if they do.
    pub(crate) fn members(&self) -> impl Iterator<Item = (BufferId, Option<TableId>)> {
        self.facts
            .bos
            .iter()
            .map(|(&buffer, bo)| (buffer, bo.table))
    }

    /// Whether every member may be used once the address space is ready.
    #[cfg(test)]
    pub(crate) fn all_fresh(&self) -> bool {
        self.facts.not_fresh == 0
    }

    /// How many stretches of page-table entries show something.
    #[cfg(test)]
    pub(crate) fn pte_runs(&self) -> usize {
        self.facts.ptes.len()
    }

    /// The mappings that overlap a span, by address.
    pub(crate) fn overlapping(&self, at: Span) -> impl Iterator<Item = Mapping> {
        overlapping(&self.facts.mappings, at).map(|(_, mapping)| mapping)
    }

    /// The memory that page tables show at addresses, of each buffer once.
    pub(crate) fn memory_of(&self, spans: &[SpanUse]) -> impl Iterator<Item = &Memory> {
        let named = self.facts.named(spans).into_iter();
        named.filter_map(|(buffer, _)| {
            let table = self.facts.bos.get(&buffer)?.table?;
            Some(&*self.facts.memory.get(&table)?.0)
        })
    }

    /// All memory that page tables show, by table.
    pub(crate) fn memory(&self) -> impl Iterator<Item = &Memory> {
        self.facts.memory.values().map(|shown| &*shown.0)
    }
}

impl Ledger {
    /// An address space as it stands.
    pub(crate) fn vm(&self, vm: VmId) -> Option<VmView> {
        let facts = self.vms.get(vm.0)?.clone();
        Some(VmView {
            vm,
            closed: false,
            facts,
        })
    }

    /// The address spaces as facts.
    pub(super) fn vm_facts(&self) -> impl Iterator<Item = Fact> {
        let vms = || self.vms.iter().map(|(vm, facts)| (VmId(vm), facts));
        let spaces = vms().map(|(vm, facts)| {
            let (mut written, mut busy) = (facts.written.clone(), facts.busy.clone());
            written.retire(|p| self.reached(p));
            busy.retire(|p| self.reached(p));
            Fact::Vm(VmFact {
                vm,
                tenant: facts.tenant,
                config: facts.config,
                written,
                busy,
            })
        });
        let members = vms().flat_map(|(vm, facts)| {
            let fact = move |(&buffer, bo): (&BufferId, &super::vm_facts::VmBoFacts)| {
                Fact::VmBo(VmBoFact {
                    vm,
                    buffer,
                    external: false,
                    evicted: bo.table.is_none(),
                    table: bo.table,
                    held: 0,
                })
            };
            facts.bos.iter().map(fact)
        });
        let mappings = vms().flat_map(|(vm, facts)| {
            let fact = move |&mapping: &Mapping| Fact::Mapping(MappingFact { vm, mapping });
            facts.mappings.values().map(fact)
        });
        spaces.chain(members).chain(mappings)
    }
}
