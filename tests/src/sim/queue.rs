//! What is going to happen, in the order of virtual time.

use std::{cmp::Reverse, collections::BinaryHeap};

use super::{
    address::{NodeId, Place},
    clock::Moment,
};

/// Something that is going to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Event {
    /// A packet arrives: the number of its flight.
    Arrive(u32),
    /// A node's engine has something to do.
    Wake(NodeId),
    /// A node gets power.
    Boot(NodeId),
    /// The routing protocol notices a change between a spoke and a hub: the number of the pair.
    Adjacency(u32),
    /// By now the spoke of a pair should be registered with its hub.
    RegistrationBound(u32),
    /// By now nobody should know a place that its node left.
    MappingBound(Place),
    /// A flow sends its next packets.
    Flow(u32),
    /// A new flow begins.
    NewFlow,
    /// A spoke leaves.
    Leave,
    /// A spoke gets another underlay address.
    Move,
    /// A hub fails.
    HubFails(NodeId),
    /// A stranger sends a packet.
    Stranger,
    /// A stranger sends very many packets.
    Flood,
}

/// Events by time; at one moment, in the order in which they were planned.
#[derive(Debug, Default)]
pub(super) struct Queue {
    heap: BinaryHeap<Reverse<(Moment, u64, Event)>>,
    planned: u64,
}

impl Queue {
    pub(super) fn plan(&mut self, at: Moment, event: Event) {
        self.heap.push(Reverse((at, self.planned, event)));
        self.planned += 1;
    }

    /// Takes the next event, if it happens by `end`.
    pub(super) fn next(&mut self, end: Moment) -> Option<(Moment, Event)> {
        let Reverse((at, ..)) = self.heap.peek()?;
        if *at > end {
            return None;
        }
        self.heap.pop().map(|Reverse((at, _, event))| (at, event))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_by_time_and_then_as_they_were_planned() {
        let mut queue = Queue::default();
        queue.plan(Moment(2), Event::Wake(9));
        queue.plan(Moment(2), Event::Wake(1));
        queue.plan(Moment(1), Event::Leave);
        queue.plan(Moment(3), Event::Move);
        let taken: Vec<_> = std::iter::from_fn(|| queue.next(Moment(2))).collect();
        let expected = [(Moment(1), Event::Leave), (Moment(2), Event::Wake(9)), (Moment(2), Event::Wake(1))];
        assert_eq!(taken, expected);
    }
}
