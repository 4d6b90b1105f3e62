//! Lists that several keep.

use std::sync::Arc;

/// A short list that plans, the ledger and operations under way share.
pub(crate) type Shared<T> = gpumm_contract::Few<T, Arc<[T]>>;
