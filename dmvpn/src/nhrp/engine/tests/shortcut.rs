//! Shortcuts.
