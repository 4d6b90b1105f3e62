//! B-10, B-11, B-14 and B-15: eviction scans, and colours that keep a distance.

use super::{Arena, MODES, Make, Miss, Place, primes, shuffled, wish};
use gpumm_contract::AllocationId;
use gpumm_contract::allocator::{Allocate, Answer, Command, Mode, Refusal, Scan};

/// How many nodes fill an arena.
const COUNT: u64 = 8192;

/// An arena that unit nodes fill, and their numbers in the order of eviction.
fn full(make: Make<'_>) -> (Arena, Vec<u32>) {
    let mut arena = Arena::new(make, COUNT);
    let numbers: Vec<u32> = (0..COUNT).map(|n| arena.reserve(n, 1)).collect();
    let order = shuffled(COUNT, 10);
    (arena, order.iter().map(|&n| numbers[n as usize]).collect())
}

fn scan(bytes: u64, alignment: u64, mode: Mode) -> Scan {
    Scan {
        bytes,
        alignment,
        mode,
        ..Scan::default()
    }
}

/// Adds nodes in order, until one completes a hole or all of them; removes them again and returns
/// those that must go, by their places in the order.
fn victims(arena: &mut Arena, scan: Scan, order: &[u32], stop: bool) -> Vec<usize> {
    arena.scan_begin(scan);
    let mut added = 0;
    for &number in order {
        added += 1;
        if arena.scan_add(number) && stop {
            break;
        }
    }
    let removed = (0..added).rev();
    removed.filter(|&at| arena.scan_remove(order[at])).collect()
}

/// Evicts for a wish, inserts it, and puts everything back. Returns the victims' places, where
/// the wish was, and how many went for their colour.
fn evict(arena: &mut Arena, scan: Scan, order: &mut [u32]) -> (Vec<Place>, u64, usize) {
    let mut gone = victims(arena, scan, order, true);
    assert!(!gone.is_empty(), "{scan:?}");
    let mut places: Vec<Place> = gone.iter().map(|&at| arena.free(order[at])).collect();
    let for_space = gone.len();
    while let Some(number) = arena.scan_colour() {
        places.push(arena.free(number));
        gone.extend(order.iter().position(|&n| n == number));
    }
    let evicting = Allocate {
        mode: Mode::Evict,
        ..scan.wish(AllocationId(0))
    };
    let (number, start) = arena.get(evicting);
    let first = places.iter().map(|place| place.start).min().unwrap();
    let end = places.iter().map(|place| place.start + place.bytes).max();
    assert!(
        first <= start && start + scan.bytes <= end.unwrap(),
        "{scan:?}"
    );
    let holes = arena.holes();
    arena.free(number);
    for (&at, &place) in gone.iter().zip(&places) {
        order[at] = arena.put(place);
    }
    if arena.guard == 0 {
        assert_eq!(holes, [], "nothing more than needed was evicted: {scan:?}");
        assert_eq!(places.len() as u64, scan.bytes);
    }
    (places, start, gone.len() - for_space)
}

/// B-10 a: a scan that ends without an eviction leaves no trace; while it lasts, nothing changes.
pub fn evict_nothing(make: Make<'_>) {
    for mode in MODES {
        let (mut arena, order) = full(make);
        let places = arena.places();
        let gone = victims(&mut arena, scan(1, 1, mode), &order, false);
        // What was added last was the last to complete a hole; nobody has to obey.
        assert_eq!(gone.len(), 1);
        assert_eq!(arena.places(), places);
        assert_eq!(arena.holes(), []);
        arena.check();
        forbidden(&mut arena, order[0], order[1]);
    }
}

/// What may not be done while nodes are added, and in which order they are removed.
fn forbidden(arena: &mut Arena, first: u32, second: u32) {
    let refused = |number, why| Answer::Refused(AllocationId(number), why);
    let [one, two] = [first, second].map(AllocationId);
    let begin = Command::ScanBegin(scan(1, 1, Mode::Best));
    arena.scan_begin(scan(2, 1, Mode::Best));
    assert_eq!(
        arena.ask(Command::ScanRemove(one)),
        refused(first, Refusal::Scan)
    );
    arena.scan_add(first);
    arena.scan_add(second);
    let unused = COUNT as u32;
    let over = Command::Allocate(Allocate::plain(AllocationId(unused), 1));
    for (command, number, why) in [
        (over, unused, Refusal::Scan),
        (Command::free(two), second, Refusal::Scan),
        (begin, 0, Refusal::Scan),
        (Command::ScanAdd(one), first, Refusal::Scan),
        (Command::ScanRemove(one), first, Refusal::Scan),
        (Command::ScanColour, 0, Refusal::Scan),
        (
            Command::ScanAdd(AllocationId(unused)),
            unused,
            Refusal::NumberUnknown,
        ),
    ] {
        assert_eq!(arena.ask(command), refused(number, why), "{command:?}");
    }
    arena.scan_remove(second);
    arena.scan_remove(first);
    arena.check();
    let wrong = |scan: Scan, why| (Command::ScanBegin(scan), refused(0, why));
    for (command, answer) in [
        wrong(scan(0, 1, Mode::Best), Refusal::Size),
        wrong(scan(COUNT + 1, 1, Mode::Best), Refusal::Range),
        wrong(
            Scan {
                range: Some((4, 6)),
                ..scan(3, 1, Mode::Best)
            },
            Refusal::Range,
        ),
    ] {
        assert_eq!(arena.ask(command), answer, "{command:?}");
    }
}

/// B-10 b: for the whole arena everything goes, and can come back.
pub fn evict_everything(make: Make<'_>) {
    let (mut arena, mut order) = full(make);
    let (places, start, _) = evict(&mut arena, scan(COUNT, 1, Mode::Evict), &mut order);
    assert_eq!((places.len() as u64, start), (COUNT, 0));
    arena.check();
}

/// B-10 c: sizes, coarse alignments and prime ones, in every mode.
pub fn evict_something(make: Make<'_>) {
    for mode in MODES {
        let (mut arena, mut order) = full(make);
        let mut scans: Vec<Scan> = (0..14).map(|bits| scan(1 << bits, 1, mode)).collect();
        scans.extend((0..13).map(|bits| scan(4096, 1 << bits, mode)));
        let primes = primes(4096).into_iter().step_by(40);
        scans.extend(primes.map(|prime| scan((COUNT - prime).div_ceil(2), prime, mode)));
        for scan in scans {
            evict(&mut arena, scan, &mut order);
        }
        arena.check();
    }
    // Of a victim that is larger than the wish, the highest part is found, the lowest is used.
    for (mode, place) in [(Mode::Evict, 4), (Mode::High, 5)] {
        let mut arena = Arena::new(make, 14);
        let all = [(0, 4), (4, 6), (10, 4)].map(|(start, bytes)| arena.reserve(start, bytes));
        let gone = victims(&mut arena, scan(5, 1, Mode::High), &[all[1]], true);
        assert_eq!(gone, [0]);
        arena.free(all[1]);
        assert_eq!(arena.get(wish(5, mode)).1, place);
    }
}

/// Holes between the nodes count: what is free already need not be evicted.
pub fn evict_around_holes(make: Make<'_>) {
    // Taken 0..2, 4..6, 6..8, 11..12 and 14..16.
    let mut arena = Arena::new(make, 16);
    let places = [(0, 2), (4, 2), (6, 2), (11, 1), (14, 2)];
    let all = places.map(|(start, bytes)| arena.reserve(start, bytes));
    let mut found = |bytes, mode, order: &[usize]| {
        let order: Vec<u32> = order.iter().map(|&n| all[n]).collect();
        victims(&mut arena, scan(bytes, 1, mode), &order, true)
    };
    // The hole beside a victim is enough; 0..2 was added and stays.
    assert_eq!(found(5, Mode::Low, &[0, 3]), [1]);
    // The mode says which end of 2..11 is meant.
    assert_eq!(found(7, Mode::Low, &[2, 0, 1]), [2, 1, 0]);
    assert_eq!(found(6, Mode::Low, &[2, 1]), [1, 0]);
    assert_eq!(found(6, Mode::High, &[1, 2]), [1, 0]);
    assert_eq!(found(5, Mode::Low, &[1, 2]), [1, 0]);
    assert_eq!(found(5, Mode::High, &[1, 2]), [1]);
    // Runs that grow together from both sides.
    assert_eq!(found(12, Mode::Best, &[3, 1, 2]), [2, 1, 0]);
    assert_eq!(found(16, Mode::Best, &[4, 0, 3, 1, 2]), [4, 3, 2, 1, 0]);
    arena.check();
}

/// B-11: within a range only what lies in it goes.
pub fn evict_range(make: Make<'_>) {
    let (low, high) = (COUNT / 4, 3 * COUNT / 4);
    for mode in MODES {
        let (mut arena, mut order) = full(make);
        let plain = (0..13).map(|bits| scan(1 << bits, 1, mode));
        let coarse = (0..12).map(|bits| scan(2048, 1 << bits, mode));
        let primes = primes(2048).into_iter().step_by(40);
        let odd = primes.map(|prime| scan((high - low - prime).div_ceil(2), prime, mode));
        for scan in plain.chain(coarse).chain(odd) {
            let range = Some((low, high));
            let (gone, ..) = evict(&mut arena, Scan { range, ..scan }, &mut order);
            assert!(gone.iter().all(|p| low <= p.start && p.start < high));
        }
        arena.check();
    }
}

fn coloured(bytes: u64, mode: Mode, colour: u64) -> Allocate {
    Allocate {
        colour,
        ..wish(bytes, mode)
    }
}

/// B-14: different colours keep a distance of one, equal ones none.
pub fn colour(make: Make<'_>) {
    for mode in MODES {
        // Without a rule, colours are nobody's business.
        let mut arena = Arena::new(make, 100);
        (0..100).for_each(|colour| _ = arena.get(coloured(1, mode, colour)));
        arena.check();
        // Pairs of a colour, each pair a gap from the next: 2 + 1 + 2 + 1 ...
        let mut arena = Arena::with_guard(make, 299, 1);
        let numbers: Vec<u32> = (0..200)
            .map(|n| arena.get(coloured(1, mode, n / 2)).0)
            .collect();
        let gaps: Vec<_> = (0..99).map(|n| (3 * n + 2, 1)).collect();
        assert_eq!(arena.holes(), gaps, "{mode:?}");
        assert_eq!(
            arena.try_get(coloured(1, mode, 1000)),
            Err(Miss::NoSpace(1))
        );
        // A gap beside a colour is room for that colour, if only on both sides.
        for colour in (0..100).step_by(10) {
            assert_eq!(
                arena.try_get(coloured(1, mode, colour)),
                Err(Miss::NoSpace(1))
            );
        }
        arena.check();
        for colour in 1..=20 {
            // The lone hole of three serves any colour in its middle.
            let place = arena.free(numbers[100]);
            let one = arena.try_get(coloured(1, mode, 1000 + colour));
            assert!(one.is_err(), "a hole of 2 beside its own colour");
            let other = arena.free(numbers[101]);
            let (number, start) = arena.get(coloured(2, mode, 1000 + colour));
            assert_eq!(start, place.start.min(other.start), "{mode:?}");
            arena.free(number);
            // Reserved without the gap, beside another colour.
            let near = Place {
                start: start - 1,
                bytes: 1,
                colour: 1000 + colour,
            };
            assert_eq!(arena.try_put(near), Err(Miss::NoSpace(4)));
            // In the order that gives the same numbers again.
            let other = arena.put(other);
            assert_eq!((arena.put(place), other), (numbers[100], numbers[101]));
        }
        arena.check();
    }
}

/// B-15: victims are found at a distance, and neighbours of the wrong colour go as well.
pub fn colour_evict(make: Make<'_>) {
    let whole = 2 * COUNT - 1;
    for range in [None, Some((whole / 4, 3 * whole / 4))] {
        for mode in MODES {
            let mut arena = Arena::with_guard(make, whole, 1);
            let place = |n: u64| Place {
                start: 2 * n,
                bytes: 1,
                colour: n,
            };
            let mut order: Vec<u32> = (0..COUNT).map(|n| arena.put(place(n))).collect();
            fastrand::Rng::with_seed(15).shuffle(&mut order);
            let most = if range.is_some() { 12 } else { 13 };
            let sizes = (0..=most).map(|bits| 1u64 << bits);
            let mut scans: Vec<Scan> = sizes.map(|bytes| scan(bytes, 1, mode)).collect();
            scans.extend((1..11).map(|bits| scan(2048, 1 << bits, mode)));
            scans.extend([3, 61, 509].map(|prime| scan(1000, prime, mode)));
            let mut for_colour = 0;
            for plain in scans {
                let scan = Scan {
                    range,
                    colour: COUNT + plain.bytes,
                    ..plain
                };
                // The answers are held against the distance where they come in.
                let (_, start, more) = evict(&mut arena, scan, &mut order);
                for_colour += more;
                assert!(range.is_none_or(|(low, _)| low <= start));
            }
            assert!(for_colour > 5, "{mode:?}: {for_colour}");
            arena.check();
        }
    }
}
