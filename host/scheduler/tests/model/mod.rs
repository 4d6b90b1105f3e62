//! A caller that does anything, and remembers what it was promised.
#![allow(unreachable_pub, clippy::unwrap_used)]

use fastrand::Rng;
use gpumm_contract::{Point, TimelineId};
use gpumm_scheduler::{
    Action, Dependency, EntityConfig, EntityKey, JobDesc, JobError, JobKey, Priority, RingConfig,
    RingId, RingSet, Scheduler, Verdict,
};
use std::collections::BTreeMap;
use std::time::Duration;

/// What a case is about.
#[derive(Clone, Copy, Default)]
pub struct Options {
    pub circles: bool,
    pub lost: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Queued,
    Running,
    Ended,
    Finished,
}

struct Job {
    entity: usize,
    value: u64,
    ring: RingId,
    credits: u32,
    dependencies: Vec<Dependency>,
    state: State,
    /// Its error was certain when it was handed out.
    skipped: bool,
    karma: u32,
    error: Option<JobError>,
    key: JobKey,
}

struct Entity {
    key: EntityKey,
    timeline: TimelineId,
    priority: Priority,
    jobs: Vec<usize>,
    reached: u64,
    last: u64,
    hangs: u32,
    ending: Option<JobError>,
    leaving: bool,
}

pub struct Model {
    rng: Rng,
    options: Options,
    scheduler: Scheduler<usize>,
    now: u64,
    limits: Vec<u32>,
    hang_limit: u32,
    entities: Vec<Entity>,
    jobs: Vec<Job>,
    foreign: BTreeMap<TimelineId, u64>,
    watched: Vec<Point>,
    due: Vec<JobKey>,
    timelines: u32,
    pub log: Vec<String>,
}

/// Timelines of nobody.
const FOREIGN: std::ops::Range<u32> = 1_000..1_004;

fn us(micros: u64) -> Duration {
    Duration::from_micros(micros)
}

impl Model {
    pub fn new(seed: u64, options: Options) -> Self {
        let mut rng = Rng::with_seed(seed);
        let rings: Vec<RingConfig> = (0..rng.usize(1..4))
            .map(|_| RingConfig {
                credits: rng.u32(1..6),
                timeout: rng.bool().then(|| us(rng.u64(100..900))),
            })
            .collect();
        let mut scheduler = Scheduler::new(&rings).unwrap();
        let hang_limit = rng.u32(0..4);
        scheduler.set_hang_limit(hang_limit);
        Model {
            rng,
            options,
            scheduler,
            now: 0,
            limits: rings.iter().map(|ring| ring.credits).collect(),
            hang_limit,
            entities: Vec::new(),
            jobs: Vec::new(),
            foreign: FOREIGN.map(|t| (TimelineId(t), 0)).collect(),
            watched: Vec::new(),
            due: Vec::new(),
            timelines: 0,
            log: Vec::new(),
        }
    }

    fn rings(&mut self) -> RingSet {
        let all = 0..self.limits.len() as u8;
        all.filter(|_| self.rng.u8(0..3) > 0).map(RingId).collect()
    }

    fn add_entity(&mut self) {
        self.timelines += 1;
        let timeline = TimelineId(self.timelines);
        let config = EntityConfig {
            priority: self.rng.choice(Priority::ALL).unwrap(),
            rings: self.rings(),
            last: self.rng.u64(0..3),
        };
        let key = self.scheduler.add_entity(timeline, &config).unwrap();
        self.entities.push(Entity {
            key,
            timeline,
            priority: config.priority,
            jobs: Vec::new(),
            reached: config.last,
            last: config.last,
            hangs: 0,
            ending: None,
            leaving: false,
        });
    }

    /// Some entity that is not gone.
    fn some_entity(&mut self) -> usize {
        let live: Vec<usize> = (0..self.entities.len())
            .filter(|&e| !self.entities[e].leaving)
            .collect();
        match self.rng.choice(live) {
            Some(entity) => entity,
            None => {
                self.add_entity();
                self.entities.len() - 1
            }
        }
    }

    fn some_point(&mut self) -> Point {
        if self.rng.u8(0..5) == 0 || self.jobs.is_empty() {
            let timeline = TimelineId(self.rng.u32(FOREIGN));
            let value = self.foreign[&timeline] + self.rng.u64(0..3);
            return Point { timeline, value };
        }
        let newest = self.jobs.len().saturating_sub(40);
        let of = &self.jobs[self.rng.usize(newest..self.jobs.len())];
        let entity = &self.entities[of.entity];
        let early = self.options.circles && self.rng.u8(0..4) == 0 && !entity.leaving;
        let value = if early {
            entity.last + self.rng.u64(1..3)
        } else {
            of.value
        };
        let timeline = entity.timeline;
        Point { timeline, value }
    }

    fn push(&mut self) {
        let entity = self.some_entity();
        let few = self.rng.u8(0..4);
        let dependencies: Vec<Dependency> = (0..few.saturating_sub(1) * self.rng.u8(0..3))
            .map(|_| Dependency {
                point: self.some_point(),
                finished: self.rng.u8(0..4) == 0,
            })
            .collect();
        let of = &mut self.entities[entity];
        let gap = self.rng.bool().then(|| of.last + self.rng.u64(1..3));
        let credits = self.rng.u32(1..4);
        let id = self.jobs.len();
        let job = JobDesc {
            payload: id,
            credits,
            dependencies: &dependencies,
            value: gap,
        };
        let Ok(pushed) = self.scheduler.push(of.key, job) else {
            let rings = self.rings();
            let key = self.entities[entity].key;
            self.scheduler.set_rings(key, rings).unwrap();
            return;
        };
        assert_eq!(pushed.point.timeline, of.timeline);
        assert_eq!(pushed.point.value, gap.unwrap_or(of.last + 1));
        let limit = self.limits[usize::from(pushed.ring.0)];
        assert_eq!(pushed.clamped, (credits > limit).then_some(limit));
        of.last = pushed.point.value;
        of.jobs.push(id);
        let late = of.ending.is_some();
        self.jobs.push(Job {
            entity,
            value: pushed.point.value,
            ring: pushed.ring,
            credits: credits.min(limit),
            dependencies: if late { Vec::new() } else { dependencies },
            state: State::Queued,
            skipped: false,
            karma: 0,
            error: None,
            key: pushed.key,
        });
    }

    fn running(&self) -> Vec<usize> {
        let all = self.jobs.iter().enumerate();
        all.filter(|(_, job)| job.state == State::Running)
            .map(|(id, _)| id)
            .collect()
    }

    fn end(&mut self, id: usize) {
        let job = &mut self.jobs[id];
        let result = match self.rng.i32(0..6) {
            0 => Err(-5),
            _ => Ok(()),
        };
        job.state = State::Ended;
        let error = result.err().map(JobError::Failed);
        job.error = job.error.or(error);
        self.due.retain(|&key| key != job.key);
        let time = us(self.rng.u64(0..400));
        let now = us(self.now);
        self.scheduler.ended(job.key, result, time, now).unwrap();
    }

    fn reach(&mut self, timeline: TimelineId) {
        let value = self.foreign.get_mut(&timeline).unwrap();
        *value += self.rng.u64(0..3);
        let value = *value;
        self.watched
            .retain(|p| p.timeline != timeline || p.value > value);
        self.scheduler.reached(Point { timeline, value });
    }

    fn kill(&mut self) {
        let entity = self.some_entity();
        let of = &mut self.entities[entity];
        of.ending = of.ending.or(Some(JobError::Killed));
        if self.rng.bool() {
            of.leaving = true;
            self.scheduler.fini_entity(of.key).unwrap();
        } else {
            self.scheduler.kill(of.key).unwrap();
        }
    }

    fn judge(&mut self) {
        let Some(key) = self.due.pop() else {
            return;
        };
        let id = self.jobs.iter().position(|job| job.key == key).unwrap();
        let (entity, ring) = (self.jobs[id].entity, self.jobs[id].ring);
        let of = &mut self.entities[entity];
        let verdict = [Verdict::NoHang, Verdict::Reset, Verdict::Resubmit][self.rng.usize(0..3)];
        if verdict != Verdict::NoHang && of.priority != Priority::Kernel {
            of.hangs += 1;
            self.jobs[id].karma += 1;
        }
        let given_up = verdict == Verdict::Resubmit && self.jobs[id].karma > self.hang_limit;
        if verdict == Verdict::Reset || given_up {
            self.settle(id, JobError::TimedOut);
        }
        let of = &self.entities[entity];
        let guilty = of.hangs > 0 && of.hangs >= self.hang_limit;
        for other in self.running() {
            let job = &mut self.jobs[other];
            let fellow = (job.entity, job.ring) == (entity, ring);
            if fellow && given_up {
                self.settle(other, JobError::Cancelled);
            } else if fellow && guilty && verdict == Verdict::Reset {
                // Settled, but it is on the ring until that says otherwise.
                job.error = job.error.or(Some(JobError::Cancelled));
            }
        }
        let now = us(self.now);
        self.scheduler.timeout_verdict(key, verdict, now).unwrap();
    }

    fn settle(&mut self, id: usize, error: JobError) {
        let job = &mut self.jobs[id];
        job.error = job.error.or(Some(error));
        job.state = State::Ended;
    }

    /// A few hundred random calls.
    pub fn run(&mut self) {
        for _ in 0..self.rng.usize(1..6) {
            self.add_entity();
        }
        for _ in 0..600 {
            self.step();
        }
        if self.options.lost {
            for of in &mut self.entities {
                of.ending = of.ending.or(Some(JobError::Lost));
                of.leaving = true;
            }
            for id in self.running() {
                self.settle(id, JobError::Lost);
            }
            self.due.clear();
            self.scheduler.device_lost(us(self.now));
            self.drain();
        }
    }

    fn step(&mut self) {
        match self.rng.u8(0..100) {
            0..40 => self.push(),
            40..70 => {
                if let Some(id) = self.rng.choice(self.running()) {
                    self.end(id);
                }
            }
            70..80 => {
                let all: Vec<_> = self.foreign.keys().copied().collect();
                let timeline = self.rng.choice(all).unwrap();
                self.reach(timeline);
            }
            80..90 => {
                self.now += self.rng.u64(0..200);
                self.scheduler.tick(us(self.now));
            }
            90..93 => self.judge(),
            93 => self.kill(),
            94 if self.entities.len() < 40 => self.add_entity(),
            95..97 => {
                let entity = self.some_entity();
                let of = &mut self.entities[entity];
                of.priority = self.rng.choice(Priority::ALL).unwrap();
                self.scheduler.set_priority(of.key, of.priority).unwrap();
            }
            _ => {
                let entity = self.some_entity();
                let (key, rings) = (self.entities[entity].key, self.rings());
                self.scheduler.set_rings(key, rings).unwrap();
            }
        }
        // Sometimes several things happen at once.
        if self.rng.u8(0..4) > 0 {
            self.drain();
        }
        assert_eq!(self.scheduler.validate(), Ok(()));
    }

    fn drain(&mut self) {
        while let Some(action) = self.scheduler.poll(us(self.now)) {
            assert_eq!(self.scheduler.validate(), Ok(()));
            self.log.push(format!("{action:?}"));
            self.act(action);
        }
    }

    fn act(&mut self, action: Action<usize>) {
        match action {
            Action::Run {
                ring,
                key,
                entity,
                payload,
                guilty,
            } => {
                let of = &self.entities[self.jobs[payload].entity];
                assert_eq!((self.jobs[payload].key, of.key), (key, entity));
                self.check_run(payload, ring, guilty);
                let job = &mut self.jobs[payload];
                job.state = State::Running;
                job.skipped = guilty;
                job.error = guilty.then_some(JobError::Cancelled);
            }
            Action::Rerun { key, ring, guilty } => {
                let job = self.jobs.iter().find(|job| job.key == key).unwrap();
                assert_eq!((job.state, job.ring), (State::Running, ring));
                assert_eq!(job.error.is_some(), guilty);
            }
            Action::Finish {
                entity,
                key,
                point,
                error,
                payload,
            } => {
                let id = self.jobs.iter().position(|job| job.key == key).unwrap();
                assert_eq!(self.entities[self.jobs[id].entity].key, entity);
                assert!(payload.is_none_or(|payload| payload == id));
                self.check_finish(id, point, error);
                self.jobs[id].state = State::Finished;
                self.entities[self.jobs[id].entity].reached = point.value;
            }
            Action::TimedOut { ring, key } => {
                let job = self.jobs.iter().find(|job| job.key == key).unwrap();
                assert_eq!((job.state, job.ring), (State::Running, ring));
                self.due.push(key);
            }
            Action::Cancel { key, ring } => {
                let job = self.jobs.iter().find(|job| job.key == key).unwrap();
                assert_eq!((job.state, job.ring), (State::Running, ring));
                assert_eq!(job.error, Some(JobError::Cancelled));
            }
            Action::Watch { point } => {
                let owner = self.owner(point.timeline);
                assert!(owner.is_none_or(|of| self.entities[of].leaving));
                if let Some(owner) = owner {
                    // Gone: its points are the caller's now.
                    let reached = self.entities[owner].reached;
                    self.foreign.entry(point.timeline).or_insert(reached);
                }
                self.watched.push(point);
            }
        }
    }

    fn owner(&self, timeline: TimelineId) -> Option<usize> {
        let mut all = self.entities.iter();
        all.position(|of| of.timeline == timeline)
    }

    fn is_reached(&self, point: Point) -> bool {
        let foreign = self.foreign.get(&point.timeline);
        let owner = self.owner(point.timeline).map(|of| &self.entities[of]);
        let reached = foreign.copied().max(owner.map(|of| of.reached));
        reached >= Some(point.value)
    }

    fn check_run(&self, id: usize, ring: RingId, guilty: bool) {
        let job = &self.jobs[id];
        let of = &self.entities[job.entity];
        assert_eq!((job.state, job.ring), (State::Queued, ring));
        assert_eq!(of.ending, None);
        assert_eq!(guilty, of.hangs > 0 && of.hangs >= self.hang_limit);
        let before = of.jobs.iter().take_while(|&&other| other != id);
        for other in before.map(|&other| &self.jobs[other]) {
            assert_ne!(other.state, State::Queued, "in order");
            assert!(other.state != State::Running || other.ring == ring);
        }
        let running = self.running();
        let here = running.iter().map(|&r| &self.jobs[r]);
        let here = here.filter(|job| job.ring == ring);
        let used: u32 = here.clone().map(|job| job.credits).sum();
        assert!(used + job.credits <= self.limits[usize::from(ring.0)]);
        assert!(here.clone().all(|job| !self.due.contains(&job.key)));
        for dependency in &job.dependencies {
            let point = dependency.point;
            if point.timeline == of.timeline || self.is_reached(point) {
                continue;
            }
            assert!(!dependency.finished, "{point:?} is not reached");
            let owner = self.owner(point.timeline).unwrap();
            let mut all = self.entities[owner].jobs.iter().map(|&j| &self.jobs[j]);
            let target = all.find(|job| job.value >= point.value).unwrap();
            assert_eq!(target.ring, ring);
            assert!(matches!(target.state, State::Running | State::Ended));
            assert!(!target.skipped);
        }
    }

    fn check_finish(&self, id: usize, point: Point, error: Option<JobError>) {
        let job = &self.jobs[id];
        let of = &self.entities[job.entity];
        assert_eq!((of.timeline, job.value), (point.timeline, point.value));
        let before = of.jobs.iter().take_while(|&&other| other != id);
        let mut before = before.map(|&other| &self.jobs[other]);
        assert!(before.all(|other| other.state == State::Finished));
        if job.state == State::Ended {
            assert_eq!(error, job.error);
            return;
        }
        assert_eq!(job.state, State::Queued);
        assert!(error.is_some() && error == of.ending);
        let waits = job.dependencies.iter().map(|d| d.point);
        let mut waits = waits.filter(|point| point.timeline != of.timeline);
        // Which waits were ended in a circle is for other tests.
        assert!(self.options.circles || waits.all(|point| self.is_reached(point)));
    }

    /// Lets everything come to its end; answers how many jobs were finished.
    pub fn finish(&mut self) -> u64 {
        self.drain();
        if self.options.circles {
            for of in &mut self.entities {
                of.ending = of.ending.or(Some(JobError::Killed));
                of.leaving |= self.scheduler.fini_entity(of.key).is_ok();
            }
            self.drain();
        }
        for _ in 0..10_000 {
            if self.scheduler.jobs() == 0 {
                break;
            }
            while !self.due.is_empty() {
                self.judge();
            }
            for id in self.running() {
                if self.jobs[id].state == State::Running {
                    self.end(id);
                }
            }
            for point in self.watched.clone() {
                self.reach(point.timeline);
            }
            self.drain();
        }
        assert_eq!(self.scheduler.validate(), Ok(()));
        let open = self.jobs.iter().filter(|job| job.state != State::Finished);
        assert_eq!(open.count(), 0, "every job finishes");
        assert_eq!(self.scheduler.jobs(), 0);
        let counts = self.scheduler.counts();
        assert_eq!((counts.pushed, counts.finished), {
            let all = self.jobs.len() as u64;
            (all, all)
        });
        counts.finished
    }
}
