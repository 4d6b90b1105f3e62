#![allow(clippy::unwrap_used)]

use super::*;
use crate::command::MemorySpace::{System, Vram};

/// Crosses borders of every level.
const START: u64 = (1 << 39) - 24 * LARGE;
const PAGES: u64 = 40 * (LARGE / PAGE);
const LIMIT: u64 = 1 << 30;

/// What a table must say: one entry per page.
struct Model(Vec<Option<Pte>>);

impl Model {
    fn new() -> Model {
        Model(vec![None; PAGES as usize])
    }

    fn write(&mut self, page: u64, count: u64, pte: Option<Pte>) {
        for n in 0..count {
            self.0[(page + n) as usize] = pte.map(|pte| pte.advance(n * PAGE));
        }
    }

    /// Compares all pages and counts; the answer is how many pages of each size there are.
    fn check(&self, table: &Table) -> Pages {
        let leaves = table.leaves(usize::MAX);
        let mut pages = Pages::default();
        let mut next = START;
        let mut found = vec![None; PAGES as usize];
        for leaf in &leaves {
            assert!(leaf.address >= next && leaf.address.is_multiple_of(leaf.bytes));
            next = leaf.address + leaf.bytes;
            match leaf.bytes {
                PAGE => pages.small += 1,
                MIDDLE => pages.middle += 1,
                LARGE => pages.large += 1,
                other => panic!("{other}"),
            }
            for offset in (0..leaf.bytes).step_by(PAGE as usize) {
                found[((leaf.address + offset - START) / PAGE) as usize] =
                    Some(leaf.pte.advance(offset));
            }
            if let Some((_, place)) = leaf.pte.place() {
                assert!(place.is_multiple_of(leaf.bytes));
            }
        }
        assert!(found == self.0, "the table says something else");
        assert_eq!(table.pages(), pages);
        pages
    }

    fn check_walks(&self, table: &Table, random: &mut fastrand::Rng) {
        for _ in 0..200 {
            let page = random.u64(..PAGES);
            let address = START + page * PAGE;
            let leaf = table.walk(address + random.u64(..PAGE));
            let pte = leaf.map(|leaf| leaf.pte.advance(address - leaf.address));
            assert_eq!(pte, self.0[page as usize]);
        }
    }
}

fn random_pte(random: &mut fastrand::Rng, page: u64) -> Pte {
    let memory = if random.bool() { Vram } else { System };
    let base = random.u64(..1 << 20) * LARGE;
    // Often as aligned as the address.
    let offset = match random.u8(..4) {
        0 => base + random.u64(..512) * PAGE,
        1 => base + (page * PAGE) % MIDDLE + random.u64(..32) * MIDDLE,
        _ => base + (page * PAGE) % LARGE,
    };
    match random.u8(..6) {
        0 => Pte::SPARSE,
        _ => Pte::memory(memory, offset, random.bool()),
    }
}

/// A range; its edges are often those of larger pages.
fn random_range(random: &mut fastrand::Rng) -> (u64, u64) {
    let unit = [1, 1, 16, 512][random.usize(..4)];
    let from = random.u64(..PAGES / unit) * unit;
    let most = [1, 20, 600, PAGES][random.usize(..4)].min(PAGES - from);
    let count = random.u64(..most) + 1;
    match random.bool() {
        true if count > unit => (from, count / unit * unit),
        _ => (from, count),
    }
}

#[test]
fn it_says_what_was_written_last() {
    let mut random = fastrand::Rng::with_seed(11);
    let budget = Budget::new(LIMIT);
    let mut seen = Pages::default();
    let mut touched = 0;
    for round in 0..40 {
        let mut table = Table::new(&budget).unwrap();
        let mut model = Model::new();
        for step in 0..60 {
            let (page, count) = random_range(&mut random);
            touched += count;
            let (address, bytes) = (START + page * PAGE, count * PAGE);
            if random.u8(..4) == 0 {
                table.unmap(address, bytes).unwrap();
                model.write(page, count, None);
            } else {
                let pte = random_pte(&mut random, page);
                table.map(address, bytes, pte).unwrap();
                model.write(page, count, Some(pte));
            }
            model.check_walks(&table, &mut random);
            if step % 4 == round % 4 {
                let pages = model.check(&table);
                seen.small += pages.small;
                seen.middle += pages.middle;
                seen.large += pages.large;
            }
        }
        if round % 8 == 0 {
            table.clear();
            assert_eq!(Model::new().check(&table), Pages::default());
        }
    }
    assert!(touched > 2_000_000, "{touched}");
    assert!(seen.small > 10_000 && seen.middle > 10_000 && seen.large > 1000);
    assert_eq!(budget.used(), 0);
}

#[test]
fn a_page_is_as_large_as_everything_is_aligned() {
    let mut random = fastrand::Rng::with_seed(12);
    let budget = Budget::new(LIMIT);
    for _ in 0..300 {
        let mut table = Table::new(&budget).unwrap();
        let (page, count) = random_range(&mut random);
        let pte = random_pte(&mut random, page);
        let (from, to) = (START + page * PAGE, START + (page + count) * PAGE);
        let written = table.map(from, to - from, pte).unwrap();
        assert_eq!(written, table.pages());
        for at in (from..to).step_by(PAGE as usize) {
            let leaf = table.walk(at).unwrap();
            let fits = |size: u64| {
                let base = at - at % size;
                let place = pte.place().map(|(_, offset)| offset + (at - from));
                let aligned = place.is_none_or(|place| place % size == at % size);
                base >= from && base + size <= to && aligned
            };
            let largest = [LARGE, MIDDLE].into_iter().find(|size| fits(*size));
            assert_eq!(
                leaf.bytes,
                largest.unwrap_or(PAGE),
                "{at:#x} of {from:#x}..{to:#x}"
            );
        }
    }
}

#[test]
fn what_is_reserved_needs_nothing_more() {
    let mut random = fastrand::Rng::with_seed(13);
    for _ in 0..100 {
        let budget = Budget::new(LIMIT);
        let mut table = Table::new(&budget).unwrap();
        let (page, count) = random_range(&mut random);
        let (address, bytes) = (START + page * PAGE, count * PAGE);
        table.reserve(address, bytes).unwrap();
        let used = budget.used();
        assert_eq!(used, table.bytes());
        table.reserve(address, bytes).unwrap();
        for _ in 0..20 {
            let first = random.u64(..count);
            let part = random.u64(..count - first) + 1;
            let (at, part) = (address + first * PAGE, part * PAGE);
            let pte = random_pte(&mut random, page + first);
            table.map(at, part, pte).unwrap();
            if random.bool() {
                table.unmap(at, part).unwrap();
            }
        }
        assert_eq!(budget.used(), used);
    }
}

#[test]
fn a_refused_reservation_leaves_nothing_behind() {
    let budget = Budget::new(TOP_BYTES + MIDDLES_BYTES + 2 * REGIONS_BYTES + 3 * SMALL_BYTES);
    let mut table = Table::new(&budget).unwrap();
    let two = |table: &mut Table| table.reserve(0, 2 * LARGE);
    two(&mut table).unwrap();
    let used = budget.used();
    for (address, bytes) in [
        (0, 6 * LARGE + PAGE),
        (GIB - PAGE, 2 * PAGE),
        (1 << 40, PAGE),
        (0, 1 << 48),
        (PAGE, (1 << 48) - PAGE),
    ] {
        assert_eq!(table.reserve(address, bytes), Err(NoMemory), "{address:#x}");
        assert_eq!((budget.used(), table.bytes()), (used, used));
    }
    // As much as there is.
    table.reserve(GIB, PAGE).unwrap();
    assert_eq!(budget.used(), budget.limit());
    assert_eq!(table.reserve(3 * LARGE, PAGE), Err(NoMemory));
    let other = Table::new(&budget);
    assert!(other.is_err());
    // Entries without a table are refused, and what is there needs none.
    let pte = Pte::memory(Vram, 0, true);
    assert_eq!(table.map(3 * LARGE, PAGE, pte), Err(NoMemory));
    table.map(3 * LARGE, LARGE, pte).unwrap();
    assert_eq!(table.unmap(3 * LARGE, PAGE), Err(NoMemory));
    table.unmap(3 * LARGE, LARGE).unwrap();
    table.unmap(1 << 40, 1 << 42).unwrap();
    assert_eq!(table.pages(), Pages::default());
    drop(table);
    assert_eq!(budget.used(), 0);
}
