//! One suite of tests for every allocator strategy.
//!
//! A strategy describes itself as data (a [`Description`]) and gets all tests with one line in a
//! test of its own crate:
//!
//! ```ignore
//! const MINE: Description<Mine> = Description { name: "mine", ..Description::one_extent(Mine::new) };
//! gpumm_strategy_suite::suite!(MINE);
//! ```
//!
//! [`cases`] are single rules, [`drive`] plays random commands against a [`Model`] of every
//! granule, [`hostile`] sends what no caller should send. The last two take bytes; [`fuzz`] chooses
//! them for as long as it is told, and replays those that found something before.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test ends where it cannot go on"
)]

pub mod cases;
mod description;
mod dice;
mod drive;
pub mod fuzz;
mod hostile;
mod model;
pub mod random;
pub mod restore;
pub mod single;

pub use description::{Description, Expected, Strategy};
pub use dice::Dice;
pub use drive::drive;
pub use hostile::hostile;
pub use model::{Model, allocate};

/// Makes a test of every rule for the strategy of a [`Description`].
#[macro_export]
macro_rules! suite {
    ($description:expr) => {
        $crate::tests! { $description;
            cases::nothing_serves_without_a_geometry
            cases::a_wrong_geometry_is_refused_and_forgets_nothing
            cases::every_refusal_of_a_wish
            cases::no_space_names_the_largest_hole
            cases::what_is_unknown_cannot_be_freed
            single::a_single_wish_is_served_as_in_a_list
            cases::hints_change_no_rule
            cases::resize_cuts_only_what_is_free
            cases::the_whole_of_the_largest_arena_can_be_taken
            cases::blocks_are_paged_from_any_byte
            restore::a_restore_refuses_what_is_off_outside_or_taken
            restore::a_failed_part_leaves_nothing_behind
            restore::foreign_extents_are_adopted_or_refused
            restore::foreign_extents_are_adopted_while_serving
            restore::a_restored_strategy_is_as_good_as_the_old_one
            random::every_answer_agrees_with_the_model
            random::no_list_of_words_stops_the_strategy
            fuzz::fuzz
        }
    };
}

/// Makes tests of functions that take a description.
#[doc(hidden)]
#[macro_export]
macro_rules! tests {
    ($description:expr; $($module:ident::$name:ident)*) => {
        $(
            #[test]
            fn $name() {
                $crate::$module::$name(&$description);
            }
        )*
    };
}
