//! What an adversary may do, and what it sees when it does.

use gpumm_allocator_tlsf::Tlsf;
use gpumm_contract::allocator::{
    Allocate, Allocator, Answer, Block, Command, Failure, Geometry, Refusal, Statistics,
};
use gpumm_contract::wire::{Item, Kind, Reader, WireError, Writer};
use gpumm_contract::{AllocationId, Extent};

/// The honest state at the time of a deed.
pub(crate) struct Scene<'a> {
    /// The arena.
    pub(crate) geometry: Geometry,
    /// What would go on serving, after the commands that are being answered.
    pub(crate) tlsf: &'a Tlsf,
}

impl Scene<'_> {
    /// Live blocks of everybody else, by address.
    pub(crate) fn others(
        &self,
        number: AllocationId,
    ) -> impl Iterator<Item = (AllocationId, Block)> {
        let blocks = self.tlsf.blocks(0, usize::MAX).into_iter();
        let owned = blocks.filter_map(|block| Some((block.owner?, block)));
        owned.filter(move |(owner, _)| *owner != number)
    }

    /// Whether an extent ends inside the arena.
    pub(crate) fn holds(&self, extent: Extent) -> bool {
        extent.end().is_some_and(|end| end <= self.geometry.size)
    }
}

/// What an adversary does; a hook that is `None` is honest.
///
/// A hook that changes something says whether it could: only that counts as a chance.
#[derive(Clone, Copy)]
#[allow(clippy::type_complexity, reason = "each is used once, here")]
pub struct Deed {
    /// Instead of executing commands.
    pub(crate) call: Option<fn() -> !>,
    /// Instead of serving a wish.
    pub(crate) wish: Option<fn(&Scene<'_>, &Allocate) -> Option<Failure>>,
    /// To the extents of one answer.
    pub(crate) extents: Option<fn(&Scene<'_>, &Allocate, &mut Vec<Extent>) -> bool>,
    /// To a list of answers.
    pub(crate) answers: Option<fn(&Scene<'_>, &mut Vec<Answer>) -> bool>,
    /// To the words of a list of answers.
    pub(crate) words: Option<fn(&mut Vec<u64>) -> bool>,
    /// Whenever it is restored, instead of that.
    pub(crate) restoring: Option<fn() -> Refusal>,
    /// To its statistics.
    pub(crate) statistics: Option<fn(&mut Statistics) -> bool>,
    /// Whether every chance is taken after the first: for what is no fault when done once.
    pub(crate) keeps_on: bool,
}

impl Deed {
    /// Nothing.
    pub(crate) const HONEST: Deed = Deed {
        call: None,
        wish: None,
        extents: None,
        answers: None,
        words: None,
        restoring: None,
        statistics: None,
        keeps_on: false,
    };

    /// The answers with the deed done to them; `None` where it cannot be done.
    pub(crate) fn spoil(
        &self,
        scene: &Scene<'_>,
        commands: &[u64],
        words: &[u64],
    ) -> Option<Vec<u64>> {
        if let Some(change) = self.words {
            let mut words = words.to_vec();
            return change(&mut words).then_some(words);
        }
        let mut answers = list(words, Kind::Answers, Answer::decode)?;
        let done = match (self.extents, self.answers) {
            (Some(change), _) => {
                let commands = list(commands, Kind::Commands, Command::decode)?;
                let mut pairs = commands.iter().zip(&mut answers);
                pairs.any(|pair| match pair {
                    (Command::Allocate(wish), Answer::Extents(_, extents)) => {
                        // A copy: what was no chance must not be half done.
                        let mut spoilt = extents.clone();
                        let done = change(scene, wish, &mut spoilt);
                        if done {
                            *extents = spoilt;
                        }
                        done
                    }
                    _ => false,
                })
            }
            (None, Some(change)) => change(scene, &mut answers),
            (None, None) => false,
        };
        let mut out = Writer::new(Kind::Answers);
        (done && answers.iter().all(|answer| answer.encode(&mut out))).then(|| out.finish())
    }
}

fn list<T>(
    words: &[u64],
    kind: Kind,
    decode: fn(&Item<'_>) -> Result<T, WireError>,
) -> Option<Vec<T>> {
    let mut reader = Reader::new(words, kind).ok()?;
    let mut all = Vec::new();
    while let Some(item) = reader.next().ok()? {
        all.push(decode(&item).ok()?);
    }
    Some(all)
}
