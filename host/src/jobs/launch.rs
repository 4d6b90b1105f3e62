//! A job that was handed over, and what the device calls around it.

use super::queued::Waiting;
use super::ring::Ring;
use crate::failsafe::FailedJob;
use crate::ledger::VmView;
use gpumm_contract::Point;
use gpumm_contract::vm::VmId;
use gpumm_hw as hw;
use gpumm_scheduler::JobKey;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Instant;

/// A job that was handed over.
#[derive(Debug)]
pub(crate) struct Launched {
    pub(super) number: u64,
    pub(crate) at: Point,
    ring: Weak<Ring>,
    waiting: Waiting,
    /// Its address space as it was when the job was submitted; let go of when the job is over,
    /// which a fence may outlive by far.
    view: Mutex<Option<Arc<VmView>>>,
    /// The device does nothing for it.
    skipped: AtomicBool,
    cancelled: AtomicBool,
    /// Found hanging: the device is about to end it.
    hung: AtomicBool,
    /// The scheduler's name for it; 0 = it was not given to the device.
    key: AtomicU64,
    began: OnceLock<Instant>,
    value: OnceLock<hw::OutcomeValue>,
    outcome: hw::Outcome,
}

impl Launched {
    pub(super) fn new(
        (number, at): (u64, Point),
        ring: Weak<Ring>,
        waiting: Waiting,
        view: Option<Arc<VmView>>,
    ) -> Self {
        Launched {
            number,
            at,
            ring,
            waiting,
            view: Mutex::new(view),
            skipped: AtomicBool::new(false),
            cancelled: AtomicBool::new(false),
            hung: AtomicBool::new(false),
            key: AtomicU64::new(0),
            began: OnceLock::new(),
            value: OnceLock::new(),
            outcome: hw::Outcome::new(),
        }
    }

    /// A job that must not run; its submitter has the reason.
    pub(super) fn refused(named: (u64, Point), ring: Weak<Ring>, waiting: Waiting) -> Self {
        let job = Launched::new(named, ring, waiting, None);
        job.skipped.store(true, Ordering::Relaxed);
        job
    }

    /// Whether the device does nothing for it.
    pub(super) fn is_skipped(&self) -> bool {
        self.skipped.load(Ordering::Acquire)
    }

    pub(super) fn vm(&self) -> VmId {
        self.waiting.vm
    }

    pub(super) fn kernel(&self) -> &hw::VmKernel {
        &self.waiting.kernel
    }

    pub(crate) fn outcome(&self) -> &hw::Outcome {
        self.waiting.told.as_deref().unwrap_or(&self.outcome)
    }

    fn view(&self) -> Option<Arc<VmView>> {
        let view = self.view.lock().unwrap_or_else(PoisonError::into_inner);
        view.clone()
    }

    /// It is over: nobody looks at its address space any more.
    pub(super) fn let_go(&self) {
        let mut view = self.view.lock().unwrap_or_else(PoisonError::into_inner);
        *view = None;
    }

    /// How the device ended it.
    pub(super) fn value(&self) -> Option<hw::OutcomeValue> {
        self.value.get().cloned()
    }

    /// It is not to begin, if it has not.
    pub(super) fn cancel(&self) {
        self.cancelled.store(true, Ordering::Release);
    }

    /// It hangs.
    pub(super) fn hangs(&self) {
        self.hung.store(true, Ordering::Release);
    }

    /// It is about to be given to the device, once.
    pub(super) fn launch(&self, key: JobKey, guilty: bool) {
        if guilty {
            self.skipped.store(true, Ordering::Release);
        }
        debug_assert_eq!(self.key.load(Ordering::Relaxed), 0);
        self.key.store(key.to_bits(), Ordering::Release);
    }

    pub(super) fn end(&self, value: hw::OutcomeValue) {
        // Only the first end counts, and there is one.
        let _ = self.value.set(value);
    }
}

/// What the device calls around a job.
impl hw::Hooks for Launched {
    fn before(&self) -> Result<(), hw::DeviceError> {
        let _ = self.began.set(Instant::now());
        if self.is_skipped() {
            return Ok(());
        }
        let Some(ring) = self.ring.upgrade() else {
            return Ok(());
        };
        if self.cancelled.load(Ordering::Acquire) {
            return Err(hw::DeviceError::Cancelled);
        }
        if ring.site.gate.is_lost(self.vm()) {
            return Err(hw::DeviceError::PageTablesLost);
        }
        // Nearly always there is nothing to look for.
        let failsafe = &ring.site.failsafe;
        let poisoned = failsafe.any_poisoned();
        let view = poisoned.then(|| self.view()).flatten();
        let lost = view.is_some_and(|view| {
            let spans = self.waiting.spans();
            let mut memory = view.memory_of(&spans);
            memory.any(|memory| failsafe.is_poisoned(memory))
        });
        match lost {
            true => Err(hw::DeviceError::Poisoned),
            false => Ok(()),
        }
    }

    fn failed(
        &self,
        error: hw::DeviceError,
        cpu: &dyn hw::CpuAccess,
    ) -> Result<hw::OutcomeValue, hw::DeviceError> {
        // Of those nothing was wrong with the job.
        let quiet = [hw::DeviceError::Stopped, hw::DeviceError::Cancelled];
        if !quiet.contains(&error)
            && let Some(ring) = self.ring.upgrade()
        {
            let site = &ring.site;
            let view = self.view();
            let name = format!("{} of vm {}", self.kernel().name(), self.vm());
            let failed = FailedJob {
                at: self.at,
                name: &name,
                view: view.as_deref(),
                spans: &self.waiting.spans(),
            };
            site.failsafe.job_failed(&failed, error, &site.spaces, cpu);
        }
        Err(error)
    }

    fn ended(&self, value: &hw::OutcomeValue) {
        let time = self.began.get().map(Instant::elapsed);
        self.end(value.clone());
        if let Some(ring) = self.ring.upgrade() {
            let failed = matches!(value, hw::OutcomeValue::Failed(_));
            let hung = self.hung.load(Ordering::Acquire);
            let key = JobKey::from_bits(self.key.load(Ordering::Acquire));
            ring.ended(key, (failed, hung), time.unwrap_or_default());
        }
    }
}
