//! Random commands against the model.

use crate::description::{Description, Strategy};
use crate::dice::Dice;
use crate::model::Model;
use gpumm_contract::AllocationId;
use gpumm_contract::allocator::{
    Allocate, Answer, Command, Failure, Geometry, Mode, Refusal, Scan, execute,
};
use gpumm_contract::wire::{Kind, Reader, Writer};

/// Granules of the arenas that are played with: around the words of bitmaps, and not.
const ARENAS: [u64; 12] = [1, 2, 7, 16, 63, 64, 65, 100, 127, 128, 255, 600];
const GRANULES: [u64; 4] = [1, 4096, 1 << 20, 1 << 40];
/// How many allocation numbers are played with.
const NUMBERS: u64 = 40;

/// A strategy, a twin that hears the same, and the model that knows the right answers.
struct Game<'a, S> {
    description: &'a Description<S>,
    model: Model,
    strategy: S,
    twin: S,
}

/// Plays what the bytes say: packed lists of commands, some of them damaged, resizes, restores.
/// Everything a strategy answers and shows is compared with the model after every step.
///
/// Panics where the strategy is wrong. Complexity: O(bytes * granules).
pub fn drive<S: Strategy>(description: &Description<S>, bytes: &[u8]) {
    let mut dice = Dice::new(bytes);
    let model = Model::new(dice.pick(&ARENAS), dice.pick(&GRANULES));
    let mut strategy = (description.new)();
    strategy.init(model.geometry()).unwrap();
    let mut game = Game {
        description,
        model,
        twin: strategy.clone(),
        strategy,
    };
    while !dice.is_empty() {
        match dice.below(64) {
            0..58 => game.commands(&mut dice),
            58..60 => game.damaged(&mut dice),
            60..62 => game.resize(&mut dice),
            _ => game.restore(&mut dice),
        }
        let page = 1 + dice.below(50) as usize;
        game.model.compare(description, &game.strategy, page);
        assert_eq!(game.twin.validate(), Ok(()));
    }
    game.end();
}

impl<S: Strategy> Game<'_, S> {
    /// A list of one to four commands.
    fn commands(&mut self, dice: &mut Dice<'_>) {
        let count = if dice.once_in(4) {
            2 + dice.below(3)
        } else {
            1
        };
        let mut list = Vec::new();
        for _ in 0..count {
            list.push(self.command(dice));
        }
        let words = encode(&list);
        let answers = execute(&mut self.strategy, &words);
        assert_eq!(
            answers,
            execute(&mut self.twin, &words),
            "equal calls, equal answers"
        );
        let mut answers = decode(&answers).into_iter();
        for command in list {
            let answer = answers.next().expect("an answer for every command");
            self.judge(&command, &answer);
        }
        assert_eq!(answers.next(), None);
    }

    fn command(&self, dice: &mut Dice<'_>) -> Command {
        let number = AllocationId(dice.below(NUMBERS) as u32);
        match dice.below(128) {
            0..68 => {
                let mut wish = wish(dice, &self.model, number);
                if self.description.hints && dice.once_in(4) {
                    hint(dice, &mut wish);
                }
                Command::Allocate(wish)
            }
            120 if !self.description.trims => Command::Trim {
                number,
                start: None,
                bytes: self.model.granule,
            },
            121 if !self.description.resets => Command::ResetClear { clear: true },
            122 if !self.description.scans => Command::ScanBegin(Scan {
                bytes: self.model.granule,
                ..Scan::default()
            }),
            123 if !self.description.scans => Command::ScanAdd(number),
            124 if !self.description.scans => Command::ScanRemove(number),
            125 if !self.description.scans => Command::ScanColour,
            _ => Command::Free {
                number,
                cleared: dice.once_in(4) && self.description.hints,
            },
        }
    }

    fn judge(&mut self, command: &Command, answer: &Answer) {
        match *command {
            Command::Allocate(ref wish) => {
                assert_eq!(answer.number(), wish.number);
                let answer = match answer.clone() {
                    Answer::Extents(_, extents) => Ok(extents),
                    Answer::NoSpace { largest_hole, .. } => Err(Failure::NoSpace { largest_hole }),
                    Answer::Refused(_, why) => Err(Failure::Refused(why)),
                    other => panic!("{other:?} to {wish:?}"),
                };
                self.model.judge(self.description, wish, &answer);
            }
            Command::Free { number, .. } => {
                let right = match self.model.free(number.0) {
                    true => Answer::Freed(number),
                    false => Answer::Refused(number, Refusal::NumberUnknown),
                };
                assert_eq!(*answer, right);
            }
            // What a strategy does not offer it refuses, whatever the number.
            _ => {
                let refused = Answer::Refused(command.number(), Refusal::Unsupported);
                assert_eq!(*answer, refused);
            }
        }
    }

    /// A list that cannot be read: it executes nothing.
    fn damaged(&mut self, dice: &mut Dice<'_>) {
        let number = AllocationId(dice.below(NUMBERS) as u32);
        let mut words = encode(&[
            Command::free(number),
            Command::Allocate(wish(dice, &self.model, number)),
        ]);
        match dice.below(6) {
            0 => words.truncate(dice.below(words.len() as u64) as usize),
            1 => words.push(dice.word()),
            // An operation that nobody knows, in the first or the second item.
            2 => words[1 + dice.below(2) as usize] |= 0xf0,
            // A version or a kind that is not this one's.
            3 => words[0] ^= 1 << dice.below(32),
            // More or fewer items than there are.
            4 => words[0] ^= 1 << (32 + dice.below(32)),
            // A free with a body that is too long, or an item without an end.
            _ => words[1] = words[1] & !0xffff_ff00 | (3 + dice.below(1 << 20)) << 8,
        }
        let answers = execute(&mut self.strategy, &words);
        let refused = Answer::Refused(AllocationId(u32::MAX), Refusal::Malformed);
        assert_eq!(decode(&answers), [refused], "{words:x?}");
    }

    fn resize(&mut self, dice: &mut Dice<'_>) {
        let granules = (self.model.granules() + dice.below(80))
            .saturating_sub(40)
            .max(1);
        let geometry = Geometry {
            size: granules * self.model.granule,
            granule: self.model.granule,
        };
        let right = match self.model.resize(granules) {
            true => Ok(()),
            false => Err(Refusal::Geometry),
        };
        assert_eq!(self.strategy.resize(geometry), right, "to {granules}");
        assert_eq!(self.twin.resize(geometry), right);
    }

    /// The order of the parts must not show, and what else must not depends on the strategy.
    fn restore(&mut self, dice: &mut Dice<'_>) {
        let mut parts = self.model.live.clone();
        dice.shuffle(&mut parts);
        self.twin = self.model.restored(self.description, &parts);
        if self.description.history_shows {
            self.strategy = self.model.restored(self.description, &self.model.live);
            (self.description.forget)(&mut self.model);
        }
    }

    /// Everything is given back, and the arena is as it was at first.
    fn end(mut self) {
        while let Some((number, _)) = self.model.live.first() {
            let number = *number;
            self.model.free(number);
            self.strategy.free(AllocationId(number)).unwrap();
            assert_eq!(self.strategy.validate(), Ok(()));
        }
        let mut fresh = (self.description.new)();
        fresh.init(self.model.geometry()).unwrap();
        assert_eq!(self.strategy.statistics(), fresh.statistics());
        self.model.compare(self.description, &self.strategy, 3);
    }
}

/// A random wish, now and then a wrong one.
pub(crate) fn wish(dice: &mut Dice<'_>, model: &Model, number: AllocationId) -> Allocate {
    let (granules, granule) = (model.granules(), model.granule);
    let most = if dice.once_in(4) {
        granules
    } else {
        granules / 4
    };
    let mut wanted = 1 + dice.below(most + 2);
    if dice.once_in(3) {
        wanted = wanted.next_power_of_two();
    }
    let mut wish = Allocate::plain(number, wanted * granule);
    if dice.once_in(3) {
        wish.alignment = granule.checked_shl(dice.below(7) as u32).unwrap_or(granule);
    }
    if dice.once_in(3) {
        let (a, b) = (dice.below(granules + 1), dice.below(granules + 1));
        let ragged = if dice.once_in(2) {
            dice.below(granule)
        } else {
            0
        };
        wish.range = Some((a.min(b) * granule + ragged, a.max(b) * granule));
        if dice.once_in(3) {
            wish.range = Some((a.min(b) * granule, a.min(b) * granule + wish.bytes));
        }
    }
    match dice.below(60) {
        55 => wish.bytes = 0,
        56 => wish.bytes += 1,
        57 => wish.alignment = 3 * granule + dice.below(2),
        58 => wish.range = Some((0, u64::MAX)),
        59 => wish.range = Some((granule, granule)),
        _ => (),
    }
    wish
}

/// Hints, which must change nothing that the rules of the interface say.
pub(crate) fn hint(dice: &mut Dice<'_>, wish: &mut Allocate) {
    wish.mode = dice.pick(&Mode::ALL);
    wish.once = dice.once_in(2);
    wish.contiguous = dice.once_in(2);
    wish.clear = dice.once_in(2);
    wish.keep_rounding = dice.once_in(2);
    wish.colour = dice.below(3);
}

pub(crate) fn encode(commands: &[Command]) -> Vec<u64> {
    let mut writer = Writer::new(Kind::Commands);
    commands
        .iter()
        .for_each(|command| command.encode(&mut writer));
    writer.finish()
}

pub(crate) fn decode(words: &[u64]) -> Vec<Answer> {
    let mut reader = Reader::new(words, Kind::Answers).unwrap();
    let mut answers = Vec::new();
    while let Some(item) = reader.next().unwrap() {
        answers.push(Answer::decode(&item).unwrap());
    }
    answers
}
