//! The adversaries, by name.

use crate::deed::Deed;
use crate::deeds::*;

/// A strategy that does one thing wrong.
pub struct Adversary {
    /// What it is called: its file's name, with `-`.
    pub name: &'static str,
    /// What the mechanism has to ask for, or there is nothing to do wrong.
    pub wishes: Wishes,
    /// What is reported of it.
    pub expected: Expected,
    pub(crate) deed: Deed,
}

/// What every wish for device memory says besides the size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wishes {
    /// Nothing: what the built-in mechanism asks for.
    Plain,
    /// An alignment above the granule.
    Aligned,
    /// A range that does not begin with the arena.
    Ranged,
    /// That the extents follow each other.
    Contiguous,
}

/// What is reported of an adversary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Its fault, and that of its restarted self.
    Faults([Fault; 2]),
    /// Why it is not started at all.
    NotStarted(Fault),
    /// Nothing: the host does not look for that.
    None,
}

/// A fault as the host names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Which.
    pub kind: Kind,
    /// What its text contains.
    pub text: &'static str,
}

/// The kinds of fault that a strategy can be reported with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It trapped.
    Trap,
    /// It used up its fuel.
    Fuel,
    /// Its answer cannot be true.
    Lie,
    /// It does not fit.
    NotAComponent,
}

/// Every adversary; its number is its place here.
pub const ADVERSARIES: &[Adversary] = &[
    row(
        "overlaps-a-live-extent",
        overlaps_a_live_extent::DEED,
        Wishes::Plain,
        lie("are taken"),
    ),
    row(
        "overlaps-by-a-granule",
        overlaps_by_a_granule::DEED,
        Wishes::Plain,
        lie("are taken"),
    ),
    row(
        "frees-a-neighbour",
        frees_a_neighbour::DEED,
        Wishes::Plain,
        lie("are taken"),
    ),
    row(
        "same-extent-twice",
        same_extent_twice::DEED,
        Wishes::Plain,
        lie("are taken"),
    ),
    row(
        "one-place-for-two",
        one_place_for_two::DEED,
        Wishes::Plain,
        lie("are taken"),
    ),
    row(
        "leaves-the-arena",
        leaves_the_arena::DEED,
        Wishes::Plain,
        lie("leave the arena or the range"),
    ),
    row(
        "straddles-the-end",
        straddles_the_end::DEED,
        Wishes::Plain,
        lie("leave the arena or the range"),
    ),
    row(
        "overflows",
        overflows::DEED,
        Wishes::Plain,
        lie("leave the arena or the range"),
    ),
    row(
        "leaves-the-range",
        leaves_the_range::DEED,
        Wishes::Ranged,
        lie("leave the arena or the range"),
    ),
    row(
        "off-the-granule",
        off_the_granule::DEED,
        Wishes::Plain,
        lie("are off the granule or the alignment"),
    ),
    row(
        "misaligned",
        misaligned::DEED,
        Wishes::Aligned,
        lie("are off the granule or the alignment"),
    ),
    row(
        "zero-length",
        zero_length::DEED,
        Wishes::Plain,
        lie("are off the granule or the alignment"),
    ),
    row(
        "too-small",
        too_small::DEED,
        Wishes::Plain,
        lie("bytes for a wish of"),
    ),
    row(
        "too-large",
        too_large::DEED,
        Wishes::Plain,
        lie("bytes for a wish of"),
    ),
    row(
        "pieces-for-contiguous",
        pieces_for_contiguous::DEED,
        Wishes::Contiguous,
        lie("pieces for a contiguous wish of"),
    ),
    row(
        "too-many-answers",
        too_many_answers::DEED,
        Wishes::Plain,
        lie("more answers than commands"),
    ),
    row(
        "too-few-answers",
        too_few_answers::DEED,
        Wishes::Plain,
        lie("fewer answers than commands"),
    ),
    row(
        "answers-another-number",
        answers_another_number::DEED,
        Wishes::Plain,
        lie("where another was due"),
    ),
    row(
        "frees-for-an-allocate",
        frees_for_an_allocate::DEED,
        Wishes::Plain,
        lie("where another was due"),
    ),
    row(
        "frees-another",
        frees_another::DEED,
        Wishes::Plain,
        lie("where another was due"),
    ),
    row(
        "refuses-a-good-command",
        refuses_a_good_command::DEED,
        Wishes::Plain,
        lie("was refused: the size is 0"),
    ),
    row(
        "wrong-version",
        wrong_version::DEED,
        Wishes::Plain,
        lie("layout version 2 is not 1"),
    ),
    row(
        "truncated-item",
        truncated_item::DEED,
        Wishes::Plain,
        lie("the list ends inside an item"),
    ),
    row(
        "wrong-count",
        wrong_count::DEED,
        Wishes::Plain,
        lie("the item count is wrong"),
    ),
    row(
        "unknown-operation",
        unknown_operation::DEED,
        Wishes::Plain,
        lie("unknown operation 255 in item 0"),
    ),
    row(
        "huge-list",
        huge_list::DEED,
        Wishes::Plain,
        lie("more answers than commands"),
    ),
    row(
        "traps",
        traps::DEED,
        Wishes::Plain,
        both(Kind::Trap, "unreachable"),
    ),
    row(
        "endless-loop",
        endless_loop::DEED,
        Wishes::Plain,
        both(Kind::Fuel, "longer than its fuel"),
    ),
    row(
        "endless-growth",
        endless_growth::DEED,
        Wishes::Plain,
        both(Kind::Trap, "memory"),
    ),
    row(
        "overflows-the-stack",
        overflows_the_stack::DEED,
        Wishes::Plain,
        both(Kind::Trap, "call stack exhausted"),
    ),
    row(
        "traps-while-restoring",
        traps_while_restoring::DEED,
        Wishes::Plain,
        Expected::Faults([
            fault(Kind::Lie, "are taken"),
            fault(Kind::Trap, "unreachable"),
        ]),
    ),
    // Another component: what it imports would be imported by all.
    row(
        "imports",
        Deed::HONEST,
        Wishes::Plain,
        Expected::NotStarted(fault(
            Kind::NotAComponent,
            "function implementation is missing",
        )),
    ),
    row(
        "statistics",
        statistics::DEED,
        Wishes::Plain,
        Expected::None,
    ),
    row(
        "refuses-with-room",
        refuses_with_room::DEED,
        Wishes::Plain,
        Expected::None,
    ),
];

const fn row(name: &'static str, deed: Deed, wishes: Wishes, expected: Expected) -> Adversary {
    Adversary {
        name,
        wishes,
        expected,
        deed,
    }
}

const fn fault(kind: Kind, text: &'static str) -> Fault {
    Fault { kind, text }
}

const fn both(kind: Kind, text: &'static str) -> Expected {
    Expected::Faults([fault(kind, text); 2])
}

const fn lie(text: &'static str) -> Expected {
    both(Kind::Lie, text)
}
