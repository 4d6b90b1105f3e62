//! Commands to strategies and their answers: the words, what is refused, what is done by default.
#![allow(clippy::unwrap_used)]

use gpumm_contract::allocator::{
    self, Allocate, Answer, Block, Command, Failure, Mode, Refusal, Scan, Statistics,
};
use gpumm_contract::wire::{Kind, Reader, WireError, Writer};
use gpumm_contract::{AllocationId, Allocator, Extent, Geometry};

fn extent(offset: u64, bytes: u64) -> Extent {
    Extent { offset, bytes }
}

/// The commands as the words of one list.
fn command_words(commands: &[Command]) -> Vec<u64> {
    let mut out = Writer::new(Kind::Commands);
    commands.iter().for_each(|c| c.encode(&mut out));
    out.finish()
}

/// The commands of a list.
fn commands_of(words: &[u64]) -> Result<Vec<Command>, WireError> {
    let mut reader = Reader::new(words, Kind::Commands)?;
    let mut commands = Vec::new();
    while let Some(item) = reader.next()? {
        commands.push(Command::decode(&item)?);
    }
    Ok(commands)
}

/// One item as a list.
fn item(op: u8, operand: u32, body: &[u64]) -> Vec<u64> {
    let mut out = Writer::new(Kind::Commands);
    assert!(out.item(op, operand, |b| b.extend_from_slice(body)));
    out.finish()
}

const NUMBER: AllocationId = AllocationId(7);

/// A wish of one byte with what `change` does to it.
fn wish(change: impl FnOnce(&mut Allocate)) -> Command {
    let mut wish = Allocate::plain(NUMBER, 1);
    change(&mut wish);
    Command::Allocate(wish)
}

#[test]
fn every_command_has_the_words_that_are_documented() {
    let scan = |range, mode| {
        Command::ScanBegin(Scan {
            bytes: 1,
            alignment: 2,
            range,
            mode,
            colour: 9,
        })
    };
    let cleared = true;
    let trim = |start| Command::Trim {
        number: NUMBER,
        start,
        bytes: 5,
    };
    let rows: Vec<(Command, u8, Vec<u64>)> = vec![
        (wish(|_| ()), 1, vec![1]),
        (wish(|w| w.alignment = 2), 1, vec![1, 2]),
        (wish(|w| w.range = Some((3, 4))), 1, vec![1, 0, 3, 4]),
        (wish(|w| w.mode = Mode::Low), 1, vec![1, 0, 0, 0, 1]),
        (wish(|w| w.mode = Mode::High), 1, vec![1, 0, 0, 0, 2]),
        (wish(|w| w.mode = Mode::Evict), 1, vec![1, 0, 0, 0, 3]),
        (wish(|w| w.mode = Mode::BestLow), 1, vec![1, 0, 0, 0, 4]),
        (wish(|w| w.once = true), 1, vec![1, 0, 0, 0, 16]),
        (wish(|w| w.contiguous = true), 1, vec![1, 0, 0, 0, 32]),
        (wish(|w| w.clear = true), 1, vec![1, 0, 0, 0, 64]),
        (wish(|w| w.keep_rounding = true), 1, vec![1, 0, 0, 0, 128]),
        (wish(|w| w.colour = 6), 1, vec![1, 0, 0, 0, 0, 6]),
        (
            wish(|w| {
                (w.alignment, w.range) = (2, Some((3, 4)));
                (w.mode, w.once, w.contiguous) = (Mode::High, true, true);
                (w.clear, w.keep_rounding, w.colour) = (true, true, 6);
            }),
            1,
            vec![1, 2, 3, 4, 2 + 8 + 16 + 32 + 64 + 128, 6],
        ),
        // A range may be 0..0 as far as the words go.
        (
            wish(|w| (w.range, w.clear) = (Some((0, 0)), true)),
            1,
            vec![1, 0, 0, 0, 8 + 64],
        ),
        (Command::free(NUMBER), 2, vec![]),
        (
            Command::Free {
                number: NUMBER,
                cleared,
            },
            2,
            vec![1],
        ),
        (trim(None), 3, vec![5]),
        (trim(Some(0)), 3, vec![5, 0]),
        (Command::ResetClear { clear: false }, 4, vec![0]),
        (Command::ResetClear { clear: true }, 4, vec![1]),
        (scan(None, Mode::Best), 5, vec![1, 2, 0, 0, 0, 9]),
        (scan(Some((3, 4)), Mode::High), 5, vec![1, 2, 3, 4, 10, 9]),
        (Command::ScanAdd(NUMBER), 6, vec![]),
        (Command::ScanRemove(NUMBER), 7, vec![]),
        (Command::ScanColour, 8, vec![]),
    ];
    for (command, op, body) in &rows {
        let operand = command.number().0;
        assert_eq!(
            command_words(&[*command]),
            item(*op, operand, body),
            "{command:?}"
        );
    }
    let commands: Vec<Command> = rows.into_iter().map(|(command, ..)| command).collect();
    assert_eq!(commands_of(&command_words(&commands)), Ok(commands));
}

#[test]
fn commands_that_say_something_else_or_say_it_longer_are_refused() {
    let value = Err(WireError::Value(0));
    let length = Err(WireError::Length(0));
    let rows: &[(u8, u32, &[u64], _)] = &[
        (1, 7, &[], &length),
        (1, 7, &[1, 2, 3], &length),
        (1, 7, &[1, 0, 0, 0, 16, 0, 0], &length),
        // Longer than needed.
        (1, 7, &[1, 0, 0, 0, 0], &value),
        (1, 7, &[1, 0, 3, 4, 8], &value),
        (1, 7, &[1, 0, 0, 0, 16, 0], &value),
        // Modes and bits nobody knows.
        (1, 7, &[1, 0, 0, 0, 5], &value),
        (1, 7, &[1, 0, 0, 0, 7], &value),
        (1, 7, &[1, 0, 0, 0, 256], &value),
        (1, 7, &[1, 0, 0, 0, 1 << 63, 6], &value),
        // A range that is not meant.
        (1, 7, &[1, 0, 3, 4, 16], &value),
        (1, 7, &[1, 0, 0, 4, 1], &value),
        (2, 7, &[0], &value),
        (2, 7, &[2], &value),
        (2, 7, &[1, 1], &length),
        (3, 7, &[], &length),
        (3, 7, &[1, 2, 3], &length),
        (4, 0, &[2], &value),
        (4, 0, &[], &length),
        (4, 1, &[1], &value),
        (5, 0, &[1, 2, 3, 4, 8], &length),
        (5, 0, &[1, 2, 3, 4, 0, 9], &value),
        (5, 0, &[1, 2, 3, 4, 8 + 16, 9], &value),
        (5, 0, &[1, 2, 0, 0, 5, 9], &value),
        (5, 1, &[1, 2, 0, 0, 0, 9], &value),
        (6, 7, &[0], &length),
        (7, 7, &[0], &length),
        (8, 0, &[0], &length),
        (8, 7, &[], &value),
    ];
    for (op, operand, body, error) in rows {
        assert_eq!(
            &commands_of(&item(*op, *operand, body)),
            *error,
            "{op} {operand} {body:?}"
        );
    }
    assert_eq!(
        commands_of(&item(9, 0, &[])),
        Err(WireError::UnknownOperation(9, 0))
    );
    // The one exception, which stays for those who write it.
    assert_eq!(commands_of(&item(1, 7, &[1, 0])), Ok(vec![wish(|_| ())]));
}

#[test]
fn answers_round_trip() {
    let n = NUMBER;
    let answers = [
        Answer::Extents(n, vec![extent(1, 2), extent(3, 4)]),
        Answer::NoSpace {
            number: n,
            largest_hole: 9,
        },
        Answer::Freed(n),
        Answer::Refused(n, Refusal::Unsupported),
        Answer::Refused(n, Refusal::Scan),
        Answer::Done(n, true),
        Answer::Done(AllocationId(0), false),
    ];
    let mut out = Writer::new(Kind::Answers);
    assert!(answers.iter().all(|a| a.encode(&mut out)));
    let words = out.finish();
    let mut reader = Reader::new(&words, Kind::Answers).unwrap();
    for answer in answers {
        let read = Answer::decode(&reader.next().unwrap().unwrap()).unwrap();
        assert_eq!(read, answer);
        assert_eq!(read.number(), answer.number());
    }
    for (body, error) in [
        (&[2][..], WireError::Value(0)),
        (&[], WireError::Length(0)),
        (&[1, 1], WireError::Length(0)),
    ] {
        let mut out = Writer::new(Kind::Answers);
        assert!(out.item(5, 7, |b| b.extend_from_slice(body)));
        let words = out.finish();
        let item = Reader::new(&words, Kind::Answers).unwrap().next();
        assert_eq!(Answer::decode(&item.unwrap().unwrap()), Err(error));
    }
}

/// Does what the default methods do, and notes what reaches it.
#[derive(Default)]
struct Bare(Vec<(AllocationId, &'static str)>);

impl Allocator for Bare {
    fn init(&mut self, _: Geometry) -> Result<(), Refusal> {
        Ok(())
    }

    fn resize(&mut self, _: Geometry) -> Result<(), Refusal> {
        Ok(())
    }

    fn allocate(&mut self, wish: &Allocate, out: &mut Vec<Extent>) -> Result<(), Failure> {
        self.0.push((wish.number, "allocate"));
        out.push(extent(0, wish.bytes));
        Ok(())
    }

    fn free(&mut self, number: AllocationId) -> Result<(), Refusal> {
        self.0.push((number, "free"));
        Ok(())
    }

    fn restore_begin(&mut self, _: Geometry) -> Result<(), Refusal> {
        Ok(())
    }

    fn restore_part(&mut self, _: AllocationId, _: &[Extent]) -> Result<(), Refusal> {
        Ok(())
    }

    fn restore_end(&mut self) -> Result<(), Refusal> {
        Ok(())
    }

    fn statistics(&self) -> Statistics {
        Statistics::default()
    }

    fn blocks(&self, _: u64, _: usize) -> Vec<Block> {
        Vec::new()
    }
}

#[test]
fn a_strategy_that_offers_no_more_refuses_the_rest() {
    let cleared = true;
    let number = NUMBER;
    let commands = [
        wish(|w| w.mode = Mode::High),
        Command::Free { number, cleared },
        Command::Trim {
            number,
            start: None,
            bytes: 1,
        },
        Command::ResetClear { clear: true },
        Command::ScanBegin(Scan::default()),
        Command::ScanAdd(number),
        Command::ScanRemove(number),
        Command::ScanColour,
    ];
    let mut bare = Bare::default();
    let words = allocator::execute(&mut bare as &mut dyn Allocator, &command_words(&commands));
    assert_eq!(bare.0, [(number, "allocate"), (number, "free")]);
    let mut expected = vec![
        Answer::Extents(number, vec![extent(0, 1)]),
        Answer::Freed(number),
    ];
    let refused = |c: &Command| Answer::Refused(c.number(), Refusal::Unsupported);
    expected.extend(commands[2..].iter().map(refused));
    let mut reader = Reader::new(&words, Kind::Answers).unwrap();
    let mut answers = Vec::new();
    while let Some(item) = reader.next().unwrap() {
        answers.push(Answer::decode(&item).unwrap());
    }
    assert_eq!(answers, expected);
    assert_eq!(bare.validate(), Ok(()));
}

/// Random words of the commands' lengths: what is read is written again as the same words.
#[test]
fn every_readable_command_is_written_as_it_was_read() {
    let mut rng = fastrand::Rng::with_seed(6);
    let mut read = [0u32; 9];
    for _ in 0..400_000 {
        let op = rng.u8(1..10);
        let word = |rng: &mut fastrand::Rng| match rng.u8(0..6) {
            0..3 => 0,
            3 => rng.u64(0..300),
            4 => 1 << rng.u32(0..64),
            _ => rng.u64(..),
        };
        let body: Vec<u64> = (0..rng.usize(0..8)).map(|_| word(&mut rng)).collect();
        let words = item(op, rng.u32(0..2), &body);
        if let Ok(commands) = commands_of(&words) {
            read[op as usize - 1] += 1;
            let again = command_words(&commands);
            assert!(again == words || (op == 1 && body[1..] == [0]), "{words:?}");
        }
    }
    assert!(read[..8].iter().all(|&count| count > 100) && read[8] == 0);
}
