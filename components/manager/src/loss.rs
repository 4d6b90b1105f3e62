//! `poisoned` and `lost`: what becomes of buffers when content could not be saved.

use crate::order::Context;
use crate::state::Home;
use crate::{Manager, Slots};
use alloc::vec::Vec;
use gpumm_contract::facts::Content;
use gpumm_contract::plan::{Op, Status};
use gpumm_contract::table::Tables;
use gpumm_contract::vm::AddressSpaces;
use gpumm_contract::{BufferId, TableId};

impl<T: Tables, V: AddressSpaces, S: Slots> Manager<T, V, S> {
    /// Takes note that a buffer's content is gone. A buffer that was released meanwhile took its
    /// content with it.
    pub(crate) fn poisoned(&mut self, id: BufferId, ctx: &mut Context) -> Status {
        self.forget_left(id);
        if let Some(buffer) = self.state.buffer_mut(id)
            && buffer.content != Content::Poisoned
        {
            buffer.content = Content::Poisoned;
            ctx.emit(&Op::Poison { buffer: id });
        }
        Status::Good
    }

    /// The device has lost its own memory and everything that was submitted and has not run.
    ///
    /// ```text
    /// content in host memory, arrived               stays
    /// content left host memory, copy has not run    copied again from the table it left
    /// content in the device's memory                poisoned
    /// page tables                                   show nothing; jobs have them written again
    /// ```
    pub(crate) fn lost(&mut self, ctx: &mut Context) -> Status {
        self.tables_lost();
        for memory in self.state.memory.iter_mut() {
            if !memory.kind.is_host() {
                memory.residue.retain(|_| false);
            }
        }
        let at_risk: Vec<BufferId> = self
            .state
            .buffers
            .iter()
            .filter(|(_, b)| b.content.moves() && !self.survives(&b.home))
            .map(|(id, _)| BufferId(id))
            .collect();
        for id in at_risk {
            if self.recover(id, ctx).is_none() {
                self.poisoned(id, ctx);
            }
        }
        Status::Good
    }

    /// Whether content is where its buffer lives, after a loss of the device.
    fn survives(&self, home: &Home) -> bool {
        let host = |m: &crate::memory::Memory| m.kind.is_host();
        self.state.memory.get(home.memory).is_some_and(host)
            && home.arrives.is_none_or(|p| self.state.reached(p))
    }

    /// Copies a buffer again from the host memory that its content has not left yet; `None` when
    /// there is none.
    ///
    /// INVARIANT: at most one table qualifies: where a copy out has not run, nothing behind it in
    /// the chain of moves has either.
    fn recover(&mut self, id: BufferId, ctx: &mut Context) -> Option<()> {
        let reached = |p| self.state.reached(p);
        let mine = (id, TableId(0))..=(id, TableId(u32::MAX));
        let (source, left) = self.state.leaving.range(mine).find_map(|(&key, left)| {
            let here = left.arrives.is_none_or(reached) && !reached(left.left);
            here.then_some((key, left.left))
        })?;
        let buffer = self.state.buffer(id)?;
        let (table, bytes) = (buffer.home.table, buffer.bytes);
        let mut before = buffer.home.busy(reached);
        // ORDER: the copy that has not run waited for whoever wrote the source; so does this one.
        before.add(left);
        let timeline = self.copy_timeline(buffer.home.memory)?;
        ctx.wait(timeline, &before, |p| self.state.reached(p));
        let at = ctx.point(timeline)?;
        ctx.emit(&Op::Copy {
            at,
            source: source.1,
            target: table,
            source_offset: 0,
            target_offset: 0,
            bytes,
        });
        self.keep_for_copy(source.1, table, at);
        if let Some(left) = self.state.leaving.get_mut(&source) {
            left.left = at;
            left.after.add(at);
        }
        if let Some(buffer) = self.state.buffer_mut(id) {
            buffer.home.writers.add(at);
            buffer.home.arrives = Some(at);
        }
        Some(())
    }

    /// Forgets where a buffer's content could be taken from again.
    pub(crate) fn forget_left(&mut self, id: BufferId) {
        let mine = (id, TableId(0))..=(id, TableId(u32::MAX));
        let keys: Vec<_> = self.state.leaving.range(mine).map(|(&k, _)| k).collect();
        for key in keys {
            self.state.leaving.remove(&key);
        }
    }
}
