//! Batches: requests that reach the mechanism together.

use super::{Buffer, BufferDesc, Client, Fence};
use crate::error::Error;
use crate::job::Job;
use crate::planner::{Reply, Verb};
use gpumm_hw as hw;
use std::sync::Arc;

/// Requests that are planned together.
#[derive(Debug)]
pub struct Batch {
    pub(super) client: Client,
    pub(super) verbs: Vec<Verb>,
    pub(super) outcomes: Vec<Option<Arc<hw::Outcome>>>,
}

/// Where in a batch a request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot(usize);

impl Batch {
    /// Makes this batch's following requests those of another client of the same device.
    pub fn on_behalf_of(&mut self, client: &Client) {
        self.client = client.clone();
    }

    /// Asks for a new buffer; it may be used in the same batch already.
    pub fn create(&mut self, desc: BufferDesc) -> (Slot, Buffer) {
        let mut buffer = self.client.future_buffer();
        self.verbs.push(buffer.create_verb(&desc));
        self.outcomes.push(None);
        (Slot(self.verbs.len() - 1), buffer)
    }

    /// Asks to run a job on buffers; `anywhere` leaves them where they are.
    pub fn access(&mut self, job: Job, buffers: &[&Buffer], anywhere: bool) -> Slot {
        let outcome = Arc::new(hw::Outcome::new());
        self.outcomes.push(Some(outcome.clone()));
        let buffers = buffers.iter().map(|b| b.id).collect();
        let tenant = self.client.tenant;
        self.verbs.push(Verb::Access {
            tenant,
            buffers,
            job,
            anywhere,
            outcome,
        });
        Slot(self.verbs.len() - 1)
    }

    /// Asks to release a buffer.
    pub fn release(&mut self, mut buffer: Buffer) -> Slot {
        buffer.alive = false;
        self.outcomes.push(None);
        self.verbs.push(Verb::Release {
            tenant: buffer.client.tenant,
            buffer: buffer.id,
        });
        Slot(self.verbs.len() - 1)
    }

    pub(super) fn push(&mut self, verb: Verb, outcome: Option<Arc<hw::Outcome>>) -> Slot {
        self.verbs.push(verb);
        self.outcomes.push(outcome);
        Slot(self.verbs.len() - 1)
    }

    /// How many requests.
    pub fn len(&self) -> usize {
        self.verbs.len()
    }

    /// Whether there is no request.
    pub fn is_empty(&self) -> bool {
        self.verbs.is_empty()
    }

    /// Plans the requests as one batch of their own and waits for the plan, not for the device.
    ///
    /// Errors: the device has stopped. A single request's failure is in its slot.
    pub fn submit(self) -> Result<Ended, Error> {
        let device = self.client.device.clone();
        for verb in &self.verbs {
            if let Verb::Submit { queue, .. } = verb {
                queue.asking();
            }
        }
        let replies = device.ask(self.verbs, true)?;
        let ended = replies
            .into_iter()
            .zip(self.outcomes)
            .map(|(reply, outcome)| {
                reply.map(|reply| match (reply, outcome) {
                    (Reply::Runs(point), Some(outcome)) => {
                        Some(Fence::new(device.clone(), point, outcome))
                    }
                    (Reply::Bound(point), _) => Some(Fence::bound(device.clone(), point)),
                    _ => None,
                })
            });
        Ok(Ended {
            ended: ended.map(Some).collect(),
        })
    }
}

/// How the requests of a batch ended.
#[derive(Debug)]
pub struct Ended {
    ended: Vec<Option<Result<Option<Fence>, Error>>>,
}

impl Ended {
    fn at(&mut self, slot: Slot) -> Result<Option<Fence>, Error> {
        let missing =
            || Error::Argument("this slot is of another batch, or was asked for before".into());
        self.ended
            .get_mut(slot.0)
            .and_then(Option::take)
            .ok_or_else(missing)?
    }

    /// The fence of an access.
    ///
    /// Errors: the access failed.
    pub fn take(&mut self, slot: Slot) -> Result<Fence, Error> {
        self.at(slot)?
            .ok_or_else(|| Error::Argument("this request has no fence".into()))
    }

    /// A buffer whose creation stands in the slot, now alive.
    ///
    /// Errors: the creation failed.
    pub fn created(&mut self, slot: Slot, mut buffer: Buffer) -> Result<Buffer, Error> {
        self.at(slot)?;
        buffer.alive = true;
        Ok(buffer)
    }

    /// Whether a request without a result ended well.
    ///
    /// Errors: it failed.
    pub fn done(&mut self, slot: Slot) -> Result<(), Error> {
        self.at(slot).map(|_| ())
    }
}
