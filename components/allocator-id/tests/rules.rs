//! The rules of every strategy, and the model of this one.
#![allow(missing_docs)]

mod ids;

use ids::ID;

gpumm_strategy_suite::suite!(ID);
