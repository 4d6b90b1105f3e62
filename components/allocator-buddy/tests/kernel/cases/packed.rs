//! The strategy behind its packed lists, as a component has it.

use gpumm_contract::allocator::{
    Allocate, Allocator, Answer, Block, Command, Failure, Geometry, Refusal, Statistics,
    encode_extents, execute, restore_part,
};
use gpumm_contract::wire::{Kind, Reader, Writer};
use gpumm_contract::{AllocationId, Extent};

/// A strategy as a component shows it.
pub(crate) trait Face {
    fn init(&mut self, geometry: Geometry) -> Result<(), Refusal>;
    fn resize(&mut self, geometry: Geometry) -> Result<(), Refusal>;
    fn execute(&mut self, commands: &[u64]) -> Vec<u64>;
    fn restore_begin(&mut self, geometry: Geometry) -> Result<(), Refusal>;
    fn restore_part(&mut self, allocations: &[u64]) -> Result<(), Refusal>;
    fn restore_end(&mut self) -> Result<(), Refusal>;
    fn statistics(&self) -> Statistics;
    fn blocks(&self, from: u64, limit: usize) -> Vec<Block>;
    fn validate(&self) -> Result<(), &'static str>;
}

/// A library, as its shell shows it.
#[derive(Default)]
pub(crate) struct Library<S>(pub(crate) S);

impl<S: Allocator> Face for Library<S> {
    fn init(&mut self, geometry: Geometry) -> Result<(), Refusal> {
        self.0.init(geometry)
    }

    fn resize(&mut self, geometry: Geometry) -> Result<(), Refusal> {
        self.0.resize(geometry)
    }

    fn execute(&mut self, commands: &[u64]) -> Vec<u64> {
        execute(&mut self.0, commands)
    }

    fn restore_begin(&mut self, geometry: Geometry) -> Result<(), Refusal> {
        self.0.restore_begin(geometry)
    }

    fn restore_part(&mut self, allocations: &[u64]) -> Result<(), Refusal> {
        restore_part(&mut self.0, allocations)
    }

    fn restore_end(&mut self) -> Result<(), Refusal> {
        self.0.restore_end()
    }

    fn statistics(&self) -> Statistics {
        self.0.statistics()
    }

    fn blocks(&self, from: u64, limit: usize) -> Vec<Block> {
        self.0.blocks(from, limit)
    }

    fn validate(&self) -> Result<(), &'static str> {
        self.0.validate()
    }
}

/// A strategy that is asked in packed lists.
#[derive(Default)]
pub(crate) struct Packed<F>(pub(crate) F);

/// What one command is answered by whoever executes packed lists.
pub(crate) fn ask(execute: &mut dyn FnMut(&[u64]) -> Vec<u64>, command: Command) -> Answer {
    let mut out = Writer::new(Kind::Commands);
    command.encode(&mut out);
    let answers = execute(&out.finish());
    let mut reader = Reader::new(&answers, Kind::Answers).unwrap();
    let answer = Answer::decode(&reader.next().unwrap().unwrap()).unwrap();
    assert!(reader.next().unwrap().is_none());
    assert_eq!(answer.number(), command.number());
    answer
}

impl<F: Face> Packed<F> {
    fn ask(&mut self, command: Command) -> Answer {
        ask(&mut |words| self.0.execute(words), command)
    }

    /// The answer to a command that gives nothing but itself.
    fn done(&mut self, command: Command, expected: Answer) -> Result<(), Refusal> {
        match self.ask(command) {
            Answer::Refused(_, why) => Err(why),
            answer => {
                assert_eq!(answer, expected);
                Ok(())
            }
        }
    }
}

impl<F: Face> Allocator for Packed<F> {
    fn init(&mut self, geometry: Geometry) -> Result<(), Refusal> {
        self.0.init(geometry)
    }

    fn resize(&mut self, geometry: Geometry) -> Result<(), Refusal> {
        self.0.resize(geometry)
    }

    fn allocate(&mut self, wish: &Allocate, extents: &mut Vec<Extent>) -> Result<(), Failure> {
        match self.ask(Command::Allocate(*wish)) {
            Answer::Extents(_, list) => extents.extend(list),
            Answer::NoSpace { largest_hole, .. } => return Err(Failure::NoSpace { largest_hole }),
            Answer::Refused(_, why) => return Err(Failure::Refused(why)),
            answer => panic!("{answer:?}"),
        }
        Ok(())
    }

    fn free(&mut self, number: AllocationId) -> Result<(), Refusal> {
        self.free_as(number, false)
    }

    fn free_as(&mut self, number: AllocationId, cleared: bool) -> Result<(), Refusal> {
        self.done(Command::Free { number, cleared }, Answer::Freed(number))
    }

    fn trim(
        &mut self,
        number: AllocationId,
        start: Option<u64>,
        bytes: u64,
        extents: &mut Vec<Extent>,
    ) -> Result<(), Refusal> {
        let command = Command::Trim {
            number,
            start,
            bytes,
        };
        match self.ask(command) {
            Answer::Extents(_, list) => extents.extend(list),
            Answer::Refused(_, why) => return Err(why),
            answer => panic!("{answer:?}"),
        }
        Ok(())
    }

    fn reset_clear(&mut self, clear: bool) -> Result<(), Refusal> {
        let done = Answer::Done(AllocationId(0), false);
        self.done(Command::ResetClear { clear }, done)
    }

    fn restore_begin(&mut self, geometry: Geometry) -> Result<(), Refusal> {
        self.0.restore_begin(geometry)
    }

    fn restore_part(&mut self, number: AllocationId, extents: &[Extent]) -> Result<(), Refusal> {
        let mut out = Writer::new(Kind::Answers);
        assert!(encode_extents(number, extents, &mut out));
        self.0.restore_part(&out.finish())
    }

    fn restore_end(&mut self) -> Result<(), Refusal> {
        self.0.restore_end()
    }

    fn statistics(&self) -> Statistics {
        self.0.statistics()
    }

    fn blocks(&self, from: u64, limit: usize) -> Vec<Block> {
        self.0.blocks(from, limit)
    }

    fn validate(&self) -> Result<(), &'static str> {
        self.0.validate()
    }
}
