//! Planning one batch, and repairing what fails on the way.
//!
//! ```text
//! plan -> judged good -> performed
//!      -> trap, or plan refused -> strategies and mechanism rebuilt from the ledger
//!                               -> the batch again, one request at a time
//! ```

use super::admit::Newborn;
use super::{Desk, Planner, Reply, Verb};
use crate::error::{ComponentFault, Error};
use crate::ledger::Accepted;
use gpumm_contract::plan::Status;
use gpumm_contract::request::{Batch, Request, Used};
use gpumm_contract::{Point, Shows, TimelineId};
use sha2::{Digest, Sha256};
use std::any::Any;
use std::collections::BTreeSet;
use std::sync::Arc;

/// How one request ended.
type Ended = Result<Status, ComponentFault>;

/// How often a single request is tried before it fails for good.
const TRIES: usize = 2;
/// How many requests in a row may fail with the mechanism before it counts as broken.
const BROKEN: usize = 16;
/// How often a mechanism is started before the device stops.
const STARTS: usize = 3;

impl Planner {
    /// Serves verbs in order as one batch.
    pub(crate) fn serve(&mut self, verbs: Vec<Verb>) -> Vec<Result<Reply, Error>> {
        let count = verbs.len();
        match self.try_serve(verbs) {
            Ok(replies) => replies,
            Err(error) => {
                let error = Arc::new(error);
                tracing::error!(%error, "the device stops");
                self.stopped = Some(error.clone());
                (0..count)
                    .map(|_| Err(Error::Stopped(error.clone())))
                    .collect()
            }
        }
    }

    /// Errors: the device must stop.
    fn try_serve(&mut self, mut verbs: Vec<Verb>) -> Result<Vec<Result<Reply, Error>>, Error> {
        if let Some(why) = &self.stopped {
            return Ok(verbs
                .iter()
                .map(|_| Err(Error::Stopped(why.clone())))
                .collect());
        }
        let mut replies = Vec::with_capacity(verbs.len());
        while !verbs.is_empty() {
            let rest = verbs.split_off(self.fitting(&verbs)?);
            replies.extend(self.serve_batch(verbs)?);
            verbs = rest;
        }
        Ok(replies)
    }

    fn serve_batch(&mut self, verbs: Vec<Verb>) -> Result<Vec<Result<Reply, Error>>, Error> {
        let uses = self.gate.close();
        let served = self.serve_closed(verbs, uses)?;
        // After an error nobody passes any more: the device stops.
        self.gate.open();
        Ok(served)
    }

    /// Serves verbs while no job passes the gate.
    fn serve_closed(
        &mut self,
        verbs: Vec<Verb>,
        uses: Vec<Used>,
    ) -> Result<Vec<Result<Reply, Error>>, Error> {
        let points = uses.iter().map(|used| used.at).collect();
        let mut requests: Vec<Request> = uses.into_iter().map(Request::Used).collect();
        requests.extend(self.news()?);
        self.forget_closed();
        let told = requests.len();
        let mut newborn = Newborn::new(points);
        let admitted: Vec<Result<(), Error>> = verbs
            .into_iter()
            .map(|verb| {
                newborn.requests = requests.len() - told;
                self.admit(verb, &mut newborn)
                    .map(|request| requests.push(request))
            })
            .collect();
        if requests.is_empty() {
            return Ok(admitted
                .into_iter()
                .map(|a| a.map(|()| Reply::Done))
                .collect());
        }
        let ran = self.run(&requests);
        let ready = |n: usize| match ran.as_ref().ok()?.get(told + n)? {
            (Ok(Status::Good), ready) => Some(*ready),
            _ => None,
        };
        self.hand_over(newborn.jobs, ready);
        let ended = ran?;
        for ((ended, _), request) in ended.iter().zip(&requests) {
            self.vm_answered(request, matches!(ended, Ok(Status::Good)))?;
        }
        let mut ended = ended.into_iter().skip(told).zip(&requests[told..]);
        let mut replies = Vec::with_capacity(admitted.len());
        for admitted in admitted {
            replies.push(match admitted {
                Err(error) => Err(error),
                Ok(()) => match ended.next() {
                    Some(((ended, point), request)) => reply(ended, point, request),
                    None => Err(Error::System("a request was not answered".into())),
                },
            });
        }
        Ok(replies)
    }

    /// Plans requests as they are: of verbs, or of a request log.
    ///
    /// Errors: the device must stop.
    pub(crate) fn run(
        &mut self,
        requests: &[Request],
    ) -> Result<Vec<(Ended, Option<Point>)>, Error> {
        if let Some(log) = &mut self.log {
            log.requests(requests, |id| self.jobs.get(&id).map(|w| w.job.to_words()))?;
        }
        self.crossings += 1;
        if requests.contains(&Request::Lost) {
            self.desk()?.broker.growth.retry();
        }
        let mut digest = Sha256::new();
        let mut ended = Vec::with_capacity(requests.len());
        if let Err(fault) = self.attempt(requests, &mut ended, &mut digest)? {
            self.recover(&fault)?;
            for request in requests {
                self.single(request, &mut ended, &mut digest)?;
            }
        }
        self.last_digest = crate::log::words_of(digest.finalize().into());
        let broker = &self.desk()?.broker;
        let failed = broker.dma.failed().to_vec();
        let grown = broker.growth.answers().to_vec();
        if let Some(log) = &mut self.log {
            log.digest(self.last_digest, &failed, &grown)?;
        }
        self.script(BTreeSet::new(), None)?;
        let last = self.last_points()?;
        self.delivered.ended(last);
        // A job whose access failed never runs.
        for request in requests {
            if let Request::Access(access) = request {
                self.jobs.remove(&access.job);
            }
        }
        Ok(ended)
    }

    /// One request alone, so that a bad one fails alone.
    fn single(
        &mut self,
        request: &Request,
        ended: &mut Vec<(Ended, Option<Point>)>,
        digest: &mut Sha256,
    ) -> Result<(), Error> {
        let mut last = ComponentFault::Nonsense("not tried".into());
        for _ in 0..TRIES {
            match self.attempt(std::slice::from_ref(request), ended, digest)? {
                Ok(()) => {
                    self.failed_in_a_row = 0;
                    return Ok(());
                }
                Err(fault) => {
                    self.recover(&fault)?;
                    last = fault;
                }
            }
        }
        self.failed_in_a_row += 1;
        let must = matches!(
            request,
            Request::Retire(_) | Request::Poisoned(_) | Request::Lost | Request::Used(_)
        );
        if must || self.failed_in_a_row >= BROKEN {
            // Without the retire nothing would ever be given back, without the others lost
            // content would be shown; and who fails always is not the victim of a bad request.
            let name = self.parts.mechanism.name().into();
            return Err(Error::Component { name, fault: last });
        }
        ended.push((Err(last), None));
        Ok(())
    }

    /// Plans, judges and performs; a fault of the mechanism leaves everything as it was.
    ///
    /// Errors: the device refuses an accepted operation.
    fn attempt(
        &mut self,
        requests: &[Request],
        ended: &mut Vec<(Ended, Option<Point>)>,
        digest: &mut Sha256,
    ) -> Result<Result<(), ComponentFault>, Error> {
        let grants = self.desk()?.ledger.grants();
        let batch = Batch {
            grants,
            requests: requests.to_vec(),
        };
        let Some(words) = batch.encode() else {
            return Ok(Err(ComponentFault::Nonsense(
                "the batch is too large to encode".into(),
            )));
        };
        let Some(desk) = self.desk.take() else {
            return Err(Error::System("the facts are not at rest".into()));
        };
        let (desk, planned) = self.mechanism.execute(&words, desk);
        let Ok(mut desk) = (desk as Box<dyn Any>).downcast::<Desk>() else {
            return Err(Error::System(
                "the mechanism has not given the facts back".into(),
            ));
        };
        let judged = planned.and_then(|plan| {
            let accepted = desk.ledger.check(&batch, &desk.broker.overlay, &plan)?;
            Ok((accepted, plan))
        });
        let desk_ref = &mut *desk;
        let judged = judged.map(|(accepted, plan)| {
            let desk = desk_ref;
            let placed = accepted.placed_numbers();
            let mapped = &accepted.mapped;
            desk.broker.commit(
                &desk.ledger,
                |number| placed.contains(&number),
                |number| mapped.contains(&number),
            );
            self.failsafe.captures.note_plan(self.crossings, &plan);
            for word in &plan {
                digest.update(word.to_le_bytes());
                self.digest.update(word.to_le_bytes());
            }
            accepted
        });
        self.desk = Some(desk);
        match judged {
            Ok(accepted) => self.perform(accepted, requests, ended).map(Ok),
            Err(fault) => Ok(Err(fault)),
        }
    }

    fn perform(
        &mut self,
        accepted: Accepted,
        requests: &[Request],
        ended: &mut Vec<(Ended, Option<Point>)>,
    ) -> Result<(), Error> {
        for (memory, shows, extents) in accepted.ended {
            if memory == self.system {
                match shows {
                    Shows::AsBefore => {}
                    Shows::Nothing => self.pool.leave(&extents, None),
                    Shows::Of(tenant) => self.pool.leave(&extents, Some(tenant)),
                }
                self.pool.free(&extents);
            }
        }
        self.poisoned.extend(accepted.poisoned);
        for placed in &accepted.placed {
            self.failsafe.placed(placed.allocation);
            if placed.memory == self.system {
                self.pool.prepare(&placed.extents, placed.tenant)?;
            }
        }
        let mut runs = accepted.runs.into_iter();
        let mut fences = accepted.fences.into_iter().peekable();
        let answers = accepted.answers.into_iter().zip(requests);
        for (number, (status, request)) in (0..).zip(answers) {
            let fence = fences.next_if(|(of, _)| *of == number);
            let point = match (request, status) {
                (Request::Access(_), Status::Good) => runs.next(),
                (Request::Bind(_) | Request::Submit(_), Status::Good) => {
                    fence.map(|(_, point)| point)
                }
                _ => None,
            };
            ended.push((Ok(status), point));
        }
        self.closed(&accepted.vms)?;
        self.gate.publish(accepted.vms);
        self.counts.add(accepted.counts);
        self.executor.execute(accepted.ops, &mut self.jobs)?;
        Ok(())
    }

    /// Rebuilds strategies (if this call touched them) and the mechanism from the ledger.
    ///
    /// Errors: a component cannot be replaced; the device must stop.
    fn recover(&mut self, fault: &ComponentFault) -> Result<(), Error> {
        tracing::warn!(%fault, "the mechanism is restarted");
        if let ComponentFault::StrategyLost { name, .. } = fault {
            return Err(Error::Component {
                name: name.clone(),
                fault: fault.clone(),
            });
        }
        let desk = self.desk()?;
        let rolled = desk.broker.rollback(&desk.ledger);
        rolled.map_err(|fault| Error::Component {
            name: self.strategy_name(),
            fault,
        })?;
        self.restart_mechanism()
    }

    /// Throws the mechanism away and rebuilds it from the facts.
    ///
    /// Errors: it does not start.
    pub(crate) fn restart_mechanism(&mut self) -> Result<(), Error> {
        let facts = self.desk()?.ledger.fact_lists();
        let source = self.parts.mechanism.clone();
        let mut last = ComponentFault::Nonsense("not started".into());
        for _ in 0..STARTS {
            self.mechanism_restarts += 1;
            let fresh = source
                .build()
                .and_then(|mut m| m.restore(&facts).map(|()| m));
            match fresh {
                Ok(mechanism) => {
                    self.mechanism = mechanism;
                    return Ok(());
                }
                Err(fault) => last = fault,
            }
        }
        Err(Error::Component {
            name: source.name().into(),
            fault: last,
        })
    }

    /// Throws the strategies away and rebuilds them from the ledger.
    ///
    /// Errors: one does not start.
    pub(crate) fn restart_strategies(&mut self) -> Result<(), Error> {
        let desk = self.desk()?;
        let rebuilt = desk.broker.rebuild(&desk.ledger);
        rebuilt.map_err(|fault| Error::Component {
            name: self.strategy_name(),
            fault,
        })
    }

    /// Waits until the points that a logged batch retires are reached.
    ///
    /// Errors: nobody has submitted a point, so it would be waited for for ever.
    pub(crate) fn await_retires(&mut self, requests: &[Request]) -> Result<(), Error> {
        let last = self.last_points()?;
        for request in requests {
            if let Request::Retire(point) = request {
                let due = last.iter().find(|p| p.timeline == point.timeline);
                if due.is_none_or(|p| p.value < point.value) {
                    let Point { timeline, value } = *point;
                    let text =
                        format!("retires {value} of timeline {timeline}, which nobody submitted");
                    return Err(Error::Log(text));
                }
                self.delivered.deliver(*point)?;
            }
        }
        Ok(())
    }

    /// The newest points of some timelines.
    pub(super) fn last_points_of(&mut self, of: Vec<TimelineId>) -> Result<Vec<Point>, Error> {
        let mut last = self.last_points()?;
        last.retain(|p| of.contains(&p.timeline));
        Ok(last)
    }

    /// The newest point of every timeline of the device.
    pub(super) fn last_points(&mut self) -> Result<Vec<Point>, Error> {
        let next = self.desk()?.ledger.next_points();
        Ok(next
            .into_iter()
            .map(|p| Point {
                value: p.value - 1,
                ..p
            })
            .collect())
    }
}

fn reply(ended: Ended, point: Option<Point>, request: &Request) -> Result<Reply, Error> {
    match (ended, point, request) {
        (Ok(Status::Good), Some(point), Request::Access(_)) => Ok(Reply::Runs(point)),
        (Ok(Status::Good), point, Request::Bind(_)) => Ok(Reply::Bound(point)),
        (Ok(Status::Good), _, Request::Submit(submit)) => Ok(Reply::Runs(submit.at)),
        (Ok(Status::Good), _, _) => Ok(Reply::Done),
        (Ok(status), ..) => Err(Error::Refused(status)),
        (Err(fault), ..) => Err(Error::Request(fault)),
    }
}
