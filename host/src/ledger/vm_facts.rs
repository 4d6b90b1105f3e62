//! What the ledger keeps of each address space.
//!
//! Addresses are kept as stretches: what is mapped, and apart from it what the page tables show,
//! as far as the device has been told. Both are shared with their copies until one of them changes,
//! so that a journal's copy and a reader's view cost no more than a few counters.

use super::stretch::{Gone, Pte, Shows, Stretch, cut, overlapping};
use crate::executor::Memory;
use gpumm_contract::request::{Intent, SpanUse};
use gpumm_contract::vm::{Bind, MAX_MAPPINGS, Mapping, PAGE, Span, VmConfig, VmError};
use gpumm_contract::{BufferId, Point, PointSet, TableId, TenantId};
use imbl::{OrdMap, OrdSet};
use std::collections::BTreeSet;
use std::sync::Arc;

/// A buffer as a member of an address space.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct VmBoFacts {
    /// What the page tables show of it, as of the last answer.
    pub(super) table: Option<TableId>,
    pub(super) mappings: u32,
    /// Addresses that mappings of it have.
    pub(super) mapped_bytes: u64,
    /// Addresses that show one of its tables.
    pub(super) shown_bytes: u64,
    /// Whether a job may use it once the address space's `ready` is reached.
    pub(super) fresh: bool,
}

/// An address space.
///
/// Complexity: a copy is O(1), a change O(log n) per stretch.
/// Invariants: mappings are disjoint, inside the range and outside the kernel's area; a member has
/// mappings or is shown; `not_fresh` members are not fresh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct VmFacts {
    pub(super) tenant: TenantId,
    pub(super) config: VmConfig,
    /// By first address.
    pub(super) mappings: OrdMap<u64, Mapping>,
    /// By first address.
    pub(super) ptes: OrdMap<u64, Pte>,
    pub(super) bos: OrdMap<BufferId, VmBoFacts>,
    /// Where the mappings of each member begin.
    places: OrdSet<(BufferId, u64)>,
    /// Page-table writes and invalidations in flight.
    pub(super) written: PointSet,
    /// Jobs in flight that may use every member.
    pub(super) busy: PointSet,
    /// When what is fresh may be used.
    pub(super) ready: Option<Point>,
    pub(super) not_fresh: u32,
    /// The memory that the page tables show, by table.
    pub(super) memory: OrdMap<TableId, ShownMemory>,
}

/// Memory that page tables show; tables never change, so the same one is the same memory.
#[derive(Clone, Debug)]
pub(super) struct ShownMemory(pub(super) Arc<Memory>);

impl PartialEq for ShownMemory {
    fn eq(&self, other: &Self) -> bool {
        self.0.table == other.0.table
    }
}

impl Eq for ShownMemory {}

/// Whether an address space may be made like this.
pub(super) fn valid(config: &VmConfig) -> bool {
    let paged = |at: Span| (at.start | at.bytes).is_multiple_of(PAGE);
    let limit = |limit: u32| (1..=MAX_MAPPINGS).contains(&limit);
    let (range, kernel) = (config.range, config.kernel);
    let ends = range.end().zip(kernel.end());
    let inside = ends.is_some_and(|(end, kernel_end)| {
        kernel.bytes == 0 || paged(kernel) && range.start <= kernel.start && kernel_end <= end
    });
    range.bytes > 0
        && paged(range)
        && inside
        && limit(config.mappings)
        && limit(config.mappings_per_buffer)
}

impl VmFacts {
    pub(super) fn new(tenant: TenantId, config: VmConfig) -> Self {
        VmFacts {
            tenant,
            config,
            mappings: OrdMap::new(),
            ptes: OrdMap::new(),
            bos: OrdMap::new(),
            places: OrdSet::new(),
            written: PointSet::new(),
            busy: PointSet::new(),
            ready: None,
            not_fresh: 0,
            memory: OrdMap::new(),
        }
    }

    /// Changes a member, which begins and ends with that.
    pub(super) fn change(&mut self, buffer: BufferId, change: impl FnOnce(&mut VmBoFacts)) {
        let was = self.bos.get(&buffer).copied();
        let mut bo = was.unwrap_or_default();
        change(&mut bo);
        let is = (bo.mappings > 0 || bo.shown_bytes > 0).then_some(bo);
        let stale = |bo: Option<VmBoFacts>| u32::from(bo.is_some_and(|bo| !bo.fresh));
        self.not_fresh = self.not_fresh + stale(is) - stale(was);
        match is {
            Some(bo) if was != is => _ = self.bos.insert(buffer, bo),
            Some(_) => {}
            None => _ = self.bos.remove(&buffer),
        }
    }

    /// A member's next job has to be asked for.
    pub(super) fn outdate(&mut self, buffer: BufferId) {
        if self.bos.get(&buffer).is_some_and(|bo| bo.fresh) {
            self.change(buffer, |bo| bo.fresh = false);
        }
    }

    /// Whether a buffer has mappings here.
    pub(super) fn maps(&self, buffer: BufferId) -> bool {
        self.bos.get(&buffer).is_some_and(|bo| bo.mappings > 0)
    }

    /// Takes mappings out of a span; of the members, those that had some there.
    fn unmap(&mut self, at: Span, touched: &mut BTreeSet<BufferId>) {
        for gone in cut(&mut self.mappings, at) {
            let Some(buffer) = gone.of.buffer else {
                continue;
            };
            touched.insert(buffer);
            let bytes = gone.of.at.bytes;
            if !gone.front {
                self.places.remove(&(buffer, gone.start));
            }
            if gone.back {
                self.places.insert((buffer, gone.start + bytes));
            }
            self.change(buffer, |bo| {
                bo.mapped_bytes -= bytes;
                bo.mappings = bo.mappings + u32::from(gone.front) + u32::from(gone.back) - 1;
            });
        }
    }

    /// Whether addresses may be mapped.
    fn mappable(&self, at: Span) -> Result<(), VmError> {
        let (range, kernel) = (self.config.range, self.config.kernel);
        if at.bytes == 0 {
            return Err(VmError::Empty);
        }
        if !(at.start | at.bytes).is_multiple_of(PAGE) {
            return Err(VmError::Misaligned);
        }
        if !self.has(at) {
            return Err(VmError::Range);
        }
        // OVERFLOW: both end within 64 bits, the span as it lies inside the range.
        let (start, end) = (range.start.max(kernel.start), kernel.start + kernel.bytes);
        if kernel.bytes > 0 && at.start < end && start < at.start + at.bytes {
            return Err(VmError::KernelArea);
        }
        Ok(())
    }

    /// Whether a span lies in the address space.
    pub(super) fn has(&self, at: Span) -> bool {
        let ends = at.end().zip(self.config.range.end());
        self.config.range.start <= at.start && ends.is_some_and(|(end, all)| end <= all)
    }

    /// Carries out a bind; the addresses that it changes.
    ///
    /// Errors: why it must be refused; then something may have changed.
    pub(super) fn bind(
        &mut self,
        bind: &Bind,
        touched: &mut BTreeSet<BufferId>,
    ) -> Result<Span, VmError> {
        let at = match bind {
            Bind::Map(mapping) => mapping.at,
            Bind::Unmap(at) => *at,
        };
        self.mappable(at)?;
        let mut grown = BTreeSet::new();
        self.unmap(at, &mut grown);
        if let Bind::Map(mapping) = bind {
            if !mapping.offset.is_multiple_of(PAGE) {
                return Err(VmError::Misaligned);
            }
            let shown = mapping.offset.checked_add(at.bytes);
            shown.ok_or(VmError::Range)?;
            self.mappings.insert(at.start, *mapping);
            if let Some(buffer) = mapping.buffer {
                self.places.insert((buffer, at.start));
                grown.insert(buffer);
                self.change(buffer, |bo| {
                    bo.mapped_bytes += at.bytes;
                    bo.mappings += 1;
                });
            }
        }
        if self.mappings.len() > self.config.mappings as usize {
            return Err(VmError::TooManyMappings);
        }
        let count = |buffer| self.bos.get(buffer).map_or(0, |bo| bo.mappings);
        if grown.iter().map(count).max() > Some(self.config.mappings_per_buffer) {
            return Err(VmError::TooManyOfBuffer);
        }
        touched.append(&mut grown);
        Ok(at)
    }

    /// Ends all mappings of a buffer; the addresses that they had.
    pub(super) fn unmap_buffer(&mut self, buffer: BufferId) -> Vec<Span> {
        let all = self.places.range((buffer, 0)..=(buffer, u64::MAX));
        let spans = all.filter_map(|(_, start)| Some(self.mappings.get(start)?.at));
        let spans: Vec<Span> = spans.collect();
        let mut touched = BTreeSet::new();
        spans.iter().for_each(|&at| self.unmap(at, &mut touched));
        spans
    }

    /// Writes page-table entries over a span; what was there before, in pieces, and whether the
    /// new entries are the same there.
    pub(super) fn write(&mut self, at: Span, new: Option<Pte>) -> Vec<(Pte, bool)> {
        let gone = cut(&mut self.ptes, at);
        if let Some(new) = new {
            self.ptes.insert(at.start, new);
        }
        let same = |gone: Gone<Pte>| {
            let now = new.map(|new| new.part(gone.start - at.start, gone.of.bytes));
            (gone.of, now == Some(gone.of))
        };
        gone.into_iter().map(same).collect()
    }

    /// What the page tables should show at an address of a mapping, from there on.
    fn wanted(&self, mapping: &Mapping) -> Option<Pte> {
        let shows = match mapping.buffer {
            None => Shows::Sparse,
            Some(buffer) => Shows::Table {
                table: self.bos.get(&buffer)?.table?,
                offset: mapping.offset,
            },
        };
        Some(Pte {
            bytes: mapping.at.bytes,
            shows,
            attributes: mapping.attributes,
        })
    }

    /// The first address of a span at which the page tables do not show what is mapped there.
    ///
    /// Complexity: O(log n + stretches in the span).
    pub(super) fn disagrees(&self, span: Span) -> Option<u64> {
        let end = span.start + span.bytes;
        let wanted = overlapping(&self.mappings, span);
        let mut wanted = wanted.filter_map(|(start, m)| Some((start, self.wanted(&m)?)));
        let mut shown = overlapping(&self.ptes, span);
        let (mut want, mut have) = (wanted.next(), shown.next());
        let mut at = span.start;
        while at < end {
            // The stretch at an address or behind it: up to where it is as it is there.
            let here = |of: Option<(u64, Pte)>| match of {
                Some((start, pte)) if start <= at => {
                    let skip = at - start;
                    let to = start + pte.bytes;
                    (Some(pte.part(skip, 0)), to)
                }
                Some((start, _)) => (None, start),
                None => (None, end),
            };
            let ((want_here, want_to), (have_here, have_to)) = (here(want), here(have));
            // The attributes of what is sparse are nobody's matter.
            let bare = |pte: Pte| match pte.shows {
                Shows::Sparse => Pte {
                    attributes: 0,
                    ..pte
                },
                Shows::Table { .. } => pte,
            };
            if want_here.map(bare) != have_here.map(bare) {
                return Some(at);
            }
            at = want_to.min(have_to).min(end);
            while want.is_some_and(|(start, pte)| start + pte.bytes <= at) {
                want = wanted.next();
            }
            while have.is_some_and(|(start, pte)| start + pte.bytes <= at) {
                have = shown.next();
            }
        }
        None
    }

    /// The buffers that a job names by addresses, by number; all, when it names none, and then it
    /// may write each.
    pub(super) fn named(&self, spans: &[SpanUse]) -> Vec<(BufferId, Intent)> {
        if spans.is_empty() {
            return self.bos.keys().map(|&b| (b, Intent::Write)).collect();
        }
        self.walk(spans).0
    }

    /// The buffer that one mapping shows at all addresses of a span.
    pub(super) fn only(&self, at: Span) -> Option<BufferId> {
        let end = at.end()?;
        let (start, mapping) = self.mappings.range(..end).next_back()?;
        let whole = *start <= at.start && at.start < end && start + mapping.at.bytes >= end;
        mapping.buffer.filter(|_| whole)
    }

    /// The buffers at addresses, by number, with what a job does to each, and whether something is
    /// mapped at every byte.
    ///
    /// Complexity: one descent per span, and a step per mapping there.
    pub(super) fn walk(&self, spans: &[SpanUse]) -> (Vec<(BufferId, Intent)>, bool) {
        let mut named: Vec<(BufferId, Intent)> = Vec::with_capacity(spans.len());
        let mut whole = true;
        for span in spans {
            let mut next = span.at.start;
            for (start, mapping) in overlapping(&self.mappings, span.at.whole_pages()) {
                named.extend(mapping.buffer.map(|buffer| (buffer, span.intent)));
                if start <= next {
                    next = start + mapping.at.bytes;
                }
            }
            whole &= span.at.end().is_some_and(|end| next >= end);
        }
        if named.len() > 1 {
            // Of each buffer a write comes first, and stays.
            let write = |intent| intent == Intent::Write;
            named.sort_unstable_by_key(|&(buffer, intent)| (buffer, !write(intent)));
            named.dedup_by_key(|&mut (buffer, _)| buffer);
        }
        (named, whole)
    }

    /// The device has forgotten its page tables.
    pub(super) fn lose(&mut self) {
        self.ptes.clear();
        self.memory.clear();
        let all: Vec<BufferId> = self.bos.keys().copied().collect();
        for buffer in all {
            self.change(buffer, |bo| {
                (bo.table, bo.shown_bytes, bo.fresh) = (None, 0, false);
            });
        }
    }
}
