//! A job that was handed over, and what the device calls around it.

use super::queued::Waiting;
use super::ring::Ring;
use crate::failsafe::FailedJob;
use crate::ledger::VmView;
use gpumm_contract::Point;
use gpumm_contract::vm::VmId;
use gpumm_hw as hw;
use gpumm_scheduler::JobKey;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Instant;

/// A job that was handed over.
#[derive(Debug)]
pub(crate) struct Launched {
    pub(super) number: u64,
    pub(super) at: Point,
    waiting: Waiting,
    /// Its address space as it was when the job was submitted.
    view: Option<Arc<VmView>>,
    refused: bool,
    cancelled: AtomicBool,
    /// Found hanging: the device is about to end it.
    hung: AtomicBool,
    launch: OnceLock<Launch>,
    began: OnceLock<Instant>,
    value: OnceLock<hw::OutcomeValue>,
}

/// How it was given to the device.
#[derive(Debug)]
struct Launch {
    ring: Weak<Ring>,
    key: JobKey,
    /// Whether the device does nothing for it.
    skipped: bool,
}

impl Launched {
    pub(super) fn new(number: u64, at: Point, waiting: Waiting, view: Option<Arc<VmView>>) -> Self {
        Launched {
            number,
            at,
            waiting,
            view,
            refused: false,
            cancelled: AtomicBool::new(false),
            hung: AtomicBool::new(false),
            launch: OnceLock::new(),
            began: OnceLock::new(),
            value: OnceLock::new(),
        }
    }

    /// A job that must not run; its submitter has the reason.
    pub(super) fn refused(number: u64, at: Point, waiting: Waiting) -> Self {
        Launched {
            refused: true,
            ..Launched::new(number, at, waiting, None)
        }
    }

    pub(super) fn is_refused(&self) -> bool {
        self.refused
    }

    pub(super) fn vm(&self) -> VmId {
        self.waiting.vm
    }

    pub(super) fn kernel(&self) -> &hw::VmKernel {
        &self.waiting.kernel
    }

    pub(super) fn outcome(&self) -> &hw::Outcome {
        &self.waiting.outcome
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

    /// It is about to be given to the device, by this ring and once.
    pub(super) fn launch(&self, ring: Weak<Ring>, key: JobKey, skipped: bool) {
        let launch = Launch { ring, key, skipped };
        // Nothing is handed to the device twice.
        let first = self.launch.set(launch).is_ok();
        debug_assert!(first);
    }

    fn ring(&self) -> Option<Arc<Ring>> {
        self.launch.get()?.ring.upgrade()
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
        let launch = self.launch.get().filter(|launch| !launch.skipped);
        let Some(ring) = launch.and_then(|launch| launch.ring.upgrade()) else {
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
        let view = self.view.as_ref().filter(|_| failsafe.any_poisoned());
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
            && let Some(ring) = self.ring()
        {
            let site = &ring.site;
            let name = format!("{} of vm {}", self.kernel().name(), self.vm());
            let failed = FailedJob {
                at: self.at,
                name: &name,
                view: self.view.as_deref(),
                spans: &self.waiting.spans(),
            };
            site.failsafe.job_failed(&failed, error, &site.spaces, cpu);
        }
        Err(error)
    }

    fn ended(&self, value: &hw::OutcomeValue) {
        let time = self.began.get().map(Instant::elapsed);
        self.end(value.clone());
        if let Some((launch, ring)) = self.launch.get().zip(self.ring()) {
            let failed = matches!(value, hw::OutcomeValue::Failed(_));
            let hung = self.hung.load(Ordering::Acquire);
            ring.ended(launch.key, (failed, hung), time.unwrap_or_default());
        }
    }
}
