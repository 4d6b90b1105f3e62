//! Giving host memory to the device's DMA while a plan is made.
//!
//! The mapping is made when the mechanism asks, so that a refusal is seen while planning; the plan
//! must say so too, or the mapping ends with the call.

use super::{Broker, Overlay};
use crate::error::ComponentFault;
use crate::ledger::Ledger;
use gpumm_contract::{AllocationId, Extent};
use gpumm_hw as hw;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The device's side of mappings.
///
/// Whether a mapping works is an input of the plan: which did not is kept for the request log, and
/// a log that is planned again says which shall not.
pub(crate) struct Dma {
    device: Arc<dyn hw::Device>,
    /// Mappings asked for since the failures were last taken.
    asked: u64,
    failed: Vec<u64>,
    /// Mappings that shall fail, counted likewise.
    shall_fail: BTreeSet<u64>,
}

impl Dma {
    pub(crate) fn new(device: Arc<dyn hw::Device>) -> Self {
        Dma {
            device,
            asked: 0,
            failed: Vec::new(),
            shall_fail: BTreeSet::new(),
        }
    }

    /// Begins to count anew, and says which mappings shall fail.
    pub(crate) fn begin(&mut self, shall_fail: BTreeSet<u64>) {
        self.asked = 0;
        self.failed.clear();
        self.shall_fail = shall_fail;
    }

    /// Which mappings have failed since then, counted from 0.
    pub(crate) fn failed(&self) -> &[u64] {
        &self.failed
    }

    fn segments(extents: &[Extent]) -> Vec<hw::Segment> {
        let segment = |e: &Extent| hw::Segment::system(e.offset, e.bytes);
        extents.iter().map(segment).collect()
    }

    fn map(&mut self, map: impl FnOnce(&dyn hw::Device) -> Result<(), hw::DeviceError>) -> bool {
        let number = self.asked;
        self.asked += 1;
        let mapped = match self.shall_fail.contains(&number) {
            true => Err(hw::DeviceError::DmaMap),
            false => map(&*self.device),
        };
        if let Err(error) = &mapped {
            tracing::warn!(%error, "host memory is not mapped for the device's DMA");
            self.failed.push(number);
        }
        mapped.is_ok()
    }

    fn unmap(&self, unmap: impl FnOnce(&dyn hw::Device) -> Result<(), hw::DeviceError>) {
        if let Err(error) = unmap(&*self.device) {
            tracing::error!(%error, "a mapping that was just made cannot be ended");
        }
    }
}

impl Broker {
    /// Gives the device's DMA access to host memory of the ledger or of this call; whether it
    /// worked.
    ///
    /// Errors: the mechanism asks nonsense.
    pub(crate) fn map_dma(
        &mut self,
        ledger: &Ledger,
        number: AllocationId,
    ) -> Result<bool, ComponentFault> {
        // What this call's plan unmaps is mapped until the plan runs, and then stays so.
        if self.overlay.mapped.contains(&number) || ledger.is_mapped(number) {
            return Ok(true);
        }
        let host = self.system.0;
        let new = self.overlay.granted.get(number);
        let new = new.and_then(|(memory, extents)| (*memory == host).then_some(&extents[..]));
        let Some(extents) = new.or_else(|| ledger.mappable(number)) else {
            let why = format!("allocation {number} cannot be mapped for DMA");
            return Err(ComponentFault::Nonsense(why));
        };
        let segments = Dma::segments(extents);
        let mapped = match self.import(ledger, number) {
            Some(link) => self
                .dma
                .map(|_| link.map_or(Err(hw::DeviceError::DmaMap), |l| l.map())),
            None => self.dma.map(|device| device.map_dma(&segments)),
        };
        if mapped {
            self.overlay.mapped.insert(number);
            return Ok(true);
        }
        Ok(false)
    }

    /// Ends the mappings of a call that are not to stay.
    pub(super) fn unmap(
        &self,
        ledger: &Ledger,
        overlay: &Overlay,
        stays: impl Fn(AllocationId) -> bool,
    ) {
        for &number in overlay.mapped.iter().filter(|n| !stays(**n)) {
            if let Some(link) = self.import(ledger, number) {
                self.dma.unmap(|_| link.map_or(Ok(()), |l| l.unmap()));
                continue;
            }
            let new = overlay.granted.get(number).map(|(_, e)| &e[..]);
            if let Some(extents) = new.or_else(|| ledger.mappable(number)) {
                let segments = Dma::segments(extents);
                self.dma.unmap(|device| device.unmap_dma(&segments));
            }
        }
    }
}
