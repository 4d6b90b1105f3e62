//! Lies, and traps when its restarted self is restored.

use super::overlaps_a_live_extent as lie;
use crate::deed::Deed;
use gpumm_shell_support::trap;

pub(crate) const DEED: Deed = Deed {
    restoring: Some(|| trap::fail()),
    ..lie::DEED
};
