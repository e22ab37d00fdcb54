//! When to look at what again.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{Time, ordered_map::OrderedMap, servers::ServerId};

/// What a timer is about. At one moment they fire in this order: routes go before the next hops they use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Subject {
    /// Routes changed a moment ago.
    Routes,
    /// A shortcut.
    Shortcut(IpNet),
    /// An answer that was given to somebody, by its number.
    Requester(u32),
    /// A cache entry.
    Binding(IpAddr),
    /// An address that could not be resolved.
    Negative(IpAddr),
    /// A pending resolution.
    Resolution(IpAddr),
    /// A next hop server.
    Server(ServerId),
    /// The choice of servers.
    Servers,
    /// A Purge Request that waits for its reply.
    Purge(u32),
}

/// One timer for each subject.
///
/// A timer that is put off stays where it is in the queue and fires at the earlier moment; whoever it is about then
/// finds that it is not due and sets it again. So renewing a registration, by far the most frequent change, costs
/// one look-up.
#[derive(Debug, Default)]
pub(super) struct Timers {
    by_subject: OrderedMap<Subject, Time>,
    queue: OrderedMap<(Time, Subject), ()>,
}

impl Timers {
    /// Makes sure that the subject is looked at when `at` comes, or before.
    pub(super) fn set(&mut self, subject: Subject, at: Time) {
        let current = self.by_subject.get_or_insert_with(subject, || at);
        if *current > at {
            self.queue.remove(&(*current, subject));
            *current = at;
        }
        if *current == at {
            self.queue.insert((at, subject), ());
        }
    }

    /// Forgets the subject.
    pub(super) fn clear(&mut self, subject: Subject) {
        if let Some(at) = self.by_subject.remove(&subject) {
            self.queue.remove(&(at, subject));
        }
    }

    /// Forgets everything.
    pub(super) fn clear_all(&mut self) {
        *self = Self::default();
    }

    /// Takes the first timer that is due.
    pub(super) fn pop(&mut self, now: Time) -> Option<Subject> {
        let (&(at, subject), ()) = self.queue.first()?;
        if at > now {
            return None;
        }
        self.queue.pop_first();
        self.by_subject.remove(&subject);
        Some(subject)
    }

    /// When the first timer is due.
    pub(super) fn next(&self) -> Option<Time> {
        self.queue.first().map(|(&(at, _), ())| at)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> Time {
        Time::new(Duration::from_secs(seconds))
    }

    #[test]
    fn fires_in_order_of_time_then_of_subject() {
        let mut timers = Timers::default();
        timers.set(Subject::Server(ServerId(0)), at(5));
        timers.set(Subject::Shortcut("10.0.0.0/8".parse().unwrap()), at(5));
        timers.set(Subject::Server(ServerId(1)), at(3));
        assert_eq!(timers.next(), Some(at(3)));
        assert_eq!(timers.pop(at(2)), None);
        assert_eq!(timers.pop(at(9)), Some(Subject::Server(ServerId(1))));
        assert!(matches!(timers.pop(at(9)), Some(Subject::Shortcut(_))));
        assert_eq!(timers.pop(at(9)), Some(Subject::Server(ServerId(0))));
        assert_eq!(timers.pop(at(9)), None);
    }

    #[test]
    fn putting_off_fires_early_and_bringing_forward_fires_once() {
        let mut timers = Timers::default();
        timers.set(Subject::Server(ServerId(0)), at(5));
        timers.set(Subject::Server(ServerId(0)), at(8));
        assert_eq!(timers.next(), Some(at(5)));
        timers.set(Subject::Server(ServerId(0)), at(2));
        assert_eq!(timers.pop(at(10)), Some(Subject::Server(ServerId(0))));
        assert_eq!(timers.pop(at(10)), None);
    }

    #[test]
    fn a_cleared_timer_never_fires() {
        let mut timers = Timers::default();
        timers.set(Subject::Servers, at(1));
        timers.clear(Subject::Servers);
        assert_eq!(timers.next(), None);
        assert_eq!(timers.pop(at(10)), None);
    }
}
