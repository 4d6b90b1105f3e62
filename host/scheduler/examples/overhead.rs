//! What a job costs the scheduler: nanoseconds of CPU time per push, run and
//! end, without a device.
//!
//! `cargo run --profile dist -p gpumm-scheduler --example overhead`

use cpu_time::ThreadTime;
use gpumm_contract::{Point, TimelineId};
use gpumm_scheduler::{
    Action, Dependency, EntityConfig, EntityKey, Error, JobDesc, JobKey, Priority, RingConfig,
    RingId, Scheduler,
};
use std::collections::VecDeque;
use std::hint::black_box;
use std::time::Duration;

const JOBS: u64 = 4_000_000;
/// The best of so many parts counts: others use the machine too.
const PARTS: u64 = 40;

/// A scheduler, the entities it has, and the jobs on its ring.
struct Bench {
    scheduler: Scheduler<u64>,
    entities: Vec<EntityKey>,
    running: VecDeque<JobKey>,
    now: Duration,
}

impl Bench {
    fn new(entities: u32, credits: u32) -> Result<Self, Error> {
        let timeout = Some(Duration::from_secs(1));
        let mut scheduler = Scheduler::new(&[RingConfig { credits, timeout }])?;
        let mut all = Vec::new();
        for n in 0..entities {
            let config = EntityConfig {
                priority: Priority::ALL[n as usize % 4],
                ..EntityConfig::new(RingId(0))
            };
            all.push(scheduler.add_entity(TimelineId(n), &config)?);
        }
        Ok(Bench {
            scheduler,
            entities: all,
            running: VecDeque::new(),
            now: Duration::ZERO,
        })
    }

    /// Pushes a job for each entity, then ends whatever runs until nothing is left.
    fn round(&mut self, round: u64, dependency: bool) -> Result<(), Error> {
        let mut before: Option<Point> = None;
        for at in 0..self.entities.len() {
            let entity = self.entities[at];
            let list: [Dependency; 1];
            let dependencies = match before.filter(|_| dependency) {
                Some(point) => {
                    list = [point.into()];
                    &list[..]
                }
                None => &[],
            };
            let job = JobDesc {
                payload: black_box(round),
                credits: 1,
                dependencies,
                value: None,
            };
            before = Some(self.scheduler.push(entity, job)?.point);
            self.drain();
        }
        while let Some(job) = self.running.pop_front() {
            self.now += Duration::from_micros(7);
            let time = Duration::from_micros(5 + round % 4);
            self.scheduler.ended(job, Ok(()), time, self.now)?;
            self.drain();
        }
        Ok(())
    }

    fn drain(&mut self) {
        while let Some(action) = self.scheduler.poll(self.now) {
            if let Action::Run { key, payload, .. } = action {
                black_box(payload);
                self.running.push_back(key);
            }
        }
    }
}

fn main() -> Result<(), Error> {
    for (entities, credits) in [(1, 2), (8, 2), (8, 64), (1_000, 2)] {
        for dependency in [false, true] {
            let mut bench = Bench::new(entities, credits)?;
            let rounds = JOBS / u64::from(entities);
            let mut best = f64::MAX;
            for _ in 0..PARTS {
                let begun = ThreadTime::now();
                for round in 0..rounds / PARTS {
                    bench.round(round, dependency)?;
                }
                let jobs = (rounds / PARTS * u64::from(entities)) as f64;
                best = best.min(begun.elapsed().as_nanos() as f64 / jobs);
            }
            let waits = if dependency { 1 } else { 0 };
            println!(
                "{entities:>5} entities, {credits:>2} credits, {waits} dependency: {best:>4.0} ns per push, run and end"
            );
        }
    }
    Ok(())
}
