//! What the tests share: a model that keeps the owner of every granule.
#![allow(dead_code, unreachable_pub)]

use gpumm_contract::allocator::{Allocate, Allocator, Failure, Geometry, Refusal, Statistics};
use gpumm_contract::{AllocationId, Extent};

/// A strategy with its own check.
pub trait Checked: Allocator + Clone + Default {
    fn check(&self);
}

/// The owner of every granule of a small arena.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    pub granule: u64,
    pub owners: Vec<Option<u32>>,
    pub live: Vec<(u32, Vec<Extent>)>,
}

impl Model {
    pub fn new(units: u64, granule: u64) -> Self {
        Model {
            granule,
            owners: vec![None; units as usize],
            live: Vec::new(),
        }
    }

    pub fn geometry(&self) -> Geometry {
        Geometry {
            size: self.owners.len() as u64 * self.granule,
            granule: self.granule,
        }
    }

    pub fn is_live(&self, number: u32) -> bool {
        self.live.iter().any(|(live, _)| *live == number)
    }

    /// Runs of granules without an owner: start and length.
    pub fn holes(&self) -> Vec<(usize, usize)> {
        let mut holes: Vec<(usize, usize)> = Vec::new();
        for (at, owner) in self.owners.iter().enumerate() {
            match (owner, holes.last_mut()) {
                (Some(_), _) => (),
                (None, Some(last)) if last.0 + last.1 == at => last.1 += 1,
                (None, _) => holes.push((at, 1)),
            }
        }
        holes
    }

    pub fn free_units(&self) -> u64 {
        self.owners.iter().filter(|owner| owner.is_none()).count() as u64
    }

    /// The refusal a wish deserves, whatever the space.
    pub fn refusal(&self, wish: &Allocate) -> Option<Refusal> {
        match wish.checked(self.geometry()) {
            Err(why) => Some(why),
            Ok(_) => self.is_live(wish.number.0).then_some(Refusal::NumberInUse),
        }
    }

    /// The whole granules of a wish's range.
    pub fn window(&self, wish: &Allocate) -> (u64, u64) {
        let (start, end) = wish.range.unwrap_or((0, self.geometry().size));
        (start.div_ceil(self.granule), end / self.granule)
    }

    /// The lowest offset where one extent can serve a wish.
    pub fn lowest(&self, wish: &Allocate) -> Option<u64> {
        let units = (wish.bytes / self.granule) as usize;
        let step = (wish.alignment.max(self.granule) / self.granule) as usize;
        let (start, end) = self.window(wish);
        let fits = |at: &usize| {
            at.is_multiple_of(step)
                && at + units <= end as usize
                && self.owners[*at..at + units].iter().all(Option::is_none)
        };
        let at = (start as usize..end as usize).find(fits)?;
        Some(at as u64 * self.granule)
    }

    /// Enters an answer, which must obey the wish.
    pub fn enter(&mut self, wish: &Allocate, extents: &[Extent]) {
        let alignment = wish.alignment.max(self.granule);
        let (start, end) = self.window(wish);
        let total: u64 = extents.iter().map(|extent| extent.bytes).sum();
        assert_eq!(total, wish.bytes, "{wish:?} {extents:?}");
        for extent in extents {
            assert!(
                extent.bytes > 0 && extent.offset.is_multiple_of(alignment),
                "{wish:?} {extents:?}"
            );
            assert!(
                extent.offset >= start * self.granule,
                "{wish:?} {extents:?}"
            );
            assert!(
                extent.end().unwrap() <= end * self.granule,
                "{wish:?} {extents:?}"
            );
            self.paint(extent, Some(wish.number.0));
        }
        self.live.push((wish.number.0, extents.to_vec()));
    }

    pub fn paint(&mut self, extent: &Extent, owner: Option<u32>) {
        assert!(
            extent.offset.is_multiple_of(self.granule) && extent.bytes.is_multiple_of(self.granule)
        );
        let from = (extent.offset / self.granule) as usize;
        for at in from..from + (extent.bytes / self.granule) as usize {
            assert_ne!(self.owners[at].is_some(), owner.is_some(), "granule {at}");
            self.owners[at] = owner;
        }
    }

    pub fn free(&mut self, number: u32) -> bool {
        let Some(at) = self.live.iter().position(|(live, _)| *live == number) else {
            return false;
        };
        let (_, extents) = self.live.swap_remove(at);
        extents.iter().for_each(|extent| self.paint(extent, None));
        true
    }

    /// Moves the end if that cuts nothing off.
    pub fn resize(&mut self, units: u64) -> bool {
        let cut = self.owners.get(units as usize..).unwrap_or_default();
        if cut.iter().any(Option::is_some) {
            return false;
        }
        self.owners.resize(units as usize, None);
        true
    }

    /// A fresh strategy with the model's live allocations.
    pub fn restored<S: Checked>(&self) -> S {
        let mut fresh = S::default();
        fresh.restore_begin(self.geometry()).unwrap();
        for (number, extents) in &self.live {
            fresh.restore_part(AllocationId(*number), extents).unwrap();
        }
        fresh.restore_end().unwrap();
        fresh
    }

    /// Compares what the strategy shows of itself, in pages of `page` blocks.
    pub fn compare<S: Checked>(&self, strategy: &S, page: usize) {
        strategy.check();
        let Statistics {
            used_bytes,
            free_bytes,
            allocations,
            ..
        } = strategy.statistics();
        let free = self.free_units();
        assert_eq!(free_bytes, free * self.granule);
        assert_eq!(used_bytes, (self.owners.len() as u64 - free) * self.granule);
        assert_eq!(allocations, self.live.len() as u64);
        let (mut seen, mut from, mut holes, mut largest) = (Vec::new(), 0, 0, 0);
        loop {
            let blocks = strategy.blocks(from, page);
            for block in &blocks {
                assert_eq!(block.extent.offset, seen.len() as u64 * self.granule);
                let units = block.extent.bytes / self.granule;
                seen.extend((0..units).map(|_| block.owner.map(|number| number.0)));
                if block.owner.is_none() {
                    holes += 1;
                    largest = largest.max(block.extent.bytes);
                }
            }
            from = seen.len() as u64 * self.granule;
            if blocks.len() < page {
                break;
            }
        }
        assert_eq!(seen, self.owners);
        let statistics = strategy.statistics();
        assert_eq!(
            (statistics.holes, statistics.largest_hole),
            (holes, largest)
        );
    }
}

/// A random wish, now and then a wrong one.
pub fn wish(rng: &mut fastrand::Rng, model: &Model, numbers: u32) -> Allocate {
    let (units, granule) = (model.owners.len() as u64, model.granule);
    let most = if rng.u32(..4) == 0 {
        units + 2
    } else {
        units / 4 + 2
    };
    let mut wish = Allocate::plain(
        AllocationId(rng.u32(..numbers)),
        rng.u64(1..=most) * granule,
    );
    if rng.u32(..3) == 0 {
        wish.alignment = granule.checked_shl(rng.u32(..7)).unwrap_or(granule);
    }
    if rng.u32(..3) == 0 {
        let (a, b) = (rng.u64(..=units), rng.u64(..=units));
        let ragged = rng.u64(..granule) * u64::from(rng.bool());
        wish.range = Some((a.min(b) * granule + ragged, a.max(b) * granule));
        if rng.u32(..3) == 0 {
            wish.range = Some((a.min(b) * granule, a.min(b) * granule + wish.bytes));
        }
    }
    match rng.u32(..60) {
        0 => wish.bytes = 0,
        1 => wish.bytes += 1,
        2 => wish.alignment = 3 * granule,
        3 => wish.range = Some((0, u64::MAX)),
        4 => wish.range = Some((granule, granule)),
        _ => (),
    }
    wish
}

/// Allocates and returns the extents.
pub fn allocate(strategy: &mut impl Allocator, wish: &Allocate) -> Result<Vec<Extent>, Failure> {
    // What was in the list before must stay.
    let before = Extent {
        offset: 1,
        bytes: 2,
    };
    let mut extents = vec![before];
    let result = strategy.allocate(wish, &mut extents);
    assert_eq!(extents.remove(0), before);
    assert!(result.is_ok() || extents.is_empty());
    result.map(|()| extents)
}

/// Random live allocations of several extents each, as another strategy might have made.
pub fn foreign(rng: &mut fastrand::Rng, units: u64, granule: u64) -> Model {
    let mut model = Model::new(units, granule);
    let mut pieces = Vec::new();
    let mut at = 0;
    while at < units {
        let length = rng.u64(1..=units / 8 + 1).min(units - at);
        if rng.u32(..3) != 0 {
            pieces.push(Extent {
                offset: at * granule,
                bytes: length * granule,
            });
        }
        at += length;
    }
    rng.shuffle(&mut pieces);
    let mut number = 0;
    while !pieces.is_empty() {
        let extents = pieces.split_off(pieces.len() - rng.usize(1..=3).min(pieces.len()));
        extents
            .iter()
            .for_each(|extent| model.paint(extent, Some(number)));
        model.live.push((number, extents));
        number += 7;
    }
    model
}
