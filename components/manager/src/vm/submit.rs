//! `submit` and `used`: jobs that the host submits itself.

use crate::order::Context;
use crate::{Manager, Slots};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use gpumm_contract::facts::Content;
use gpumm_contract::plan::{Op, Status};
use gpumm_contract::request::{Intent, SpanUse, Submit, Use, Used};
use gpumm_contract::table::Tables;
use gpumm_contract::vm::{AddressSpaces, VmId};
use gpumm_contract::{BufferId, Point, PointSet, Stamp};

impl<T: Tables, V: AddressSpaces, S: Slots> Manager<T, V, S> {
    /// Makes an address space ready for a job: what the job names is brought back and shown.
    ///
    /// Errors: buffers that were brought in before another one found no room stay in.
    pub(crate) fn submit(&mut self, submit: &Submit, ctx: &mut Context) -> Status {
        let status = self.try_submit(submit, ctx).err().unwrap_or(Status::Good);
        ctx.locked.clear();
        status
    }

    fn try_submit(&mut self, submit: &Submit, ctx: &mut Context) -> Result<(), Status> {
        let vm = submit.vm;
        let uses = self.named(vm, &submit.spans)?;
        let lost = |u: &Use| {
            let buffer = self.state.buffer(u.buffer);
            buffer.is_some_and(|b| b.content == Content::Poisoned)
        };
        if uses.iter().any(lost) {
            return Err(Status::Poisoned);
        }
        ctx.locked.extend(uses.iter().map(|u| u.buffer));
        for used in &uses {
            self.bring_in(used.buffer, ctx)?;
        }
        let mut before = PointSet::new();
        for used in &uses {
            self.prepare(used.buffer, ctx)?;
            self.content_points(used.buffer, used.intent, &mut before);
        }
        let on = self.state.bind_timeline.ok_or(Status::InvalidAccess)?;
        let space = self.state.space(vm)?;
        // Entries that are being written are no entries yet.
        before.join(&space.written);
        before.retire(|p| self.state.reached(p));
        let hidden = uses.iter().map(|u| u.buffer);
        let hidden: Vec<BufferId> = hidden.filter(|b| !space.shown.contains_key(b)).collect();
        if hidden.is_empty() {
            if !before.is_empty() {
                ctx.wait(on, &before, |p| self.state.reached(p));
                let at = ctx.point(on).ok_or(Status::InvalidAccess)?;
                ctx.emit(&Op::Signal { at });
            }
        } else {
            self.write_after(vm, on, &before, ctx)?;
            for id in hidden {
                self.show(vm, id, on, ctx)?;
            }
        }
        for used in &uses {
            self.note_use(*used, submit.at, submit.stamp);
        }
        if submit.spans.is_empty() {
            self.note_busy(vm, submit.at);
        }
        Ok(())
    }

    /// Takes note of a job that went to the device without being asked about here.
    pub(crate) fn used(&mut self, used: &Used) -> Status {
        let intent = used.intent;
        if let Some(buffer) = used.buffer {
            self.note_use(Use { buffer, intent }, used.at, used.stamp);
            return Status::Good;
        }
        for buffer in self.named(used.vm, &[]).unwrap_or_default() {
            self.note_use(buffer, used.at, used.stamp);
        }
        self.note_busy(used.vm, used.at);
        Status::Good
    }

    /// The buffers that are mapped at addresses, by number; everywhere, when none are named.
    fn named(&self, vm: VmId, spans: &[SpanUse]) -> Result<Vec<Use>, Status> {
        self.state.space(vm)?;
        let intent = Intent::Write;
        if spans.is_empty() {
            let members = self.vms.vm_bos(vm)?.into_iter();
            let all = members.map(|bo| Use {
                buffer: bo.buffer,
                intent,
            });
            return Ok(all.collect());
        }
        let mut found: BTreeMap<BufferId, Intent> = BTreeMap::new();
        for span in spans {
            let pages = span.at.whole_pages();
            for mapping in self.vms.find_range(vm, pages, usize::MAX) {
                let Some(buffer) = mapping.buffer else {
                    continue;
                };
                let known = found.entry(buffer).or_insert(span.intent);
                if span.intent == Intent::Write {
                    *known = Intent::Write;
                }
            }
        }
        let one = |(buffer, intent)| Use { buffer, intent };
        Ok(found.into_iter().map(one).collect())
    }

    fn note_use(&mut self, used: Use, at: Point, stamp: Stamp) {
        self.used_until(&used, at);
        self.stamp(used.buffer, stamp);
    }

    fn note_busy(&mut self, vm: VmId, at: Point) {
        if let Some(space) = self.state.vms.get_mut(&vm) {
            space.busy.add(at);
        }
    }
}
