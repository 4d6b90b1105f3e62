//! A strategy that decides beside the serving one, without effect: what would it have done?

use super::Slot;
use crate::error::ComponentFault;
use crate::parts::{Strategy, StrategySource};
use gpumm_contract::allocator::{Allocate, Answer, Command};
use gpumm_contract::extent::total;
use gpumm_contract::wire::{Kind, Reader, WireError, Writer};
use gpumm_contract::{AllocationId, Extent, Extents, Geometry};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// One figure of both strategies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// Of the one that serves.
    pub serving: u64,
    /// Of the shadow.
    pub shadow: u64,
}

/// What a shadow has decided so far, beside the strategy that serves.
///
/// Units: bytes and counts. Both began with the same live allocations where these lay; what came
/// since, each laid out by itself.
#[derive(Clone, Debug, Default)]
pub struct ShadowReport {
    /// Who serves.
    pub serving: String,
    /// Who decides beside.
    pub shadow: String,
    /// Wishes that both were asked for.
    pub wishes: u64,
    /// Wishes that were refused, whoever else granted them.
    pub refusals: Compared,
    /// Highest end of an extent granted since the shadow began.
    pub high_water_bytes: Compared,
    /// Holes now.
    pub holes: Compared,
    /// The largest hole now.
    pub largest_hole_bytes: Compared,
    /// What the shadow did wrong; it has decided nothing since.
    pub fault: Option<ComponentFault>,
}

/// A wish or a release as the serving strategy has answered it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Decision {
    command: Command,
    /// The end of the highest extent, for a wish that was granted.
    granted: Option<u64>,
}

/// A shadow at work.
pub(super) struct Shadow {
    source: Arc<dyn StrategySource>,
    strategy: Box<dyn Strategy>,
    geometry: Geometry,
    /// Its own layout: extents by number, and ends by offset.
    live: HashMap<AllocationId, Extents>,
    taken: BTreeMap<u64, u64>,
    /// Of the batch in progress.
    pending: Vec<Decision>,
    report: ShadowReport,
}

impl Slot {
    /// Lets a prepared newcomer decide beside the serving strategy from now on.
    ///
    /// Errors: it does not take what lives.
    pub(crate) fn begin_shadow(
        &mut self,
        source: Arc<dyn StrategySource>,
        mut strategy: Box<dyn Strategy>,
        live: Vec<(AllocationId, Extents)>,
    ) -> Result<(), ComponentFault> {
        strategy.restore(self.geometry, &live)?;
        let ends = live.iter().flat_map(|(_, extents)| extents.iter());
        let ends = ends.map(|e| (e.offset, e.offset.saturating_add(e.bytes)));
        let taken: BTreeMap<u64, u64> = ends.collect();
        let high = taken.values().max().copied().unwrap_or(0);
        let report = ShadowReport {
            serving: self.source().name().into(),
            shadow: source.name().into(),
            high_water_bytes: Compared {
                serving: high,
                shadow: high,
            },
            ..ShadowReport::default()
        };
        self.shadow = Some(Shadow {
            source,
            strategy,
            geometry: self.geometry,
            live: live.into_iter().collect(),
            taken,
            pending: Vec::new(),
            report,
        });
        Ok(())
    }

    /// Whether a shadow wants to know decisions.
    pub(crate) fn has_shadow(&self) -> bool {
        self.shadow
            .as_ref()
            .is_some_and(|s| s.report.fault.is_none())
    }

    /// Takes note of a decision of the serving strategy; it counts once the batch does.
    pub(crate) fn decided(&mut self, command: Command, granted: Option<u64>) {
        if let Some(shadow) = &mut self.shadow {
            shadow.pending.push(Decision { command, granted });
        }
    }

    pub(super) fn forget_decisions(&mut self) {
        if let Some(shadow) = &mut self.shadow {
            shadow.pending.clear();
        }
    }

    /// Has the shadow decide what the batch has decided.
    pub(super) fn tell_shadow(&mut self) {
        if let Some(shadow) = &mut self.shadow {
            let decisions = std::mem::take(&mut shadow.pending);
            if let Err(fault) = shadow.follow(&decisions) {
                tracing::warn!(strategy = shadow.source.name(), %fault, "the shadow ends");
                shadow.report.fault = Some(fault);
            }
        }
    }

    /// Gives the shadow the arena that the serving strategy has.
    pub(super) fn grow_shadow(&mut self) {
        let geometry = self.geometry;
        if let Some(shadow) = &mut self.shadow
            && shadow.report.fault.is_none()
        {
            shadow.geometry = geometry;
            shadow.report.fault = shadow.strategy.resize(geometry).err();
        }
    }

    /// What the shadow has decided so far; none where there is no shadow.
    pub(crate) fn shadow_report(&mut self) -> Option<ShadowReport> {
        let serving = self.running.statistics();
        let shadow = self.shadow.as_mut()?;
        let mut report = shadow.report.clone();
        if report.fault.is_none() {
            let told = shadow.strategy.statistics();
            if let (Ok(serving), Ok(told)) = (serving, told) {
                (report.holes.serving, report.holes.shadow) = (serving.holes, told.holes);
                report.largest_hole_bytes = Compared {
                    serving: serving.largest_hole,
                    shadow: told.largest_hole,
                };
            }
        }
        Some(report)
    }

    /// Ends the shadow.
    pub(crate) fn end_shadow(&mut self) {
        self.shadow = None;
    }
}

impl Shadow {
    /// Decides what the serving strategy has decided, one call for all of it.
    ///
    /// Errors: the shadow failed, or its answer cannot be true.
    fn follow(&mut self, decisions: &[Decision]) -> Result<(), ComponentFault> {
        if self.report.fault.is_some() || decisions.is_empty() {
            return Ok(());
        }
        // One by one: whether a release means anything depends on the wish before it.
        for decision in decisions {
            match decision.command {
                Command::Allocate(wish) => self.wish(&wish, decision.granted)?,
                Command::Free { number, .. } => self.free(number)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn wish(&mut self, wish: &Allocate, granted: Option<u64>) -> Result<(), ComponentFault> {
        let report = &mut self.report;
        report.wishes += 1;
        report.refusals.serving += u64::from(granted.is_none());
        let high = &mut report.high_water_bytes;
        high.serving = high.serving.max(granted.unwrap_or(0));
        match self.ask(Command::Allocate(*wish))? {
            Answer::Extents(number, extents) if number == wish.number => {
                let end = self.take(wish, &extents)?;
                if granted.is_none() {
                    // Nothing came of the wish, so nobody will ever give it back.
                    return self.free_answered(number);
                }
                let high = &mut self.report.high_water_bytes.shadow;
                *high = (*high).max(end);
                Ok(())
            }
            Answer::NoSpace { number, .. } | Answer::Refused(number, _)
                if number == wish.number =>
            {
                self.report.refusals.shadow += 1;
                Ok(())
            }
            other => Err(lie(format!("it answered a wish with {other:?}"))),
        }
    }

    fn free(&mut self, number: AllocationId) -> Result<(), ComponentFault> {
        // What the shadow has refused it cannot give back.
        match self.live.contains_key(&number) {
            true => self.free_answered(number),
            false => Ok(()),
        }
    }

    fn free_answered(&mut self, number: AllocationId) -> Result<(), ComponentFault> {
        let extents = self.live.remove(&number);
        for extent in extents.iter().flatten() {
            self.taken.remove(&extent.offset);
        }
        match self.ask(Command::free(number))? {
            Answer::Freed(freed) if freed == number => Ok(()),
            other => Err(lie(format!("it answered a release with {other:?}"))),
        }
    }

    /// Enters what the shadow has granted; returns its highest end.
    fn take(&mut self, wish: &Allocate, extents: &[Extent]) -> Result<u64, ComponentFault> {
        let sum = total(extents);
        if sum.is_none_or(|sum| sum < wish.bytes) {
            return Err(lie(format!("{sum:?} bytes for a wish of {}", wish.bytes)));
        }
        let mut highest = 0;
        for extent in extents {
            let end = extent.end().filter(|&end| end <= self.geometry.size);
            let end = end.ok_or_else(|| lie("extents leave the arena".into()))?;
            let last = self.taken.range(..end).next_back();
            if extent.bytes == 0 || last.is_some_and(|(_, &to)| to > extent.offset) {
                return Err(lie(format!("{:#x} is taken", extent.offset)));
            }
            self.taken.insert(extent.offset, end);
            highest = highest.max(end);
        }
        self.live.insert(wish.number, extents.into());
        Ok(highest)
    }

    fn ask(&mut self, command: Command) -> Result<Answer, ComponentFault> {
        let mut commands = Writer::new(Kind::Commands);
        command.encode(&mut commands);
        let answers = self.strategy.execute(commands.words())?;
        let wrong = |e: WireError| lie(e.to_string());
        let mut reader = Reader::new(&answers, Kind::Answers).map_err(wrong)?;
        let item = reader.next().map_err(wrong)?;
        let item = item.ok_or_else(|| lie("fewer answers than commands".into()))?;
        Answer::decode(&item).map_err(wrong)
    }
}

fn lie(why: String) -> ComponentFault {
    ComponentFault::Lie(why)
}
