//! `release` and `retire`: the end of buffers and of what held them.

use crate::order::Context;
use crate::{Manager, Slots};
use gpumm_contract::plan::{Op, Status};
use gpumm_contract::table::Tables;
use gpumm_contract::{BufferId, Point};

impl<T: Tables, S: Slots> Manager<T, S> {
    /// Ends a buffer; its memory goes when the last operation that uses it is over.
    pub(crate) fn release(&mut self, id: BufferId, ctx: &mut Context) -> Status {
        self.state.file_in_lru(id, false);
        let Some(buffer) = self.state.buffers.remove(&id) else {
            return Status::UnknownBuffer;
        };
        self.leave(&buffer.home, buffer.tenant, ctx);
        Status::Good
    }

    /// Takes note that a timeline has come to a value, and drops what was held until then.
    pub(crate) fn retire(&mut self, reached: Point, ctx: &mut Context) -> Status {
        let completed = self.state.completed.entry(reached.timeline).or_insert(0);
        *completed = reached.value.max(*completed);
        for table in self.tables.retire(reached) {
            ctx.emit(&Op::DropTable { table });
        }
        Status::Good
    }
}
