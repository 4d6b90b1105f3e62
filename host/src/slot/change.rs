//! What comes and goes in an arena, for a strategy that does not decide it.

use crate::error::ComponentFault;
use crate::parts::Strategy;
use gpumm_contract::allocator::{Answer, Command, Refusal, encode_adopt};
use gpumm_contract::wire::{Kind, Reader, Writer};
use gpumm_contract::{AllocationId, Extents, Geometry};

/// One thing that came about while another strategy decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// These extents belong to a number now.
    Came(AllocationId, Extents),
    /// A number was given back.
    Went(AllocationId),
    /// The arena has grown.
    Grew(Geometry),
}

/// The most changes that one call carries.
const CALL: usize = 1024;

/// Tells a strategy what came about, in order.
///
/// Errors: [`ComponentFault::Restore`] when it does not offer to take them one by one; it fails, or
/// refuses what is true. It is unusable afterwards.
pub(crate) fn apply(strategy: &mut dyn Strategy, changes: &[Change]) -> Result<(), ComponentFault> {
    let grown = |change: &Change| matches!(change, Change::Grew(_));
    changes.split_inclusive(grown).try_for_each(|run| {
        let (told, grown) = match run.split_last() {
            Some((&Change::Grew(geometry), told)) => (told, Some(geometry)),
            _ => (run, None),
        };
        let mut parts = told.chunks(CALL);
        parts.try_for_each(|part| apply_part(strategy, part))?;
        grown.map_or(Ok(()), |geometry| strategy.resize(geometry))
    })
}

fn apply_part(strategy: &mut dyn Strategy, part: &[Change]) -> Result<(), ComponentFault> {
    let wrong = |number: AllocationId, why: String| {
        ComponentFault::Restore(format!("allocation {number}: {why}"))
    };
    let mut commands = Writer::new(Kind::Commands);
    for change in part {
        match change {
            Change::Went(number) => Command::free(*number).encode(&mut commands),
            Change::Came(number, extents) => {
                if !encode_adopt(*number, extents, &mut commands) {
                    return Err(wrong(*number, "too many extents".into()));
                }
            }
            Change::Grew(_) => {}
        }
    }
    let answers = strategy.execute(commands.words())?;
    let lie = |e: gpumm_contract::wire::WireError| ComponentFault::Lie(e.to_string());
    let mut reader = Reader::new(&answers, Kind::Answers).map_err(lie)?;
    for change in part {
        let item = reader.next().map_err(lie)?;
        let answer = item.map(|item| Answer::decode(&item)).transpose();
        match (change, answer.map_err(lie)?) {
            (Change::Went(number), Some(Answer::Freed(freed))) if freed == *number => {}
            (Change::Came(number, _), Some(Answer::Done(done, true))) if done == *number => {}
            (Change::Came(number, _), Some(Answer::Refused(_, why @ Refusal::Unsupported))) => {
                return Err(wrong(*number, why.to_string()));
            }
            (change, answer) => {
                let text = format!("it answered {answer:?} to what is so: {change:?}");
                return Err(ComponentFault::Lie(text));
            }
        }
    }
    Ok(())
}
