//! WIT shell of sg-table.
