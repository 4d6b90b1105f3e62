//! Random calls with every flag against a bitmap: A-39.

use super::pool::Subject;
use crate::{STEPS, each};
use gpumm_contract::allocator::{Allocate, Failure, Geometry, Mode, Refusal};
use gpumm_contract::{AllocationId, Extent};

/// What a page is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Page {
    Free { clear: bool },
    Taken { by: u32, clear: bool },
}

/// What is known of an arena without knowing how it is managed.
struct Bitmap {
    granule: u64,
    pages: Vec<Page>,
}

impl Bitmap {
    fn free(&self) -> u64 {
        let free = self.pages.iter().filter(|p| matches!(p, Page::Free { .. }));
        free.count() as u64
    }

    fn clear(&self) -> u64 {
        let clear = Page::Free { clear: true };
        self.pages.iter().filter(|page| **page == clear).count() as u64
    }

    /// The pages of an extent, which must be on the granule and in the arena.
    fn pages_of(&mut self, extent: &Extent) -> &mut [Page] {
        let Extent { offset, bytes } = *extent;
        assert!(bytes > 0 && offset.is_multiple_of(self.granule));
        assert!(bytes.is_multiple_of(self.granule));
        let from = (offset / self.granule) as usize;
        &mut self.pages[from..from + (bytes / self.granule) as usize]
    }

    /// Frees what a number holds; `cleared` says what is known of it, `None` = what was known.
    fn release(&mut self, number: u32, cleared: Option<bool>, but: Option<&Extent>) -> bool {
        let (mut found, granule) = (false, self.granule);
        for (page, at) in self.pages.iter_mut().zip(0..) {
            let stays = but.is_some_and(|but| {
                let offset = at * granule;
                offset >= but.offset && offset - but.offset < but.bytes
            });
            match *page {
                Page::Taken { by, clear } if by == number && !stays => {
                    let clear = cleared.unwrap_or(clear);
                    *page = Page::Free { clear };
                    found = true;
                }
                _ => (),
            }
        }
        found
    }

    fn reset_clear(&mut self, to: bool) {
        for page in &mut self.pages {
            if let Page::Free { clear } = page {
                *clear = to;
            }
        }
    }
}

/// Numbers in use at a time.
const NUMBERS: u32 = 40;

fn wish(rng: &mut fastrand::Rng, map: &Bitmap) -> Allocate {
    let (pages, granule) = (map.pages.len() as u64, map.granule);
    let most = [pages / 8, pages / 2, pages + 1][rng.usize(..3)].max(1);
    let mut wish = Allocate::plain(
        AllocationId(rng.u32(..NUMBERS)),
        rng.u64(1..=most) * granule,
    );
    if rng.u8(..3) == 0 {
        wish.bytes = granule << rng.u32(..6);
    }
    if rng.u8(..2) == 0 {
        wish.alignment = granule << rng.u32(..6);
    }
    if rng.u8(..3) == 0 {
        let (a, b) = (rng.u64(..=pages), rng.u64(..=pages));
        let end = if rng.u8(..4) == 0 {
            a.min(b) * granule + wish.bytes
        } else {
            a.max(b) * granule
        };
        wish.range = Some((a.min(b) * granule, end));
    }
    if rng.u8(..3) == 0 {
        wish.mode = Mode::High;
    }
    wish.contiguous = rng.u8(..3) == 0;
    wish.clear = rng.bool();
    wish.keep_rounding = rng.u8(..4) == 0;
    wish
}

/// Invariants 7 and 8: the sum, the sizes of the blocks, the window, and one gap-free extent.
fn obeys(wish: &Allocate, extents: &[Extent], map: &Bitmap) {
    let size = map.pages.len() as u64 * map.granule;
    let sum: u64 = extents.iter().map(|extent| extent.bytes).sum();
    assert!(sum == wish.bytes || wish.keep_rounding && sum > wish.bytes);
    let (start, end) = wish.range.unwrap_or((0, size));
    let least = wish.alignment.max(map.granule);
    let (last, others) = extents.split_last().unwrap();
    for extent in extents {
        assert!(extent.offset.is_multiple_of(least), "{wish:?} {extents:?}");
        assert!(extent.offset >= start && extent.offset + extent.bytes <= end);
    }
    assert!(others.iter().all(|extent| extent.bytes >= least));
    let one = wish.contiguous || end - start == wish.bytes;
    assert!(!one || others.is_empty(), "{wish:?} {extents:?}");
    assert!(last.bytes > 0);
}

/// Takes the pages of an answer. What is said to be clear must have been; the other way round,
/// too, unless the call joined buddies of both classes.
fn enter(subject: &dyn Subject, number: u32, extents: &[Extent], map: &mut Bitmap) {
    let before = map.clear();
    for extent in extents {
        for page in map.pages_of(extent) {
            let Page::Free { clear } = *page else {
                panic!("{extent:?} is taken");
            };
            *page = Page::Taken { by: number, clear };
        }
    }
    let (Some(left), Some(blocks)) = (
        subject.clear_bytes(),
        subject.blocks_of(AllocationId(number)),
    ) else {
        return;
    };
    let sum: u64 = blocks.iter().map(|block| block.0.bytes).sum();
    assert_eq!(sum, extents.iter().map(|extent| extent.bytes).sum::<u64>());
    let flagged: u64 = blocks.iter().filter(|b| b.1).map(|b| b.0.bytes).sum();
    let joined = left + flagged < before * map.granule;
    for (extent, flag) in blocks {
        for page in map.pages_of(&extent) {
            let known = *page
                == Page::Taken {
                    by: number,
                    clear: true,
                };
            assert!(if joined {
                known || !flag
            } else {
                known == flag
            });
            *page = Page::Taken {
                by: number,
                clear: flag,
            };
        }
    }
}

fn allocate(rng: &mut fastrand::Rng, subject: &mut dyn Subject, map: &mut Bitmap) {
    let wish = wish(rng, map);
    let (free, clear) = (map.free(), subject.clear_bytes());
    let before = Extent::default();
    let mut extents = vec![before];
    let result = subject.allocate(&wish, &mut extents);
    assert_eq!(extents.remove(0), before);
    let held = |page: &Page| matches!(page, Page::Taken { by, .. } if *by == wish.number.0);
    let geometry = Geometry {
        size: map.pages.len() as u64 * map.granule,
        granule: map.granule,
    };
    let refusal = match wish.checked(geometry) {
        Err(why) => Some(why),
        Ok(_) => (map.pages.iter().any(held)).then_some(Refusal::NumberInUse),
    };
    match result {
        Ok(()) => {
            assert_eq!(refusal, None);
            obeys(&wish, &extents, map);
            enter(subject, wish.number.0, &extents, map);
        }
        Err(why) => {
            // Invariant 6.
            assert!(extents.is_empty());
            assert!(subject.clear_bytes() <= clear, "none gets clear");
            match (refusal, why) {
                (Some(refusal), why) => assert_eq!(why, Failure::Refused(refusal)),
                (None, Failure::NoSpace { .. }) => {
                    // Single pages always do, wherever they are.
                    let plain = wish.alignment <= map.granule && !wish.contiguous;
                    let anywhere = plain && wish.range.is_none();
                    assert!(!anywhere || free * map.granule < wish.bytes, "{wish:?}");
                }
                (None, why) => panic!("{wish:?}: {why:?}"),
            }
        }
    }
}

fn trim(rng: &mut fastrand::Rng, subject: &mut dyn Subject, map: &mut Bitmap) {
    let (number, granule) = (rng.u32(..NUMBERS), map.granule);
    let page = rng.u64(..map.pages.len() as u64);
    let start = rng.bool().then_some(page * granule);
    let bytes = rng.u64(..8) * granule;
    let mut kept = Vec::new();
    let result = subject.trim(AllocationId(number), start, bytes, &mut kept);
    if result.is_err() {
        assert!(kept.is_empty());
        return;
    }
    let [kept] = kept[..] else {
        panic!("{kept:?}");
    };
    assert_eq!(kept.bytes, bytes);
    let held = |page: &Page| matches!(page, Page::Taken { by, .. } if *by == number);
    assert!(map.pages_of(&kept).iter().all(held));
    map.release(number, None, Some(&kept));
}

fn step(rng: &mut fastrand::Rng, subject: &mut dyn Subject, map: &mut Bitmap) {
    let mut joined = false;
    match rng.u8(..100) {
        0..50 => {
            allocate(rng, subject, map);
            // Fewer are clear than the bitmap says: buddies were joined.
            let seen = subject.clear_bytes().map(|bytes| bytes / map.granule);
            joined = seen.is_some_and(|seen| seen < map.clear());
        }
        50..88 => {
            let (number, cleared) = (rng.u32(..NUMBERS), rng.bool());
            let freed = subject.free_as(AllocationId(number), cleared);
            let expected = match map.release(number, Some(cleared), None) {
                true => Ok(()),
                false => Err(Refusal::NumberUnknown),
            };
            assert_eq!(freed, expected);
        }
        88..98 => trim(rng, subject, map),
        _ => {
            let clear = rng.bool();
            assert_eq!(subject.reset_clear(clear), Ok(()));
            map.reset_clear(clear);
        }
    }
    // Invariants 1 to 5 are the subject's own, compared here with what the bitmap knows.
    assert_eq!(subject.validate(), Ok(()));
    assert_eq!(subject.statistics().free_bytes, map.free() * map.granule);
    if joined {
        // Which pages got dirty cannot be seen from outside: start again from known ground.
        let clear = rng.bool();
        assert_eq!(subject.reset_clear(clear), Ok(()));
        map.reset_clear(clear);
    }
    if let Some(bytes) = subject.clear_bytes() {
        assert_eq!(bytes, map.clear() * map.granule);
    }
}

#[test]
fn a_39_every_call_keeps_the_invariants() {
    each(|s| {
        let arenas = [(1, 4096), (13, 4096), (48, 1), (64, 4096), (100, 1 << 20)];
        for (seed, &(pages, granule)) in arenas.iter().enumerate() {
            let mut rng = fastrand::Rng::with_seed(seed as u64);
            let size = pages * granule;
            s.init(Geometry { size, granule }).unwrap();
            let empty = Page::Free { clear: false };
            let mut map = Bitmap {
                granule,
                pages: vec![empty; pages as usize],
            };
            for _ in 0..STEPS / arenas.len() as u64 {
                step(&mut rng, s, &mut map);
            }
            // Invariant 9.
            for number in 0..NUMBERS {
                let _ = s.free(AllocationId(number));
            }
            s.reset_clear(false).unwrap();
            assert_eq!(s.statistics().holes, u64::from(pages.count_ones()));
            assert_eq!(s.statistics().free_bytes, size);
        }
    });
}
