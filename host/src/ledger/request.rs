//! Judging a whole plan: did every request get what its answer says?

use super::vm::{Entries, Touched};
use super::{Accepted, BufferFacts, Ledger, Refusal};
use crate::broker::Overlay;
use gpumm_contract::facts::Content;
use gpumm_contract::plan::{Lists, Op, Status};
use gpumm_contract::request::{Access, Batch, Request};
use gpumm_contract::vm::{Span, VmId};
use gpumm_contract::wire::{Kind, Reader};
use gpumm_contract::{AllocationId, BufferId, Point, TableId, TenantId};
use std::collections::{BTreeMap, BTreeSet};

/// A plan under judgement.
pub(super) struct Check<'a> {
    pub(super) ledger: &'a mut Ledger,
    pub(super) overlay: &'a Overlay,
    batch: &'a Batch,
    pub(super) accepted: Accepted,
    /// The request whose operations are being read.
    pub(super) request: u32,
    /// Whether that request's job has run.
    pub(super) ran: bool,
    /// Whether that request's buffer has got its first place.
    founded: bool,
    /// Whether that request's buffer has lost its place.
    ended: bool,
    /// Allocations ended by this plan.
    pub(super) unplaced: Vec<AllocationId>,
    /// Places that their buffers have left in this request.
    pub(super) superseded: BTreeSet<AllocationId>,
    /// Allocations to be looked at, whether they are over.
    pub(super) over: Vec<AllocationId>,
    /// How many tables nobody holds any more: the plan must drop them.
    pub(super) orphans: usize,
    /// Live tables whose mapping this plan has ended.
    pub(super) unmapped: BTreeSet<TableId>,
    /// Buffers that the current request must give up.
    pub(super) must_poison: BTreeSet<BufferId>,
    /// What the current request has changed in address spaces.
    pub(super) touched: BTreeMap<VmId, Touched>,
    /// The last point of the current request on a timeline of page-table writes.
    pub(super) bound: Option<Point>,
    /// Address spaces that this plan has changed.
    pub(super) changed: BTreeSet<VmId>,
}

impl Ledger {
    /// Judges a plan whole; accepted, it is the state from now on.
    ///
    /// Errors: the first lie; then nothing changed.
    pub(crate) fn check(
        &mut self,
        batch: &Batch,
        overlay: &Overlay,
        words: &[u64],
    ) -> Result<Accepted, Refusal> {
        let mut lists = std::mem::take(&mut self.lists);
        let judged = self.judge(batch, overlay, words, &mut lists);
        self.lists = lists;
        self.lists.trim();
        judged
    }

    fn judge(
        &mut self,
        batch: &Batch,
        overlay: &Overlay,
        words: &[u64],
        lists: &mut Lists,
    ) -> Result<Accepted, Refusal> {
        // ORDER: a plan that cannot be read to its end is refused before anything else.
        let (accepted, ends) = Accepted::room_for(words, batch.requests.len())?;
        self.begin();
        let mut check = Check {
            ledger: self,
            overlay,
            batch,
            accepted,
            request: 0,
            ran: false,
            founded: false,
            ended: false,
            unplaced: Vec::with_capacity(ends),
            superseded: BTreeSet::new(),
            over: Vec::with_capacity(ends),
            orphans: 0,
            unmapped: BTreeSet::new(),
            must_poison: BTreeSet::new(),
            touched: BTreeMap::new(),
            bound: None,
            changed: BTreeSet::new(),
        };
        match check.plan(words, lists) {
            Ok(()) => {
                let (mut accepted, changed) = (check.accepted, check.changed);
                self.commit();
                let views = changed.into_iter().filter_map(|vm| self.vm(vm));
                accepted.vms.extend(views);
                for &(memory, end) in &accepted.high_water {
                    if let Some(facts) = self.memory.get_mut(&memory) {
                        facts.high_water = facts.high_water.max(end);
                    }
                }
                Ok(accepted)
            }
            Err(refusal) => {
                self.rollback();
                Err(refusal)
            }
        }
    }
}

impl<'a> Check<'a> {
    fn plan(&mut self, words: &[u64], lists: &mut Lists) -> Result<(), Refusal> {
        let mut ops = Reader::new(words, Kind::Plan)?;
        self.accepted.counts.plan_ops = ops.count().into();
        self.begin_request();
        while let Some(item) = ops.next()? {
            self.op(Op::read(&item, lists)?)?;
        }
        let (answered, requests) = (self.request, self.batch.requests.len() as u32);
        if answered != requests {
            return Err(Refusal::Unanswered { answered, requests });
        }
        self.vms_agree()?;
        if let Some(table) = self.leaked() {
            return Err(Refusal::TableLeaked(table));
        }
        // What ended with nothing left to wait for is over now, not at the next retire.
        self.end_allocations();
        self.unplaced.sort_unstable();
        let placed = |number| self.ledger.knows(number);
        let unplaced = |number| self.unplaced.binary_search(&number).is_ok();
        match self.overlay.disagreement(placed, unplaced) {
            Some(number) => Err(Refusal::StrategyDisagrees(number)),
            None => Ok(()),
        }
    }

    fn op(&mut self, op: Op<'_>) -> Result<(), Refusal> {
        match op {
            Op::Answer { request, status } => self.answer(request, status),
            Op::Place {
                allocation,
                memory,
                buffer,
                extents,
            } => self.place(allocation, memory, buffer, &extents),
            Op::Unplace { allocation, after } => self.unplace(allocation, after),
            Op::Table {
                table,
                allocation,
                segments,
            } => self.table(table, allocation, &segments),
            Op::DropTable { table } => self.drop_table(table),
            Op::Copy {
                at,
                source,
                target,
                source_offset,
                target_offset,
                bytes,
            } => self.copy(at, [source, target], [source_offset, target_offset], bytes),
            Op::Fill {
                at,
                table,
                offset,
                bytes,
                pattern,
            } => self.fill(at, table, offset, bytes, pattern),
            Op::Run { at, job, tables } => self.run(at, job, &tables),
            Op::Wait { timeline, point } => self.wait(timeline, point),
            Op::Signal { at } => self.signal(at),
            Op::MapDma { table } => self.map_dma(table),
            Op::UnmapDma { table } => self.unmap_dma(table),
            Op::UpdatePtes {
                at,
                vm,
                address: start,
                table,
                offset,
                bytes,
                flags,
            } => {
                let span = Span { start, bytes };
                let entries = Entries {
                    vm,
                    span,
                    table,
                    offset,
                    flags,
                };
                self.update_ptes(at, &entries)
            }
            Op::InvalidateTlb { at, vm } => self.invalidate_tlb(at, vm),
            Op::Notify {
                device,
                attachment,
                gate,
            } => self.notify(device, attachment, gate),
            Op::Poison { buffer } => self.poison(buffer),
        }
    }

    /// The current request.
    pub(super) fn asked(&self) -> Option<&'a Request> {
        self.batch.requests.get(self.request as usize)
    }

    /// The access of the current request.
    pub(super) fn access(&self) -> Option<&'a Access> {
        match self.asked() {
            Some(Request::Access(access)) => Some(access),
            _ => None,
        }
    }

    /// Whether the current request tells of a loss of the device.
    pub(super) fn recovers(&self) -> bool {
        matches!(self.asked(), Some(Request::Lost))
    }

    /// Whose a place for a buffer would be, and how large: of a live buffer, or of the one that
    /// the current request creates.
    pub(super) fn owner(&self, buffer: BufferId) -> Result<(TenantId, u64), Refusal> {
        if let Some(home) = self.ledger.home(buffer) {
            return Ok((home.tenant, home.bytes));
        }
        match self.asked() {
            Some(Request::Create(create)) if create.buffer == buffer => {
                Ok((create.tenant, create.bytes))
            }
            _ => Err(Refusal::Unknown("buffer", buffer.0)),
        }
    }

    /// A new buffer begins with its first place.
    pub(super) fn found_buffer(
        &mut self,
        buffer: BufferId,
        allocation: AllocationId,
    ) -> Result<(), Refusal> {
        let Some(Request::Create(create)) = self.asked() else {
            return Err(Refusal::Unknown("buffer", buffer.0));
        };
        let facts = BufferFacts {
            placement: create.placement,
            priority: create.priority,
            stamp: create.stamp,
            content: Content::Never,
            allocation,
        };
        self.ledger.buffers.insert(buffer.0, facts);
        self.founded = true;
        Ok(())
    }

    /// A buffer ends with its place; only its own release may do that.
    pub(super) fn end_buffer(
        &mut self,
        buffer: BufferId,
        allocation: AllocationId,
    ) -> Result<(), Refusal> {
        match self.asked() {
            Some(Request::Release(released)) if *released == buffer => {
                self.ledger.buffers.remove(buffer.0);
                self.ended = true;
                Ok(())
            }
            _ => Err(Refusal::StillPlaced(allocation)),
        }
    }

    /// What a request changes by being asked.
    fn begin_request(&mut self) {
        (self.ran, self.founded, self.ended) = (false, false, false);
        self.bound = None;
        match self.asked() {
            Some(&Request::Retire(point)) => self.retire(point),
            Some(&Request::Poisoned(buffer)) => self.content_lost(buffer),
            Some(Request::Lost) => self.device_lost(),
            Some(&Request::Detach(detach)) => self.detach(detach),
            Some(Request::Submit(submit)) => self.job_begins(submit.at),
            Some(Request::Used(used)) => self.used(used),
            _ => {}
        }
    }

    fn retire(&mut self, point: Point) {
        let ledger = &mut *self.ledger;
        if let Some(facts) = ledger.timelines.get_mut(point.timeline) {
            facts.completed = facts.completed.max(point.value);
        }
        ledger.clocks.retire(&ledger.timelines, point);
        self.end_holds(point);
        let ledger = &mut *self.ledger;
        while let Some(allocation) = ledger.ends.take(&ledger.timelines, point) {
            self.over.push(allocation);
        }
        self.end_allocations();
    }

    /// What a request about address spaces changes when its answer is good.
    fn vm_request(&mut self, asked: &Request, good: bool) -> Result<bool, Refusal> {
        match asked {
            _ if !good => return Ok(false),
            Request::CreateVm(create) => self.create_vm(create)?,
            Request::CloseVm(close) => self.close_vm(close.vm)?,
            Request::Bind(bind) => {
                self.bind(bind)?;
                let fence = self.bound.map(|point| (self.request, point));
                self.accepted.fences.extend(fence);
            }
            Request::Submit(submit) => {
                // A job finds what has been agreed upon.
                self.vms_agree()?;
                self.submit(submit)?;
            }
            _ => {}
        }
        Ok(true)
    }

    fn answer(&mut self, answered: u32, status: Status) -> Result<(), Refusal> {
        let expected = self.request;
        let Some(request) = self
            .batch
            .requests
            .get(expected as usize)
            .filter(|_| answered == expected)
        else {
            return Err(Refusal::AnswerOrder { expected, answered });
        };
        if let Some(&allocation) = self.superseded.first() {
            return Err(Refusal::NotGivenBack(allocation));
        }
        let good = status == Status::Good;
        let done = match request {
            Request::Create(_) => self.founded,
            Request::Access(_) => self.ran,
            &Request::Release(buffer) => {
                if self.ended {
                    self.unmap_everywhere(buffer);
                }
                self.ended
            }
            Request::Retire(_) => true,
            Request::Poisoned(_) => match self.must_poison.first() {
                Some(&buffer) => return Err(Refusal::FalsePoison(buffer)),
                None => true,
            },
            Request::Lost => self.recovered()?,
            Request::Detach(_) => true,
            &Request::Attach(attach) => match self.attachable(&attach).filter(|_| good) {
                Some(table) => {
                    self.attach(attach, table);
                    true
                }
                None => false,
            },
            Request::Used(_) => true,
            asked => self.vm_request(asked, good)?,
        };
        self.vms_agree()?;
        let lost =
            matches!(request, Request::Release(b) if !good && self.ledger.buffer(*b).is_some());
        if done != good || lost {
            return Err(Refusal::FalseAnswer {
                request: expected,
                status,
            });
        }
        self.accepted.answers.push(status);
        self.request += 1;
        self.begin_request();
        Ok(())
    }
}
