//! What a strategy says of itself.

use crate::model::Model;
use gpumm_contract::Extent;
use gpumm_contract::allocator::{Allocate, Allocator, Geometry, Refusal};

/// What the suite needs of a strategy's type.
pub trait Strategy: Allocator + Clone {}

impl<S: Allocator + Clone> Strategy for S {}

/// What a right answer to a wish is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Exactly these extents.
    Extents(Vec<Extent>),
    /// Any one extent that obeys the wish.
    AnyFit,
    /// No room.
    NoSpace,
    /// The strategy does not offer that.
    Unsupported,
}

impl Expected {
    /// One extent at a granule, or no room.
    pub fn at(model: &Model, wish: &Allocate, granule: Option<u64>) -> Self {
        granule.map_or(Expected::NoSpace, |at| {
            Expected::Extents(vec![Extent {
                offset: at * model.granule,
                bytes: wish.bytes,
            }])
        })
    }
}

/// A strategy as data: what it offers, and how a slow model knows its answers.
///
/// Functions of the model do everything the slow way and know nothing of the strategy's code.
/// Units: granules.
#[derive(Debug)]
pub struct Description<S> {
    /// Its name.
    pub name: &'static str,
    /// Makes one without a geometry.
    pub new: fn() -> S,
    /// The largest arena; a larger one is [`Refusal::Geometry`].
    pub most_granules: u64,
    /// Whether an alignment may be any multiple of the granule; otherwise it is a power of two.
    pub any_alignment: bool,
    /// Whether an allocation of several extents is adopted; otherwise it is
    /// [`Refusal::Unsupported`].
    pub adopts_several: bool,
    /// Whether it is only said at the end of a restore that extents overlap.
    pub overlaps_show_late: bool,
    /// Whether what was done before a restore shows in the answers after it.
    pub history_shows: bool,
    /// Whether `trim` is offered; where not it is [`Refusal::Unsupported`].
    pub trims: bool,
    /// Whether `reset_clear` is offered.
    pub resets: bool,
    /// Whether eviction scans are offered.
    pub scans: bool,
    /// Whether wishes with hints are played, and memory is given back cleared; where not the
    /// strategy tests what they mean.
    pub hints: bool,
    /// The right answer to a wish that no rule of the interface refuses.
    pub expect: fn(&Model, &Allocate) -> Expected,
    /// The holes as `blocks` shows them: start and length.
    pub holes: fn(&Model) -> Vec<(u64, u64)>,
    /// What "no space" names.
    pub largest: fn(&Model) -> u64,
    /// Makes of a model's history what a restore makes of it: orders `live`.
    pub forget: fn(&mut Model),
}

impl<S> Description<S> {
    /// A strategy with one extent per allocation anywhere, ranges from the bottom, and holes that
    /// are as long as they can be: what is not said otherwise.
    pub const fn one_extent(new: fn() -> S) -> Self {
        Description {
            name: "",
            new,
            most_granules: u64::MAX,
            any_alignment: false,
            adopts_several: true,
            overlaps_show_late: false,
            history_shows: true,
            trims: false,
            resets: false,
            scans: false,
            hints: true,
            expect: any_fit_but_lowest_in_a_range,
            holes: Model::runs,
            largest: Model::longest_run,
            forget: |_| (),
        }
    }

    /// The right answer to a wish: what the interface refuses, else what the strategy says.
    pub fn answer(&self, model: &Model, wish: &Allocate) -> Result<Expected, Refusal> {
        self.checked(model.geometry(), wish)?;
        match wish.number.0 {
            gpumm_contract::numbers::LIMIT.. => Err(Refusal::Unsupported),
            number if model.is_live(number) => Err(Refusal::NumberInUse),
            _ => match (self.expect)(model, wish) {
                Expected::Unsupported => Err(Refusal::Unsupported),
                expected => Ok(expected),
            },
        }
    }

    /// What the interface refuses, in its order: a wish may be wrong in several ways.
    fn checked(&self, geometry: Geometry, wish: &Allocate) -> Result<(), Refusal> {
        let alignment = wish.alignment.max(geometry.granule);
        let aligned = match self.any_alignment {
            true => alignment.is_multiple_of(geometry.granule),
            false => alignment.is_power_of_two(),
        };
        let inside = |(start, end)| start < end && end <= geometry.size;
        if wish.bytes == 0 || !wish.bytes.is_multiple_of(geometry.granule) {
            Err(Refusal::Size)
        } else if !aligned {
            Err(Refusal::Alignment)
        } else if wish.range.is_some_and(|range| !inside(range)) {
            Err(Refusal::Range)
        } else {
            Ok(())
        }
    }
}

fn any_fit_but_lowest_in_a_range(model: &Model, wish: &Allocate) -> Expected {
    let lowest = model.lowest(wish, 1);
    let whole = (0, model.geometry().size);
    match wish.range {
        Some(range) if range != whole => Expected::at(model, wish, lowest),
        _ if lowest.is_some() => Expected::AnyFit,
        _ => Expected::NoSpace,
    }
}
