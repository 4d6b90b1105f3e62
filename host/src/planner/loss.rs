//! Telling the mechanism what the device did: what it finished, what it lost.

use super::Planner;
use crate::error::Error;
use crate::failsafe::Event;
use gpumm_contract::request::Request;
use gpumm_contract::{BufferId, Point, TimelineId};
use std::collections::BTreeSet;

impl Planner {
    /// What a batch begins with: reached points, as far as they are due, and lost contents.
    ///
    /// Errors: the device must stop.
    pub(super) fn news(&mut self) -> Result<Vec<Request>, Error> {
        let last = self.last_points()?;
        let fresh = self.delivered.due(&last)?;
        self.told(fresh)
    }

    /// The requests that tell of freshly delivered points; a loss of the device among them is
    /// dealt with first, in a batch of its own.
    ///
    /// ORDER: what failed is told together with its point, so the same inputs bring the same
    /// requests, however fast the device is.
    pub(super) fn told(&mut self, fresh: Vec<Point>) -> Result<Vec<Request>, Error> {
        let delivered = |p: Point| {
            fresh
                .iter()
                .any(|f| f.timeline == p.timeline && f.value >= p.value)
        };
        let events = self.failsafe.take(delivered);
        self.poisoned.extend(lost_contents(&events));
        let mut requests = Vec::new();
        if events.iter().any(|(_, event)| *event == Event::Lost) {
            self.recover_device(&fresh, events)?;
        } else {
            requests.extend(fresh.into_iter().map(Request::Retire));
            requests.extend(lost_contents(&events).into_iter().map(Request::Poisoned));
        }
        Ok(requests)
    }

    /// Brings a lost device back, and has the mechanism save what can be saved.
    ///
    /// ```text
    /// wait until everything submitted has ended -> reset -> one batch:
    ///     retire what has run, lost, retire what has not
    /// ```
    ///
    /// Errors: the device does not come back, or the mechanism fails on the batch.
    fn recover_device(
        &mut self,
        fresh: &[Point],
        events: Vec<(Point, Event)>,
    ) -> Result<(), Error> {
        tracing::warn!("the device is lost; it is reset");
        let last = self.last_points()?;
        let more = self.delivered.drain(&last)?;
        let ended = |timeline| self.delivered.known(timeline);
        let mut events = events;
        events.extend(self.failsafe.take(|p: Point| p.value <= ended(p.timeline)));
        self.poisoned.extend(lost_contents(&events));
        self.executor.device().reset()?;
        self.resets += 1;
        let mut requests = Vec::new();
        let mut not_run = Vec::new();
        let timelines = fresh.iter().chain(&more).map(|p| p.timeline);
        let timelines: BTreeSet<TimelineId> = timelines.collect();
        for timeline in timelines {
            let end = ended(timeline);
            let lost =
                |&&(p, event): &&(Point, Event)| event == Event::Lost && p.timeline == timeline;
            let first_lost = events.iter().filter(lost).map(|(p, _)| p.value).min();
            // A lost device works nothing off that comes after the first operation it lost.
            let value = first_lost.map_or(end, |v| v - 1);
            if value > 0 {
                requests.push(Request::Retire(Point { timeline, value }));
            }
            if value < end {
                let value = end;
                not_run.push(Request::Retire(Point { timeline, value }));
            }
        }
        requests.extend(lost_contents(&events).into_iter().map(Request::Poisoned));
        requests.push(Request::Lost);
        requests.extend(not_run);
        self.run(&requests).map(drop)
    }
}

/// The buffers whose content is lost, each once.
fn lost_contents(events: &[(Point, Event)]) -> BTreeSet<BufferId> {
    let lost = events.iter().filter_map(|(_, event)| match event {
        Event::Poisoned(buffer) => Some(*buffer),
        Event::Lost => None,
    });
    lost.collect()
}
