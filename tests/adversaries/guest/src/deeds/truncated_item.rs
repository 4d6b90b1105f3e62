//! Answers with a list that ends inside its last item.

use crate::deed::Deed;

pub(crate) const DEED: Deed = Deed {
    words: Some(|words| words.pop().is_some()),
    ..Deed::HONEST
};
