//! The engine's behaviour, seen from outside.

mod bench;
mod registration;
mod resolution;
mod shortcut;
