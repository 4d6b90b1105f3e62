//! Judging `submit` and `used`: does a job find in its address space what it uses?

use super::request::Check;
use super::vm_facts::VmFacts;
use super::{Ledger, Refusal};
use gpumm_contract::facts::{Content, Role};
use gpumm_contract::plan::Status;
use gpumm_contract::request::{Intent, Submit, Used};
use gpumm_contract::vm::VmId;
use gpumm_contract::{BufferId, Point, Stamp};

impl Ledger {
    /// Whether what waits for one point has seen another one reached.
    fn covers(&self, ready: Option<Point>, point: Point) -> bool {
        let later = |ready: Point| {
            ready.timeline == point.timeline && ready.value >= point.value
                || self.clocks.ordered(&self.timelines, ready, point)
        };
        self.reached(point) || ready.is_some_and(later)
    }
}

impl Check<'_> {
    /// The host reaches the points of jobs, whatever is planned for them.
    pub(super) fn job_begins(&mut self, at: Point) {
        if !self.ledger.is_job(at) {
            return;
        }
        if let Some(facts) = self.ledger.timelines.get_mut(at.timeline) {
            facts.next = facts.next.max(at.value.saturating_add(1));
        }
    }

    /// A job that was submitted without being asked about here.
    pub(super) fn used(&mut self, used: &Used) {
        self.job_begins(used.at);
        if let Some(buffer) = used.buffer {
            self.job_uses(buffer, used.intent, used.at, used.stamp);
            return;
        }
        let Ok(facts) = self.vm(used.vm) else {
            return;
        };
        for (buffer, intent) in facts.named(&[]) {
            self.job_uses(buffer, intent, used.at, used.stamp);
        }
        self.keeps_busy(used.vm, used.at);
    }

    /// INVARIANT: everything that the job names is shown where it lives, and what happens there
    /// before is over when the address space is ready.
    pub(super) fn submit(&mut self, submit: &Submit) -> Result<(), Refusal> {
        let (vm, at) = (submit.vm, submit.at);
        let facts = self.vm(vm)?.clone();
        if !self.ledger.is_job(at) {
            return Err(Refusal::FalseAnswer {
                request: self.request,
                status: Status::Good,
            });
        }
        let ready = self.bound.or(facts.ready);
        let not_ready = |point| Refusal::NotReady { vm, point };
        // What was made fresh before stays so, and what is written to page tables is there.
        let mut before = facts.written.iter().chain(facts.ready);
        let before = before.find(|&p| !self.ledger.covers(ready, p));
        if let Some(point) = before {
            return Err(not_ready(point));
        }
        let named = facts.named(&submit.spans);
        for &(buffer, intent) in &named {
            let write = intent == Intent::Write;
            if let Some(point) = self.unseen(vm, &facts, (buffer, write), ready)? {
                return Err(not_ready(point));
            }
        }
        // A later job may write what this one reads: until then, it asks again.
        let fresh = |&(buffer, _): &_| (buffer, self.is_read(buffer, ready));
        let read: Vec<(BufferId, bool)> = named.iter().map(fresh).collect();
        for &(buffer, intent) in &named {
            self.job_uses(buffer, intent, at, submit.stamp);
        }
        if submit.spans.is_empty() {
            self.keeps_busy(vm, at);
        }
        if let Some(facts) = self.vm_mut(vm) {
            facts.ready = ready;
            for (buffer, read) in read {
                facts.change(buffer, |bo| bo.fresh = !read);
            }
        }
        if let Some(ready) = ready {
            self.accepted.fences.push((self.request, ready));
        }
        Ok(())
    }

    /// The first point that a job on a member must come after and does not, but those of jobs.
    ///
    /// Errors: the member is not shown, or lost.
    fn unseen(
        &self,
        vm: VmId,
        facts: &VmFacts,
        (buffer, write): (BufferId, bool),
        ready: Option<Point>,
    ) -> Result<Option<Point>, Refusal> {
        let not_shown = Refusal::NotShown { vm, buffer };
        let of = self.ledger.buffer(buffer).ok_or(not_shown.clone())?;
        if of.content == Content::Poisoned {
            return Err(Refusal::Poisoned(buffer));
        }
        let home = self.ledger.home(buffer).and_then(|home| home.table);
        let shown = facts.bos.get(&buffer).and_then(|bo| bo.table);
        if shown.is_none() || shown != home {
            return Err(not_shown);
        }
        let uses = self.ledger.uses_of(of.allocation);
        let readers = write.then_some(&uses.readers);
        let before = [&uses.inherited, &uses.writers].into_iter().chain(readers);
        let mut before = before.flat_map(|set| set.iter());
        let unseen = |&p: &Point| !self.ledger.is_job(p) && !self.ledger.covers(ready, p);
        Ok(before.find(unseen))
    }

    /// Whether something beside jobs and page-table writes may still read a buffer once its
    /// address space is ready.
    fn is_read(&self, buffer: BufferId, ready: Option<Point>) -> bool {
        let role = |p: Point| self.ledger.timelines.get(p.timeline).map(|t| t.role);
        let orders = |p: Point| !matches!(role(p), Some(Role::Job | Role::Bind));
        let home = self.ledger.buffer(buffer).map(|b| b.allocation);
        home.is_some_and(|home| {
            let mut readers = self.ledger.uses_of(home).readers.iter();
            readers.any(|p| orders(p) && !self.ledger.covers(ready, p))
        })
    }

    fn job_uses(&mut self, buffer: BufferId, intent: Intent, at: Point, stamp: Stamp) {
        let Some(facts) = self.ledger.buffers.get_mut(buffer.0) else {
            return;
        };
        facts.stamp = stamp;
        let (home, content) = (facts.allocation, facts.content);
        let write = intent == Intent::Write;
        self.note_use(home, at, write);
        if write && content != Content::Poisoned {
            self.now_holds(Content::Valid, buffer, home);
        }
    }

    fn keeps_busy(&mut self, vm: VmId, at: Point) {
        self.changed.insert(vm);
        let ledger = &mut *self.ledger;
        if let Some(facts) = ledger.vms.get_mut(vm.0) {
            facts.busy.retire(|p| ledger.timelines.reached(p));
            facts.busy.add(at);
        }
    }
}
