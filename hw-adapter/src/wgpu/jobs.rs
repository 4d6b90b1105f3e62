//! Jobs, on the CPU: what a piece uses is copied to host memory at the same offsets, and what it
//! wrote goes back when the piece ends.

use std::sync::Arc;

use crate::claim::{Claim, Memory};
use crate::error::DeviceError;
use crate::exec::{Access, Shadow};
use crate::footprint::{Footprint, Span, Spans};
use crate::mmu::{self, Mmu};

use super::Shared;
use super::context::Context;
use super::host::{End, Host};
use super::transfer::Transfer;

/// What runs the jobs of one engine.
pub(super) struct Jobs<'a> {
    pub(super) shared: &'a Shared,
    pub(super) context: Arc<Context>,
    /// Host memory as large as vram, used by this engine alone. Its pages come on touch.
    pub(super) stage: &'a Memory,
}

impl Jobs<'_> {
    /// Moves spans between vram and the copy of it.
    fn transfer(
        &self,
        shadow: &mut Claim<'_>,
        spans: &Spans,
        back: bool,
    ) -> Result<(), DeviceError> {
        let host = Host {
            shadow: Some(shadow),
            ..Host::default()
        };
        let mut transfer = Transfer::new(&self.context, host);
        for span in spans.iter().filter(|span| span.write || !back) {
            let (vram, copy) = (End::Vram(span.start), End::Shadow(span.start));
            let (from, to) = if back { (copy, vram) } else { (vram, copy) };
            transfer.add(from, to, span.end - span.start)?;
        }
        transfer.finish()
    }

    /// Gives the pages of the copy back.
    pub(super) fn end(&self) -> Result<(), DeviceError> {
        self.stage.decommit(0, self.stage.size())
    }
}

impl mmu::Host for Jobs<'_> {
    fn mmu(&self) -> &Mmu {
        &self.shared.mmu
    }

    fn reaches(&self, system: &Spans) -> Result<(), DeviceError> {
        self.shared.iommu.check(system)
    }

    fn access(&self, footprint: &Footprint) -> Result<Access<'_>, DeviceError> {
        let mut access = self.shared.access(footprint)?;
        let Some(claim) = access.vram.take() else {
            return Ok(access);
        };
        let spans = footprint.vram.clone();
        // The copy is written first, whatever the job does.
        let written = spans.iter().map(|span| Span {
            write: true,
            ..*span
        });
        let (copies, _) = Spans::cover(written.collect());
        let mut copy = self.stage.claim(&copies)?;
        self.transfer(&mut copy, &spans, false)?;
        access.vram = Some(copy);
        access.shadow = Some(Shadow { claim, spans });
        Ok(access)
    }

    fn release(&self, claimed: Access<'_>) -> Result<(), DeviceError> {
        let Access { vram, shadow, .. } = claimed;
        let (Some(mut copy), Some(Shadow { claim, spans })) = (vram, shadow) else {
            return Ok(());
        };
        self.transfer(&mut copy, &spans, true)?;
        drop(claim);
        Ok(())
    }
}
