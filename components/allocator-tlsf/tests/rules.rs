//! The rules of every strategy.
#![allow(missing_docs)]

use gpumm_allocator_tlsf::Tlsf;
use gpumm_strategy_suite::Description;

const TLSF: Description<Tlsf> = Description {
    name: "tlsf",
    ..Description::one_extent(Tlsf::new)
};

gpumm_strategy_suite::suite!(TLSF);
