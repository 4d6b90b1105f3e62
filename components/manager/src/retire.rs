//! `release` and `retire`: the end of buffers and of what held them.

use crate::order::Context;
use crate::state;
use crate::{Manager, Slots};
use gpumm_contract::plan::Status;
use gpumm_contract::table::Tables;
use gpumm_contract::vm::AddressSpaces;
use gpumm_contract::{BufferId, Point};

impl<T: Tables, V: AddressSpaces, S: Slots> Manager<T, V, S> {
    /// Ends a buffer; its memory goes when the last operation that uses it is over.
    pub(crate) fn release(&mut self, id: BufferId, ctx: &mut Context) -> Status {
        if let Err(why) = self.unmap_everywhere(id, ctx) {
            return why;
        }
        self.state.file_in_lru(id, false);
        let Some(mut buffer) = self.state.buffers.remove(id.0) else {
            return Status::UnknownBuffer;
        };
        self.forget_left(id);
        self.notify(id, &mut buffer.home, ctx);
        self.leave(&buffer.home, buffer.shows(), ctx);
        Status::Good
    }

    /// Takes note that a timeline has come to a value, and drops what was held until then.
    pub(crate) fn retire(&mut self, reached: Point, ctx: &mut Context) -> Status {
        let timeline = reached.timeline.0.into();
        let before = self.state.completed.get(timeline).copied().unwrap_or(0);
        let now = reached.value.max(before);
        self.state.completed.insert(timeline, now);
        let released = self.tables.retire(reached);
        self.drop_tables(released, ctx);
        // What is given back is no way back any more, and is not looked at: it is thrown out when
        // there is much of it.
        if self.state.leaving.len() >= self.state.purge_leaving_at {
            let completed = &self.state.completed;
            let over = |p: Point| state::reached(completed, p);
            self.state
                .leaving
                .retain(|_, left| !left.after.iter().all(over));
            self.state.purge_leaving_at = (self.state.leaving.len() * 2).max(64);
        }
        Status::Good
    }
}
