//! The rules of every strategy, and the model of this one.
#![allow(missing_docs)]

mod ring;

use ring::LINEAR;

gpumm_strategy_suite::suite!(LINEAR);
