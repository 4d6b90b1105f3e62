//! Random lives under faults: no plan is refused, a restored mechanism plans the same, nobody sees
//! what is not its own, and what is not reported lost is as it was written.
#![allow(clippy::unwrap_used)]

use gpumm::parts::{MechanismSource, Parts};
use gpumm::wasm::WasmMechanism;
use gpumm::{Buffer, BufferDesc, Client, DeviceReport, Error, Fence, Job, OnMove, Pacing, Runtime};
use gpumm_contract::plan::Status;
use gpumm_hw::sim::{FaultRule, Sim, SimConfig, SimControl};
use gpumm_hw::{DeviceError, OutcomeValue};
use gpumm_sg_table::SgTables;
use gpumm_tests::native::{self, NativeManager};
use gpumm_tests::shadow::Shadowed;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::channel;

const VRAM: u64 = 2 << 20;
const SYSTEM: u64 = 24 << 20;

/// A buffer, and every value that was ever written to it; 0 is what memory shows before.
struct Item {
    buffer: Buffer,
    client: usize,
    values: BTreeSet<u64>,
    /// The value it must have, while no loss of the device has put that into question.
    exact: Option<u64>,
    /// Whether a write has ended well; before that it shows what its tenant left there, or zeros.
    written: bool,
    poisoned: bool,
}

struct Life {
    rng: fastrand::Rng,
    clients: Vec<Client>,
    items: Vec<Item>,
    next: u64,
    reads: u64,
    poisoned: u64,
    lost: u64,
    open: Vec<gpumm::CpuGuard>,
}

fn runtime(parts: Parts, rules: &[&str], seed: u64, gtt: u64) -> (Runtime, SimControl) {
    let (give, take) = channel();
    let rules: Vec<FaultRule> = rules.iter().map(|r| r.parse().unwrap()).collect();
    let runtime = Runtime::builder()
        .system_memory(SYSTEM)
        .gtt(gtt)
        .pacing(Pacing::Window(3))
        .parts(parts)
        .device(move |timelines, memory| {
            let mut config = SimConfig::new("sim", VRAM).copy_engines(2);
            config.faults = rules;
            config.fault_seed = seed;
            let sim = Sim::new(config, timelines, memory)?;
            give.send(sim.control()).unwrap();
            Ok(sim)
        })
        .build()
        .unwrap();
    (runtime, take.recv().unwrap())
}

impl Life {
    fn new(runtime: &Runtime, seed: u64) -> Self {
        Life {
            rng: fastrand::Rng::with_seed(seed),
            clients: vec![runtime.client(), runtime.client()],
            items: Vec::new(),
            next: 1,
            reads: 0,
            poisoned: 0,
            lost: 0,
            open: Vec::new(),
        }
    }

    fn step(&mut self) {
        match self.rng.u8(0..20) {
            0..5 => self.create(),
            5..8 if !self.items.is_empty() => {
                let at = self.rng.usize(..self.items.len());
                let item = self.items.swap_remove(at);
                // Dropped, it would go with whatever batch comes next.
                let mut batch = self.clients[item.client].batch();
                let slot = batch.release(item.buffer);
                batch.submit().unwrap().done(slot).unwrap();
            }
            8..9 if !self.items.is_empty() => self.by_cpu(),
            _ => self.use_some(),
        }
    }

    fn create(&mut self) {
        let client = self.rng.usize(..2);
        let bytes = self.rng.u64(1..VRAM / 4 / 4096) * 4096 + self.rng.u64(0..2) * 8;
        match self.clients[client].create(BufferDesc::new(bytes)) {
            Ok(buffer) => self.items.push(Item {
                buffer,
                client,
                values: BTreeSet::from([0]),
                exact: None,
                written: false,
                poisoned: false,
            }),
            Err(error) => assert!(error.is_out_of_memory(), "{error}"),
        }
    }

    /// A few buffers are written or read; whatever is read must be the buffer's own.
    fn use_some(&mut self) {
        for _ in 0..self.rng.usize(1..6).min(self.items.len()) {
            let at = self.rng.usize(..self.items.len());
            let write = self.rng.bool();
            let item = &mut self.items[at];
            let client = &self.clients[item.client];
            let bytes = item.buffer.bytes();
            let job = if write {
                // The tenant's number is in the value: nobody else's can be taken for it.
                self.next += 1;
                let value = (item.client as u64 + 1) << 56 | self.next;
                item.values.insert(value);
                item.exact = Some(value);
                Job::Fill { pattern: value }
            } else {
                Job::Read { offset: 0, bytes }
            };
            match client.run(job, &[&item.buffer]) {
                Ok(fence) => self.look(at, fence),
                Err(Error::Refused(Status::Poisoned)) => item.poisoned = true,
                Err(Error::Refused(Status::NotMapped)) => item.exact = None,
                Err(error) => {
                    assert!(error.is_out_of_memory(), "{error}");
                    item.exact = None;
                }
            }
        }
    }

    fn look(&mut self, at: usize, fence: Fence) {
        let item = &mut self.items[at];
        match fence.outcome() {
            Ok(OutcomeValue::Bytes(bytes)) => {
                self.reads += 1;
                let words = bytes
                    .as_chunks::<8>()
                    .0
                    .iter()
                    .map(|w| u64::from_le_bytes(*w));
                let seen: BTreeSet<u64> = words.collect();
                assert!(!item.poisoned, "a lost content was shown");
                let own = |w: &u64| *w == 0 || *w >> 56 == item.client as u64 + 1;
                assert!(seen.iter().all(own), "of another tenant: {seen:x?}");
                if item.written {
                    assert_eq!(seen.len(), 1, "{seen:x?}");
                    let word = *seen.first().unwrap();
                    let values = &item.values;
                    assert!(values.contains(&word), "{word:x} of {values:x?}");
                    assert!(item.exact.is_none_or(|e| e == word), "{word:x}");
                }
            }
            Ok(_) => item.written = true,
            Err(Error::Device(DeviceError::Poisoned)) => {
                self.poisoned += 1;
                item.poisoned = true;
            }
            Err(Error::Device(DeviceError::Lost)) => {
                self.lost += 1;
                self.items.iter_mut().for_each(|i| i.exact = None);
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn by_cpu(&mut self) {
        let at = self.rng.usize(..self.items.len());
        let item = &self.items[at];
        let on_move = match self.rng.bool() {
            true => OnMove::Wait,
            false => OnMove::Revoke,
        };
        match item.buffer.cpu_access(false, on_move) {
            Ok(access) => {
                // A revocable access is left open now and then; the others would stop their thread.
                match access.read(0, 8) {
                    Ok(bytes) => {
                        let word = u64::from_le_bytes(bytes.try_into().unwrap());
                        let own = word == 0 || word >> 56 == item.client as u64 + 1;
                        assert!(own, "{word:x}");
                    }
                    Err(error) => assert!(matches!(error, Error::Revoked), "{error}"),
                }
                if on_move == OnMove::Revoke {
                    self.open.push(access);
                    self.open.truncate(2);
                }
            }
            Err(Error::Refused(Status::Poisoned) | Error::Device(_)) => {}
            Err(Error::Revoked | Error::Argument(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

fn live(parts: Parts, rules: &[&str], seed: u64, gtt: u64) -> (DeviceReport, Life) {
    let (runtime, control) = runtime(parts, rules, seed, gtt);
    let device = runtime.device(0).unwrap();
    let mut life = Life::new(&runtime, seed);
    for _ in 0..500 {
        life.step();
    }
    life.open.clear();
    device.drain().unwrap();
    let report = device.report().unwrap();
    assert_eq!(report.restarts, 0, "{rules:?} {seed}: a plan was refused");
    let engines = control.statistics();
    let unmapped: u64 = engines.engines.iter().map(|e| e.iommu_faults).sum();
    assert_eq!(unmapped, 0, "{rules:?} {seed}");
    assert!(
        life.reads > 50 && report.counts.evictions > 20,
        "{report:?}"
    );
    (report, life)
}

const RULES: [&[&str]; 7] = [
    &[],
    &["fail copy every 7"],
    &["fail copy 10%", "fail allocation of fallback 50%"],
    &["fail copy 5%", "refuse fallback"],
    &["fail dma map every 5"],
    &["lose device after 150 ops", "fail copy 3%"],
    &[
        "lose device after 77 ops",
        "lose device after 400 ops",
        "fail copy 4%",
        "refuse fallback",
    ],
];

#[test]
fn lives_under_faults_keep_what_is_their_own() {
    for (number, rules) in RULES.iter().enumerate() {
        for seed in 0..3 {
            let shadowed = Shadowed::new(Arc::new(NativeManager::<SgTables>::default()), 20);
            let compared = shadowed.compared();
            let parts = Parts {
                mechanism: Arc::new(shadowed),
                ..native::parts("tlsf")
            };
            let gtt = if seed == 2 { 3 << 20 } else { SYSTEM };
            let (report, life) = live(parts, rules, seed, gtt);
            assert!(compared.load(Ordering::Relaxed) > 1000);
            let redone = report.cpu_fallbacks;
            match number {
                1 | 2 => assert!(redone > 2 && report.poisoned.is_empty(), "{report:?}"),
                3 => assert!(redone == 0 && !report.poisoned.is_empty(), "{report:?}"),
                5 => assert!(report.resets == 1 && life.lost > 0, "{report:?}"),
                6 => assert!(report.resets == 2, "{report:?}"),
                _ => assert!(redone == 0 && report.poisoned.is_empty() && life.poisoned == 0),
            }
        }
    }
}

#[test]
fn library_and_component_do_the_same_under_faults() {
    for rules in RULES {
        let component = Parts {
            mechanism: Arc::new(WasmMechanism::built_in()) as Arc<dyn MechanismSource>,
            ..native::parts("buddy")
        };
        let (native, _) = live(native::parts("buddy"), rules, 11, SYSTEM);
        let (built, _) = live(component, rules, 11, SYSTEM);
        assert_eq!(native, built, "{rules:?}");
    }
}
