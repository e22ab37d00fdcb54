//! Every spoke with every hub: is it registered, and if not, by when does it have to be?
//!
//! The bound: a spoke asks again after at most 64 seconds, and each request, reply or purge that the network or a
//! rate limit took costs it one more such step. A spoke that cannot know that its hub lost the registration asks when
//! it is going to renew it anyway.

use std::time::Duration;

use super::{
    address::{NodeId, Plan},
    clock::Moment,
};

/// The longest step of the back-off (RFC 2332 leaves it open; Cisco's is 64 seconds).
pub(super) const STEP: Duration = Duration::from_secs(64);

/// Time for one exchange.
const EXCHANGE: Duration = Duration::from_secs(1);

/// A spoke and a hub.
#[derive(Clone, Copy, Debug)]
struct Pair {
    /// Since when the spoke should register; [`Moment::NEVER`] while it is registered.
    since: Moment,
    /// Seconds until it notices.
    notices: u32,
    /// Packets between them that were lost since.
    lost: u32,
    /// The routing protocol is up between them.
    adjacent: bool,
    /// A look at the routing protocol is planned.
    adjacency_planned: bool,
    /// When the bound is going to be looked at; [`Moment::NEVER`] if no look is planned.
    look: Moment,
}

/// All pairs.
#[derive(Debug)]
pub(super) struct Pairs {
    plan: Plan,
    pairs: Vec<Pair>,
}

/// What is to be done when a pair's bound is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bound {
    /// Nothing: it is registered.
    Kept,
    /// Look again then.
    Later(Moment),
    /// It should have been registered by now.
    Broken {
        /// Since when it tried.
        since: Moment,
        /// Packets that were lost on the way.
        lost: u32,
    },
}

impl Pairs {
    pub(super) fn new(plan: Plan) -> Self {
        let pair = Pair {
            since: Moment::NEVER,
            notices: 0,
            lost: 0,
            adjacent: false,
            adjacency_planned: false,
            look: Moment::NEVER,
        };
        Self { plan, pairs: vec![pair; (plan.hubs * plan.spokes) as usize] }
    }

    /// The number of a pair.
    pub(super) const fn number(&self, spoke: NodeId, hub: NodeId) -> u32 {
        (spoke - self.plan.hubs) * self.plan.hubs + hub
    }

    /// Spoke and hub of a pair.
    pub(super) const fn nodes(&self, pair: u32) -> (NodeId, NodeId) {
        (self.plan.hubs + pair / self.plan.hubs, pair % self.plan.hubs)
    }

    /// From now on the spoke should register, once it noticed. When to look at the bound, if no look is planned by then.
    pub(super) fn open(&mut self, pair: u32, now: Moment, notices: Duration) -> Option<Moment> {
        let state = &mut self.pairs[pair as usize];
        state.since = now;
        state.notices = u32::try_from(notices.as_secs()).unwrap_or(u32::MAX);
        state.lost = 0;
        let bound = state.bound();
        if state.look <= bound {
            return None;
        }
        state.look = bound;
        Some(bound)
    }

    /// Nothing is expected of the spoke: it or the hub has no power.
    pub(super) fn close(&mut self, pair: u32) {
        self.pairs[pair as usize].since = Moment::NEVER;
    }

    /// Whether the spoke is expected to register.
    pub(super) fn is_open(&self, pair: u32) -> bool {
        self.pairs[pair as usize].since != Moment::NEVER
    }

    /// A packet of the exchange was lost.
    pub(super) fn lose(&mut self, pair: u32) {
        let state = &mut self.pairs[pair as usize];
        state.lost = state.lost.saturating_add(1);
    }

    /// The bound was to be looked at now.
    pub(super) fn look(&mut self, pair: u32, now: Moment, registered: bool) -> Bound {
        let state = &mut self.pairs[pair as usize];
        if state.look != now {
            // An earlier look was planned after this one.
            return Bound::Kept;
        }
        state.look = Moment::NEVER;
        if state.since == Moment::NEVER || registered {
            state.since = Moment::NEVER;
            return Bound::Kept;
        }
        let bound = state.bound();
        if now < bound {
            state.look = bound;
            return Bound::Later(bound);
        }
        let (since, lost) = (state.since, state.lost);
        // Look no more: one violation is said once.
        state.since = Moment::NEVER;
        Bound::Broken { since, lost }
    }

    pub(super) fn is_adjacent(&self, pair: u32) -> bool {
        self.pairs[pair as usize].adjacent
    }

    /// Sets whether the routing protocol is up; gives what it was.
    pub(super) fn set_adjacent(&mut self, pair: u32, adjacent: bool) -> bool {
        std::mem::replace(&mut self.pairs[pair as usize].adjacent, adjacent)
    }

    /// Notes that a look at the routing protocol is planned, or not any more; gives whether one was.
    pub(super) fn plan_adjacency(&mut self, pair: u32, planned: bool) -> bool {
        std::mem::replace(&mut self.pairs[pair as usize].adjacency_planned, planned)
    }
}

impl Pair {
    fn bound(&self) -> Moment {
        self.since
            + Duration::from_secs(self.notices.into())
            + STEP * self.lost.saturating_add(1)
            + EXCHANGE * 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment(seconds * 1_000_000_000)
    }

    #[test]
    fn numbers_lead_back_to_the_nodes() {
        let pairs = Pairs::new(Plan { hubs: 3, spokes: 5 });
        assert_eq!(pairs.nodes(pairs.number(3, 0)), (3, 0));
        assert_eq!(pairs.nodes(pairs.number(7, 2)), (7, 2));
        assert_eq!(pairs.number(7, 2), 14);
    }

    #[test]
    fn a_loss_gives_one_more_step_and_the_bound_then_breaks() {
        let mut pairs = Pairs::new(Plan { hubs: 1, spokes: 1 });
        assert_eq!(pairs.open(0, at(100), Duration::ZERO), Some(at(166)));
        assert_eq!(pairs.open(0, at(110), Duration::ZERO), None, "a look is planned already");
        assert_eq!(pairs.look(0, at(166), false), Bound::Later(at(176)));
        pairs.lose(0);
        assert_eq!(pairs.look(0, at(176), false), Bound::Later(at(240)));
        assert_eq!(pairs.look(0, at(240), false), Bound::Broken { since: at(110), lost: 1 });
        assert!(!pairs.is_open(0), "said once");
    }

    #[test]
    fn a_registered_spoke_keeps_the_bound() {
        let mut pairs = Pairs::new(Plan { hubs: 1, spokes: 1 });
        pairs.open(0, at(0), Duration::from_mins(40));
        assert!(pairs.is_open(0));
        assert_eq!(pairs.look(0, at(66), false), Bound::Kept, "no look was planned for then");
        assert_eq!(
            pairs.open(0, at(100), Duration::ZERO),
            Some(at(166)),
            "an earlier look than that planned"
        );
        assert_eq!(pairs.open(0, at(101), Duration::from_mins(40)), None);
        assert_eq!(pairs.look(0, at(166), false), Bound::Later(at(2567)));
        assert_eq!(pairs.look(0, at(2567), true), Bound::Kept);
        assert!(!pairs.is_open(0));
    }
}
