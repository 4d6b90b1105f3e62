//! The adversaries, by name.

use crate::deed::Deed;
use crate::deeds;

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
    /// Its fault, after which it is not asked again: it would do the same.
    AtOnce(Fault),
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
    /// It did not take what is live.
    Restore,
    /// It does not fit.
    NotAComponent,
}

/// What the engine says of an import that nobody has.
const MISSING: &str = "function implementation is missing";

/// Rows of name, file, what is asked for, and what is reported.
macro_rules! adversaries {
    ($($name:literal $file:ident, $wishes:ident, $expected:expr;)*) => {
        /// Every adversary; its number is its place here.
        pub const ADVERSARIES: &[Adversary] = &[$(Adversary {
            name: $name,
            wishes: Wishes::$wishes,
            expected: $expected,
            deed: deeds::$file::DEED,
        }),*];
    };
}

adversaries! {
    "overlaps-a-live-extent"  overlaps_a_live_extent,  Plain,      lie("are taken");
    "overlaps-by-a-granule"   overlaps_by_a_granule,   Plain,      lie("are taken");
    "frees-a-neighbour"       frees_a_neighbour,       Plain,      lie("are taken");
    "same-extent-twice"       same_extent_twice,       Plain,      lie("are taken");
    "one-place-for-two"       one_place_for_two,       Plain,      lie("are taken");
    "leaves-the-arena"        leaves_the_arena,        Plain,      lie("leave the arena or the range");
    "straddles-the-end"       straddles_the_end,       Plain,      lie("leave the arena or the range");
    "overflows"               overflows,               Plain,      lie("leave the arena or the range");
    "leaves-the-range"        leaves_the_range,        Ranged,     lie("leave the arena or the range");
    "off-the-granule"         off_the_granule,         Plain,      lie("are off the granule or the alignment");
    "misaligned"              misaligned,              Aligned,    lie("are off the granule or the alignment");
    "zero-length"             zero_length,             Plain,      lie("are off the granule or the alignment");
    "too-small"               too_small,               Plain,      lie("bytes for a wish of");
    "too-large"               too_large,               Plain,      lie("bytes for a wish of");
    "pieces-for-contiguous"   pieces_for_contiguous,   Contiguous, lie("pieces for a contiguous wish of");
    "too-many-answers"        too_many_answers,        Plain,      lie("more answers than commands");
    "too-few-answers"         too_few_answers,         Plain,      lie("fewer answers than commands");
    "answers-another-number"  answers_another_number,  Plain,      lie("where another was due");
    "frees-for-an-allocate"   frees_for_an_allocate,   Plain,      lie("where another was due");
    "frees-another"           frees_another,           Plain,      lie("where another was due");
    "refuses-a-good-command"  refuses_a_good_command,  Plain,      lie("was refused: the size is 0");
    "wrong-version"           wrong_version,           Plain,      lie("layout version 2 is not 1");
    "truncated-item"          truncated_item,          Plain,      lie("the list ends inside an item");
    "wrong-count"             wrong_count,             Plain,      lie("the item count is wrong");
    "unknown-operation"       unknown_operation,       Plain,      lie("unknown operation 255 in item 0");
    "long-list"               long_list,               Plain,      lie("more answers than commands");
    "huge-list"               huge_list,               Plain,      both(Kind::Trap, "too much data is being copied");
    "traps"                   traps,                   Plain,      both(Kind::Trap, "unreachable");
    "endless-loop"            endless_loop,            Plain,      both(Kind::Fuel, "longer than its fuel");
    "endless-growth"          endless_growth,          Plain,      both(Kind::Trap, "forcing trap when growing memory");
    "overflows-the-stack"     overflows_the_stack,     Plain,      both(Kind::Trap, "call stack exhausted");
    "traps-while-restoring"   traps_while_restoring,   Plain,      then(Kind::Trap, "unreachable");
    "endless-restore"         endless_restore,         Plain,      then(Kind::Fuel, "longer than its fuel");
    "refuses-to-be-restored"  refuses_to_be_restored,  Plain,      then(Kind::Restore, "does not take the facts");
    "imports"                 imports,                 Plain,      Expected::NotStarted(fault(Kind::NotAComponent, MISSING));
    "statistics"              statistics,              Plain,      Expected::AtOnce(fault(Kind::Lie, "its statistics count"));
    "refuses-with-room"       refuses_with_room,       Plain,      lie("was refused although a hole holds it");
}

const fn fault(kind: Kind, text: &'static str) -> Fault {
    Fault { kind, text }
}

const fn both(kind: Kind, text: &'static str) -> Expected {
    Expected::Faults([fault(kind, text); 2])
}

/// Reported after an overlap, which brings about the restart that fails.
const fn then(kind: Kind, text: &'static str) -> Expected {
    Expected::Faults([fault(Kind::Lie, "are taken"), fault(kind, text)])
}

const fn lie(text: &'static str) -> Expected {
    both(Kind::Lie, text)
}
