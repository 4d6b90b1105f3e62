//! From a client's verb to a request: what the host checks before a component hears of it.

use super::vm::Pending;
use super::{Planner, Verb};
use crate::error::Error;
use crate::executor::WaitingJob;
use crate::guard::Guard;
use crate::job::Job;
use crate::runtime::IMPORT;
use gpumm_contract::request::{Access, Attach, Create, Detach, Intent, Request, Use};
use gpumm_contract::vm::{VmConfig, VmId};
use gpumm_contract::{BufferId, JobId, Point, PointSet, Stamp, TenantId};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What this batch has before the ledger knows of it.
#[derive(Default)]
pub(super) struct Newborn {
    /// Buffers that are created before a verb that uses them.
    buffers: BTreeMap<BufferId, (TenantId, u64)>,
    /// The newest points of the CPU's timelines that are taken.
    guards: Vec<Point>,
    /// Address spaces that are made before a verb that uses them.
    pub(super) vms: BTreeMap<VmId, (TenantId, VmConfig)>,
    /// Points of jobs that the ledger hears of with this batch.
    pub(super) points: PointSet,
    /// Jobs to hand over once the batch is planned.
    pub(super) jobs: Vec<Pending>,
    /// Requests so far.
    pub(super) requests: usize,
}

impl Newborn {
    /// Nothing yet, but points of jobs that were submitted before.
    pub(super) fn new(points: PointSet) -> Self {
        Newborn {
            points,
            ..Newborn::default()
        }
    }
}

impl Planner {
    /// Makes a request of a verb.
    ///
    /// Errors: the verb names what is not its tenant's, or bytes outside a buffer.
    pub(super) fn admit(&mut self, verb: Verb, newborn: &mut Newborn) -> Result<Request, Error> {
        let stamp = self.gate.stamp();
        match verb {
            Verb::Create {
                buffer,
                tenant,
                bytes,
                placement,
                priority,
            } => {
                newborn.buffers.insert(buffer, (tenant, bytes));
                Ok(Request::Create(Create {
                    buffer,
                    tenant,
                    bytes,
                    placement,
                    priority,
                    stamp,
                }))
            }
            Verb::Release { tenant, buffer } => {
                self.owned(tenant, buffer, newborn)?;
                newborn.buffers.remove(&buffer);
                Ok(Request::Release(buffer))
            }
            Verb::Attach {
                tenant,
                buffer,
                device,
                attachment,
            } => {
                self.owned(tenant, buffer, newborn)?;
                self.not_imported(buffer, "sharing an import")?;
                Ok(Request::Attach(Attach {
                    attachment,
                    buffer,
                    device,
                }))
            }
            Verb::Detach { buffer, attachment } => {
                Ok(Request::Detach(Detach { attachment, buffer }))
            }
            Verb::Guard {
                tenant,
                uses,
                resident,
                revocable,
                guard,
            } => {
                for &(buffer, _) in &uses {
                    self.owned(tenant, buffer, newborn)?;
                    self.not_imported(buffer, "the CPU's access to an import")?;
                }
                self.admit_guard((uses, resident, revocable), guard, stamp, newborn)
            }
            Verb::CreateVm { tenant, vm, config } => {
                self.admit_create_vm((tenant, vm), config, newborn)
            }
            Verb::CloseVm { tenant, vm } => self.admit_close_vm((tenant, vm), newborn),
            Verb::Bind {
                tenant,
                vm,
                binds,
                after,
            } => self.admit_bind((tenant, vm), &binds, after, newborn),
            Verb::Submit {
                tenant,
                vm,
                queue,
                waiting,
            } => self.admit_submit((tenant, vm), waiting, queue, newborn),
            Verb::Access {
                tenant,
                buffers,
                job,
                anywhere,
                outcome,
            } => {
                for (&buffer, intent) in buffers.iter().zip(intents(&job)) {
                    self.usable(buffer, intent)?;
                }
                let sizes = buffers.iter().map(|&b| self.owned(tenant, b, newborn));
                let sizes = sizes.collect::<Result<Vec<_>, _>>()?;
                check_bounds(&job, &sizes)?;
                let id = JobId(self.next_job);
                self.next_job += 1;
                let uses = buffers.into_iter().zip(intents(&job));
                let uses = uses
                    .map(|(buffer, intent)| Use { buffer, intent })
                    .collect();
                let guard = None;
                let waiting = WaitingJob {
                    job,
                    outcome,
                    guard,
                };
                self.jobs.insert(id, waiting);
                let timeline = self.run_timeline;
                Ok(Request::Access(Access {
                    job: id,
                    timeline,
                    stamp,
                    anywhere,
                    uses,
                }))
            }
        }
    }

    /// An import is read as long as its exporter leaves it; a write would be news to the exporter,
    /// who knows what content there is by its own jobs.
    fn usable(&mut self, buffer: BufferId, intent: Intent) -> Result<(), Error> {
        let link = self.desk()?.broker.imports.get(buffer);
        if link.is_some_and(|link| link.is_closed()) {
            return Err(Error::Invalidated);
        }
        match intent {
            Intent::Read => Ok(()),
            Intent::Write => self.not_imported(buffer, "a write to an import"),
        }
    }

    fn not_imported(&mut self, buffer: BufferId, what: &str) -> Result<(), Error> {
        match self.desk()?.ledger.memory_of(buffer) {
            Some(IMPORT) => Err(Error::Argument(format!("{what} is not possible"))),
            _ => Ok(()),
        }
    }

    /// An access of the CPU is a job that does nothing, on a timeline that no other open access
    /// stands on.
    fn admit_guard(
        &mut self,
        (uses, resident, revocable): (Vec<(BufferId, Intent)>, bool, bool),
        guard: Arc<Guard>,
        stamp: Stamp,
        newborn: &mut Newborn,
    ) -> Result<Request, Error> {
        let kind = match revocable {
            true => &self.cpu.revocable,
            false => &self.cpu.waiting,
        };
        let last = self.last_points_of(kind.clone())?;
        let idle = |p: &&Point| self.delivered.is_reached(**p) && !newborn.guards.contains(p);
        let full = || Error::Argument("too many accesses of the CPU are open on the device".into());
        let point = *last.iter().find(idle).ok_or_else(full)?;
        newborn.guards.push(point);
        let id = JobId(self.next_job);
        self.next_job += 1;
        let waiting = WaitingJob {
            job: Job::Nothing,
            outcome: Arc::default(),
            guard: Some(guard),
        };
        self.jobs.insert(id, waiting);
        let uses = uses.into_iter();
        Ok(Request::Access(Access {
            job: id,
            timeline: point.timeline,
            stamp,
            anywhere: !resident,
            uses: uses
                .map(|(buffer, intent)| Use { buffer, intent })
                .collect(),
        }))
    }

    /// The size of a tenant's buffer.
    pub(super) fn owned(
        &mut self,
        tenant: TenantId,
        buffer: BufferId,
        newborn: &Newborn,
    ) -> Result<u64, Error> {
        let ledger = &self.desk()?.ledger;
        let old = ledger
            .buffer_tenant(buffer)
            .zip(ledger.buffer_bytes(buffer));
        match old.or_else(|| newborn.buffers.get(&buffer).copied()) {
            Some((owner, bytes)) if owner == tenant => Ok(bytes),
            // The same words for a foreign and for a dead buffer: nobody learns what others have.
            _ => Err(Error::Argument(format!(
                "buffer {buffer} is not a live buffer of this client"
            ))),
        }
    }
}

/// What a job does with its buffers.
fn intents(job: &Job) -> impl Iterator<Item = Intent> {
    let first = match job {
        Job::CheckPattern(_) | Job::Copy { .. } | Job::Read { .. } | Job::Nothing => Intent::Read,
        Job::Fill { .. } | Job::WritePattern(_) | Job::Rewrite { .. } | Job::Write { .. } => {
            Intent::Write
        }
    };
    [first, Intent::Write].into_iter()
}

fn check_bounds(job: &Job, sizes: &[u64]) -> Result<(), Error> {
    if sizes.len() != job.buffers() {
        let text = format!(
            "the job needs {} buffers, {} are given",
            job.buffers(),
            sizes.len()
        );
        return Err(Error::Argument(text));
    }
    let ranges: &[(usize, u64, u64)] = match job {
        Job::Copy { from, to, bytes } => &[(0, *from, *bytes), (1, *to, *bytes)],
        Job::Read { offset, bytes } => &[(0, *offset, *bytes)],
        Job::Write { offset, data } => &[(0, *offset, data.len() as u64)],
        _ => &[],
    };
    for &(which, offset, bytes) in ranges {
        let size = sizes.get(which).copied().unwrap_or(0);
        let inside = offset.checked_add(bytes).is_some_and(|end| end <= size) && bytes > 0;
        if !inside {
            return Err(Error::Argument(format!(
                "{bytes} bytes at {offset} leave a buffer of {size} bytes"
            )));
        }
    }
    Ok(())
}
