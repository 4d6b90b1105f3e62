//! The end of a wgpu device, and the begin of another.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::thread;

use crate::error::DeviceError;
use crate::sync::lock;

use super::context::{Context, Signal};
use super::{Shared, adapters};

impl Shared {
    pub(super) fn lost(&self) -> bool {
        self.lost.load(Ordering::Acquire) || self.context().signal.is_lost()
    }

    /// A wgpu device is lost; if it is the one in use, so is this device.
    pub(super) fn context_lost(&self, signal: &Arc<Signal>) {
        if !Arc::ptr_eq(&self.context().signal, signal) {
            return;
        }
        if !self.lost.swap(true, Ordering::AcqRel) {
            self.lose();
        }
    }

    /// See [`Device::reset`](crate::Device::reset).
    pub(super) fn start_again(self: &Arc<Self>) -> Result<(), DeviceError> {
        let _one_at_a_time = lock(&self.base.reset);
        let tickets = self.begin_reset()?;
        self.stand_still(tickets);
        // The CPU may use vram just now; engines are still.
        let everything = loop {
            match self.vram.claim_range(0, self.vram.size(), true) {
                Err(DeviceError::Conflict { .. }) => thread::yield_now(),
                result => break result,
            }
        };
        let renewed = everything.and_then(|everything| {
            let renewed = self.renew();
            drop(everything);
            renewed
        });
        self.mmu.clear();
        if renewed.is_err() {
            self.lose();
        }
        self.end_reset();
        renewed
    }

    /// Empties vram; makes a new wgpu device when the old one is lost. Nobody uses vram.
    fn renew(self: &Arc<Self>) -> Result<(), DeviceError> {
        let old = self.context();
        if !self.lost() {
            old.clear();
            self.regrow();
            return Ok(());
        }
        // An embedder's device stays lost.
        let adapter = self.adapter.as_ref().ok_or(DeviceError::Lost)?;
        let opened = adapters::open(adapter)?;
        let mut new = Context::new(opened, self.vram.size(), self.chunk_bytes, self.timeout);
        new.lists_by_cpu = old.lists_by_cpu;
        let new = Arc::new(new);
        let mut context = self.context.write().unwrap_or_else(PoisonError::into_inner);
        *context = Arc::clone(&new);
        drop(context);
        drop(old);
        self.lost.store(false, Ordering::Release);
        new.signal.tell(Arc::downgrade(self));
        self.regrow();
        Ok(())
    }
}
