//! Part B of the reference as checks of whatever executes packed commands: the library, or a
//! component in its Store.
//!
//! Granules are one byte here, so that sizes are the reference's unit-less ones. [`Arena`] keeps
//! its own record of what was answered and holds every answer against it.
#![allow(dead_code, unreachable_pub, missing_docs)]

mod evicting;
mod inserting;

pub use evicting::*;
pub use inserting::*;

use gpumm_contract::allocator::{Allocate, Answer, Command, Mode, Refusal, Scan};
use gpumm_contract::wire::{Kind, Reader, Writer};
use gpumm_contract::{AllocationId, Extent};
use std::collections::BTreeMap;

/// The modes of the reference.
pub const MODES: [Mode; 4] = [Mode::Best, Mode::Low, Mode::High, Mode::Evict];

/// A strategy that serves an empty arena.
pub trait Executor {
    fn execute(&mut self, commands: &[u64]) -> Vec<u64>;

    /// Checks itself from scratch, where that is possible.
    fn validate(&self) -> Result<(), &'static str> {
        Ok(())
    }
}

/// Makes executors of arenas of a size and with a guard, with a granule of one byte.
pub type Make<'a> = &'a dyn Fn(u64, u64) -> Box<dyn Executor>;

/// Where an allocation is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    pub start: u64,
    pub bytes: u64,
    pub colour: u64,
}

/// An executor and what it has answered so far.
pub struct Arena {
    executor: Box<dyn Executor>,
    size: u64,
    /// What is kept between neighbours of different colours.
    guard: u64,
    /// By start: size and number.
    live: BTreeMap<u64, (u64, u32)>,
    /// By number; size 0 for none.
    numbers: Vec<Place>,
    unused: Vec<u32>,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Miss {
    /// With the largest hole.
    NoSpace(u64),
    Refused(Refusal),
}

/// A wish for bytes; the number is chosen later.
pub fn wish(bytes: u64, mode: Mode) -> Allocate {
    Allocate {
        mode,
        ..Allocate::plain(AllocationId(0), bytes)
    }
}

impl Arena {
    pub fn new(make: Make<'_>, size: u64) -> Self {
        Self::with_guard(make, size, 0)
    }

    pub fn with_guard(make: Make<'_>, size: u64, guard: u64) -> Self {
        Arena {
            executor: make(size, guard),
            size,
            guard,
            live: BTreeMap::new(),
            numbers: Vec::new(),
            unused: Vec::new(),
        }
    }

    /// The answer to one command.
    pub fn ask(&mut self, command: Command) -> Answer {
        let mut words = Writer::new(Kind::Commands);
        command.encode(&mut words);
        let answers = self.executor.execute(&words.finish());
        let mut reader = Reader::new(&answers, Kind::Answers).unwrap();
        let answer = Answer::decode(&reader.next().unwrap().unwrap()).unwrap();
        assert!(reader.next().unwrap().is_none());
        answer
    }

    /// Allocates; returns number and start. The place obeys the wish and is nobody else's.
    #[track_caller]
    pub fn try_get(&mut self, wish: Allocate) -> Result<(u32, u64), Miss> {
        let number = self.unused.pop().unwrap_or(self.numbers.len() as u32);
        let wish = Allocate {
            number: AllocationId(number),
            ..wish
        };
        let miss = match self.ask(Command::Allocate(wish)) {
            Answer::Extents(n, extents) if n == wish.number => {
                return Ok((number, self.enter(&wish, &extents)));
            }
            Answer::NoSpace {
                number,
                largest_hole,
            } if number == wish.number => Miss::NoSpace(largest_hole),
            Answer::Refused(n, why) if n == wish.number => Miss::Refused(why),
            other => panic!("{wish:?}: {other:?}"),
        };
        if (number as usize) < self.numbers.len() {
            self.unused.push(number);
        }
        Err(miss)
    }

    #[track_caller]
    fn enter(&mut self, wish: &Allocate, extents: &[Extent]) -> u64 {
        let &[Extent { offset, bytes }] = extents else {
            panic!("{wish:?}: {extents:?}");
        };
        let (low, high) = wish.range.unwrap_or((0, self.size));
        let end = offset + bytes;
        assert_eq!(bytes, wish.bytes, "{wish:?}: {offset}");
        assert!(low <= offset && end <= high, "{wish:?}: {offset}");
        assert_eq!(offset % wish.alignment.max(1), 0, "{wish:?}: {offset}");
        let below = self.live.range(..end).next_back();
        if let Some((&at, &(bytes, number))) = below {
            let gap = self.gap(number, wish.colour);
            assert!(at + bytes + gap <= offset, "{wish:?}: {offset} is taken");
        }
        if let Some((&at, &(_, number))) = self.live.range(end..).next() {
            let gap = self.gap(number, wish.colour);
            assert!(end + gap <= at, "{wish:?}: {offset} is too near to {at}");
        }
        let number = wish.number.0;
        self.live.insert(offset, (bytes, number));
        if number as usize == self.numbers.len() {
            self.numbers.push(Place::default());
        }
        self.numbers[number as usize] = Place {
            start: offset,
            bytes,
            colour: wish.colour,
        };
        offset
    }

    /// How far something of a colour must be from an allocation.
    fn gap(&self, number: u32, colour: u64) -> u64 {
        if self.place(number).colour == colour {
            0
        } else {
            self.guard
        }
    }

    /// Allocates what there must be room for.
    #[track_caller]
    pub fn get(&mut self, wish: Allocate) -> (u32, u64) {
        match self.try_get(wish) {
            Ok(got) => got,
            Err(miss) => panic!("{wish:?}: {miss:?}"),
        }
    }

    /// Allocates exactly there.
    pub fn try_reserve(&mut self, start: u64, bytes: u64) -> Result<u32, Miss> {
        self.try_put(Place {
            start,
            bytes,
            colour: 0,
        })
    }

    pub fn try_put(&mut self, place: Place) -> Result<u32, Miss> {
        let end = place.start.wrapping_add(place.bytes);
        let got = self.try_get(Allocate {
            range: Some((place.start, end)),
            colour: place.colour,
            ..wish(place.bytes, Mode::Best)
        });
        got.map(|(number, _)| number)
    }

    #[track_caller]
    pub fn put(&mut self, place: Place) -> u32 {
        match self.try_put(place) {
            Ok(number) => number,
            Err(miss) => panic!("{place:?}: {miss:?}"),
        }
    }

    #[track_caller]
    pub fn reserve(&mut self, start: u64, bytes: u64) -> u32 {
        self.put(Place {
            start,
            bytes,
            colour: 0,
        })
    }

    /// Frees; returns where it was.
    #[track_caller]
    pub fn free(&mut self, number: u32) -> Place {
        let id = AllocationId(number);
        assert_eq!(self.ask(Command::free(id)), Answer::Freed(id));
        let place = std::mem::take(&mut self.numbers[number as usize]);
        self.live.remove(&place.start);
        self.unused.push(number);
        place
    }

    /// Where an allocation is.
    pub fn place(&self, number: u32) -> Place {
        self.numbers[number as usize]
    }

    /// Starts and sizes of all allocations, by start.
    pub fn places(&self) -> Vec<(u64, u64)> {
        let place = |(&start, &(bytes, _)): (&u64, &(u64, u32))| (start, bytes);
        self.live.iter().map(place).collect()
    }

    /// What lies between the allocations: starts and sizes.
    pub fn holes(&self) -> Vec<(u64, u64)> {
        let mut end = 0;
        let mut holes = Vec::new();
        let last = (self.size, 0);
        for (start, bytes) in self.places().into_iter().chain([last]) {
            if end < start {
                holes.push((end, start - end));
            }
            end = start + bytes;
        }
        holes
    }

    /// Checks that nobody takes the arena for more or less full than it is.
    #[track_caller]
    pub fn check(&mut self) {
        assert_eq!(self.executor.validate(), Ok(()));
        let largest = self.holes().iter().map(|hole| hole.1).max().unwrap_or(0);
        let Some(most) = self.size.checked_add(1) else {
            return;
        };
        let too_much = self.try_get(wish(most, Mode::Best));
        assert_eq!(too_much, Err(Miss::NoSpace(largest)));
    }

    pub fn scan_begin(&mut self, scan: Scan) {
        let done = Answer::Done(AllocationId(0), false);
        assert_eq!(self.ask(Command::ScanBegin(scan)), done);
    }

    /// Whether the hole around it now holds the wish.
    pub fn scan_add(&mut self, number: u32) -> bool {
        self.yes(Command::ScanAdd(AllocationId(number)), number)
    }

    /// Whether it must go.
    pub fn scan_remove(&mut self, number: u32) -> bool {
        self.yes(Command::ScanRemove(AllocationId(number)), number)
    }

    fn yes(&mut self, command: Command, number: u32) -> bool {
        match self.ask(command) {
            Answer::Done(n, yes) if n == AllocationId(number) => yes,
            other => panic!("{command:?}: {other:?}"),
        }
    }

    /// A neighbour that must go.
    pub fn scan_colour(&mut self) -> Option<u32> {
        match self.ask(Command::ScanColour) {
            Answer::Done(AllocationId(0), false) => None,
            Answer::Done(AllocationId(n), true) => Some(n),
            other => panic!("{other:?}"),
        }
    }
}

/// The primes from 2 up to a bound.
pub fn primes(most: u64) -> Vec<u64> {
    let mut primes: Vec<u64> = Vec::new();
    for n in 2..=most {
        let mut small = primes.iter().take_while(|&&p| p * p <= n);
        if small.all(|&p| n % p != 0) {
            primes.push(n);
        }
    }
    primes
}

/// The sizes of the reference: 1, and around the powers of two of primes up to a bound.
pub fn sizes(bits: u64) -> Vec<u64> {
    let around = |p: u64| [(1 << p) - 1, 1 << p, (1 << p) + 1];
    let mut sizes = vec![1];
    sizes.extend(primes(bits).into_iter().flat_map(around));
    sizes
}

/// Numbers below a bound in a random order.
pub fn shuffled(count: u64, seed: u64) -> Vec<u64> {
    let mut order: Vec<u64> = (0..count).collect();
    fastrand::Rng::with_seed(seed).shuffle(&mut order);
    order
}
