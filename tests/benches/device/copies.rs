//! Copies.

use super::raw::{self, Raw};
use super::subject::{CHUNK, Subject};
use super::{Row, Turn, measure};
use gpumm_hw::{Command, Outcome, OutcomeValue, Segment};
use std::cell::RefCell;
use std::sync::Arc;

/// From where to where.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// System memory to vram.
    Up,
    /// Vram to system memory.
    Down,
    /// Between different chunks of vram.
    Across,
    /// Inside one chunk.
    Within,
}

/// What is copied.
pub(crate) struct Case {
    pub(crate) way: Way,
    pub(crate) bytes: u64,
    /// The size of a piece.
    pub(crate) piece: u64,
    /// From one place to the next one.
    pub(crate) stride: u64,
    /// It is done by so many commands, which are queued at once.
    pub(crate) commands: u64,
}

const NAMES: [(Way, &str); 4] = [
    (Way::Up, "system-vram"),
    (Way::Down, "vram-system"),
    (Way::Across, "vram-vram"),
    (Way::Within, "one-chunk"),
];

impl Case {
    fn name(&self) -> String {
        let (_, way) = NAMES.iter().find(|(way, _)| *way == self.way).unwrap();
        let each = self.bytes / self.commands;
        match self.contiguous() {
            _ if self.commands > 1 => format!("{way}/{}x{}KiB", self.commands, each >> 10),
            true if self.bytes < 1 << 20 => format!("{way}/{}KiB", self.bytes >> 10),
            true => format!("{way}/{}MiB", self.bytes >> 20),
            false => {
                let order = if self.stride > self.piece {
                    "pages"
                } else {
                    "reversed"
                };
                format!("{way}/{}KiB-{order}", self.piece >> 10)
            }
        }
    }

    pub(crate) fn contiguous(&self) -> bool {
        self.piece == self.bytes
    }

    /// The bytes that the places of one side lie in.
    pub(crate) fn span(&self) -> u64 {
        self.bytes / self.piece * self.stride
    }

    /// Where the second side in vram begins.
    fn second(&self) -> u64 {
        match self.way {
            Way::Within => CHUNK / 2,
            _ => self.span().next_multiple_of(CHUNK),
        }
    }

    /// The places of the pieces on one side: in an order of their own, or the last one first.
    fn places(&self, random: &mut fastrand::Rng) -> Vec<u64> {
        let mut places: Vec<_> = (0..self.span()).step_by(self.stride as usize).collect();
        match self.stride > self.piece {
            true => random.shuffle(&mut places),
            false => places.reverse(),
        }
        places
    }
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (way, _) in NAMES {
        let whole = |commands, bytes| Case {
            way,
            bytes,
            piece: bytes,
            stride: bytes,
            commands,
        };
        for kib in [4, 1 << 10, 16 << 10, 256 << 10] {
            let bytes = kib << 10;
            if way != Way::Within || 2 * bytes <= CHUNK {
                cases.push(whole(1, bytes));
            }
        }
        for (commands, kib) in [(64, 64), (32, 1 << 10)] {
            cases.push(whole(commands, commands * (kib << 10)));
        }
        // Every second page, where nothing merges; and all pages of a range, as from a stack.
        for (piece, stride) in [
            (4 << 10, 8 << 10),
            (64 << 10, 128 << 10),
            (4 << 10, 4 << 10),
        ] {
            let bytes = 16 << 20;
            cases.push(Case {
                way,
                bytes,
                piece,
                stride,
                commands: 1,
            });
        }
    }
    cases
}

pub(crate) fn run(device: &str, only: &str) -> Vec<Row> {
    let cases = cases().into_iter();
    cases
        .filter(|case| case.name().contains(only))
        .flat_map(|case| one(device, &case))
        .collect()
}

fn one(device: &str, case: &Case) -> Vec<Row> {
    let mut random = fastrand::Rng::with_seed(7);
    let (from, to) = (case.places(&mut random), case.places(&mut random));
    let vram = case.second() + case.span();
    let subject = RefCell::new(Subject::new(device, vram, case.span()));
    let list = |places: &[u64], segment: fn(u64, u64) -> Segment, base: u64| -> Arc<[Segment]> {
        let segments = places.iter();
        segments.map(|at| segment(base + at, case.piece)).collect()
    };
    let (src, dst) = match case.way {
        Way::Up => (list(&from, Segment::system, 0), list(&to, Segment::vram, 0)),
        Way::Down => (list(&from, Segment::vram, 0), list(&to, Segment::system, 0)),
        Way::Across | Way::Within => (
            list(&from, Segment::vram, 0),
            list(&to, Segment::vram, case.second()),
        ),
    };
    subject.borrow_mut().write(&src, case.bytes);
    let each = case.bytes / case.commands;
    let starts = (0..case.commands).map(|index| index * each);
    let all: Vec<_> = starts
        .map(|at| Command::Copy {
            src: Arc::clone(&src),
            dst: Arc::clone(&dst),
            src_offset: at,
            dst_offset: at,
            bytes: each,
        })
        .collect();
    let copies = || {
        let outcomes = subject.borrow_mut().queue(&all);
        let done = |outcome: &Arc<Outcome>| outcome.get() == Some(&OutcomeValue::Done);
        assert!(outcomes.iter().all(done), "{outcomes:?}");
    };
    let mut turns: Vec<Turn<'_>> = vec![("device", Box::new(copies))];
    if let Some(gpu) = subject.borrow().wgpu() {
        let raw = |name| Raw::new(&gpu, case, (&from, &to), name);
        for name in raw::loops(case) {
            turns.push((name, raw::rounds(raw(*name), name)));
        }
    }
    let rows = measure(&case.name(), case.bytes, turns);
    subject.borrow_mut().check(&dst, case.bytes);
    rows
}
