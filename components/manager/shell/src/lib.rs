//! WIT shell of manager.
