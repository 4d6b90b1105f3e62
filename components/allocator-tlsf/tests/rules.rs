//! The rules of every strategy.
#![allow(missing_docs)]

use gpumm_allocator_tlsf::Tlsf;
use gpumm_strategy_suite::Description;

const TLSF: Description<Tlsf> = Description {
    name: "tlsf",
    overlaps_show_late: true,
    ..Description::one_extent(Tlsf::new)
};

gpumm_strategy_suite::suite!(TLSF);
