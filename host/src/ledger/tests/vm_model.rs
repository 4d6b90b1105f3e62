//! The facts of an address space are what a list of its pages would be.

use super::super::stretch::{Pte, Shows};
use super::vm::{VM, config, span};
use super::*;
use gpumm_contract::vm::{Bind, Mapping, PAGE, Span};
use std::collections::BTreeSet;

const PAGES: usize = 24;
const FIRST: u64 = 1 << 20;

/// What a page has: the buffer or none, the page of it, and the attributes.
type Page = Option<(Option<u64>, u64, u8)>;

fn address(page: usize) -> u64 {
    FIRST + page as u64 * PAGE
}

fn random_span(rng: &mut fastrand::Rng) -> (usize, usize, Span) {
    let start = rng.usize(0..PAGES);
    let end = rng.usize(start + 1..=PAGES);
    let bytes = (end - start) as u64 * PAGE;
    (start, end, span(address(start), bytes))
}

/// What the members should be, by the pages that are mapped and shown.
fn members(facts: &VmFacts, mapped: &[Page], shown: &[Page]) {
    let bytes = |pages: &[Page], buffer: u64| {
        let of = |page: &&Page| matches!(page, Some((Some(b), ..)) if *b == buffer);
        pages.iter().filter(of).count() as u64 * PAGE
    };
    for buffer in 0..3 {
        let bo = facts.bos.get(&BufferId(buffer)).copied();
        let of = bo.unwrap_or_default();
        assert_eq!(of.mapped_bytes, bytes(mapped, buffer));
        assert_eq!(of.shown_bytes, bytes(shown, buffer));
        let mappings = facts.mappings.values();
        let mappings = mappings.filter(|m| m.buffer == Some(BufferId(buffer)));
        assert_eq!(of.mappings as usize, mappings.count());
        assert_eq!(bo.is_some(), of.mapped_bytes + of.shown_bytes > 0);
    }
    let stale = facts.bos.values().filter(|bo| !bo.fresh).count();
    assert_eq!(facts.not_fresh as usize, stale);
}

/// Table n shows buffer n.
fn write(facts: &mut VmFacts, at: Span, new: Option<Pte>) {
    let table = |pte: &Pte| match pte.shows {
        Shows::Table { table, .. } => Some(BufferId(table.0.into())),
        Shows::Sparse => None,
    };
    for (old, _) in facts.write(at, new) {
        if let Some(buffer) = table(&old) {
            facts.change(buffer, |bo| bo.shown_bytes -= old.bytes);
        }
    }
    if let Some(buffer) = new.as_ref().and_then(table) {
        facts.change(buffer, |bo| {
            bo.shown_bytes += at.bytes;
            bo.table = Some(TableId(buffer.0 as u32));
        });
    }
}

#[test]
fn equals_a_list_of_pages() {
    let mut rng = fastrand::Rng::with_seed(11);
    let limits = gpumm_contract::vm::VmConfig {
        mappings: 1000,
        mappings_per_buffer: 1000,
        kernel: span(0, 0),
        ..config()
    };
    let mut disagreed = [0, 0];
    for _ in 0..300 {
        let mut facts = VmFacts::new(TenantId(7), limits);
        let (mut mapped, mut shown) = ([None; PAGES], [None; PAGES]);
        for _ in 0..40 {
            let (start, end, at) = random_span(&mut rng);
            let buffer = rng.u8(0..4);
            let buffer = (buffer < 3).then_some(u64::from(buffer));
            let (offset, attributes) = (rng.u64(0..2), rng.u8(0..2));
            let page = |n: usize| Some((buffer, offset + (n - start) as u64, attributes));
            match rng.u8(0..6) {
                0 => {
                    let done = facts.bind(&Bind::Unmap(at), &mut BTreeSet::new());
                    assert_eq!(done, Ok(at));
                    mapped[start..end].fill(None);
                }
                1 => {
                    let mapping = Mapping {
                        at,
                        buffer: buffer.map(BufferId),
                        offset: offset * PAGE,
                        attributes,
                    };
                    let done = facts.bind(&Bind::Map(mapping), &mut BTreeSet::new());
                    assert_eq!(done, Ok(at));
                    (start..end).for_each(|n| mapped[n] = page(n));
                }
                2 => {
                    write(&mut facts, at, None);
                    shown[start..end].fill(None);
                }
                3 => {
                    let shows = match buffer {
                        Some(buffer) => Shows::Table {
                            table: TableId(buffer as u32),
                            offset: offset * PAGE,
                        },
                        None => Shows::Sparse,
                    };
                    let bytes = at.bytes;
                    let new = Pte {
                        bytes,
                        shows,
                        attributes,
                    };
                    write(&mut facts, at, Some(new));
                    (start..end).for_each(|n| shown[n] = page(n));
                }
                // Page tables catch up with what is mapped, so that both agree sometimes.
                4 => {
                    let mappings: Vec<Mapping> = facts.mappings.values().copied().collect();
                    write(&mut facts, span(FIRST, PAGES as u64 * PAGE), None);
                    for m in mappings {
                        let shows = match m.buffer {
                            Some(buffer) => Shows::Table {
                                table: TableId(buffer.0 as u32),
                                offset: m.offset,
                            },
                            None => Shows::Sparse,
                        };
                        let (bytes, attributes) = (m.at.bytes, m.attributes);
                        let new = Pte {
                            bytes,
                            shows,
                            attributes,
                        };
                        write(&mut facts, m.at, Some(new));
                    }
                    shown = mapped;
                }
                _ => {
                    let Some(buffer) = buffer else { continue };
                    let gone = facts.unmap_buffer(BufferId(buffer));
                    let of = |page: &Page| matches!(page, Some((Some(b), ..)) if *b == buffer);
                    let pages = mapped.iter().filter(|p| of(p)).count() as u64;
                    assert_eq!(gone.iter().map(|at| at.bytes / PAGE).sum::<u64>(), pages);
                    mapped.iter_mut().filter(|p| of(p)).for_each(|p| *p = None);
                }
            }
            members(&facts, &mapped, &shown);
            let (start, end, at) = random_span(&mut rng);
            // Of a buffer whose table is not shown nothing is wanted; sparse has no offset.
            let want = |page: Page| match page {
                Some((Some(buffer), ..)) => {
                    let bo = facts.bos.get(&BufferId(buffer));
                    page.filter(|_| bo.is_some_and(|bo| bo.table.is_some()))
                }
                Some((None, ..)) => Some((None, 0, 0)),
                None => None,
            };
            let have = |page: Page| match page {
                Some((None, ..)) => Some((None, 0, 0)),
                page => page,
            };
            let wrong = (start..end).find(|&n| want(mapped[n]) != have(shown[n]));
            assert_eq!(facts.disagrees(at), wrong.map(address), "{VM}");
            disagreed[usize::from(wrong.is_some())] += 1;
        }
    }
    assert!(disagreed[0] > 1000 && disagreed[1] > 1000, "{disagreed:?}");
}
