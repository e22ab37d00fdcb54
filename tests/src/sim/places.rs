//! Underlay addresses: who is where, who was where, and who still thinks so.

use super::{
    address::{Address, NodeId, Place, place, underlay},
    clock::Moment,
};

/// An underlay address that a node has or had.
#[derive(Clone, Copy, Debug)]
struct State {
    owner: NodeId,
    /// When its owner left it; [`Moment::NEVER`] while it is there.
    left: Moment,
    /// Neighbour and peer entries of all kernels that name it.
    references: u32,
}

/// All of them. The first ones are the hubs', in order.
#[derive(Debug, Default)]
pub(super) struct Places(Vec<State>);

impl Places {
    /// A new place for a node; `None` when the underlay is used up.
    pub(super) fn open(&mut self, owner: NodeId) -> Option<Place> {
        let number = Place::try_from(self.0.len()).ok()?;
        underlay(number)?;
        self.0.push(State { owner, left: Moment::NEVER, references: 0 });
        Some(number)
    }

    /// Its owner leaves it.
    pub(super) fn leave(&mut self, place: Place, now: Moment) {
        self.0[place as usize].left = now;
    }

    /// Its owner comes back to it.
    pub(super) fn come_back(&mut self, place: Place) {
        self.0[place as usize].left = Moment::NEVER;
    }

    /// Who has or had it.
    pub(super) fn owner(&self, place: Place) -> NodeId {
        self.0[place as usize].owner
    }

    /// Who has or had an underlay address.
    pub(super) fn owner_of(&self, address: Address) -> Option<NodeId> {
        self.0.get(place(address)? as usize).map(|state| state.owner)
    }

    /// When its owner left it; `None` while it is there.
    pub(super) fn left(&self, place: Place) -> Option<Moment> {
        Some(self.0[place as usize].left).filter(|&left| left != Moment::NEVER)
    }

    /// Who is at an underlay address now.
    pub(super) fn occupant(&self, address: Address) -> Option<NodeId> {
        let state = self.0.get(place(address)? as usize)?;
        (state.left == Moment::NEVER).then_some(state.owner)
    }

    /// One more entry names an underlay address.
    pub(super) fn hold(&mut self, address: Address) {
        if let Some(state) = self.state(address) {
            state.references += 1;
        }
    }

    /// One entry less.
    pub(super) fn release(&mut self, address: Address) {
        if let Some(state) = self.state(address) {
            state.references -= 1;
        }
    }

    /// How many entries name it.
    pub(super) fn references(&self, place: Place) -> u32 {
        self.0[place as usize].references
    }

    /// Every place.
    pub(super) fn all(&self) -> impl Iterator<Item = Place> {
        (0..).take(self.0.len())
    }

    fn state(&mut self, address: Address) -> Option<&mut State> {
        self.0.get_mut(place(address)? as usize)
    }
}
