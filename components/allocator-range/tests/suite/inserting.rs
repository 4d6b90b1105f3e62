//! B-1 to B-8, B-12, B-13, B-16 to B-19: reserving and inserting.

use super::{Arena, MODES, Make, Miss, Place, primes, shuffled, sizes, wish};
use gpumm_contract::allocator::{Allocate, Mode, Refusal};
use std::time::Instant;

const N: u64 = 1024;

fn within(bytes: u64, mode: Mode, start: u64, end: u64) -> Allocate {
    Allocate {
        range: Some((start, end)),
        ..wish(bytes, mode)
    }
}

fn aligned(bytes: u64, mode: Mode, alignment: u64) -> Allocate {
    Allocate {
        alignment,
        ..wish(bytes, mode)
    }
}

/// B-1: an empty arena is one hole, before everything is taken and afterwards.
pub fn init(make: Make<'_>) {
    for size in sizes(54).into_iter().chain([N, 8192]) {
        let mut arena = Arena::new(make, size);
        arena.check();
        let all = arena.reserve(0, size);
        assert_eq!(arena.holes(), []);
        arena.check();
        assert_eq!(arena.try_get(wish(1, Mode::Best)), Err(Miss::NoSpace(0)));
        arena.free(all);
        assert_eq!(arena.holes(), [(0, size)]);
        arena.check();
    }
}

/// B-2: no range that is empty, wraps or leaves the arena is reserved, whether or not it is full.
pub fn reserve_errors(make: Make<'_>) {
    for s in sizes(53) {
        let mut arena = Arena::new(make, N * s);
        let (minus, all) = (0u64.wrapping_sub(s), N * s);
        let ranges = [
            (0, 0),
            (minus, 0),
            (s, 0),
            (all, 0),
            (minus, s),
            (minus, minus),
            (minus, s.wrapping_mul(2)),
            (0, minus),
            (s, minus),
            (all, s),
            (all, minus),
            (all, all),
            (all, 0u64.wrapping_sub(all)),
            (all, 0u64.wrapping_sub(all + s)),
            (all + s, s),
            (all + s, minus),
            (all + s, 0u64.wrapping_sub(2 * s)),
        ];
        for full in [false, true] {
            for (start, bytes) in ranges {
                let why = if bytes == 0 {
                    Refusal::Size
                } else {
                    Refusal::Range
                };
                let refused = arena.try_reserve(start, bytes);
                assert_eq!(refused, Err(Miss::Refused(why)), "{bytes} at {start}");
            }
            arena.check();
            if !full {
                (0..N).for_each(|n| _ = arena.reserve(n * s, s));
            }
        }
    }
}

/// Frees batches and asks for as much again, until everybody has been freed once.
fn in_batches(
    arena: &mut Arena,
    numbers: &mut [u32],
    mut again: impl FnMut(&mut Arena, &[Place]) -> Vec<u32>,
) {
    for (seed, prime) in primes(300).into_iter().enumerate() {
        // A few of the primes do: they differ in how the batches lie.
        if seed % 9 != 2 {
            continue;
        }
        fastrand::Rng::with_seed(seed as u64).shuffle(numbers);
        for batch in numbers.chunks_mut(prime as usize) {
            let places: Vec<_> = batch.iter().map(|&n| arena.free(n)).collect();
            batch.copy_from_slice(&again(arena, &places));
        }
        arena.check();
    }
}

/// B-3: nodes are reserved in any order, and again after any of them are gone.
pub fn reserve(make: Make<'_>) {
    for (seed, s) in sizes(53).into_iter().enumerate() {
        let mut arena = Arena::new(make, N * s);
        let order = shuffled(N, seed as u64);
        let mut numbers: Vec<u32> = order.iter().map(|n| arena.reserve(n * s, s)).collect();
        let places: Vec<_> = (0..N).map(|n| (n * s, s)).collect();
        assert_eq!(arena.places(), places);
        arena.check();
        for n in 0..N {
            assert_eq!(arena.try_reserve(n * s, s), Err(Miss::NoSpace(0)));
        }
        for number in numbers.iter_mut().take(100) {
            let place = arena.free(*number);
            *number = arena.put(place);
        }
        in_batches(&mut arena, &mut numbers, |arena, places| {
            let again = places.iter().rev();
            again.map(|&place| arena.put(place)).collect()
        });
        assert_eq!(arena.places(), places);
    }
}

/// B-4: what fits is inserted, one more is not, and the only hole is used again.
pub fn insert(make: Make<'_>) {
    for mode in MODES {
        for s in sizes(53).into_iter().step_by(4) {
            let mut arena = Arena::new(make, N * s);
            let mut numbers: Vec<u32> = (0..N).map(|_| arena.get(wish(s, mode)).0).collect();
            assert_eq!(arena.try_get(wish(s, mode)), Err(Miss::NoSpace(0)));
            for number in &mut numbers {
                let Place { start, .. } = arena.free(*number);
                let (again, place) = arena.get(wish(s, mode));
                assert_eq!(place, start, "{mode:?}");
                *number = again;
            }
            in_batches(&mut arena, &mut numbers, |arena, places| {
                let again = places.iter().map(|_| arena.get(wish(s, mode)).0);
                again.collect()
            });
            assert_eq!(arena.holes(), []);
        }
    }
}

/// B-5: a window is filled, by multiples or not, and nothing outside it is used.
pub fn insert_range(make: Make<'_>) {
    const COUNT: u64 = 2048;
    for mode in MODES {
        for s in [1, 3, 31, 4096, (1 << 23) + 1] {
            let max = COUNT * s;
            let windows = [
                (0, max),
                (1, max),
                (0, max - 1),
                (0, max / 2),
                (max / 2, max),
                (max / 4 + 1, 3 * max / 4 - 1),
            ];
            for (start, end) in windows {
                fill_window(make, max, within(s, mode, start, end), 1);
                fill_window(make, max, within(s, mode, start, end), s);
            }
        }
    }
}

fn fill_window(make: Make<'_>, size: u64, plain: Allocate, alignment: u64) {
    let mut arena = Arena::new(make, size);
    let (s, (start, end)) = (plain.bytes, plain.range.unwrap());
    let fitting = Allocate { alignment, ..plain };
    let count = if alignment == 1 {
        (end - start) / s
    } else {
        end / s - start.div_ceil(s)
    };
    let numbers: Vec<u32> = (0..count).map(|_| arena.get(fitting).0).collect();
    // Another one fits nowhere, not even between the multiples.
    assert!(matches!(arena.try_get(plain), Err(Miss::NoSpace(_))));
    for number in numbers.into_iter().step_by(7) {
        let Place { start, .. } = arena.free(number);
        assert_eq!(arena.get(fitting).1, start, "{fitting:?}");
    }
    let places = arena.places();
    assert_eq!(places.len() as u64, count);
    let (first, last) = (places[0].0, places[places.len() - 1].0 + s);
    if start > 0 {
        assert_eq!(arena.holes().first().unwrap(), &(0, first));
    }
    if end < size {
        assert_eq!(arena.holes().last().unwrap(), &(last, size - last));
    }
    arena.check();
}

/// B-6: outside the arena there is nothing. It begins at 0 here, so below it means taken.
pub fn outside_range(make: Make<'_>) {
    for mode in MODES {
        let mut arena = Arena::new(make, 2048);
        arena.reserve(0, 1024);
        let full = Err(Miss::NoSpace(1024));
        let wrong = Err(Miss::Refused(Refusal::Range));
        assert_eq!(arena.try_get(within(1, mode, 0, 1024)), full);
        assert_eq!(arena.try_get(within(1024, mode, 512, 1536)), full);
        assert_eq!(arena.try_get(within(1024, mode, 1536, 2560)), wrong);
        assert_eq!(arena.try_get(within(1, mode, 2048, 3072)), wrong);
        arena.check();
    }
}

/// B-7: holes that are too small cost no time. Of a few runs one has to be quiet enough.
pub fn fragmentation(make: Make<'_>) {
    for mode in [Mode::Low, Mode::High] {
        let quick = (0..5).any(|_| {
            let mut arena = Arena::new(make, u64::MAX - 1);
            arena.reserve(0, 1);
            let small: Vec<u32> = (0..10_000).map(|_| arena.get(wish(4096, mode)).0).collect();
            small.iter().step_by(2).for_each(|&n| _ = arena.free(n));
            let mut time = |count| {
                let start = Instant::now();
                (0..count).for_each(|_| _ = arena.get(wish(8192, mode)));
                start.elapsed()
            };
            let (first, then) = (time(10_000), time(20_000));
            arena.check();
            then <= first * 4
        });
        assert!(quick, "{mode:?}");
    }
}

/// B-8: any alignment is kept, a prime one as well.
pub fn align(make: Make<'_>) {
    let fresh = || {
        let mut arena = Arena::new(make, u64::MAX - 1);
        arena.reserve(0, 1);
        arena
    };
    let primes = primes(8209);
    for mode in MODES {
        let mut arena = fresh();
        arena.get(aligned(2, mode, 1));
        for pair in primes.windows(2).filter(|pair| pair[0] < 8192) {
            // The answer is checked against the alignment where it comes in.
            arena.get(aligned(pair[1], mode, pair[0]));
        }
        arena.check();
    }
    for most in [31, 63] {
        let mut arena = fresh();
        for bits in (1..=most).rev() {
            arena.get(aligned((1 << (bits - 1)) + 1, Mode::Best, 1 << bits));
        }
        arena.check();
    }
}

/// B-12: `High` fills from the top without a gap, `Low` from the bottom; freed places are used
/// again in that order.
pub fn directions(make: Make<'_>) {
    const COUNT: u64 = 8192;
    for s in (0..7).map(|bits| 1 << bits) {
        for mode in [Mode::High, Mode::Low] {
            let mut arena = Arena::new(make, COUNT * s);
            let at = |n: u64| match mode {
                Mode::High => (COUNT - 1 - n) * s,
                _ => n * s,
            };
            let mut numbers = Vec::new();
            for n in 0..COUNT {
                let (number, place) = arena.get(wish(s, mode));
                assert_eq!(place, at(n), "{mode:?}");
                numbers.push(number);
            }
            in_batches(&mut arena, &mut numbers, |arena, places| {
                let mut order: Vec<u64> = places.iter().map(|place| place.start).collect();
                order.sort_unstable();
                if mode == Mode::High {
                    order.reverse();
                }
                let again = order.iter().map(|&start| {
                    let (number, place) = arena.get(wish(s, mode));
                    assert_eq!(place, start, "{mode:?}");
                    number
                });
                again.collect()
            });
        }
    }
}

/// B-13: once is the first hole that is large enough, and no other.
pub fn once(make: Make<'_>) {
    let once = |bytes, mode| Allocate {
        once: true,
        ..wish(bytes, mode)
    };
    let seven = || {
        let mut arena = Arena::new(make, 7);
        arena.reserve(1, 1);
        arena.reserve(5, 1);
        arena
    };
    assert_eq!(seven().get(once(2, Mode::Low)).1, 2);
    assert_eq!(seven().get(once(2, Mode::High)).1, 3);
    // Holes of 1, 3, 4, 1 and 7 from the left.
    let five = || {
        let mut arena = Arena::new(make, 20);
        for start in [1, 5, 10, 12] {
            arena.reserve(start, 1);
        }
        arena
    };
    let holes = [(0, 1), (2, 3), (6, 4), (11, 1), (13, 7)];
    assert_eq!(five().holes(), holes);
    assert_eq!(five().get(once(4, Mode::Low)).1, 6);
    assert_eq!(five().get(once(4, Mode::High)).1, 16);
    assert_eq!(five().get(once(3, Mode::Best)).1, 2);
    // Only a later hole holds the alignment: once does not come to it.
    for (mode, bytes, alignment, place) in [
        (Mode::Low, 2, 7, 7),
        (Mode::High, 5, 12, 0),
        (Mode::Best, 3, 7, 7),
        (Mode::Best, 2, 16, 16),
    ] {
        let wish = aligned(bytes, mode, alignment);
        let first = Allocate { once: true, ..wish };
        assert_eq!(five().try_get(first), Err(Miss::NoSpace(7)), "{mode:?}");
        if place > 0 {
            assert_eq!(five().get(wish).1, place, "{mode:?}");
        }
    }
    // The newest of sufficient size is the last one, though a newer hole lies in the way.
    let mut arena = five();
    let wide = arena.reserve(13, 7);
    arena.free(wide);
    let small = arena.reserve(0, 1);
    arena.free(small);
    assert_eq!(arena.get(once(3, Mode::Evict)).1, 13);
}

/// B-16: best fit takes the smallest hole that fits, first fit the lowest.
pub fn best_is_smallest(make: Make<'_>) {
    // Holes of 5, 3 and 4 from the left.
    let fresh = || {
        let mut arena = Arena::new(make, 14);
        for start in [5, 9] {
            arena.reserve(start, 1);
        }
        assert_eq!(arena.holes(), [(0, 5), (6, 3), (10, 4)]);
        arena
    };
    for mode in [Mode::Best, Mode::BestLow] {
        assert_eq!(fresh().get(wish(3, mode)).1, 6);
        assert_eq!(fresh().get(wish(4, mode)).1, 10);
        assert_eq!(fresh().get(wish(5, mode)).1, 0);
    }
    assert_eq!(fresh().get(wish(3, Mode::Low)).1, 0);
}

/// The tie of best fit: the newest hole of the size, or the lowest.
pub fn ties(make: Make<'_>) {
    let fresh = || {
        let mut arena = Arena::new(make, 70);
        let taken: Vec<u32> = (0..7).map(|n| arena.reserve(10 * n, 10)).collect();
        for n in [3, 5, 1] {
            arena.free(taken[n]);
        }
        arena
    };
    let places = |mode| {
        let mut arena = fresh();
        [(); 3].map(|()| arena.get(wish(10, mode)).1)
    };
    assert_eq!(places(Mode::Best), [10, 50, 30]);
    assert_eq!(places(Mode::BestLow), [10, 30, 50]);
    // Mixed in one arena: each order is kept while the other one is used.
    let mut arena = fresh();
    let modes = [Mode::BestLow, Mode::Best, Mode::BestLow];
    assert_eq!(modes.map(|mode| arena.get(wish(10, mode)).1), [10, 50, 30]);
}

/// B-17: the high end is aligned downwards.
pub fn high_align(make: Make<'_>) {
    let high = |range| Allocate {
        range,
        ..aligned(10, Mode::High, 16)
    };
    assert_eq!(Arena::new(make, 100).get(high(None)).1, 80);
    assert_eq!(Arena::new(make, 100).get(high(Some((0, 85)))).1, 64);
}

/// B-18: the newest hole is used.
pub fn evict_is_newest(make: Make<'_>) {
    let mut arena = Arena::new(make, 100);
    let all: Vec<u32> = (0..10).map(|n| arena.reserve(10 * n, 10)).collect();
    arena.free(all[1]);
    arena.free(all[5]);
    assert_eq!(arena.get(wish(8, Mode::Evict)).1, 50);
    assert_eq!(arena.get(wish(8, Mode::Evict)).1, 10);
}

/// B-19: a place of a range manager of 256 pages.
pub fn pages(make: Make<'_>) {
    assert_eq!(
        Arena::new(make, 256).get(within(8, Mode::Best, 16, 32)).1,
        16
    );
    assert_eq!(
        Arena::new(make, 256).get(within(8, Mode::High, 16, 32)).1,
        24
    );
}
