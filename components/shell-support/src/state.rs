//! The logic value of a component instance.

use std::cell::RefCell;

/// The logic value of a component instance, made at the first call.
///
/// Declared with `thread_local!`: an instance has one thread, for which that is a plain static.
///
/// Invariants: an instance is not entered while a call runs in it (the host sees to that), so the
/// cell is never borrowed twice; if it were, the panic is a trap like any other bug.
pub struct State<T>(RefCell<T>);

impl<T: Default> Default for State<T> {
    fn default() -> Self {
        State(RefCell::new(T::default()))
    }
}

impl<T> State<T> {
    /// Holds a value.
    pub fn new(value: T) -> Self {
        State(RefCell::new(value))
    }

    /// Calls `act` with the value.
    pub fn with<R>(&self, act: impl FnOnce(&mut T) -> R) -> R {
        act(&mut self.0.borrow_mut())
    }
}
