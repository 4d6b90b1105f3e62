//! Hardware contexts: which timeline the jobs of a queue reach points of.

use crate::error::{ComponentFault, Error};
use crate::parts::{Strategy, StrategySource};
use crate::wasm::WasmStrategy;
use gpumm_contract::allocator::{Allocate, Command, extents_of};
use gpumm_contract::wire::{Kind, Reader, WireError, Writer};
use gpumm_contract::{AllocationId, Geometry, TimelineId};

/// The contexts of a device. Their ids are given out by the strategy for bounded integers.
pub(crate) struct Contexts {
    /// By id.
    timelines: Vec<TimelineId>,
    /// Started when the first context is asked for.
    ids: Option<Box<dyn Strategy>>,
    /// Numbers that allocations were filed under and are not any more.
    unused: Vec<AllocationId>,
    numbers: u32,
}

/// A context in use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context {
    number: AllocationId,
    pub(crate) timeline: TimelineId,
}

impl std::fmt::Debug for Contexts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Contexts")
            .field("timelines", &self.timelines)
            .finish_non_exhaustive()
    }
}

impl Contexts {
    pub(crate) fn new(timelines: Vec<TimelineId>) -> Self {
        Contexts {
            timelines,
            ids: None,
            unused: Vec::new(),
            numbers: 0,
        }
    }

    /// The context with the lowest id that nobody has.
    ///
    /// Errors: all are in use, or the strategy fails.
    pub(crate) fn take(&mut self) -> Result<Context, Error> {
        let full = Error::NoContext {
            contexts: self.timelines.len(),
        };
        if self.timelines.is_empty() {
            return Err(full);
        }
        let number = self.unused.pop().unwrap_or_else(|| {
            self.numbers += 1;
            AllocationId(self.numbers - 1)
        });
        let mut wish = Writer::new(Kind::Commands);
        Command::Allocate(Allocate::plain(number, 1)).encode(&mut wish);
        let id = self.ask(wish)?;
        let timeline = id.and_then(|id| self.timelines.get(usize::try_from(id).ok()?));
        match timeline {
            Some(&timeline) => Ok(Context { number, timeline }),
            None => {
                self.unused.push(number);
                Err(full)
            }
        }
    }

    /// Gives a context back whose last job is over.
    ///
    /// Errors: the strategy fails.
    pub(crate) fn give_back(&mut self, context: Context) -> Result<(), Error> {
        let mut free = Writer::new(Kind::Commands);
        let number = context.number;
        let cleared = false;
        Command::Free { number, cleared }.encode(&mut free);
        self.ask(free)?;
        self.unused.push(context.number);
        Ok(())
    }

    /// Has the strategy execute one command; the id that it gives out, if it does.
    fn ask(&mut self, command: Writer) -> Result<Option<u64>, Error> {
        let answers = self.ids()?.execute(&command.finish()).map_err(failed)?;
        let lie = |e: WireError| failed(ComponentFault::Lie(e.to_string()));
        let mut reader = Reader::new(&answers, Kind::Answers).map_err(lie)?;
        let item = reader.next().map_err(lie)?;
        let extents = item.as_ref().and_then(extents_of);
        Ok(extents
            .and_then(|(_, mut extents)| extents.next())
            .map(|e| e.offset))
    }

    fn ids(&mut self) -> Result<&mut Box<dyn Strategy>, Error> {
        if self.ids.is_none() {
            let missing = || Error::UnknownStrategy {
                name: NAME.into(),
                known: String::new(),
            };
            let source = WasmStrategy::built_in(NAME).ok_or_else(missing)?;
            let mut ids = source.build().map_err(failed)?;
            let geometry = Geometry {
                size: self.timelines.len() as u64,
                granule: 1,
            };
            ids.init(geometry).map_err(failed)?;
            self.ids = Some(ids);
        }
        self.ids
            .as_mut()
            .ok_or_else(|| Error::System("the strategy of context ids is missing".into()))
    }
}

/// The strategy of the ids.
const NAME: &str = "id";

fn failed(fault: ComponentFault) -> Error {
    Error::Component {
        name: NAME.into(),
        fault,
    }
}
