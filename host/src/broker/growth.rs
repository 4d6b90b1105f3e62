//! Device memory that the device has not got yet.
//!
//! A strategy decides on what there is. What it has no room for is asked of the device, before the
//! mechanism hears of it: growing is better than evicting.

use gpumm_contract::MemoryTypeId;
use gpumm_hw as hw;
use std::collections::VecDeque;
use std::sync::Arc;

/// The device's side of growing.
///
/// Whether memory grows, and to what, is an input of the plan: the answers are kept for the request
/// log, and a log that is planned again says what they shall be.
///
/// Units: bytes.
pub(crate) struct Growth {
    device: Arc<dyn hw::Device>,
    memory: MemoryTypeId,
    most: u64,
    granule: u64,
    /// Extents that are no longer do not cross a multiple of it.
    pub(super) chunk: u64,
    /// So much has to be given back before the device is asked again: it has refused.
    owed: u64,
    /// What it has answered since the answers were last taken; 0 where it refused.
    answers: Vec<u64>,
    /// What the answers shall be.
    script: Option<VecDeque<u64>>,
}

impl Growth {
    /// Of a memory type that is the device's own memory.
    pub(crate) fn new(
        device: Arc<dyn hw::Device>,
        memory: MemoryTypeId,
        vram: &hw::MemoryTypeProperties,
    ) -> Self {
        Growth {
            device,
            memory,
            most: vram.size,
            granule: vram.granule,
            chunk: vram.chunk,
            owed: 0,
            answers: Vec::new(),
            script: None,
        }
    }

    /// Begins to note answers anew, and says what they shall be, if that is not the device's to
    /// say.
    pub(crate) fn begin(&mut self, script: Option<Vec<u64>>) {
        self.answers.clear();
        self.script = script.map(VecDeque::from);
    }

    /// The answers since then: what the memory has, or 0 for a refusal.
    pub(crate) fn answers(&self) -> &[u64] {
        &self.answers
    }

    /// Whether a memory type may come to have more than it has.
    pub(super) fn may(&self, memory: MemoryTypeId, has: u64) -> bool {
        memory == self.memory && has < self.most
    }

    /// Asks for so many more bytes than a memory type has; what it has then. `None` when there is
    /// not more.
    ///
    /// A refusal counts until as much was given back as was asked for, and a chunk at least.
    pub(super) fn ask(&mut self, memory: MemoryTypeId, bytes: u64, has: u64) -> Option<u64> {
        if !self.may(memory, has) || self.owed > 0 {
            return None;
        }
        let wanted = bytes.min(self.most - has);
        let told = match &mut self.script {
            Some(script) => script.pop_front().unwrap_or(0),
            None => match self.device.grow(hw::MemorySpace::Vram, wanted) {
                Ok(told) => told,
                Err(error) => {
                    tracing::info!(%error, wanted, has, "device memory does not grow");
                    0
                }
            },
        };
        let good = told > has && told <= self.most && told.is_multiple_of(self.granule);
        self.answers.push(if good { told } else { 0 });
        if !good {
            self.owed = wanted.max(self.chunk);
        }
        good.then_some(told)
    }

    /// So much was given back to a strategy.
    pub(super) fn freed(&mut self, bytes: u64) {
        self.owed = self.owed.saturating_sub(bytes);
    }

    /// What was refused may be asked for again.
    pub(crate) fn retry(&mut self) {
        self.owed = 0;
    }
}
