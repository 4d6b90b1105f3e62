//! Judging requests that make, change and end address spaces: do the page tables show what is
//! mapped?

use super::request::Check;
use super::vm::Touched;
use super::vm_facts::{VmFacts, valid};
use super::vm_view::VmView;
use super::{Ledger, Refusal};
use gpumm_contract::extent::round_up;
use gpumm_contract::request::{BindVm, CreateVm};
use gpumm_contract::vm::packed::Binds;
use gpumm_contract::vm::{Bind, Mapping, PAGE, Span, VmError, VmId};
use gpumm_contract::{BufferId, TableId};
use std::collections::BTreeSet;

impl Ledger {
    /// The address spaces that a buffer is mapped in.
    pub(super) fn vms_of(&self, buffer: BufferId) -> Vec<VmId> {
        let of = (buffer, VmId(0))..=(buffer, VmId(u64::MAX));
        self.members.range(of).map(|(&(_, vm), ())| vm).collect()
    }
}

impl Check<'_> {
    pub(super) fn create_vm(&mut self, create: &CreateVm) -> Result<(), Refusal> {
        let vm = create.vm;
        if self.ledger.vms.contains(vm.0) {
            return Err(Refusal::InUse("vm", vm.0));
        }
        if !valid(&create.config) {
            return Err(Refusal::FalseVm(vm));
        }
        let facts = VmFacts::new(create.tenant, create.config);
        self.ledger.vms.insert(vm.0, facts);
        self.changed.insert(vm);
        Ok(())
    }

    /// The mappings of an address space end with it; what the page tables showed is gone before.
    pub(super) fn close_vm(&mut self, vm: VmId) -> Result<(), Refusal> {
        let facts = self.vm(vm)?.clone();
        if !facts.ptes.is_empty() {
            return Err(Refusal::PtesLeft(vm));
        }
        // Nobody looks at it any more once it is no fact.
        let touched = self.touched.get(&vm);
        if touched.is_some_and(|t| t.stale_sparse || !t.stale.is_empty()) {
            return Err(Refusal::StaleTlb(vm));
        }
        for &buffer in facts.bos.keys() {
            self.ledger.members.discard(&(buffer, vm));
        }
        self.ledger.vms.remove(vm.0);
        self.changed.remove(&vm);
        self.accepted.vms.push(VmView::closed(vm, facts));
        Ok(())
    }

    /// What a bind maps must be there, and the tenant's own.
    fn may_map(&self, vm: VmId, facts: &VmFacts, mapping: &Mapping) -> Result<(), VmOr> {
        let Some(buffer) = mapping.buffer else {
            return Ok(());
        };
        let home = self.ledger.home(buffer);
        let home = home.ok_or(VmOr::Why(VmError::UnknownBuffer))?;
        if home.tenant != facts.tenant {
            return Err(VmOr::Refusal(Refusal::ForeignBuffer { vm, buffer }));
        }
        let end = mapping.offset.checked_add(mapping.at.bytes);
        if end.is_none() || end > round_up(home.bytes, PAGE) {
            return Err(VmOr::Why(VmError::Range));
        }
        Ok(())
    }

    /// Carries out a list of binds: a map replaces whatever was there.
    pub(super) fn bind(&mut self, list: &BindVm) -> Result<(), Refusal> {
        let vm = list.vm;
        let mut facts = self.vm(vm)?.clone();
        let (mut number, mut buffers, mut spans) = (0, BTreeSet::new(), Vec::new());
        let of = |bind| move |why: VmError| Refusal::FalseBind { vm, bind, why };
        let mut binds = Binds::new(&list.binds).map_err(|why| of(0)(why.into()))?;
        while let Some(bind) = binds.next().map_err(|why| of(number)(why.into()))? {
            match &bind {
                Bind::Map(mapping) => {
                    match self.may_map(vm, &facts, mapping) {
                        Ok(()) => {}
                        Err(VmOr::Why(why)) => return Err(of(number)(why)),
                        Err(VmOr::Refusal(refusal)) => return Err(refusal),
                    }
                    self.accepted.counts.binds += 1;
                }
                Bind::Unmap(_) => self.accepted.counts.unbinds += 1,
            }
            spans.push(facts.bind(&bind, &mut buffers).map_err(of(number))?);
            number += 1;
        }
        for &buffer in &buffers {
            match facts.maps(buffer) {
                true => _ = self.ledger.members.insert((buffer, vm), ()),
                false => _ = self.ledger.members.discard(&(buffer, vm)),
            }
        }
        // Later jobs see what was bound, also where no member is concerned.
        facts.ready = self.bound.or(facts.ready);
        self.ledger.vms.insert(vm.0, facts);
        self.changed.insert(vm);
        let touched = self.touched.entry(vm).or_default();
        touched.spans.append(&mut spans);
        touched.buffers.append(&mut buffers);
        Ok(())
    }

    /// A released buffer is mapped nowhere.
    pub(super) fn unmap_everywhere(&mut self, buffer: BufferId) {
        for vm in self.ledger.vms_of(buffer) {
            self.ledger.members.discard(&(buffer, vm));
            let spans = self.vm_mut(vm).map(|facts| facts.unmap_buffer(buffer));
            let spans = spans.unwrap_or_default();
            self.accepted.counts.unbinds += spans.len() as u64;
            let touched = self.touched.entry(vm).or_default();
            touched.spans.extend(spans);
            touched.buffers.insert(buffer);
        }
    }

    /// At an answer, page tables show what is mapped, and the device remembers nothing else.
    ///
    /// Complexity: as what the request has touched, plus a search for each.
    pub(super) fn vms_agree(&mut self) -> Result<(), Refusal> {
        for (vm, touched) in std::mem::take(&mut self.touched) {
            if !touched.stale.is_empty() || touched.stale_sparse {
                return Err(Refusal::StaleTlb(vm));
            }
            self.members_agree(vm, &touched)?;
            let Some(facts) = self.ledger.vms.get(vm.0) else {
                continue;
            };
            for span in merged(touched.spans) {
                if let Some(address) = facts.disagrees(span) {
                    return Err(Refusal::FalsePtes { vm, address });
                }
            }
        }
        Ok(())
    }

    /// Of each member the page tables show its present place, at all of its addresses, or nothing.
    fn members_agree(&mut self, vm: VmId, touched: &Touched) -> Result<(), Refusal> {
        for &buffer in &touched.buffers {
            let of = self.ledger.vms.get(vm.0);
            let Some(&bo) = of.and_then(|facts| facts.bos.get(&buffer)) else {
                continue;
            };
            let home = self.ledger.home(buffer).and_then(|home| home.table);
            let shown = |table: &TableId| self.ledger.shown_bytes(*table, vm) == bo.shown_bytes;
            let table = home.filter(|_| bo.shown_bytes > 0);
            let whole = bo.shown_bytes == bo.mapped_bytes && table.as_ref().is_some_and(shown);
            if bo.shown_bytes > 0 && !whole {
                return Err(Refusal::HalfShown { vm, buffer });
            }
            if bo.table != table
                && let Some(facts) = self.vm_mut(vm)
            {
                facts.change(buffer, |bo| bo.table = table);
            }
        }
        Ok(())
    }

    /// The device has forgotten its page tables and all translations.
    pub(super) fn page_tables_lost(&mut self) {
        self.touched.clear();
        let all = self.ledger.shown.iter().map(|(&key, _)| key);
        let all: Vec<(TableId, VmId)> = all.collect();
        for key in all {
            self.ledger.shown.discard(&key);
        }
        let shown = self.ledger.vms.iter();
        let shown = shown.filter(|(_, facts)| !facts.ptes.is_empty());
        let shown: Vec<u64> = shown.map(|(vm, _)| vm).collect();
        for vm in shown {
            if let Some(facts) = self.vm_mut(VmId(vm)) {
                facts.lose();
            }
        }
    }
}

/// Why a bind must be refused: as the contract says it, or otherwise.
enum VmOr {
    Why(VmError),
    Refusal(Refusal),
}

/// The spans in ascending order, those that meet as one.
fn merged(mut spans: Vec<Span>) -> Vec<Span> {
    spans.sort_unstable();
    let mut all: Vec<Span> = Vec::with_capacity(spans.len());
    for span in spans {
        // OVERFLOW: each lies inside its address space.
        match all.last_mut() {
            Some(last) if span.start <= last.start + last.bytes => {
                let end = (last.start + last.bytes).max(span.start + span.bytes);
                last.bytes = end - last.start;
            }
            _ => all.push(span),
        }
    }
    all
}
