//! The built components as bytes.
