//! Judging `update-ptes` and `invalidate-tlb`: what is written to page tables, and in which order.

use super::facts::By;
use super::request::Check;
use super::stretch::{Pte, Shows};
use super::vm_facts::{ShownMemory, VmFacts};
use super::{Ledger, Refusal};
use crate::executor::{DeviceOp, PteBacking};
use gpumm_contract::extent::round_up;
use gpumm_contract::facts::{Content, Role};
use gpumm_contract::plan::SPARSE_PTES;
use gpumm_contract::request::Request;
use gpumm_contract::vm::{PAGE, Span, VmId, WRITE};
use gpumm_contract::{AllocationId, BufferId, Point, TableId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What a plan writes to page tables.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entries {
    pub(super) vm: VmId,
    pub(super) span: Span,
    pub(super) table: TableId,
    pub(super) offset: u64,
    pub(super) flags: u64,
}

/// What the current request has changed in an address space.
#[derive(Debug, Default)]
pub(super) struct Touched {
    /// Where page tables or mappings may be other ones than before.
    pub(super) spans: Vec<Span>,
    /// Of which members.
    pub(super) buffers: BTreeSet<BufferId>,
    /// Tables that the device may still translate to, although the page tables do not.
    pub(super) stale: BTreeSet<TableId>,
    /// The same of entries without a table.
    pub(super) stale_sparse: bool,
}

impl Ledger {
    /// The address spaces that show a table.
    pub(super) fn showing(&self, table: TableId) -> impl Iterator<Item = VmId> + '_ {
        let of = (table, VmId(0))..=(table, VmId(u64::MAX));
        self.shown.range(of).map(|(&(_, vm), _)| vm)
    }

    /// How many addresses of an address space show a table.
    pub(super) fn shown_bytes(&self, table: TableId, vm: VmId) -> u64 {
        self.shown.get(&(table, vm)).copied().unwrap_or(0)
    }

    /// Whether a point is that of a job on an address space.
    pub(super) fn is_job(&self, point: Point) -> bool {
        let of = self.timelines.get(point.timeline);
        of.is_some_and(|t| t.role == Role::Job)
    }
}

impl Check<'_> {
    /// The facts of an address space, to change; it is told of when the plan is accepted.
    pub(super) fn vm_mut(&mut self, vm: VmId) -> Option<&mut VmFacts> {
        let facts = self.ledger.vms.get_mut(vm.0);
        if facts.is_some() {
            self.changed.insert(vm);
        }
        facts
    }

    pub(super) fn vm(&self, vm: VmId) -> Result<&VmFacts, Refusal> {
        let unknown = || Refusal::Unknown("vm", vm.0);
        self.ledger.vms.get(vm.0).ok_or_else(unknown)
    }

    /// Page tables are written by engines that write page tables or copy.
    ///
    /// ORDER: writes and invalidations of one address space happen one after the other, and those
    /// of a list of binds after what its client named.
    fn writes_ptes(&self, at: Point, vm: VmId) -> Result<(), Refusal> {
        let facts = self.vm(vm)?;
        match self.ledger.timelines.get(at.timeline).map(|t| t.role) {
            Some(Role::Bind | Role::Copy) => {}
            Some(_) => return Err(Refusal::NotAnEngine(at.timeline)),
            None => return Err(Refusal::Unknown("timeline", at.timeline.0.into())),
        }
        // What only the host knows of is in the request.
        let after = match self.asked() {
            Some(Request::Bind(bind)) if bind.vm == vm => Some(&bind.after),
            Some(Request::CloseVm(close)) if close.vm == vm => Some(&close.after),
            _ => None,
        };
        if let Some(after) = after {
            self.vm_ordered(vm, at, after.iter())?;
        }
        self.vm_ordered(vm, at, facts.written.iter())
    }

    fn vm_ordered(
        &self,
        vm: VmId,
        at: Point,
        mut before: impl Iterator<Item = Point>,
    ) -> Result<(), Refusal> {
        match before.find(|&p| !self.comes_after(at, p)) {
            Some(point) => Err(Refusal::VmNotOrdered {
                vm,
                timeline: at.timeline,
                point,
            }),
            None => Ok(()),
        }
    }

    /// The entries that an operation names; `None` = invalid ones.
    fn entries(&self, e: &Entries) -> Result<Option<Pte>, Refusal> {
        let paged = (e.span.start | e.span.bytes | e.offset).is_multiple_of(PAGE);
        let sparse = e.flags & SPARSE_PTES != 0;
        let known = e.flags & !(SPARSE_PTES | 0xff) == 0;
        let one = !sparse || e.table == TableId::NONE;
        let inside = e.span.bytes > 0 && self.vm(e.vm)?.has(e.span);
        if !(paged && known && one && inside) {
            return Err(Refusal::WrongPtes {
                vm: e.vm,
                address: e.span.start,
            });
        }
        let shows = match e.table {
            TableId::NONE if sparse => Shows::Sparse,
            TableId::NONE => return Ok(None),
            table => Shows::Table {
                table,
                offset: e.offset,
            },
        };
        Ok(Some(Pte {
            bytes: e.span.bytes,
            shows,
            attributes: e.flags as u8,
        }))
    }

    /// The memory that entries show: the present place of a buffer of the same tenant, with nobody
    /// else's bytes, once everything that writes there before is over but jobs, which clients order.
    fn backing(&self, at: Point, e: &Entries) -> Result<(PteBacking, BufferId), Refusal> {
        let (vm, table) = (e.vm, e.table);
        let (memory, of) = self.reached_by(at, table)?;
        let live = self.ledger.table_facts(table).is_some_and(|t| t.layout);
        let buffer = self.ledger.buffer(of.buffer);
        let home = buffer.filter(|b| live && b.allocation == memory.allocation);
        let home = home.ok_or(Refusal::NotHome { vm, table })?;
        if of.tenant != self.vm(vm)?.tenant {
            let buffer = of.buffer;
            return Err(Refusal::ForeignBuffer { vm, buffer });
        }
        let granule = self.ledger.memory.get(&of.memory).map(|m| m.kind.granule);
        let held = granule.and_then(|granule| round_up(of.bytes, granule));
        let held = held.min(round_up(of.bytes, PAGE));
        let end = e.offset.checked_add(e.span.bytes);
        if end.is_none() || end > held {
            return Err(Refusal::OutsideTable(table));
        }
        if home.content == Content::Poisoned {
            return Err(Refusal::Poisoned(of.buffer));
        }
        if home.content != Content::Never && !of.holds_content {
            return Err(Refusal::ContentLost(of.buffer));
        }
        if self.shows_foreign(of) {
            return Err(Refusal::ForeignBytes(of.buffer));
        }
        let uses = self.ledger.uses_of(memory.allocation);
        let before = uses.inherited.iter().chain(uses.writers.iter());
        let mut before = before.filter(|&p| !self.ledger.is_job(p));
        if let Some(point) = before.find(|&p| !self.comes_after(at, p)) {
            return Err(Refusal::NotOrdered {
                allocation: memory.allocation,
                timeline: at.timeline,
                point,
            });
        }
        let buffer = of.buffer;
        let backing = PteBacking::Memory {
            memory,
            offset: e.offset,
            write: e.flags & u64::from(WRITE) != 0,
        };
        Ok((backing, buffer))
    }

    pub(super) fn update_ptes(&mut self, at: Point, e: &Entries) -> Result<(), Refusal> {
        let vm = e.vm;
        self.writes_ptes(at, vm)?;
        let new = self.entries(e)?;
        let (backing, shown) = match new.map(|new| new.shows) {
            None => (PteBacking::Invalid, None),
            Some(Shows::Sparse) => (PteBacking::Sparse, None),
            Some(Shows::Table { .. }) => {
                let (backing, buffer) = self.backing(at, e)?;
                (backing, Some(buffer))
            }
        };
        self.advance(at)?;
        let mut same = 0;
        let mut replaced: BTreeMap<TableId, (u64, bool)> = BTreeMap::new();
        let mut sparse = false;
        let gone = self.vm_mut(vm).map(|facts| facts.write(e.span, new));
        for (old, stays) in gone.unwrap_or_default() {
            match old.shows {
                Shows::Sparse => sparse |= !stays,
                Shows::Table { table, .. } => {
                    let of = replaced.entry(table).or_default();
                    (of.0, of.1) = (of.0 + old.bytes, of.1 | !stays);
                    same += if stays { old.bytes } else { 0 };
                }
            }
        }
        self.replace(at, vm, &replaced, sparse)?;
        if let Some(buffer) = shown {
            self.shows(vm, e.table, buffer, |bytes| bytes + e.span.bytes);
            if let (PteBacking::Memory { memory, .. }, Some(facts)) = (&backing, self.vm_mut(vm)) {
                let shown = || ShownMemory(Arc::new(memory.clone()));
                facts.memory.entry(e.table).or_insert_with(shown);
            }
            let home = self.ledger.buffer(buffer).map(|b| b.allocation);
            if let Some(home) = home {
                self.note_use(home, at, false);
                if e.flags & u64::from(WRITE) != 0 {
                    self.now_holds(Content::Valid, buffer, home);
                }
            }
            if same < e.span.bytes
                && let Some(facts) = self.vm_mut(vm)
            {
                facts.outdate(buffer);
            }
            self.hold(e.table, By::Bind, at);
            self.accepted.counts.rebinds += u64::from(!self.binds(None));
        }
        self.touched.entry(vm).or_default().spans.push(e.span);
        self.wrote(vm, at);
        self.accepted.ops.push(DeviceOp::UpdatePtes {
            at,
            vm,
            address: e.span.start,
            bytes: e.span.bytes,
            backing,
        });
        Ok(())
    }

    /// Entries are gone: how many addresses showed each table, and whether some do not any more.
    ///
    /// ORDER: but where its client or its end ask for it, no job loses a buffer under its hands.
    fn replace(
        &mut self,
        at: Point,
        vm: VmId,
        tables: &BTreeMap<TableId, (u64, bool)>,
        sparse: bool,
    ) -> Result<(), Refusal> {
        let asked = self.binds(Some(vm));
        let changed = sparse || tables.values().any(|&(_, changed)| changed);
        if changed && !asked {
            self.vm_ordered(vm, at, self.vm(vm)?.busy.iter())?;
        }
        for (&table, &(gone, changed)) in tables {
            let unknown = || Refusal::Unknown("table", table.0.into());
            let of = self.ledger.table_facts(table).ok_or_else(unknown)?;
            let (buffer, allocation) = (of.buffer, of.allocation);
            self.shows(vm, table, buffer, |bytes| bytes - gone);
            if !changed {
                continue;
            }
            if !asked {
                self.after_jobs(at, allocation)?;
            }
            self.note_use(allocation, at, false);
            if let Some(facts) = self.vm_mut(vm) {
                facts.outdate(buffer);
            }
            self.touched.entry(vm).or_default().stale.insert(table);
        }
        self.touched.entry(vm).or_default().stale_sparse |= sparse;
        Ok(())
    }

    /// The jobs on address spaces that use an allocation are over.
    fn after_jobs(&self, at: Point, allocation: AllocationId) -> Result<(), Refusal> {
        let uses = self.ledger.uses_of(allocation);
        let mut jobs = uses.readers.iter().chain(uses.writers.iter());
        let running = |p: &Point| self.ledger.is_job(*p) && !self.comes_after(at, *p);
        match jobs.find(running) {
            Some(point) => Err(Refusal::NotOrdered {
                allocation,
                timeline: at.timeline,
                point,
            }),
            None => Ok(()),
        }
    }

    /// Whether the current request is a client's change of mappings, of one address space.
    fn binds(&self, of: Option<VmId>) -> bool {
        match self.asked() {
            Some(Request::Bind(bind)) => of.is_none_or(|vm| vm == bind.vm),
            Some(Request::CloseVm(close)) => of == Some(close.vm),
            _ => false,
        }
    }

    /// More addresses show a table, or less.
    fn shows(&mut self, vm: VmId, table: TableId, buffer: BufferId, to: impl Fn(u64) -> u64) {
        let bytes = to(self.ledger.shown_bytes(table, vm));
        match bytes {
            0 => _ = self.ledger.shown.discard(&(table, vm)),
            _ => _ = self.ledger.shown.insert((table, vm), bytes),
        }
        if let Some(facts) = self.vm_mut(vm) {
            facts.change(buffer, |bo| bo.shown_bytes = to(bo.shown_bytes));
            if bytes == 0 {
                facts.memory.remove(&table);
            }
        }
        let touched = self.touched.entry(vm).or_default();
        touched.buffers.insert(buffer);
    }

    fn wrote(&mut self, vm: VmId, at: Point) {
        self.changed.insert(vm);
        let ledger = &mut *self.ledger;
        if let Some(facts) = ledger.vms.get_mut(vm.0) {
            facts.written.retire(|p| ledger.timelines.reached(p));
            facts.written.add(at);
        }
    }

    /// INVARIANT: memory that the device may still translate to is in use, and so are its tables.
    pub(super) fn invalidate_tlb(&mut self, at: Point, vm: VmId) -> Result<(), Refusal> {
        self.writes_ptes(at, vm)?;
        self.advance(at)?;
        let touched = self.touched.entry(vm).or_default();
        touched.stale_sparse = false;
        for table in std::mem::take(&mut touched.stale) {
            let of = self.ledger.table_facts(table).map(|t| t.allocation);
            if let Some(allocation) = of {
                self.note_use(allocation, at, false);
            }
            self.hold(table, By::Bind, at);
        }
        self.wrote(vm, at);
        self.accepted.ops.push(DeviceOp::InvalidateTlb { at, vm });
        Ok(())
    }

    /// Memory is given up only when no page table shows it and no device remembers that one did.
    pub(super) fn nobody_shows(&self, table: Option<TableId>) -> Result<(), Refusal> {
        let Some(table) = table else {
            return Ok(());
        };
        if let Some(vm) = self.ledger.showing(table).next() {
            return Err(Refusal::StillShown { vm, table });
        }
        let stale = |(_, touched): &(&VmId, &Touched)| touched.stale.contains(&table);
        match self.touched.iter().find(stale) {
            Some((&vm, _)) => Err(Refusal::StaleTlb(vm)),
            None => Ok(()),
        }
    }

    /// What happens to an allocation beside page tables: jobs must wait for it.
    pub(super) fn outdate(&mut self, allocation: AllocationId, by: Point) {
        if self.ledger.shown.is_empty() || self.ledger.is_job(by) {
            return;
        }
        let of = self.ledger.allocation(allocation);
        let Some((table, buffer)) = of.and_then(|a| Some((a.table?, a.buffer))) else {
            return;
        };
        let showing: Vec<VmId> = self.ledger.showing(table).collect();
        for vm in showing {
            if let Some(facts) = self.vm_mut(vm) {
                facts.outdate(buffer);
            }
        }
    }
}
