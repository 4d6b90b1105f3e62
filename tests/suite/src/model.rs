//! A model that keeps the owner of every granule.

use crate::description::{Description, Expected, Strategy};
use gpumm_contract::allocator::{Allocate, Allocator, Failure, Geometry, Statistics};
use gpumm_contract::{AllocationId, Extent};

/// The owner of every granule of a small arena, and what is live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    /// Bytes per granule.
    pub granule: u64,
    /// Whose each granule is.
    pub owners: Vec<Option<u32>>,
    /// Number and extents of each allocation, the oldest first.
    pub live: Vec<(u32, Vec<Extent>)>,
}

impl Model {
    /// An empty arena.
    pub fn new(granules: u64, granule: u64) -> Self {
        Model {
            granule,
            owners: vec![None; granules as usize],
            live: Vec::new(),
        }
    }

    /// How many granules there are.
    pub fn granules(&self) -> u64 {
        self.owners.len() as u64
    }

    /// The geometry.
    pub fn geometry(&self) -> Geometry {
        Geometry {
            size: self.granules() * self.granule,
            granule: self.granule,
        }
    }

    /// Whether a number is in use.
    pub fn is_live(&self, number: u32) -> bool {
        self.live.iter().any(|(live, _)| *live == number)
    }

    /// Whether all granules of `start..end` are nobody's.
    pub fn is_free(&self, start: u64, end: u64) -> bool {
        let owners = self.owners.get(start as usize..end as usize);
        owners.is_some_and(|owners| owners.iter().all(Option::is_none))
    }

    /// Runs of granules without an owner, as long as they can be: start and length.
    pub fn runs(&self) -> Vec<(u64, u64)> {
        let mut runs: Vec<(u64, u64)> = Vec::new();
        for (at, owner) in (0..).zip(&self.owners) {
            match (owner, runs.last_mut()) {
                (Some(_), _) => (),
                (None, Some(last)) if last.0 + last.1 == at => last.1 += 1,
                (None, _) => runs.push((at, 1)),
            }
        }
        runs
    }

    /// The length of the longest run; 0 when the arena is full.
    pub fn longest_run(&self) -> u64 {
        self.runs().iter().map(|run| run.1).max().unwrap_or(0)
    }

    /// The granules that a wish asks for.
    pub fn wanted(&self, wish: &Allocate) -> u64 {
        wish.bytes / self.granule
    }

    /// The alignment of a wish in granules.
    pub fn step(&self, wish: &Allocate) -> u64 {
        wish.alignment.max(self.granule) / self.granule
    }

    /// The whole granules of a wish's range.
    pub fn window(&self, wish: &Allocate) -> (u64, u64) {
        let (start, end) = wish.range.unwrap_or((0, self.geometry().size));
        (start.div_ceil(self.granule), end / self.granule)
    }

    /// The lowest granule at a multiple of `step`, and of the wish's alignment, where one extent
    /// can serve a wish.
    pub fn lowest(&self, wish: &Allocate, step: u64) -> Option<u64> {
        let wanted = self.wanted(wish);
        let step = self.step(wish).max(step);
        let (start, end) = self.window(wish);
        let fits = |at: &u64| {
            at.is_multiple_of(step) && at + wanted <= end && self.is_free(*at, at + wanted)
        };
        (start..end).find(fits)
    }

    /// Enters extents that an answer gave, which must obey the wish.
    pub fn enter(&mut self, wish: &Allocate, extents: &[Extent]) {
        let alignment = wish.alignment.max(self.granule);
        let (start, end) = self.window(wish);
        let total: u64 = extents.iter().map(|extent| extent.bytes).sum();
        assert_eq!(total, wish.bytes, "{wish:?} {extents:?}");
        for extent in extents {
            let aligned = extent.bytes > 0 && extent.offset.is_multiple_of(alignment);
            let inside = extent.offset >= start * self.granule
                && extent.end().unwrap() <= end * self.granule;
            assert!(aligned && inside, "{wish:?} {extents:?}");
        }
        self.adopt(wish.number.0, extents.to_vec());
    }

    /// Enters extents that were there before.
    pub fn adopt(&mut self, number: u32, extents: Vec<Extent>) {
        assert!(!self.is_live(number));
        extents
            .iter()
            .for_each(|extent| self.paint(extent, Some(number)));
        self.live.push((number, extents));
    }

    fn paint(&mut self, extent: &Extent, owner: Option<u32>) {
        assert!((extent.offset | extent.bytes).is_multiple_of(self.granule));
        let from = (extent.offset / self.granule) as usize;
        for at in from..from + (extent.bytes / self.granule) as usize {
            assert_ne!(self.owners[at].is_some(), owner.is_some(), "granule {at}");
            self.owners[at] = owner;
        }
    }

    /// Gives back what is filed under a number; whether there is such.
    pub fn free(&mut self, number: u32) -> bool {
        let Some(at) = self.live.iter().position(|(live, _)| *live == number) else {
            return false;
        };
        let (_, extents) = self.live.remove(at);
        extents.iter().for_each(|extent| self.paint(extent, None));
        true
    }

    /// Moves the end if that cuts nothing off; whether it did.
    pub fn resize(&mut self, granules: u64) -> bool {
        let cut = self.owners.get(granules as usize..).unwrap_or_default();
        if cut.iter().any(Option::is_some) {
            return false;
        }
        self.owners.resize(granules as usize, None);
        true
    }

    /// A fresh strategy with the live allocations, told in the order of `parts`.
    pub fn restored<S: Strategy>(
        &self,
        description: &Description<S>,
        parts: &[(u32, Vec<Extent>)],
    ) -> S {
        let mut fresh = (description.new)();
        fresh.restore_begin(self.geometry()).unwrap();
        for (number, extents) in parts {
            fresh.restore_part(AllocationId(*number), extents).unwrap();
        }
        fresh.restore_end().unwrap();
        fresh
    }

    /// Checks an answer to a wish and enters what it gives.
    pub fn judge<S>(
        &mut self,
        description: &Description<S>,
        wish: &Allocate,
        answer: &Result<Vec<Extent>, Failure>,
    ) {
        let no_space = Failure::NoSpace {
            largest_hole: (description.largest)(self) * self.granule,
        };
        let expected = description.answer(self, wish);
        match (&expected, answer) {
            (Err(why), answer) => assert_eq!(*answer, Err(Failure::Refused(*why)), "{wish:?}"),
            (Ok(Expected::NoSpace), answer) => assert_eq!(*answer, Err(no_space), "{wish:?}"),
            (Ok(Expected::Extents(right)), answer) => {
                assert_eq!(answer.as_ref(), Ok(right), "{wish:?}");
            }
            (Ok(_), Ok(extents)) => assert_eq!(extents.len(), 1, "{wish:?}"),
            (Ok(_), Err(why)) => panic!("{why:?} although there is room: {wish:?}"),
        }
        if let Ok(extents) = answer {
            self.enter(wish, extents);
        }
    }

    /// Compares what a strategy shows of itself, in pages of `page` blocks.
    pub fn compare<S: Strategy>(&self, description: &Description<S>, strategy: &S, page: usize) {
        assert_eq!(strategy.validate(), Ok(()));
        let free = self.owners.iter().filter(|owner| owner.is_none()).count() as u64;
        let holes = (description.holes)(self);
        let right = Statistics {
            used_bytes: (self.granules() - free) * self.granule,
            free_bytes: free * self.granule,
            largest_hole: (description.largest)(self) * self.granule,
            allocations: self.live.len() as u64,
            holes: holes.len() as u64,
        };
        assert_eq!(strategy.statistics(), right);
        let (mut owners, mut shown, mut from) = (Vec::new(), Vec::new(), 0);
        loop {
            let blocks = strategy.blocks(from, page);
            for block in &blocks {
                let at = owners.len() as u64;
                assert_eq!(block.extent.offset, at * self.granule);
                let granules = block.extent.bytes / self.granule;
                assert!(granules > 0);
                owners.extend((0..granules).map(|_| block.owner.map(|number| number.0)));
                if block.owner.is_none() {
                    shown.push((at, granules));
                }
            }
            from = owners.len() as u64 * self.granule;
            if blocks.len() < page {
                break;
            }
        }
        assert_eq!(owners, self.owners);
        assert_eq!(shown, holes);
    }
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
