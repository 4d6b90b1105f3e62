//! Answering for imports: memory of another device's buffer, which the host offers for one request.

use super::Broker;
use crate::ledger::Ledger;
use crate::runtime::IMPORT;
use crate::share::Link;
use gpumm_contract::allocator::{Answer, Command, Refusal, encode_extents};
use gpumm_contract::extent::total;
use gpumm_contract::wire::{Kind, Writer};
use gpumm_contract::{AllocationId, Extent};
use std::sync::Arc;

impl Broker {
    /// What the next batch's import is, or that there is none.
    pub(crate) fn offer(&mut self, extents: Option<Vec<Extent>>) {
        self.offered = extents;
    }

    /// Grants exactly what is offered, once; nothing is ever taken back, for it is the exporter's.
    pub(super) fn answer_import(&mut self, ledger: &Ledger, commands: &[Command]) -> Vec<u64> {
        let mut out = Writer::new(Kind::Answers);
        for command in commands {
            let fits = match *command {
                Command::Free { number, .. } => {
                    self.overlay.free(number, IMPORT);
                    Answer::Freed(number).encode(&mut out)
                }
                Command::Allocate(wish) => match self.take_offer(ledger, wish.bytes) {
                    Some(extents) => {
                        let fits = encode_extents(wish.number, &extents, &mut out);
                        extents.iter().for_each(|&e| self.overlay.take(IMPORT, e));
                        self.overlay.grant(wish.number, IMPORT, extents);
                        fits
                    }
                    None => Answer::NoSpace {
                        number: wish.number,
                        largest_hole: 0,
                    }
                    .encode(&mut out),
                },
                other => Answer::Refused(other.number(), Refusal::Unsupported).encode(&mut out),
            };
            debug_assert!(fits, "an import has as few pieces as the buffer");
        }
        self.overlay.steps.clear();
        out.finish()
    }

    /// The offer, unless it is taken, or an import of the same bytes has not ended yet.
    fn take_offer(&self, ledger: &Ledger, bytes: u64) -> Option<Vec<Extent>> {
        let offered = self.offered.as_ref()?;
        let taken = self.overlay.granted.values().any(|(m, _)| *m == IMPORT);
        let live = ledger.memory.get(&IMPORT)?;
        let old = offered
            .iter()
            .any(|&e| live.overlapping(e).next().is_some());
        (!taken && !old && total(offered) == Some(bytes)).then(|| offered.clone())
    }

    /// Whether an allocation of the ledger is an import, and if so the import, as long as its
    /// client has not dropped it.
    pub(super) fn import(
        &self,
        ledger: &Ledger,
        number: AllocationId,
    ) -> Option<Option<Arc<Link>>> {
        let (memory, buffer) = ledger.owner_of(number)?;
        (memory == IMPORT).then(|| self.imports.get(buffer))
    }
}
