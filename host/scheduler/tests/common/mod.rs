//! A device of rings on virtual time, and clients that push to it.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use gpumm_contract::{Point, TimelineId};
use gpumm_scheduler::{
    Action, Dependency, EntityConfig, EntityKey, JobDesc, JobError, JobKey, Priority, Pushed,
    RingConfig, RingId, RingSet, Scheduler, Verdict,
};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

pub const MS: u64 = 1_000;
pub const SECOND: u64 = 1_000_000;

/// What a job does: takes so many microseconds, or (`None`) until somebody calls `advance`.
pub type Work = Option<u64>;

/// A ring that works on one job after the other.
#[derive(Default)]
pub struct MockRing {
    pub queue: VecDeque<(JobKey, Work)>,
    /// When the first one was begun.
    pub begun: u64,
    /// How long it has worked for each entity.
    pub worked: BTreeMap<EntityKey, u64>,
}

/// What became of a job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fate {
    pub scheduled: Option<u64>,
    pub finished: Option<u64>,
    pub error: Option<JobError>,
    pub guilty: bool,
    pub timed_out: u32,
    pub cancelled: bool,
    pub reruns: u32,
}

pub struct Mock {
    pub scheduler: Scheduler<Work>,
    pub now: u64,
    pub rings: Vec<MockRing>,
    pub fates: BTreeMap<Point, Fate>,
    pub points: BTreeMap<JobKey, (Point, EntityKey)>,
    pub watched: Vec<Point>,
    /// The order in which jobs were given to rings.
    pub order: Vec<Point>,
    /// What is answered to timeouts at once.
    pub verdict: Option<Verdict>,
    /// Errors that jobs end with.
    pub faults: BTreeMap<Point, i32>,
    /// Whether the invariants are checked after every call.
    pub checks: bool,
    timelines: u32,
}

pub fn ring(credits: u32) -> RingConfig {
    let timeout = None;
    RingConfig { credits, timeout }
}

pub fn us(micros: u64) -> Duration {
    Duration::from_micros(micros)
}

impl Mock {
    pub fn new(rings: &[RingConfig]) -> Self {
        Mock {
            scheduler: Scheduler::new(rings).unwrap(),
            now: 0,
            rings: rings.iter().map(|_| MockRing::default()).collect(),
            fates: BTreeMap::new(),
            points: BTreeMap::new(),
            watched: Vec::new(),
            order: Vec::new(),
            verdict: None,
            faults: BTreeMap::new(),
            checks: true,
            timelines: 0,
        }
    }

    /// One ring of many credits.
    pub fn simple() -> Self {
        Mock::new(&[ring(u32::MAX)])
    }

    pub fn with_timeout(micros: u64) -> Self {
        let timeout = Some(us(micros));
        Mock::new(&[RingConfig {
            credits: 64,
            timeout,
        }])
    }

    /// An entity on all rings.
    pub fn entity(&mut self, priority: Priority) -> EntityKey {
        let rings: RingSet = (0..self.rings.len()).map(|r| RingId(r as u8)).collect();
        let config = EntityConfig {
            priority,
            ..EntityConfig::new(rings)
        };
        self.timelines += 1;
        self.scheduler
            .add_entity(TimelineId(self.timelines), &config)
            .unwrap()
    }

    pub fn entities<const N: usize>(&mut self) -> [EntityKey; N] {
        std::array::from_fn(|_| self.entity(Priority::Normal))
    }

    pub fn push(&mut self, entity: EntityKey, work: Work) -> Point {
        self.submit(entity, JobDesc::new(work)).point
    }

    pub fn push_after(&mut self, entity: EntityKey, work: Work, after: &[Point]) -> Point {
        let dependencies: Vec<Dependency> = after.iter().map(|&p| p.into()).collect();
        let job = JobDesc {
            payload: work,
            credits: 1,
            dependencies: &dependencies,
            value: None,
        };
        self.submit(entity, job).point
    }

    pub fn submit(&mut self, entity: EntityKey, job: JobDesc<'_, Work>) -> Pushed {
        let pushed = self.scheduler.push(entity, job).unwrap();
        self.points.insert(pushed.key, (pushed.point, entity));
        self.fates.insert(pushed.point, Fate::default());
        self.drain();
        pushed
    }

    pub fn key(&self, point: Point) -> JobKey {
        *self.points.iter().find(|(_, of)| of.0 == point).unwrap().0
    }

    /// Does all that the scheduler wants done.
    pub fn drain(&mut self) {
        while let Some(action) = self.scheduler.poll(us(self.now)) {
            self.act(action);
        }
        if self.checks {
            assert_eq!(self.scheduler.validate(), Ok(()));
        }
    }

    fn act(&mut self, action: Action<Work>) {
        match action {
            Action::Run {
                ring,
                key,
                payload,
                guilty,
                ..
            } => {
                let (point, _) = self.points[&key];
                let fate = self.fates.get_mut(&point).unwrap();
                assert_eq!(fate.scheduled, None, "given once");
                fate.scheduled = Some(self.now);
                fate.guilty = guilty;
                self.order.push(point);
                // What is to be skipped takes no time.
                self.give(ring, key, if guilty { Some(0) } else { payload });
            }
            Action::Rerun { ring, key, .. } => {
                let (point, _) = self.points[&key];
                self.fates.get_mut(&point).unwrap().reruns += 1;
                self.give(ring, key, None);
            }
            Action::Finish {
                key, point, error, ..
            } => {
                let (of, _) = self.points.remove(&key).unwrap();
                assert_eq!(of, point);
                for ring in &mut self.rings {
                    ring.queue.retain(|(k, _)| *k != key);
                }
                let fate = self.fates.get_mut(&point).unwrap();
                assert_eq!(fate.finished, None, "finished once");
                fate.finished = Some(self.now);
                fate.error = error;
                let before = Point {
                    value: point.value - 1,
                    ..point
                };
                assert!(self.fates.get(&before).is_none_or(|f| f.finished.is_some()));
            }
            Action::TimedOut { key, .. } => {
                let (point, _) = self.points[&key];
                self.fates.get_mut(&point).unwrap().timed_out += 1;
                if let Some(verdict) = self.verdict {
                    self.judge(point, verdict);
                }
            }
            Action::Cancel { ring, key } => {
                let (point, _) = self.points[&key];
                self.fates.get_mut(&point).unwrap().cancelled = true;
                self.remove(ring, key);
                let now = us(self.now);
                self.scheduler.ended(key, Err(-125), us(0), now).unwrap();
            }
            Action::Watch { point } => self.watched.push(point),
        }
    }

    fn give(&mut self, ring: RingId, key: JobKey, work: Work) {
        let ring = &mut self.rings[usize::from(ring.0)];
        if ring.queue.is_empty() {
            ring.begun = self.now;
        }
        ring.queue.push_back((key, work));
    }

    fn remove(&mut self, ring: RingId, key: JobKey) {
        let ring = &mut self.rings[usize::from(ring.0)];
        if ring.queue.front().is_some_and(|(first, _)| *first == key) {
            ring.begun = self.now;
        }
        ring.queue.retain(|(k, _)| *k != key);
    }

    pub fn judge(&mut self, point: Point, verdict: Verdict) {
        let key = self.key(point);
        if verdict == Verdict::Resubmit {
            self.rings.iter_mut().for_each(|ring| ring.queue.clear());
        }
        let now = us(self.now);
        self.scheduler.timeout_verdict(key, verdict, now).unwrap();
    }

    pub fn judge_now(&mut self, point: Point, verdict: Verdict) {
        self.judge(point, verdict);
        self.drain();
    }

    /// Lets the first ring end so many of the jobs that it has now; answers how many it had.
    pub fn advance(&mut self, n: usize) -> usize {
        let jobs: Vec<_> = self.rings[0].queue.iter().take(n).map(|j| j.0).collect();
        for &key in &jobs {
            self.end(RingId(0), key);
        }
        self.drain();
        jobs.len()
    }

    /// The ring has done with a job.
    fn end(&mut self, at: RingId, key: JobKey) {
        let (point, entity) = self.points[&key];
        let time = self.now - self.rings[usize::from(at.0)].begun;
        self.remove(at, key);
        let ring = &mut self.rings[usize::from(at.0)];
        *ring.worked.entry(entity).or_default() += time;
        let result = self.faults.get(&point).map_or(Ok(()), |&code| Err(code));
        let (time, now) = (us(time), us(self.now));
        self.scheduler.ended(key, result, time, now).unwrap();
    }

    /// When the next job is done by itself.
    fn next_end(&self) -> Option<(u64, usize, JobKey)> {
        let each = self.rings.iter().enumerate();
        each.filter_map(|(at, ring)| {
            let &(key, work) = ring.queue.front()?;
            Some((ring.begun + work?, at, key))
        })
        .min()
    }

    /// The next thing that happens up to a time; afterwards it is that late.
    pub fn step(&mut self, until: u64) -> bool {
        let end = self.next_end();
        let deadline = self.scheduler.next_deadline().map(|d| d.as_micros() as u64);
        let next = end.map(|e| e.0).into_iter().chain(deadline).min();
        let Some(next) = next.filter(|&next| next <= until) else {
            self.now = until;
            return false;
        };
        self.now = next;
        match end {
            Some((at, ring, key)) if at == next => self.end(RingId(ring as u8), key),
            _ => self.scheduler.tick(us(next)),
        }
        self.drain();
        true
    }

    /// Lets time pass.
    pub fn run_for(&mut self, micros: u64) {
        let until = self.now + micros;
        while self.step(until) {}
    }

    pub fn fate(&self, point: Point) -> Fate {
        self.fates[&point]
    }

    pub fn scheduled(&self, point: Point) -> bool {
        self.fate(point).scheduled.is_some()
    }

    pub fn finished(&self, point: Point) -> bool {
        self.fate(point).finished.is_some()
    }

    pub fn error(&self, point: Point) -> Option<JobError> {
        assert!(self.finished(point), "{point:?}");
        self.fate(point).error
    }

    /// Every job is finished, without error.
    pub fn assert_all_done(&self) {
        assert_eq!(self.scheduler.jobs(), 0);
        let good = |fate: &Fate| fate.finished.is_some() && fate.error.is_none();
        assert!(self.fates.values().all(good));
    }
}

/// A client of the reference's share tests.
#[derive(Clone, Copy)]
pub struct Load {
    pub priority: Priority,
    pub jobs: u32,
    pub micros: u64,
    /// Waits for its jobs before it pushes more.
    pub sync: bool,
    /// And then, or before it pushes more, so long.
    pub wait: u64,
}

struct Client {
    load: Load,
    entity: EntityKey,
    wakes: Option<u64>,
    last: Option<Point>,
    pushed: Vec<(u64, Point)>,
}

/// What came of it.
pub struct Share {
    /// Ring time.
    pub worked: u64,
    /// Jobs finished.
    pub finished: usize,
    /// The longest time between a push and its finish, the jobs' own time apart, after the first
    /// `1/8` of the time.
    pub latency: u64,
}

/// Runs clients side by side. Asynchronous ones that have many jobs queued push no more until few
/// are left, which makes no difference to what runs; so do those without a wait.
pub fn compete(loads: &[Load], credits: u32, time: u64) -> Vec<Share> {
    let mut mock = Mock::new(&[ring(credits)]);
    let mut clients: Vec<Client> = Vec::new();
    for &load in loads {
        clients.push(Client {
            load,
            entity: mock.entity(load.priority),
            wakes: Some(0),
            last: None,
            pushed: Vec::new(),
        });
    }
    while mock.now < time {
        for client in &mut clients {
            wake(client, &mut mock);
        }
        let next = clients.iter().filter_map(|c| c.wakes).min();
        mock.step(next.unwrap_or(time).min(time));
    }
    let shares = clients.iter().map(|client| {
        let finished = |at: &&(u64, Point)| mock.finished(at.1);
        let latency = client.pushed.iter().filter_map(|&(at, point)| {
            let all = client.load.micros * u64::from(client.load.jobs);
            let finished = mock.fate(point).finished?;
            (at > time / 8).then(|| (finished - at).saturating_sub(all))
        });
        let worked = mock.rings[0].worked.get(&client.entity);
        Share {
            worked: worked.copied().unwrap_or(0),
            finished: client.pushed.iter().filter(finished).count(),
            latency: latency.max().unwrap_or(0),
        }
    });
    shares.collect()
}

fn wake(client: &mut Client, mock: &mut Mock) {
    let Load {
        jobs,
        micros,
        sync,
        wait,
        ..
    } = client.load;
    let queued = mock.scheduler.entity(client.entity).unwrap().queued;
    match client.wakes {
        None if sync => {
            if client.last.is_some_and(|last| !mock.finished(last)) {
                return;
            }
            client.wakes = Some(mock.now + wait);
        }
        None if queued > 4 => return,
        None => client.wakes = Some(mock.now + wait),
        Some(_) => {}
    }
    if client.wakes.is_some_and(|at| at <= mock.now) {
        for _ in 0..jobs {
            let point = mock.push(client.entity, Some(micros));
            client.last = Some(point);
            client.pushed.push((mock.now, point));
        }
        let goes_on = !sync && wait > 0 && queued < 16;
        client.wakes = goes_on.then_some(mock.now + wait);
    }
}
