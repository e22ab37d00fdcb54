//! Tables that most tunnels never use: a spoke sends no Traffic Indications, and an idle one has no shortcuts.

use std::ops::{Deref, DerefMut};

/// A table that takes room only from the first change on.
#[derive(Debug)]
pub(super) struct Rare<T>(Option<Box<T>>);

/// What has a state without anything in it.
pub(super) trait Empty: Default + 'static {
    /// That state.
    const EMPTY: &'static Self;
}

impl<T> Default for Rare<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: Empty> Deref for Rare<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_deref().unwrap_or(T::EMPTY)
    }
}

impl<T: Empty> DerefMut for Rare<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.get_or_insert_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, PartialEq)]
    struct Table(Vec<u8>);

    impl Empty for Table {
        const EMPTY: &'static Self = &Self(Vec::new());
    }

    #[test]
    fn takes_room_from_the_first_change_on() {
        let mut table = Rare::<Table>::default();
        assert_eq!(*table, Table::default());
        assert!(table.0.is_none() && size_of_val(&table) == size_of::<usize>());
        table.deref_mut().0.push(7);
        assert_eq!(table.deref().0, [7]);
        assert!(table.0.is_some());
    }
}
