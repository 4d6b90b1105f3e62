//! The Runtime: devices, timelines and system memory of one process.

use crate::broker::Broker;
use crate::client::Client;
use crate::error::{ComponentFault, Error};
use crate::executor::{Executor, Space};
use crate::ledger::Ledger;
use crate::log::{LogHeader, LogWriter};
use crate::parts::Parts;
use crate::planner::{DeviceReport, Desk, Message, Pacing, Planner, Reply, Setup, Verb, start};
use crate::slot::{Slot, StrategyFault};
use crate::system::{SYSTEM_GRANULE, SystemPool};
use crate::wasm::{WasmMechanism, WasmStrategy};
use gpumm_contract::facts::{MemoryType, Role};
use gpumm_contract::{BufferId, Geometry, MemoryTypeId, TenantId, TimelineId};
use gpumm_hw as hw;
use std::collections::BTreeMap;
use std::io::Write;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// System memory, the same number on every device.
pub const SYSTEM: MemoryTypeId = MemoryTypeId(0);
/// Device memory.
pub const VRAM: MemoryTypeId = MemoryTypeId(1);

/// Where system memory begins in a device's DMA address space. Device memory begins at 0.
const SYSTEM_BASE: u64 = 1 << 46;

/// Makes a device when the Runtime's timelines and system memory exist.
type DeviceMaker =
    Box<dyn FnOnce(Arc<hw::Timelines>, Arc<hw::SystemMemory>) -> Result<Arc<dyn hw::Device>, hw::DeviceError>>;

/// Builds a [`Runtime`].
pub struct RuntimeBuilder {
    system_bytes: u64,
    devices: Vec<DeviceMaker>,
    parts: Option<Parts>,
    strategy: String,
    pacing: Pacing,
    log: Option<Box<dyn Write + Send>>,
}

impl std::fmt::Debug for RuntimeBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RuntimeBuilder").field("strategy", &self.strategy).finish_non_exhaustive()
    }
}

impl RuntimeBuilder {
    /// Bytes of system memory that all devices share; 1 GiB unless said otherwise.
    pub fn system_memory(mut self, bytes: u64) -> Self {
        self.system_bytes = bytes;
        self
    }

    /// Adds a device; devices are numbered in this order.
    pub fn device<D: hw::Device + 'static>(
        mut self,
        make: impl FnOnce(Arc<hw::Timelines>, Arc<hw::SystemMemory>) -> Result<D, hw::DeviceError> + 'static,
    ) -> Self {
        let make: DeviceMaker = Box::new(|t, s| make(t, s).map(|d| Arc::new(d) as Arc<dyn hw::Device>));
        self.devices.push(make);
        self
    }

    /// Adds a simulated device with this much device memory.
    pub fn sim(self, vram_bytes: u64) -> Self {
        self.device(move |timelines, system| {
            hw::sim::Sim::new(hw::sim::SimConfig::new("sim", vram_bytes), timelines, system)
        })
    }

    /// The built-in strategy of device memory, `tlsf` unless said otherwise.
    pub fn strategy(mut self, name: &str) -> Self {
        self.strategy = name.into();
        self
    }

    /// Other parts than the built-in components.
    pub fn parts(mut self, parts: Parts) -> Self {
        self.parts = Some(parts);
        self
    }

    /// When reached points are delivered; [`Pacing::Eager`] unless said otherwise.
    pub fn pacing(mut self, pacing: Pacing) -> Self {
        self.pacing = pacing;
        self
    }

    /// Writes the first device's request log.
    pub fn log(mut self, out: impl Write + Send + 'static) -> Self {
        self.log = Some(Box::new(out));
        self
    }

    /// Starts everything.
    ///
    /// Errors: no device; a device, a component or a thread does not start.
    pub fn build(self) -> Result<Runtime, Error> {
        if self.devices.is_empty() {
            return Err(Error::Argument("a Runtime needs at least one device".into()));
        }
        let parts = match self.parts {
            Some(parts) => parts,
            None => built_in(&self.strategy)?,
        };
        let timelines = Arc::new(hw::Timelines::new());
        let memory = Arc::new(hw::SystemMemory::new(self.system_bytes)?);
        let pool = Arc::new(SystemPool::new(memory.clone()));
        let mut log = self.log;
        let mut devices = Vec::new();
        for (index, make) in self.devices.into_iter().enumerate() {
            let device = make(timelines.clone(), memory.clone())?;
            let site = Site { index, timelines: &timelines, pool: &pool, system_bytes: memory.size() };
            devices.push(Arc::new(site.start(device, &parts, self.pacing, log.take())?));
        }
        Ok(Runtime { inner: Arc::new(Inner { timelines, pool, devices, tenants: AtomicU32::new(1) }) })
    }
}

fn built_in(strategy: &str) -> Result<Parts, Error> {
    let known = || gpumm_components::strategies().iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    let find = |name: &str| {
        WasmStrategy::built_in(name).ok_or_else(|| Error::UnknownStrategy { name: name.into(), known: known() })
    };
    Ok(Parts {
        mechanism: Arc::new(WasmMechanism::built_in()),
        strategy: Arc::new(find(strategy)?),
        fallback: Arc::new(find("tlsf")?),
    })
}

/// What one device is started with.
struct Site<'a> {
    index: usize,
    timelines: &'a Arc<hw::Timelines>,
    pool: &'a Arc<SystemPool>,
    system_bytes: u64,
}

impl Site<'_> {
    fn start(
        &self,
        device: Arc<dyn hw::Device>,
        parts: &Parts,
        pacing: Pacing,
        log: Option<Box<dyn Write + Send>>,
    ) -> Result<DeviceShared, Error> {
        let properties = device.properties().clone();
        let missing = |what| Error::Device(hw::DeviceError::InvalidConfig(what));
        let vram = *properties.memory(hw::MemorySpace::Vram).ok_or(missing("it has no device memory"))?;
        let copy = properties.engine(hw::EngineKind::Copy).ok_or(missing("it has no copy engine"))?;
        let run = properties.engine(hw::EngineKind::Compute).ok_or(missing("it has no compute engine"))?;
        let (copy_at, run_at) = (TimelineId(copy.1.timeline.0), TimelineId(run.1.timeline.0));
        let memory = memory_types(&vram, self.system_bytes);
        let ledger = Ledger::new(&memory, &[(copy_at, Role::Copy), (run_at, Role::Run)]);
        let geometry = Geometry { size: vram.size, granule: vram.granule };
        let failed = |fault: ComponentFault| Error::Component { name: parts.strategy.name().into(), fault };
        let slot = Slot::new(VRAM, geometry, parts.strategy.clone(), parts.fallback.clone()).map_err(failed)?;
        let broker = Broker::new([(VRAM, slot)].into_iter().collect(), (SYSTEM, self.pool.clone()));
        let spaces: BTreeMap<_, _> = [
            (VRAM, Space { space: hw::MemorySpace::Vram, base: 0 }),
            (SYSTEM, Space { space: hw::MemorySpace::System, base: SYSTEM_BASE }),
        ]
        .into_iter()
        .collect();
        let engines = [(copy_at, copy.0), (run_at, run.0)].into_iter().collect();
        let header = LogHeader {
            device: properties.name.clone(),
            vram_bytes: vram.size,
            granule: vram.granule,
            system_bytes: self.system_bytes,
            strategy: parts.strategy.name().into(),
        };
        let log = log.map(|out| LogWriter::new(out, &header)).transpose()?;
        let planner = Planner::new(Setup {
            desk: Desk { ledger, broker },
            parts: parts.clone(),
            executor: Executor::new(device.clone(), engines, spaces),
            pool: self.pool.clone(),
            system: SYSTEM,
            vram: VRAM,
            run_timeline: run_at,
            timelines: self.timelines.clone(),
            pacing,
            log,
        })?;
        let thread = start(&format!("gpumm-planner-{}", self.index), planner);
        let (sender, thread) = thread.map_err(|e| Error::System(format!("no thread for the planner: {e}")))?;
        Ok(DeviceShared {
            device,
            timelines: self.timelines.clone(),
            sender: Mutex::new(Some(sender)),
            thread: Mutex::new(Some(thread)),
            buffers: AtomicU64::new(1),
        })
    }
}

fn memory_types(vram: &hw::MemoryTypeProperties, system_bytes: u64) -> [MemoryType; 2] {
    let system = MemoryType {
        id: SYSTEM,
        size: system_bytes / SYSTEM_GRANULE * SYSTEM_GRANULE,
        granule: SYSTEM_GRANULE,
        evict_to: None,
        base: SYSTEM_BASE,
        max_segment: u64::from(u32::MAX) / SYSTEM_GRANULE * SYSTEM_GRANULE,
    };
    let vram = MemoryType {
        id: VRAM,
        size: vram.size,
        granule: vram.granule,
        evict_to: Some(SYSTEM),
        base: 0,
        max_segment: vram.max_segment,
    };
    [system, vram]
}

/// A device as clients share it.
pub(crate) struct DeviceShared {
    pub(crate) device: Arc<dyn hw::Device>,
    pub(crate) timelines: Arc<hw::Timelines>,
    sender: Mutex<Option<Sender<Message>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    buffers: AtomicU64,
}

impl DeviceShared {
    fn gone() -> Error {
        Error::System("the device's planner has ended".into())
    }

    pub(crate) fn send(&self, message: Message) -> Result<(), Error> {
        let sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        sender.as_ref().and_then(|s| s.send(message).ok()).ok_or_else(Self::gone)
    }

    /// Sends verbs and waits for their replies.
    pub(crate) fn ask(&self, verbs: Vec<Verb>, exact: bool) -> Result<Vec<Result<Reply, Error>>, Error> {
        let (reply, answer) = channel();
        self.send(Message::Verbs { verbs, exact, reply })?;
        answer.recv().map_err(|_| Self::gone())
    }

    /// A fresh buffer number.
    pub(crate) fn new_buffer(&self) -> BufferId {
        BufferId(self.buffers.fetch_add(1, Ordering::Relaxed))
    }
}

impl Drop for DeviceShared {
    fn drop(&mut self) {
        // Without senders the planner ends after what it has begun.
        *self.sender.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

struct Inner {
    timelines: Arc<hw::Timelines>,
    pool: Arc<SystemPool>,
    devices: Vec<Arc<DeviceShared>>,
    tenants: AtomicU32,
}

/// All devices, timelines and clients of a process. Cloning gives another handle.
///
/// ```
/// use gpumm::{BufferDesc, Runtime};
///
/// let runtime = Runtime::builder().sim(64 << 20).build()?;
/// let client = runtime.client();
/// let buffer = client.create(BufferDesc::new(1 << 20))?;
/// buffer.write(0, b"hello")?.wait()?;
/// assert_eq!(buffer.read(0, 5)?, b"hello");
/// # Ok::<(), gpumm::Error>(())
/// ```
#[derive(Clone)]
pub struct Runtime {
    inner: Arc<Inner>,
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runtime").field("devices", &self.inner.devices.len()).finish_non_exhaustive()
    }
}

impl Runtime {
    /// A builder without devices.
    pub fn builder() -> RuntimeBuilder {
        RuntimeBuilder {
            system_bytes: 1 << 30,
            devices: Vec::new(),
            parts: None,
            strategy: "tlsf".into(),
            pacing: Pacing::Eager,
            log: None,
        }
    }

    /// A new tenant on the first device.
    pub fn client(&self) -> Client {
        let tenant = TenantId(self.inner.tenants.fetch_add(1, Ordering::Relaxed));
        // INVARIANT: `build` refuses a Runtime without devices.
        Client::new(self.inner.devices[0].clone(), tenant)
    }

    /// A device by its number.
    ///
    /// Errors: there is no such device.
    pub fn device(&self, index: usize) -> Result<DeviceHandle, Error> {
        let shared = self.inner.devices.get(index).cloned();
        let shared = shared.ok_or_else(|| Error::Argument(format!("there is no device {index}")))?;
        Ok(DeviceHandle { shared, tenants: self.inner.clone() })
    }

    /// The timelines of all devices.
    pub fn timelines(&self) -> &Arc<hw::Timelines> {
        &self.inner.timelines
    }

    /// The system memory of all devices.
    pub fn system(&self) -> &Arc<SystemPool> {
        &self.inner.pool
    }
}

/// A device: reports, and what tests and tools do to it.
#[derive(Clone)]
pub struct DeviceHandle {
    shared: Arc<DeviceShared>,
    tenants: Arc<Inner>,
}

impl std::fmt::Debug for DeviceHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeviceHandle").field("device", &self.shared.device).finish_non_exhaustive()
    }
}

impl DeviceHandle {
    /// A new tenant on this device.
    pub fn client(&self) -> Client {
        let tenant = TenantId(self.tenants.tenants.fetch_add(1, Ordering::Relaxed));
        Client::new(self.shared.clone(), tenant)
    }

    /// The device itself.
    pub fn hardware(&self) -> &Arc<dyn hw::Device> {
        &self.shared.device
    }

    /// Has the planner do something between two batches and waits for the answer.
    pub(crate) fn control<T: Send + 'static>(
        &self,
        act: impl FnOnce(&mut Planner) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let (reply, answer) = channel();
        self.shared.send(Message::Control(Box::new(move |planner| {
            let _ = reply.send(act(planner));
        })))?;
        answer.recv().map_err(|_| DeviceShared::gone())
    }

    /// What the device has done so far.
    ///
    /// Errors: the planner has ended.
    pub fn report(&self) -> Result<DeviceReport, Error> {
        self.control(Planner::report)
    }

    /// Strategies that failed and were replaced.
    ///
    /// Errors: the planner has ended.
    pub fn strategy_faults(&self) -> Result<Vec<StrategyFault>, Error> {
        self.control(Planner::strategy_faults)
    }

    /// Waits for everything submitted and delivers it to the mechanism.
    ///
    /// Errors: the device has stopped.
    pub fn drain(&self) -> Result<(), Error> {
        self.control(Planner::drain)?
    }

    /// The ledger's facts as packed lists: what a mechanism is restored from.
    ///
    /// Errors: the planner has ended.
    pub fn facts(&self) -> Result<Vec<Vec<u64>>, Error> {
        self.control(Planner::facts)
    }

    /// Throws the mechanism away and rebuilds it from the facts, as after a crash.
    ///
    /// Errors: it does not start again.
    pub fn restart_mechanism(&self) -> Result<(), Error> {
        self.control(Planner::restart_mechanism)?
    }

    /// Throws the strategies away and rebuilds them from the facts, as after a crash.
    ///
    /// Errors: one does not start again.
    pub fn restart_strategies(&self) -> Result<(), Error> {
        self.control(Planner::restart_strategies)?
    }

    /// Ends the request log.
    ///
    /// Errors: it could not be written completely.
    pub fn end_log(&self) -> Result<(), Error> {
        self.control(Planner::end_log)?
    }
}
