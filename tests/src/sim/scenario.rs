//! What goes on in the network, and how much of it.
//!
//! | what | when | how much |
//! |---|---|---|
//! | mass registration after a power cut | at the start | every spoke, within 10 seconds |
//! | strangers | from 1 second on | 20 packets a second, a flood of 10,000 every 10 minutes |
//! | traffic | from 1 minute on | one flow a second for 20,000 spokes, at least one a second |
//! | churn | from 2 minutes on | 1 % of the spokes leave every minute |
//! | moves | from 2 minutes on | 0.05 % of the spokes every minute |
//! | a hub fails | after 20 minutes, then every 4 hours | one after the other, for 10 minutes |

use std::time::Duration;

use super::{address::NodeId, clock::Moment, queue::Event, world::World};

/// The power comes back everywhere within this time.
const POWER: Duration = Duration::from_secs(10);

const STRANGERS_BEGIN: Duration = Duration::from_secs(1);
const TRAFFIC_BEGINS: Duration = Duration::from_mins(1);
const CHURN_BEGINS: Duration = Duration::from_mins(2);

/// Of the spokes, so many leave in a minute: one in 100.
const CHURN: u32 = 100;
/// One in 2000 moves.
const MOVES: u32 = 2000;

/// Of 100 spokes that leave, so many say good-bye.
const POLITE: u32 = 50;
/// So many come back at another underlay address.
const RELOCATED: u32 = 10;
/// So many stay away for longer than their registration lasts.
const LONG_GONE: u32 = 2;

const ABSENCE: (Duration, Duration) = (Duration::from_secs(20), Duration::from_mins(10));
const LONG_ABSENCE: (Duration, Duration) = (Duration::from_mins(125), Duration::from_hours(4));

const FIRST_FAILURE: Duration = Duration::from_mins(20);
const FAILURE_INTERVAL: Duration = Duration::from_hours(4);
const OUTAGE: Duration = Duration::from_mins(10);

impl World {
    /// Plans how everything begins.
    pub(super) fn plan_scenario(&mut self) {
        for hub in 0..self.plan.hubs {
            self.queue.plan(Moment(0), Event::Boot(hub));
        }
        for spoke in self.plan.hubs..self.plan.nodes() {
            let at = Moment(0) + self.random.between(Duration::ZERO, POWER);
            self.queue.plan(at, Event::Boot(spoke));
        }
        let begin = |span: Duration| Moment(0) + span;
        self.queue.plan(begin(STRANGERS_BEGIN), Event::Stranger);
        self.queue.plan(begin(STRANGERS_BEGIN), Event::Flood);
        self.queue.plan(begin(TRAFFIC_BEGINS), Event::NewFlow);
        self.queue.plan(begin(CHURN_BEGINS), Event::Leave);
        self.queue.plan(begin(CHURN_BEGINS), Event::Move);
        self.queue.plan(begin(FIRST_FAILURE), Event::HubFails(0));
    }

    /// One of the spokes leaves.
    pub(super) fn somebody_leaves(&mut self) {
        let gap = self.random.gap(Duration::from_mins(1) * CHURN / self.plan.spokes);
        self.queue.plan(self.now + gap, Event::Leave);
        let spoke = self.somebody();
        if !self.nodes[spoke as usize].up {
            return;
        }
        let politely = self.random.chance(POLITE);
        self.leave(spoke, politely);
        self.tally.left += 1;
        if self.random.chance(RELOCATED) {
            self.relocate(spoke);
        }
        let (least, most) = if self.random.chance(LONG_GONE) { LONG_ABSENCE } else { ABSENCE };
        let back = self.now + self.random.between(least, most);
        self.queue.plan(back, Event::Boot(spoke));
    }

    /// One of the spokes gets another underlay address.
    pub(super) fn somebody_moves(&mut self) {
        let gap = self.random.gap(Duration::from_mins(1) * MOVES / self.plan.spokes);
        self.queue.plan(self.now + gap, Event::Move);
        let spoke = self.somebody();
        if self.nodes[spoke as usize].up {
            self.relocate(spoke);
            self.tally.moved += 1;
        }
    }

    /// A hub fails, and comes back later.
    pub(super) fn hub_fails(&mut self, hub: NodeId) {
        self.fail(hub);
        self.tally.hub_failures += 1;
        self.queue.plan(self.now + OUTAGE, Event::Boot(hub));
        self.queue.plan(self.now + FAILURE_INTERVAL, Event::HubFails((hub + 1) % self.plan.hubs));
    }

    fn somebody(&mut self) -> NodeId {
        self.plan.spoke(self.random.below(self.plan.spokes))
    }
}
