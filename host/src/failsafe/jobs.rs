//! What happens when a job on an address space fails: a capture of what it could see.

use super::watch::read_table;
use super::{Event, Failsafe};
use crate::capture::{FailedOp, Operation, Repaired, Role, TableSubmitted};
use crate::executor::Spaces;
use crate::ledger::VmView;
use gpumm_contract::Point;
use gpumm_contract::request::SpanUse;
use gpumm_hw as hw;

/// A job that failed, as it was submitted.
pub(crate) struct FailedJob<'a> {
    pub(crate) at: Point,
    pub(crate) name: &'a str,
    /// Its address space then; none where it was refused.
    pub(crate) view: Option<&'a VmView>,
    /// The addresses that it names.
    pub(crate) spans: &'a [SpanUse],
}

impl Failsafe {
    /// Keeps what a failed job could see, before its point is reached. Nothing is repaired: a job
    /// is its client's matter.
    pub(crate) fn job_failed(
        &self,
        job: &FailedJob<'_>,
        error: hw::DeviceError,
        spaces: &Spaces,
        cpu: &dyn hw::CpuAccess,
    ) {
        let tables: Vec<TableSubmitted> = match job.view {
            Some(view) => {
                let memory = view.memory_of(job.spans);
                memory.map(|m| m.submitted(Role::Buffer)).collect()
            }
            None => Vec::new(),
        };
        let fences = self.fences();
        let context = self.site.context(&fences);
        let read =
            |table: &TableSubmitted, offset, bytes| read_table(spaces, cpu, table, offset, bytes);
        let looked = self.captures.look(job.at, &tables, &context, &read);
        let lost = error == hw::DeviceError::Lost;
        let failed = FailedOp {
            operation: Operation::Job,
            at: job.at,
            error,
            job: Some(job.name),
            repaired: if lost {
                Repaired::Lost
            } else {
                Repaired::NotNeeded
            },
            tables: &tables,
            vm: job.view,
        };
        self.captures.keep(looked, &failed, &context);
        if lost {
            self.note(job.at, Event::Lost);
        }
    }
}
