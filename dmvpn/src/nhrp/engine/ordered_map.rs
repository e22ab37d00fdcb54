//! An ordered map for tables that hold a handful of entries on a spoke and a hundred thousand on a hub.
//!
//! `BTreeMap` reserves room for eleven entries with the first one, and keeps it when the last one goes: several
//! kilobytes for each of a spoke's tables. This map is a sorted array of exactly what it holds while that is little,
//! and a B-tree when it is more. Every operation costs O(log n), or a move of at most [`FEW`] entries.

use std::{
    collections::{BTreeMap, btree_map},
    mem,
    ops::RangeFrom,
};

/// Most entries of the array.
const FEW: usize = 8;

/// An ordered map.
#[derive(Clone, Debug)]
pub(super) enum OrderedMap<K, V> {
    /// Sorted by key.
    Few(Vec<(K, V)>),
    /// More than an array should hold.
    #[expect(clippy::box_collection, reason = "a bare tree would leave no room for the mark of the variant")]
    Many(Box<BTreeMap<K, V>>),
}

impl<K, V> Default for OrderedMap<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Ord, V> FromIterator<(K, V)> for OrderedMap<K, V> {
    fn from_iter<T: IntoIterator<Item = (K, V)>>(entries: T) -> Self {
        let mut map = Self::new();
        for (key, value) in entries {
            map.insert(key, value);
        }
        map
    }
}

impl<K, V> OrderedMap<K, V> {
    pub(super) const fn new() -> Self {
        Self::Few(Vec::new())
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Few(entries) => entries.len(),
            Self::Many(tree) => tree.len(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn clear(&mut self) {
        *self = Self::new();
    }

    /// Entries by key.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = (&K, &V)> {
        let (few, many) = match self {
            Self::Few(entries) => (entries.as_slice(), None),
            Self::Many(tree) => (&[][..], Some(tree.as_ref())),
        };
        few.iter().map(pair).chain(many.into_iter().flatten())
    }

    pub(super) fn keys(&self) -> impl DoubleEndedIterator<Item = &K> {
        self.iter().map(|(key, _)| key)
    }

    pub(super) fn values(&self) -> impl DoubleEndedIterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }

    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        let (few, many) = match self {
            Self::Few(entries) => (entries.as_mut_slice(), None),
            Self::Many(tree) => (&mut [][..], Some(tree.as_mut())),
        };
        few.iter_mut().map(|(_, value)| value).chain(many.into_iter().flat_map(BTreeMap::values_mut))
    }
}

impl<K: Ord, V> OrderedMap<K, V> {
    pub(super) fn contains_key(&self, key: &K) -> bool {
        self.get(key).is_some()
    }

    pub(super) fn get(&self, key: &K) -> Option<&V> {
        match self {
            Self::Few(entries) => place(entries, key).ok().map(|at| &entries[at].1),
            Self::Many(tree) => tree.get(key),
        }
    }

    pub(super) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        match self {
            Self::Few(entries) => place(entries, key).ok().map(|at| &mut entries[at].1),
            Self::Many(tree) => tree.get_mut(key),
        }
    }

    /// The value of a key, made now if there is none.
    pub(super) fn get_or_insert_with(&mut self, key: K, make: impl FnOnce() -> V) -> &mut V {
        self.grow(&key);
        match self {
            Self::Few(entries) => {
                let at = place(entries, &key).unwrap_or_else(|at| {
                    entries.reserve_exact(1);
                    entries.insert(at, (key, make()));
                    at
                });
                &mut entries[at].1
            }
            Self::Many(tree) => tree.entry(key).or_insert_with(make),
        }
    }

    /// Sets the value of a key; gives the one it had.
    pub(super) fn insert(&mut self, key: K, value: V) -> Option<V> {
        self.grow(&key);
        match self {
            Self::Few(entries) => match place(entries, &key) {
                Ok(at) => Some(mem::replace(&mut entries[at].1, value)),
                Err(at) => {
                    entries.reserve_exact(1);
                    entries.insert(at, (key, value));
                    None
                }
            },
            Self::Many(tree) => tree.insert(key, value),
        }
    }

    pub(super) fn remove(&mut self, key: &K) -> Option<V> {
        let removed = match self {
            Self::Few(entries) => place(entries, key).ok().map(|at| entries.remove(at).1),
            Self::Many(tree) => tree.remove(key),
        };
        self.shrink();
        removed
    }

    /// The entry with the least key.
    pub(super) fn first(&self) -> Option<(&K, &V)> {
        match self {
            Self::Few(entries) => entries.first().map(pair),
            Self::Many(tree) => tree.first_key_value(),
        }
    }

    /// Takes the entry with the least key.
    pub(super) fn pop_first(&mut self) -> Option<(K, V)> {
        let first = match self {
            Self::Few(entries) if entries.is_empty() => None,
            Self::Few(entries) => Some(entries.remove(0)),
            Self::Many(tree) => tree.pop_first(),
        };
        self.shrink();
        first
    }

    /// Entries from a key on.
    pub(super) fn range(&self, keys: RangeFrom<K>) -> impl Iterator<Item = (&K, &V)> {
        let (few, many) = match self {
            Self::Few(entries) => {
                let from = place(entries, &keys.start).unwrap_or_else(|at| at);
                (&entries[from..], btree_map::Range::default())
            }
            Self::Many(tree) => (&[][..], tree.range(keys)),
        };
        few.iter().map(pair).chain(many)
    }

    /// Makes a tree of an array that has no room for one more.
    fn grow(&mut self, key: &K) {
        if let Self::Few(entries) = self
            && entries.len() == FEW
            && place(entries, key).is_err()
        {
            *self = Self::Many(Box::new(mem::take(entries).into_iter().collect()));
        }
    }

    /// Gives room back: what is left over of an array, and a tree with few entries. A tree becomes an array only at
    /// half of what made it one, so that a map around the bound is not rebuilt again and again.
    fn shrink(&mut self) {
        match self {
            Self::Few(entries) if entries.len() * 2 < entries.capacity() => entries.shrink_to_fit(),
            Self::Many(tree) if tree.len() <= FEW / 2 => {
                // Not collected: that reserves more than there is.
                let mut entries = Vec::with_capacity(tree.len());
                entries.extend(mem::take(tree.as_mut()));
                *self = Self::Few(entries);
            }
            Self::Few(_) | Self::Many(_) => {}
        }
    }
}

/// Where a key is, or where it would have to be.
fn place<K: Ord, V>(entries: &[(K, V)], key: &K) -> Result<usize, usize> {
    entries.binary_search_by(|(held, _)| held.cmp(key))
}

const fn pair<K, V>(entry: &(K, V)) -> (&K, &V) {
    (&entry.0, &entry.1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u8, u32),
        Remove(u8),
        PopFirst,
        GetOrInsert(u8, u32),
        Change(u8),
        Clear,
    }

    fn step() -> impl Strategy<Value = Step> {
        let key = || 0..24_u8;
        prop_oneof![
            6 => (key(), any::<u32>()).prop_map(|(key, value)| Step::Insert(key, value)),
            6 => key().prop_map(Step::Remove),
            2 => Just(Step::PopFirst),
            2 => (key(), any::<u32>()).prop_map(|(key, value)| Step::GetOrInsert(key, value)),
            2 => key().prop_map(Step::Change),
            1 => Just(Step::Clear),
        ]
    }

    proptest! {
        #[test]
        fn behaves_like_a_b_tree(steps in proptest::collection::vec(step(), 0..200), from in 0..24_u8) {
            let mut map = OrderedMap::new();
            let mut tree = BTreeMap::new();
            for step in steps {
                match step {
                    Step::Insert(key, value) => prop_assert_eq!(map.insert(key, value), tree.insert(key, value)),
                    Step::Remove(key) => prop_assert_eq!(map.remove(&key), tree.remove(&key)),
                    Step::PopFirst => prop_assert_eq!(map.pop_first(), tree.pop_first()),
                    Step::GetOrInsert(key, value) => {
                        let left = *map.get_or_insert_with(key, || value);
                        prop_assert_eq!(left, *tree.entry(key).or_insert(value));
                    }
                    Step::Change(key) => {
                        if let Some(value) = map.get_mut(&key) {
                            *value ^= 1;
                        }
                        tree.entry(key).and_modify(|value| *value ^= 1);
                    }
                    Step::Clear => {
                        map.clear();
                        tree.clear();
                    }
                }
                prop_assert!(map.iter().eq(tree.iter()));
                prop_assert!(map.iter().rev().eq(tree.iter().rev()));
                prop_assert!(map.range(from..).eq(tree.range(from..)));
                prop_assert!(map.values_mut().eq(tree.values_mut()));
                prop_assert_eq!(map.first(), tree.first_key_value());
                prop_assert_eq!(map.len(), tree.len());
                prop_assert_eq!(map.get(&from), tree.get(&from));
            }
        }
    }

    #[test]
    fn an_empty_map_is_as_small_as_an_empty_array() {
        assert_eq!(size_of::<OrderedMap<u8, u64>>(), size_of::<Vec<(u8, u64)>>());
    }

    #[test]
    fn reserves_no_more_than_it_holds() {
        let mut map: OrderedMap<u32, u64> = (0..3).map(|key| (key, 0)).collect();
        let capacity = |map: &OrderedMap<u32, u64>| match map {
            OrderedMap::Few(entries) => entries.capacity(),
            OrderedMap::Many(_) => panic!("a tree"),
        };
        assert_eq!(capacity(&map), 3);
        for key in 0..3 {
            map.remove(&key);
        }
        assert_eq!(capacity(&map), 0);
        map.extend_to(100);
        assert!(matches!(map, OrderedMap::Many(_)));
        for key in 0..96 {
            map.remove(&key);
        }
        assert_eq!(capacity(&map), 4);
        for key in 96..99 {
            map.remove(&key);
        }
        assert_eq!(capacity(&map), 1);
    }

    impl OrderedMap<u32, u64> {
        fn extend_to(&mut self, end: u32) {
            for key in 0..end {
                self.insert(key, 0);
            }
        }
    }
}
