//! Lists that mostly hold one value.

use std::ops::Deref;
use std::sync::Arc;

/// A shared list that never changes; one value, which most lists hold, takes no heap block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Few<T> {
    /// Exactly one.
    One(T),
    /// None, or several.
    Many(Arc<[T]>),
}

impl<T: Copy> From<&[T]> for Few<T> {
    fn from(list: &[T]) -> Self {
        match list {
            &[one] => Few::One(one),
            many => Few::Many(many.into()),
        }
    }
}

impl<T> Deref for Few<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match self {
            Few::One(one) => std::slice::from_ref(one),
            Few::Many(many) => many,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_what_it_was_made_of() {
        for list in [&[][..], &[7], &[7, 8, 9]] {
            let few = Few::from(list);
            assert_eq!(few[..], *list);
            assert_eq!(matches!(few, Few::One(_)), list.len() == 1);
        }
    }
}
