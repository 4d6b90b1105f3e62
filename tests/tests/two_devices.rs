//! Two devices: what one reads, the other moves, ordered by a gate; and who does not let go is
//! made to.
#![allow(clippy::unwrap_used)]

use gpumm::contract::Point;
use gpumm::contract::request::{Batch, Placement, Request};
use gpumm::hw::{DeviceError, EngineId, OutcomeValue};
use gpumm::parts::{Executed, Mechanism, MechanismSource, Parts, SlotDesk};
use gpumm::wasm::{WasmMechanism, WasmStrategy};
use gpumm::{
    Buffer, BufferDesc, Client, ComponentFault, DeviceHandle, Error, Fence, GTT, Health, Import,
    Job, OnMove, Runtime, SYSTEM, VRAM,
};
use gpumm_components::{MECHANISM_TRAP, patch_trap, trap_site};
use gpumm_hw::sim::{Sim, SimConfig, SimControl};
use gpumm_tests::native;
use gpumm_tests::shadow::Shadowed;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

const SIZE: u64 = 256 << 10;
const COPY: EngineId = EngineId(0);
const COMPUTE: EngineId = EngineId(1);
/// Nobody is late in the tests that wait this long.
const PATIENT: Duration = Duration::from_secs(120);
const SHORT: Duration = Duration::from_millis(50);

/// Two devices with room for four buffers each.
struct Two {
    runtime: Runtime,
    controls: [SimControl; 2],
    exporter: Client,
    importer: Client,
}

fn two(parts: Parts, timeout: Duration) -> Two {
    let (give, take) = channel();
    let mut builder = Runtime::builder()
        .system_memory(256 * SIZE)
        .parts(parts)
        .share_timeout(timeout);
    for name in ["first", "second"] {
        let give = give.clone();
        builder = builder.device(move |timelines, memory| {
            let sim = Sim::new(SimConfig::new(name, 4 * SIZE), timelines, memory)?;
            give.send(sim.control()).unwrap();
            Ok(sim)
        });
    }
    let runtime = builder.build().unwrap();
    Two {
        controls: [take.recv().unwrap(), take.recv().unwrap()],
        exporter: runtime.device(0).unwrap().client(),
        importer: runtime.device(1).unwrap().client(),
        runtime,
    }
}

impl Two {
    fn device(&self, index: usize) -> DeviceHandle {
        self.runtime.device(index).unwrap()
    }

    /// How many gates of the second device the first one has reached.
    fn gates(&self) -> u64 {
        let timelines = self.runtime.timelines();
        let named = |&(t, _): &(_, u64)| timelines.name(t) == Some("first/gate1");
        timelines.snapshot().into_iter().find(named).unwrap().1
    }

    /// Nothing failed that should not have.
    fn is_well(&self) {
        for index in 0..2 {
            let device = self.device(index);
            device.drain().unwrap();
            assert_eq!(device.hardware().take_faults(), []);
            assert_eq!(device.health(), Health::Good);
        }
    }
}

fn component() -> Parts {
    Parts {
        mechanism: Arc::new(WasmMechanism::built_in()),
        strategy: Arc::new(WasmStrategy::built_in("tlsf").unwrap()),
        fallback: Arc::new(WasmStrategy::built_in("tlsf").unwrap()),
    }
}

fn both() -> [Parts; 2] {
    [native::parts("tlsf"), component()]
}

fn filled(client: &Client, pattern: u64) -> Buffer {
    filled_in(client, pattern, BufferDesc::new(SIZE))
}

fn filled_in(client: &Client, pattern: u64, desc: BufferDesc) -> Buffer {
    let buffer = client.create(desc).unwrap();
    buffer.fill(pattern).unwrap().wait().unwrap();
    buffer
}

fn start_read(client: &Client, buffer: &Buffer) -> Result<Fence, Error> {
    let job = Job::Read {
        offset: SIZE - 8,
        bytes: 8,
    };
    client.run(job, &[buffer])
}

fn word(fence: &Fence) -> Result<u64, Error> {
    match fence.outcome()? {
        OutcomeValue::Bytes(bytes) => Ok(u64::from_le_bytes(bytes.try_into().unwrap())),
        other => panic!("a read ended as {other:?}"),
    }
}

fn read(client: &Client, buffer: &Buffer) -> Result<u64, Error> {
    word(&start_read(client, buffer)?)
}

fn place(buffer: &Buffer) -> gpumm::contract::MemoryTypeId {
    buffer.state().unwrap().place
}

/// What was queued behind an import faults, and the exporter's memory is another's by now.
fn faults_instead(two: &Two, queued: &Fence, import: &Import) {
    // The old memory of the buffer goes to somebody else, who writes into it.
    let mut desc = BufferDesc::new(SIZE);
    desc.placement = Placement::only(SYSTEM);
    let secrets: Vec<Buffer> = (0..4)
        .map(|_| filled_in(&two.device(0).client(), 0x5ec7e7, desc))
        .collect();
    two.controls[1].release_all();
    let outcome = word(queued);
    assert!(
        matches!(outcome, Err(Error::Device(DeviceError::IommuFault { .. }))),
        "{outcome:?}"
    );
    assert!(import.is_invalidated());
    drop(secrets);
}

#[test]
fn a_move_waits_for_another_devices_read_and_for_nothing_else() {
    for parts in both() {
        let two = two(parts, PATIENT);
        let [a, b] = &two.controls;
        let buffer = filled(&two.exporter, 7);
        let import = buffer.share_with(&two.importer).unwrap();
        assert!([SYSTEM, GTT].contains(&place(&buffer)));
        assert_eq!(read(&two.importer, &import).unwrap(), 7);
        b.hold(COMPUTE).unwrap();
        let queued = start_read(&two.importer, &import).unwrap();
        let copies = a.executed(COPY).unwrap();
        // The plan stands at once; its copy waits.
        let moved = start_read(&two.exporter, &buffer).unwrap();
        assert_eq!(place(&buffer), VRAM);
        assert!(!moved.wait_for(SHORT).unwrap());
        assert_eq!(a.executed(COPY).unwrap(), copies);
        assert_eq!(two.gates(), 0);
        assert!(matches!(
            start_read(&two.importer, &import),
            Err(Error::Invalidated)
        ));
        b.step(COMPUTE, 1).unwrap();
        assert_eq!(word(&queued).unwrap(), 7);
        assert_eq!(word(&moved).unwrap(), 7);
        assert_eq!(two.gates(), 1);
        assert!(import.is_invalidated());
        b.release(COMPUTE).unwrap();
        buffer.fill(8).unwrap().wait().unwrap();
        let again = buffer.share_with(&two.importer).unwrap();
        assert_eq!(read(&two.importer, &again).unwrap(), 8);
        drop((import, again));
        two.is_well();
        assert_eq!(two.device(0).report().unwrap().restarts, 0);
    }
}

#[test]
fn a_job_that_never_ends_is_kept_from_the_memory_after_the_timeout() {
    for parts in both() {
        let two = two(parts, SHORT);
        let buffer = filled(&two.exporter, 7);
        let import = buffer.share_with(&two.importer).unwrap();
        assert_eq!(read(&two.importer, &import).unwrap(), 7);
        two.controls[1].hold(COMPUTE).unwrap();
        let queued = start_read(&two.importer, &import).unwrap();
        assert_eq!(read(&two.exporter, &buffer).unwrap(), 7);
        assert_eq!(two.gates(), 1);
        faults_instead(&two, &queued, &import);
        let own = filled(&two.importer, 9);
        assert_eq!(read(&two.importer, &own).unwrap(), 9);
        drop(import);
        two.is_well();
    }
}

#[test]
fn a_planner_that_does_not_answer_is_not_waited_for_longer() {
    let two = two(component(), SHORT);
    let buffer = filled(&two.exporter, 7);
    let import = buffer.share_with(&two.importer).unwrap();
    assert_eq!(read(&two.importer, &import).unwrap(), 7);
    two.controls[1].hold(COMPUTE).unwrap();
    let queued = start_read(&two.importer, &import).unwrap();
    let second = two.device(1);
    let busy = std::thread::spawn(move || second.drain());
    // The planner is inside of it, or will be for what comes.
    std::thread::sleep(SHORT);
    assert_eq!(read(&two.exporter, &buffer).unwrap(), 7);
    assert!(!busy.is_finished());
    faults_instead(&two, &queued, &import);
    busy.join().unwrap().unwrap();
    // Late, but it does release: the same memory can be imported anew.
    let own = filled(&two.importer, 9);
    let again = own.share_with(&two.exporter).unwrap();
    assert_eq!(read(&two.exporter, &again).unwrap(), 9);
    drop((import, again));
    two.is_well();
}

/// A mechanism that fails on every batch with a release while it is armed.
#[derive(Debug)]
struct Failing {
    inner: Arc<dyn MechanismSource>,
    armed: Arc<AtomicBool>,
}

struct FailingRun(Box<dyn Mechanism>, Arc<AtomicBool>);

impl MechanismSource for Failing {
    fn name(&self) -> &str {
        "failing"
    }

    fn build(&self) -> Result<Box<dyn Mechanism>, ComponentFault> {
        let inner = self.inner.build()?;
        Ok(Box::new(FailingRun(inner, self.armed.clone())))
    }
}

impl Mechanism for FailingRun {
    fn restore(&mut self, facts: &[Vec<u64>]) -> Result<(), ComponentFault> {
        self.0.restore(facts)
    }

    fn execute(&mut self, requests: &[u64], desk: Box<dyn SlotDesk>) -> Executed {
        let batch = Batch::decode(requests).unwrap();
        let release = |r: &Request| matches!(r, Request::Release(_));
        match self.1.load(Ordering::Relaxed) && batch.requests.iter().any(release) {
            true => (desk, Err(ComponentFault::Trap("on a release".into()))),
            false => self.0.execute(requests, desk),
        }
    }
}

#[test]
fn an_importer_that_traps_on_the_release_is_revoked_at_once() {
    for mut parts in both() {
        let armed = Arc::new(AtomicBool::new(false));
        parts.mechanism = Arc::new(Failing {
            inner: parts.mechanism,
            armed: armed.clone(),
        });
        let two = two(parts, PATIENT);
        let buffer = filled(&two.exporter, 7);
        let import = buffer.share_with(&two.importer).unwrap();
        assert_eq!(read(&two.importer, &import).unwrap(), 7);
        two.controls[1].hold(COMPUTE).unwrap();
        let queued = start_read(&two.importer, &import).unwrap();
        armed.store(true, Ordering::Relaxed);
        assert_eq!(read(&two.exporter, &buffer).unwrap(), 7);
        armed.store(false, Ordering::Relaxed);
        faults_instead(&two, &queued, &import);
        assert!(matches!(
            start_read(&two.importer, &import),
            Err(Error::Invalidated)
        ));
        let own = filled(&two.importer, 9);
        assert_eq!(read(&two.importer, &own).unwrap(), 9);
        // Its planner tries once more when the client lets go.
        let live = || two.device(1).report().unwrap().live_buffers;
        assert_eq!(live(), 2);
        drop(import);
        two.is_well();
        assert_eq!(live(), 1);
    }
}

#[test]
fn an_importer_whose_component_traps_for_good_does_not_stop_the_exporter() {
    let two = two(component(), PATIENT);
    let buffer = filled(&two.exporter, 7);
    let import = buffer.share_with(&two.importer).unwrap();
    assert_eq!(read(&two.importer, &import).unwrap(), 7);
    two.controls[1].hold(COMPUTE).unwrap();
    let queued = start_read(&two.importer, &import).unwrap();
    let bytes = patch_trap(MECHANISM_TRAP, trap_site::MANAGER_EXECUTE, 1).unwrap();
    let trapping = Arc::new(WasmMechanism::new("trapping", bytes));
    two.device(1).swap_mechanism(trapping).unwrap();
    let began = Instant::now();
    assert_eq!(read(&two.exporter, &buffer).unwrap(), 7);
    assert!(began.elapsed() < PATIENT / 2);
    faults_instead(&two, &queued, &import);
    assert!(start_read(&two.importer, &import).is_err());
    drop(import);
    two.device(0).drain().unwrap();
    assert_eq!(two.device(0).health(), Health::Good);
}

#[test]
fn a_restarted_mechanism_still_tells_importers() {
    for parts in both() {
        let two = two(parts, PATIENT);
        let buffer = filled(&two.exporter, 7);
        let import = buffer.share_with(&two.importer).unwrap();
        two.device(0).restart_mechanism().unwrap();
        two.device(1).restart_mechanism().unwrap();
        assert_eq!(read(&two.importer, &import).unwrap(), 7);
        assert!(matches!(
            buffer.share_with(&two.importer),
            Err(Error::Refused(gpumm::contract::plan::Status::NotAttached))
        ));
        assert_eq!(read(&two.exporter, &buffer).unwrap(), 7);
        assert_eq!(two.gates(), 1);
        assert!(import.is_invalidated());
        // Released while it is imported.
        let import = buffer.share_with(&two.importer).unwrap();
        two.device(0).restart_mechanism().unwrap();
        drop(buffer);
        two.device(0).drain().unwrap();
        assert_eq!(two.gates(), 2);
        assert!(import.is_invalidated());
        drop(import);
        two.is_well();
        let live: Vec<u64> = (0..2)
            .map(|i| two.device(i).report().unwrap().live_buffers)
            .collect();
        assert_eq!(live, [0, 0]);
    }
}

#[test]
fn who_has_let_go_is_not_told() {
    for parts in both() {
        let two = two(parts, PATIENT);
        let buffer = filled(&two.exporter, 7);
        let import = buffer.share_with(&two.importer).unwrap();
        two.controls[1].hold(COMPUTE).unwrap();
        let queued = start_read(&two.importer, &import).unwrap();
        drop(import);
        // As long as it reads, it counts.
        assert!(matches!(
            buffer.share_with(&two.importer),
            Err(Error::Refused(_))
        ));
        two.controls[1].release(COMPUTE).unwrap();
        assert_eq!(word(&queued).unwrap(), 7);
        let began = Instant::now();
        let again = loop {
            match buffer.share_with(&two.importer) {
                Ok(import) => break import,
                Err(Error::Refused(_)) => assert!(began.elapsed() < PATIENT),
                Err(other) => panic!("{other}"),
            }
        };
        assert_eq!(read(&two.importer, &again).unwrap(), 7);
        drop(again);
        let attached = || {
            let facts = two.device(0).facts().unwrap();
            let facts = facts
                .iter()
                .map(|l| gpumm::contract::facts::decode(l).unwrap());
            let is = |f: &_| matches!(f, gpumm::contract::facts::Fact::Attachment { .. });
            facts.flatten().any(|f| is(&f))
        };
        while attached() {
            assert!(began.elapsed() < PATIENT);
        }
        assert_eq!(read(&two.exporter, &buffer).unwrap(), 7);
        assert_eq!((place(&buffer), two.gates()), (VRAM, 0));
        two.is_well();
    }
}

#[test]
fn what_cannot_be_shared_is_named() {
    let two = two(native::parts("tlsf"), PATIENT);
    let buffer = filled(&two.exporter, 7);
    let argument = |r: Result<Import, Error>| assert!(matches!(r, Err(Error::Argument(_))));
    argument(buffer.share_with(&two.exporter));
    argument(buffer.share_with(&two.device(0).client()));
    let other = Runtime::builder().sim(SIZE).build().unwrap();
    argument(buffer.share_with(&other.client()));
    argument(filled(&other.client(), 1).share_with(&two.importer));
    let import = buffer.share_with(&two.importer).unwrap();
    argument(import.share_with(&two.exporter));
    assert!(matches!(import.fill(1), Err(Error::Argument(_))));
    assert!(matches!(import.write(0, &[1]), Err(Error::Argument(_))));
    let by_cpu = import.cpu_access(false, OnMove::Wait);
    assert!(matches!(by_cpu, Err(Error::Argument(_))));
    assert!(matches!(
        start_read(&two.device(1).client(), &import),
        Err(Error::Argument(_))
    ));
    // A job may copy out of it.
    let own = filled(&two.importer, 9);
    let copy = Job::Copy {
        from: 0,
        to: SIZE / 2,
        bytes: SIZE / 2,
    };
    two.importer.run(copy, &[&import, &own]).unwrap();
    assert_eq!(read(&two.importer, &own).unwrap(), 7);
    // Nobody gets imported memory by asking for it.
    let mut desc = BufferDesc::new(SIZE);
    desc.placement = Placement::only(gpumm::IMPORT);
    assert!(
        two.importer
            .create(desc)
            .is_err_and(|e| e.is_out_of_memory())
    );
    drop(import);
    two.is_well();
}

#[test]
fn what_was_never_written_shows_nothing_of_its_tenant() {
    for parts in both() {
        let two = two(parts, PATIENT);
        for memory in [SYSTEM, VRAM] {
            let mut desc = BufferDesc::new(SIZE);
            desc.placement = Placement::only(memory);
            drop(filled_in(&two.exporter, u64::MAX, desc));
            two.device(0).drain().unwrap();
            let buffer = two.exporter.create(desc).unwrap();
            let import = buffer.share_with(&two.importer).unwrap();
            assert_eq!(read(&two.importer, &import).unwrap(), 0);
        }
        two.is_well();
    }
}

/// Random sharing in both directions under pressure, every plan compared with that of a mechanism
/// restored from the facts.
#[test]
fn a_life_with_shared_buffers_stays_right() {
    for (parts, seed) in both().into_iter().zip(1..) {
        let shadowed = Shadowed::new(parts.mechanism.clone(), 20);
        let compared = shadowed.compared();
        let mechanism = Arc::new(shadowed);
        let two = two(Parts { mechanism, ..parts }, PATIENT);
        let mut rng = fastrand::Rng::with_seed(seed);
        let clients = [&two.exporter, &two.importer];
        // Whose, with which content, and who reads it.
        let mut buffers: Vec<(usize, Buffer, u64, Option<Import>)> = Vec::new();
        for step in 0..300 {
            let at = rng.usize(..buffers.len().max(1));
            match rng.u8(..10) {
                0 | 1 if buffers.len() < 14 => {
                    let side = rng.usize(..2);
                    buffers.push((side, filled(clients[side], step), step, None));
                }
                _ if buffers.is_empty() => {}
                2 => drop(buffers.swap_remove(at)),
                3..6 => {
                    let (side, buffer, _, import) = &mut buffers[at];
                    match buffer.share_with(clients[1 - *side]) {
                        Ok(new) => *import = Some(new),
                        Err(Error::Refused(_)) => {}
                        Err(other) => panic!("{other}"),
                    }
                }
                6 => buffers[at].3 = None,
                7 => {
                    let (_, buffer, content, _) = &mut buffers[at];
                    *content = step;
                    buffer.fill(step).unwrap();
                }
                8 => {
                    let (side, buffer, content, _) = &buffers[at];
                    assert_eq!(read(clients[*side], buffer).unwrap(), *content);
                }
                _ => {}
            }
            for (side, _, content, import) in &buffers {
                let Some(import) = import else { continue };
                match read(clients[1 - *side], import) {
                    Ok(seen) => assert_eq!(seen, *content),
                    Err(Error::Invalidated) => {}
                    Err(other) => panic!("{other}"),
                }
            }
        }
        drop(buffers);
        two.is_well();
        assert!(two.gates() > 5, "{}", two.gates());
        assert!(compared.load(Ordering::Relaxed) > 1000);
    }
}

#[test]
fn gates_are_reached_in_order_however_many_move_at_once() {
    let two = two(native::parts("tlsf"), SHORT);
    let mut desc = BufferDesc::new(SIZE / 4);
    desc.placement = Placement::only(SYSTEM);
    let buffers: Vec<Buffer> = (0..12)
        .map(|n| {
            let buffer = two.exporter.create(desc).unwrap();
            buffer.fill(n).unwrap();
            buffer
        })
        .collect();
    let imports: Vec<Import> = buffers
        .iter()
        .map(|b| b.share_with(&two.importer).unwrap())
        .collect();
    two.controls[1].hold(COMPUTE).unwrap();
    let queued: Vec<Fence> = imports
        .iter()
        .step_by(3)
        .map(|i| {
            two.importer
                .run(
                    Job::Read {
                        offset: 0,
                        bytes: 8,
                    },
                    &[i],
                )
                .unwrap()
        })
        .collect();
    drop(buffers);
    let last = Point {
        timeline: gate_of(&two),
        value: 12,
    };
    let last = gpumm::hw::Point {
        timeline: gpumm::hw::TimelineId(last.timeline.0),
        value: last.value,
    };
    two.runtime.timelines().wait(last, Some(PATIENT)).unwrap();
    two.controls[1].release(COMPUTE).unwrap();
    for fence in queued {
        assert!(matches!(
            fence.outcome(),
            Err(Error::Device(DeviceError::IommuFault { .. }))
        ));
    }
    drop(imports);
    two.is_well();
}

fn gate_of(two: &Two) -> gpumm::contract::TimelineId {
    let timelines = two.runtime.timelines();
    let named = |&(t, _): &(_, u64)| timelines.name(t) == Some("first/gate1");
    let found = timelines.snapshot().into_iter().find(named).unwrap();
    gpumm::contract::TimelineId(found.0.0)
}
