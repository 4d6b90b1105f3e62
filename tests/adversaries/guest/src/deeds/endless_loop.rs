//! Never answers.

use crate::deed::Deed;
use gpumm_shell_support::trap;

pub(crate) const DEED: Deed = Deed {
    call: Some(trap::run_for_ever),
    ..Deed::HONEST
};
