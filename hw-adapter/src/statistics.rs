//! What engines count.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::mmu::MmuStatistics;

/// What the parts of a device have done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceStatistics {
    /// One entry per engine.
    pub engines: Vec<EngineStatistics>,
    /// Bytes that the CPU moved by its own way; it counts nothing else.
    pub cpu: EngineStatistics,
    /// Faults that took effect by a [`FaultRule`](crate::sim::FaultRule): commands, refusals, losses;
    /// 0 on other devices than `sim`.
    pub faults_injected: u64,
    /// Bytes of system memory that are mapped now; 0 without an IOMMU.
    pub dma_mapped: u64,
    /// What the MMU has done.
    pub mmu: MmuStatistics,
}

impl DeviceStatistics {
    /// The sum over all engines, without the CPU.
    pub fn total(&self) -> EngineStatistics {
        let mut total = EngineStatistics::default();
        for engine in &self.engines {
            total.commands += engine.commands;
            total.failed += engine.failed;
            total.conflicts += engine.conflicts;
            total.iommu_faults += engine.iommu_faults;
            total.cancelled += engine.cancelled;
            total.rescued += engine.rescued;
            total.bytes_copied += engine.bytes_copied;
            total.bytes_filled += engine.bytes_filled;
            total.bytes_run += engine.bytes_run;
            total.bytes_read += engine.bytes_read;
            total.bytes_written += engine.bytes_written;
            total.busy += engine.busy;
        }
        total
    }
}

/// What an engine has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EngineStatistics {
    /// Commands executed, failed ones included, and those that their hooks kept from it.
    pub commands: u64,
    /// Of these, those that failed for any reason; whether or not they were rescued.
    pub failed: u64,
    /// Executed commands that failed because another one used their bytes.
    pub conflicts: u64,
    /// Executed commands that failed because bytes were not mapped for the device.
    pub iommu_faults: u64,
    /// Commands that a reset, a loss or the end of the device kept from running.
    pub cancelled: u64,
    /// Failed and cancelled commands whose hooks answered with success.
    pub rescued: u64,
    /// Bytes moved by copies.
    pub bytes_copied: u64,
    /// Bytes written by fills.
    pub bytes_filled: u64,
    /// Bytes that kernels went over.
    pub bytes_run: u64,
    /// Bytes delivered by reads.
    pub bytes_read: u64,
    /// Bytes that came with writes.
    pub bytes_written: u64,
    /// Time spent in commands.
    pub busy: Duration,
}

/// The counters behind [`EngineStatistics`].
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) commands: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) conflicts: AtomicU64,
    pub(crate) iommu_faults: AtomicU64,
    pub(crate) cancelled: AtomicU64,
    pub(crate) rescued: AtomicU64,
    pub(crate) copied: AtomicU64,
    pub(crate) filled: AtomicU64,
    pub(crate) run: AtomicU64,
    pub(crate) read: AtomicU64,
    pub(crate) written: AtomicU64,
    pub(crate) busy_nanos: AtomicU64,
}

/// Adds to a counter.
pub(crate) fn add(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}

impl Counters {
    pub(crate) fn snapshot(&self) -> EngineStatistics {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        EngineStatistics {
            commands: get(&self.commands),
            failed: get(&self.failed),
            conflicts: get(&self.conflicts),
            iommu_faults: get(&self.iommu_faults),
            cancelled: get(&self.cancelled),
            rescued: get(&self.rescued),
            bytes_copied: get(&self.copied),
            bytes_filled: get(&self.filled),
            bytes_run: get(&self.run),
            bytes_read: get(&self.read),
            bytes_written: get(&self.written),
            busy: Duration::from_nanos(get(&self.busy_nanos)),
        }
    }
}
