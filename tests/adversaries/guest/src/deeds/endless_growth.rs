//! Takes memory without end.

use crate::deed::Deed;
use gpumm_shell_support::trap;

pub(crate) const DEED: Deed = Deed {
    call: Some(trap::take_everything),
    ..Deed::HONEST
};
