//! Hands out the indexes of a table in an array map.

use std::collections::VecDeque;

/// Free indexes `1..=capacity`. Index 0 is never handed out: in the maps it means "none".
///
/// An index that comes back goes behind all others, because packets and neighbour entries may name it a little
/// longer: it must not mean another peer at once.
#[derive(Debug)]
pub(super) struct IndexPool {
    capacity: u32,
    /// Lowest index that was never in use; everything from here to `capacity` is free.
    fresh: u32,
    /// Free indexes below `fresh`, the longest free first.
    returned: VecDeque<u32>,
}

impl IndexPool {
    /// A pool in which the indexes for which `is_used` holds are in use.
    pub(super) fn new(capacity: u32, is_used: impl Fn(u32) -> bool) -> Self {
        let fresh = (1..=capacity).rev().find(|index| is_used(*index)).map_or(1, |highest| highest + 1);
        let returned = (1..fresh).filter(|index| !is_used(*index)).collect();
        Self { capacity, fresh, returned }
    }

    /// How many indexes there are, free or not.
    pub(super) const fn capacity(&self) -> u32 {
        self.capacity
    }

    /// Takes the index that has been free the longest; `None` when all are in use.
    pub(super) fn take(&mut self) -> Option<u32> {
        if self.fresh <= self.capacity {
            self.fresh += 1;
            return Some(self.fresh - 1);
        }
        self.returned.pop_front()
    }

    /// Gives back an index got from [`take`](Self::take).
    pub(super) fn give_back(&mut self, index: u32) {
        debug_assert!(index != 0 && index < self.fresh, "{index} was never in use");
        self.returned.push_back(index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hands_out_every_index_once_and_never_zero() {
        let mut pool = IndexPool::new(3, |_| false);
        assert_eq!([pool.take(), pool.take(), pool.take(), pool.take()], [Some(1), Some(2), Some(3), None]);
    }

    #[test]
    fn a_returned_index_waits_behind_all_free_ones() {
        let mut pool = IndexPool::new(4, |_| false);
        let (first, second) = (pool.take().unwrap(), pool.take().unwrap());
        pool.give_back(second);
        pool.give_back(first);
        assert_eq!([pool.take(), pool.take()], [Some(3), Some(4)]);
        assert_eq!([pool.take(), pool.take(), pool.take()], [Some(second), Some(first), None]);
    }

    #[test]
    fn after_a_restart_holes_come_last() {
        let mut pool = IndexPool::new(5, |index| index == 2 || index == 3);
        assert_eq!([pool.take(), pool.take()], [Some(4), Some(5)]);
        assert_eq!([pool.take(), pool.take()], [Some(1), None]);
    }

    #[test]
    fn a_full_table_has_none_to_give() {
        let mut pool = IndexPool::new(2, |_| true);
        assert_eq!(pool.take(), None);
        pool.give_back(2);
        assert_eq!(pool.take(), Some(2));
        assert_eq!(IndexPool::new(0, |_| false).take(), None);
    }
}
