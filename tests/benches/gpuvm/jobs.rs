//! Jobs on an address space that is ready, through the public API: how long `Queue::submit` takes,
//! and how many jobs get through.
//!
//! `submit/resident`: windows of 64 jobs, as many as the device is given at once, whose engine is
//! held meanwhile: the whole way from the client to the device's queue, and nothing else. Only the
//! submits are timed, the wait for the last is not. `submit/working`: the same beside the engine at
//! work, which sleeps whenever it has nothing to do, so that many submits pay for waking it.
//! `jobs/N`: as many threads, each with a client, an address space, a queue and 4000 jobs, from the
//! first submit to the end of the last wait. A job writes 64 bytes. `device alone` gives the same
//! launches to the same engine of the same device without a queue, so what `queue` takes longer is
//! this library's part; beside an engine at work, a submit may also see to jobs that have ended.
//! No component is asked for any of these jobs.

use crate::common::Row;
use crate::row;
use gpumm::hw::{
    self, Command, Device, EngineId, EngineKind, Launch, Outcome, OutcomeValue, Submission,
};
use gpumm::{Buffer, BufferDesc, Client, Pacing, Priority, Queue, Rights, Vm, VmDesc, VmKernel};
use gpumm_hw::sim::SimControl;
use gpumm_tests::fixture;
use std::sync::{Arc, Barrier};
use std::time::Instant;

const PAGE: u64 = 4096;
const AT: u64 = 64 << 20;
/// Jobs of a window, and windows.
const WINDOW: u64 = 64;
const WINDOWS: usize = 1000;
/// Jobs of a thread, and how often all threads run.
const JOBS: u64 = 4000;
const ROUNDS: usize = 12;
const THREADS: [(&str, usize); 2] = [("jobs/1 thread", 1), ("jobs/8 threads", 8)];

/// Whoever submits.
struct Tenant {
    vm: Vm,
    queue: Queue,
    /// What is mapped.
    _buffer: Buffer,
}

/// What a tenant's jobs are given to.
enum Subject<'a> {
    Queue,
    Alone(&'a dyn Device, EngineId),
}

/// Holds the engine while jobs are submitted.
type Held<'a> = Option<(&'a SimControl, EngineId)>;

/// When jobs were submitted, and when the last one was waited for.
struct Ran {
    began: Instant,
    submitted: Instant,
    ended: Instant,
}

fn job(n: u64) -> VmKernel {
    VmKernel::Fill {
        dst: AT + n % WINDOW * 64,
        bytes: 64,
        pattern: n,
    }
}

impl Tenant {
    fn new(client: &Client) -> Tenant {
        let buffer = client.create(BufferDesc::new(PAGE)).unwrap();
        let vm = client.create_vm(VmDesc::default()).unwrap();
        vm.map(AT, &buffer, 0, PAGE, Rights::ReadWrite).unwrap();
        let queue = client.queue(Priority::Normal).unwrap();
        // This one goes by the planner, which makes the address space ready.
        queue.submit(&vm, job(0), &[]).unwrap().wait().unwrap();
        Tenant {
            vm,
            queue,
            _buffer: buffer,
        }
    }

    /// Submits so many jobs and waits for the last.
    fn run(&self, subject: &Subject<'_>, held: Held<'_>, jobs: u64) -> Ran {
        if let Some((control, engine)) = held {
            control.hold(engine).unwrap();
        }
        let release = || {
            if let Some((control, engine)) = held {
                control.release(engine).unwrap();
            }
        };
        // Fences are kept, so that letting them go is not timed.
        let mut fences = Vec::with_capacity(jobs as usize);
        let outcome = Arc::new(Outcome::new());
        let began = Instant::now();
        let submitted = match *subject {
            Subject::Queue => {
                for n in 0..jobs {
                    fences.push(self.queue.submit(&self.vm, job(n), &[]).unwrap());
                }
                let submitted = Instant::now();
                release();
                fences.last().unwrap().wait().unwrap();
                submitted
            }
            Subject::Alone(device, engine) => {
                for n in 0..jobs {
                    let launch = Launch {
                        vm: hw::VmId(self.vm.id().0),
                        job: n,
                        kernel: job(n),
                    };
                    let mut submission = Submission::new(Command::Launch(launch));
                    if n + 1 == jobs {
                        submission = submission.outcome(&outcome);
                    }
                    device.submit(engine, submission).unwrap();
                }
                let submitted = Instant::now();
                release();
                assert_eq!(outcome.wait(None), Some(&OutcomeValue::Done));
                submitted
            }
        };
        Ran {
            began,
            submitted,
            ended: Instant::now(),
        }
    }
}

/// Everybody's jobs at once; ns per job.
fn together(tenants: &[Tenant], subject: &Subject<'_>) -> f64 {
    let barrier = Barrier::new(tenants.len());
    let ran: Vec<Ran> = std::thread::scope(|scope| {
        let run = |tenant| {
            barrier.wait();
            Tenant::run(tenant, subject, None, JOBS)
        };
        let threads: Vec<_> = tenants
            .iter()
            .map(|tenant| scope.spawn(move || run(tenant)))
            .collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    let began = ran.iter().map(|ran| ran.began).min().unwrap();
    let ended = ran.iter().map(|ran| ran.ended).max().unwrap();
    (ended - began).as_nanos() as f64 / (tenants.len() as u64 * JOBS) as f64
}

pub(crate) fn rows() -> Vec<Row> {
    let (runtime, control) = fixture::with_queues(16 << 20, 16 << 20, None, Pacing::Eager, |b| b);
    let handle = runtime.device(0).unwrap();
    let device = handle.hardware().as_ref();
    // The first compute engine is for plans, the second one for queues.
    let engines = (0..).map(EngineId).zip(&device.properties().engines);
    let (ring, _) = engines
        .filter(|(_, engine)| engine.kind == EngineKind::Compute)
        .nth(1)
        .unwrap();
    let most = THREADS.into_iter().map(|(_, threads)| threads).max();
    let tenants: Vec<_> = (0..most.unwrap())
        .map(|_| Tenant::new(&handle.client()))
        .collect();
    handle.drain().unwrap();
    let before = handle.report().unwrap().crossings;
    let subjects = [Subject::Queue, Subject::Alone(device, ring)];
    let mut rows = Vec::new();
    let mut add = |case: &str, unit, [queue, alone]: [Vec<f64>; 2]| {
        rows.push(row(case, "queue", unit, queue));
        rows.push(row(case, "device alone", unit, alone));
    };
    for (case, held) in [
        ("submit/resident", Some((&control, ring))),
        ("submit/working", None),
    ] {
        let mut submits = [const { Vec::new() }; 2];
        for _ in 0..WINDOWS {
            for (subject, samples) in subjects.iter().zip(&mut submits) {
                let ran = tenants[0].run(subject, held, WINDOW);
                let time = ran.submitted - ran.began;
                samples.push(time.as_nanos() as f64 / WINDOW as f64);
                // The engine's thread has nothing left to do for the one when the other begins.
                device.idle(None).unwrap();
            }
        }
        add(case, "ns/job", submits);
    }
    for (case, threads) in THREADS {
        let mut walls = [const { Vec::new() }; 2];
        for _ in 0..ROUNDS {
            for (subject, samples) in subjects.iter().zip(&mut walls) {
                samples.push(together(&tenants[..threads], subject));
                device.idle(None).unwrap();
            }
        }
        add(case, "ns/job", walls);
    }
    assert_eq!(handle.report().unwrap().crossings, before);
    assert!(device.take_faults().is_empty());
    rows
}
