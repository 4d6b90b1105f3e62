//! Moves to order: a device with room for one object. Whatever else is made sends the object away,
//! the next use brings it back.

use crate::{fixture, native};
use gpumm::capture::Capture;
use gpumm::contract::facts::{self, BufferFact, Fact};
use gpumm::contract::table::{Hold, Holder};
use gpumm::contract::{Point, TableId};
use gpumm::job::PatternKey;
use gpumm::parts::Parts;
use gpumm::wasm::{WasmMechanism, WasmStrategy};
use gpumm::{
    Buffer, BufferDesc, BufferState, Client, DeviceHandle, DeviceReport, Error, Fence, Job, Pacing,
    Runtime, VRAM,
};
use gpumm_hw::sim::{FaultRule, SimControl};
use gpumm_hw::{EngineId, OutcomeValue};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The simulated device's copy engine.
pub const COPIES: EngineId = EngineId(0);
/// Its engine for jobs.
pub const JOBS: EngineId = EngineId(1);
/// The size of an object of the migration cases.
pub const OBJECT: u64 = 2 << 20;

/// The built components, with `tlsf`.
pub fn components() -> Parts {
    let tlsf = || Arc::new(WasmStrategy::built_in("tlsf").expect("tlsf is built in"));
    Parts {
        mechanism: Arc::new(WasmMechanism::built_in()),
        strategy: tlsf(),
        fallback: tlsf(),
    }
}

/// Runs a case with the native libraries, and with the built components.
pub fn both(case: impl Fn(&Parts)) {
    for (name, parts) in [
        ("libraries", native::parts("tlsf")),
        ("components", components()),
    ] {
        // Shown only when the case fails.
        println!("with {name}");
        case(&parts);
    }
}

/// A Runtime with one device, and a client of it.
pub struct Rig {
    /// The Runtime.
    pub runtime: Runtime,
    /// What the device obeys.
    pub sim: SimControl,
    /// The device.
    pub device: DeviceHandle,
    /// A client.
    pub client: Client,
    vram: u64,
}

impl Rig {
    /// A device with so much memory of its own, and enough system memory for everything.
    pub fn new(parts: &Parts, vram: u64) -> Self {
        Self::with(parts, vram, 16 * vram.max(OBJECT), None)
    }

    /// A device that keeps captures.
    pub fn capturing(parts: &Parts, vram: u64, folder: &Path) -> Self {
        Self::with(parts, vram, 16 * vram.max(OBJECT), Some(folder))
    }

    /// A device with so much memory of its own, and so much system memory.
    pub fn with(parts: &Parts, vram: u64, system: u64, captures: Option<&Path>) -> Self {
        let (runtime, sim) = fixture::runtime(
            vram,
            system,
            Some(parts.clone()),
            Pacing::Eager,
            |builder| match captures {
                Some(folder) => {
                    let dir =
                        cap_std::fs::Dir::open_ambient_dir(folder, cap_std::ambient_authority());
                    builder.captures(dir.expect("a folder"), "captures")
                }
                None => builder,
            },
        );
        let device = runtime.device(0).expect("one device");
        let client = device.client();
        Rig {
            runtime,
            sim,
            device,
            client,
            vram,
        }
    }

    /// Makes the device do something wrong from now on.
    pub fn inject(&self, rule: &str) {
        self.sim.inject(rule.parse::<FaultRule>().expect("a rule"));
    }

    /// An object in device memory whose every word is written.
    pub fn object(&self, bytes: u64) -> Object {
        let buffer = self.client.create(BufferDesc::new(bytes)).expect("room");
        let key = PatternKey {
            buffer: buffer.id().0,
            generation: 1,
        };
        let written = self.client.run(Job::WritePattern(key), &[&buffer]);
        let written = written.expect("a plan");
        Object {
            buffer,
            key,
            written,
        }
    }

    /// Sends away what is in device memory: a rival takes all of it for a moment.
    ///
    /// Errors: the rival finds no room.
    pub fn away(&self) -> Result<(), Error> {
        self.client.create(BufferDesc::new(self.vram)).map(drop)
    }

    /// Brings a buffer into device memory; the fence is reached when it is there.
    ///
    /// Errors: it cannot be used.
    pub fn back(&self, buffer: &Buffer) -> Result<Fence, Error> {
        self.client.run(Job::Nothing, &[buffer])
    }

    /// Compares an object's content where it is.
    ///
    /// Errors: it cannot be used.
    pub fn look(&self, object: &Object) -> Result<Fence, Error> {
        let mut batch = self.client.batch();
        let at = batch.access(Job::CheckPattern(object.key), &[&object.buffer], true);
        batch.submit()?.take(at)
    }

    /// Asserts that an object has every byte that was written, where it is.
    #[track_caller]
    pub fn assert_whole(&self, object: &Object) {
        whole(&self.look(object).expect("a plan"), object.buffer.bytes());
    }

    /// What the device has done, with everything delivered; no plan was refused for it.
    #[track_caller]
    pub fn report(&self) -> DeviceReport {
        self.device.drain().expect("the device works");
        let report = self.device.report().expect("a report");
        assert_eq!(report.restarts, 0);
        report
    }

    /// The ledger's facts.
    pub fn facts(&self) -> Vec<Fact> {
        let lists = self.device.facts().expect("facts");
        let read = |list: &Vec<u64>| facts::decode(list).expect("facts");
        lists.iter().flat_map(read).collect()
    }

    /// What the ledger knows about a live buffer.
    pub fn buffer(&self, buffer: &Buffer) -> BufferFact {
        let mut all = self.facts().into_iter();
        let found = all.find_map(|fact| match fact {
            Fact::Buffer(fact) if fact.buffer == buffer.id() => Some(fact),
            _ => None,
        });
        found.expect("a live buffer")
    }

    /// The holders of the live tables.
    pub fn holders(&self) -> Vec<Held> {
        let held = |fact| match fact {
            Fact::Table {
                table,
                layout,
                mut holds,
                ..
            } => {
                holds.sort();
                Some(Held {
                    table,
                    layout,
                    holds,
                })
            }
            _ => None,
        };
        self.facts().into_iter().filter_map(held).collect()
    }

    /// The captures in a folder, by name.
    pub fn captures(folder: &Path) -> Vec<Capture> {
        let files = std::fs::read_dir(folder).expect("a folder");
        let mut files: Vec<_> = files.map(|f| f.expect("a file").path()).collect();
        files.sort();
        let read = |path| {
            let text = std::fs::read(path).expect("a file");
            Capture::from_json(&text).expect("a capture")
        };
        files.iter().map(read).collect()
    }
}

/// A buffer whose content can be compared.
pub struct Object {
    /// The buffer.
    pub buffer: Buffer,
    /// What its content is made of.
    pub key: PatternKey,
    /// When it is written.
    pub written: Fence,
}

impl Object {
    /// Where it is and how its content is.
    pub fn state(&self) -> BufferState {
        self.buffer.state().expect("a live buffer")
    }

    /// Whether it is in device memory, or on its way there.
    pub fn is_in_vram(&self) -> bool {
        self.state().place == VRAM
    }
}

/// Asserts that a comparison has found what it should, all of it.
#[track_caller]
pub fn whole(fence: &Fence, bytes: u64) {
    match fence.outcome() {
        Ok(OutcomeValue::Checked(report)) => {
            assert_eq!((report.corrupt_bytes, report.bytes_verified), (0, bytes));
        }
        other => panic!("a comparison ended as {other:?}"),
    }
}

/// Three moves that wait in line, let go together; the object is whole where it ends up.
pub fn three_queued(parts: &Parts, rules: &[&str]) -> (Rig, Object) {
    let rig = Rig::new(parts, OBJECT);
    let object = rig.object(OBJECT);
    rules.iter().for_each(|rule| rig.inject(rule));
    rig.sim.hold(COPIES).expect("an engine");
    rig.away().expect("room");
    let back = rig.back(&object.buffer).expect("a plan");
    rig.away().expect("room");
    assert!(!back.is_reached() && !object.is_in_vram());
    assert_eq!(rig.sim.queued(COPIES).expect("an engine"), 3);
    rig.sim.release(COPIES).expect("an engine");
    rig.assert_whole(&object);
    (rig, object)
}

/// Waits until something is so.
#[track_caller]
pub fn until(mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !so() {
        assert!(Instant::now() < deadline, "it never came to that");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A live table with its holders, as the ledger and as an sg-table keeper see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The table.
    pub table: TableId,
    /// Whether it is the layout of a buffer.
    pub layout: bool,
    /// Who else holds it, ordered.
    pub holds: Vec<Hold>,
}

impl Held {
    /// A table with its layout and these holders.
    pub fn new(table: u32, layout: bool, holds: &[(Holder, Point)]) -> Self {
        let hold = |&(holder, until): &(Holder, Point)| Hold { holder, until };
        let mut holds: Vec<Hold> = holds.iter().map(hold).collect();
        holds.sort();
        Held {
            table: TableId(table),
            layout,
            holds,
        }
    }
}
