//! The live allocations in the order the ring made them.

use alloc::vec::Vec;
use gpumm_contract::extent::round_up;
use gpumm_contract::numbers::NONE;

/// A live allocation.
///
/// Units: granules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) start: u64,
    pub(crate) units: u64,
    pub(crate) number: u32,
    /// The next newer one; of a spare entry the next spare one.
    pub(crate) newer: u32,
    pub(crate) older: u32,
}

impl Entry {
    pub(crate) fn end(&self) -> u64 {
        self.start + self.units
    }
}

/// A ring of granules: the live allocations as a list from the oldest to the newest.
///
/// The room is what lies between the newest one's end and the oldest one's start, going up and
/// round the arena's end. Nothing is kept of what is free: taking an allocation out of the list
/// moves the tail, the head or neither.
///
/// Invariants: from the oldest to the newest, offsets go up and round the arena's end at most once,
/// and never past the oldest.
#[derive(Clone, Debug)]
pub(crate) struct Ring {
    size: u64,
    entries: Vec<Entry>,
    oldest: u32,
    newest: u32,
    spare: u32,
    used: u64,
    live: u64,
    holes: u64,
}

impl Default for Ring {
    fn default() -> Self {
        Ring::new(0)
    }
}

impl Ring {
    /// An empty ring.
    pub(crate) fn new(size: u64) -> Self {
        Ring {
            size,
            entries: Vec::new(),
            oldest: NONE,
            newest: NONE,
            spare: NONE,
            used: 0,
            live: 0,
            holes: u64::from(size != 0),
        }
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Granules of live allocations.
    pub(crate) fn used(&self) -> u64 {
        self.used
    }

    /// How many allocations are live.
    pub(crate) fn live(&self) -> u64 {
        self.live
    }

    /// Runs of granules that nobody owns, whether or not the ring has come round to them.
    pub(crate) fn holes(&self) -> u64 {
        self.holes
    }

    /// The number of a live allocation.
    pub(crate) fn number(&self, at: u32) -> Option<u32> {
        let entry = self.entries.get(at as usize)?;
        (entry.number != NONE).then_some(entry.number)
    }

    fn entry(&self, at: u32) -> &Entry {
        &self.entries[at as usize]
    }

    fn ends(&self) -> Option<(&Entry, &Entry)> {
        (self.oldest != NONE).then(|| (self.entry(self.oldest), self.entry(self.newest)))
    }

    /// The room: up to two pieces, in the order they are tried.
    fn pieces(&self) -> [(u64, u64); 2] {
        match self.ends() {
            // An empty ring begins anew, so that all of it can be had.
            None => [(0, self.size), (0, 0)],
            Some((oldest, newest)) if newest.start < oldest.start => {
                [(newest.end(), oldest.start), (0, 0)]
            }
            Some((oldest, newest)) => [(newest.end(), self.size), (0, oldest.start)],
        }
    }

    /// The most that one allocation can get.
    pub(crate) fn room(&self) -> u64 {
        let [(start, end), (low_start, low_end)] = self.pieces();
        (end - start).max(low_end - low_start)
    }

    /// Where the next allocation begins; `None` without room.
    pub(crate) fn place(&self, units: u64, alignment: u64) -> Option<u64> {
        let fits = |(start, end): (u64, u64)| {
            let start = round_up(start, alignment)?;
            (end.checked_sub(start)? >= units).then_some(start)
        };
        self.pieces().into_iter().find_map(fits)
    }

    /// Makes the newest allocation and returns its entry.
    pub(crate) fn push(&mut self, start: u64, units: u64, number: u32) -> u32 {
        let entry = Entry {
            start,
            units,
            number,
            newer: NONE,
            older: self.newest,
        };
        let at = self.store(entry);
        if self.newest == NONE {
            self.oldest = at;
            self.holes = self.between(at, at);
        } else {
            let (oldest, newest) = (self.oldest, self.newest);
            self.holes += self.between(newest, at) + self.between(at, oldest);
            self.holes -= self.between(newest, oldest);
            self.entries[newest as usize].newer = at;
        }
        self.newest = at;
        self.used += units;
        self.live += 1;
        at
    }

    /// Takes a live allocation out.
    pub(crate) fn remove(&mut self, at: u32) {
        let Entry {
            units,
            newer,
            older,
            ..
        } = *self.entry(at);
        // Of a list's ends the neighbour is the other end: the ring is closed.
        let below = if older == NONE { self.newest } else { older };
        let above = if newer == NONE { self.oldest } else { newer };
        if below == at {
            self.holes = 1;
        } else {
            self.holes += self.between(below, above);
            self.holes -= self.between(below, at) + self.between(at, above);
        }
        match older {
            NONE => self.oldest = newer,
            older => self.entries[older as usize].newer = newer,
        }
        match newer {
            NONE => self.newest = older,
            newer => self.entries[newer as usize].older = older,
        }
        self.used -= units;
        self.live -= 1;
        self.entries[at as usize].newer = self.spare;
        self.entries[at as usize].number = NONE;
        self.spare = at;
    }

    /// Holes from one allocation up to the next one: two where the arena's end lies between.
    fn between(&self, lower: u32, upper: u32) -> u64 {
        let (lower, upper) = (self.entry(lower), self.entry(upper));
        if lower.start < upper.start {
            u64::from(lower.end() < upper.start)
        } else {
            u64::from(lower.end() < self.size) + u64::from(0 < upper.start)
        }
    }

    /// Moves the arena's end.
    ///
    /// Errors: `false`, and nothing changed, when a live allocation would be cut.
    #[must_use]
    pub(crate) fn resize(&mut self, size: u64) -> bool {
        let highest = self.by_address().last().map_or(0, |entry| entry.end());
        if highest > size {
            return false;
        }
        self.holes += u64::from(highest < size);
        self.holes -= u64::from(highest < self.size);
        self.size = size;
        true
    }

    /// The live allocations from the lowest up.
    ///
    /// Complexity: O(live).
    pub(crate) fn by_address(&self) -> impl Iterator<Item = &Entry> {
        // Behind the arena's end the list goes on at the lowest one.
        let mut lowest = self.oldest;
        let wrapped = self.from(self.oldest).find(|(at, entry)| {
            let newer = (entry.newer != NONE).then(|| self.entry(entry.newer));
            *at != self.newest && newer.is_some_and(|newer| newer.start < entry.start)
        });
        if let Some((_, entry)) = wrapped {
            lowest = entry.newer;
        }
        let high = self
            .from(self.oldest)
            .take_while(move |(at, _)| *at != lowest);
        self.from(lowest).chain(high).map(|(_, entry)| entry)
    }

    /// The list from an entry to the newest.
    pub(crate) fn from(&self, at: u32) -> impl Iterator<Item = (u32, &Entry)> {
        let mut at = at;
        core::iter::from_fn(move || {
            let here = (at != NONE).then(|| (at, self.entry(at)))?;
            at = here.1.newer;
            Some(here)
        })
    }

    fn store(&mut self, entry: Entry) -> u32 {
        if self.spare == NONE {
            self.entries.push(entry);
            return self.entries.len() as u32 - 1;
        }
        let at = self.spare;
        self.spare = core::mem::replace(&mut self.entries[at as usize], entry).newer;
        at
    }

    /// Checks every invariant from scratch.
    ///
    /// Errors: the first one that does not hold.
    pub(crate) fn validate(&self) -> Result<(), &'static str> {
        let (mut older, mut turns, mut before) = (NONE, 0, None);
        let (mut live, mut used) = (0, 0);
        for (at, entry) in self.from(self.oldest) {
            hold(entry.older == older, "neighbours know each other")?;
            hold(entry.number != NONE, "no spare entry is in the list")?;
            hold(
                entry.units != 0 && entry.end() <= self.size,
                "an allocation lies in the arena",
            )?;
            match before {
                Some(end) if entry.start < end => turns += 1,
                _ => (),
            }
            let first = self.entry(self.oldest);
            let ahead = turns == 0 || entry.end() <= first.start;
            hold(turns < 2 && ahead, "the ring goes round once")?;
            (older, before) = (at, Some(entry.end()));
            live += 1;
            used += entry.units;
            hold(live <= self.live, "the list ends")?;
        }
        hold(older == self.newest, "the list ends with the newest")?;
        hold(
            live == self.live && used == self.used,
            "allocations and granules are counted",
        )?;
        let (mut end, mut holes) = (0, 0);
        for entry in self.by_address() {
            hold(entry.start >= end, "allocations do not overlap")?;
            holes += u64::from(entry.start > end);
            end = entry.end();
        }
        holes += u64::from(end < self.size);
        hold(holes == self.holes, "holes are counted")?;
        let (mut spare, mut at) = (0, self.spare);
        while at != NONE && spare <= self.entries.len() as u64 {
            spare += 1;
            hold(
                self.entry(at).number == NONE,
                "the spare list holds spare entries",
            )?;
            at = self.entry(at).newer;
        }
        hold(
            spare + live == self.entries.len() as u64,
            "no entry is lost",
        )
    }
}

fn hold(holds: bool, what: &'static str) -> Result<(), &'static str> {
    if holds { Ok(()) } else { Err(what) }
}
