//! Reference-counted scatter-gather tables.
