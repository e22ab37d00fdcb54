//! What outlives an agent when it is saved: the registrations of clients, and how far the ids of our own requests
//! have come.

use std::{net::IpAddr, time::Duration};

use ipnet::IpNet;

use super::{
    Time,
    cache::{Kind, Offer},
    server::Origin,
    shortcut::Source,
    tunnel::{Context, Tunnel},
};

/// Requests that an agent may have sent after it saved its ids for the last time.
const GAP: u32 = 1 << 16;
/// Requests after which the ids are worth saving, long before the gap is used up.
const SAVE_AFTER: u32 = GAP / 4;

/// A client's registration, as an agent saves it and a later one restores it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// What is registered: the client's address, or a prefix behind it.
    pub prefix: IpNet,
    /// The client's address.
    pub client: IpAddr,
    /// Where the client is.
    pub nbma: IpAddr,
    /// Where it says it is: another address when it is behind NAT.
    pub claimed_nbma: IpAddr,
    /// Nobody else may register the address.
    pub unique: bool,
    /// MTU it announced, 0 if none.
    pub mtu: u16,
    /// Id of the request: whoever knows it may take the registration back.
    pub request_id: u32,
    /// How long it is still to be believed.
    pub remaining: Duration,
}

/// The ids of a tunnel's own requests. RFC 2332 wants them to outlive a restart: a server gives a unique registration
/// back to whoever knows its id (5.2.3), and no id stands for two requests (5.2.0.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestIds {
    /// The one of all registrations.
    pub registration: u32,
    /// The next one of all other requests, which count up.
    pub next: u32,
}

impl Tunnel {
    /// Whether an id was one of ours not long ago.
    pub(super) const fn was_ours(&self, id: u32) -> bool {
        const NOT_LONG_AGO: u32 = 1 << 16;

        matches!(self.ids.next.wrapping_sub(id), 1..=NOT_LONG_AGO)
    }

    /// A new id for a request.
    pub(super) fn next_request_id(&mut self) -> u32 {
        let id = self.ids.next;
        self.ids.next = id.wrapping_add(1);
        if id.is_multiple_of(SAVE_AFTER) {
            self.revision += 1;
        }
        id
    }

    /// Goes on where an earlier agent stopped, or shortly after: it may have sent requests since it was saved.
    pub(super) fn resume(&mut self, saved: RequestIds) {
        self.ids = RequestIds { next: saved.next.wrapping_add(GAP), ..saved };
    }

    /// The clients' registrations: prefixes after the clients they are behind.
    pub(super) fn registrations(&self, now: Time) -> impl Iterator<Item = Registration> + '_ {
        let clients = self.cache.iter().filter(|(_, binding)| binding.offer.kind == Kind::Registered);
        let clients = clients.map(move |(&client, binding)| Registration {
            prefix: IpNet::from(client),
            client,
            nbma: binding.offer.nbma,
            claimed_nbma: binding.offer.claimed,
            unique: binding.offer.unique,
            mtu: binding.offer.mtu,
            request_id: binding.offer.request_id,
            remaining: binding.expires.map_or(Duration::MAX, |at| at.since(now)),
        });
        let prefixes = self.shortcuts.iter().filter(|(_, shortcut)| shortcut.source == Source::Registered);
        let prefixes = prefixes.filter_map(move |(prefix, shortcut)| {
            let offer = &self.cache.get(&shortcut.via)?.offer;
            Some(Registration {
                prefix,
                client: shortcut.via,
                nbma: offer.nbma,
                claimed_nbma: offer.claimed,
                unique: false,
                mtu: 0,
                request_id: 0,
                remaining: shortcut.expires.since(now),
            })
        });
        clients.chain(prefixes)
    }

    /// Takes over registrations that an earlier agent saved, as far as the configuration still allows them.
    pub(super) fn restore(&mut self, cx: &mut Context<'_>, registrations: &[Registration]) {
        for registration in registrations {
            self.restore_one(cx, registration);
        }
    }

    fn restore_one(&mut self, cx: &mut Context<'_>, saved: &Registration) {
        let Registration { prefix, client, nbma, remaining, .. } = *saved;
        // What the kernel or a server said by now is newer, and what the operator said is right.
        let is_known = |tunnel: &Self| {
            tunnel.cache.get(&client).is_some_and(|binding| binding.offer.kind >= Kind::Registered)
        };
        if remaining.is_zero() || nbma == self.config.nbma {
            return;
        }
        if prefix.prefix_len() < prefix.max_prefix_len() {
            let origin = Origin { nbma, claimed: saved.claimed_nbma };
            self.register_prefix(cx, prefix.addr(), prefix.prefix_len(), client, origin, remaining);
            return;
        }
        let most = self.config.limits.registrations_per_nbma;
        let has_room = self.peers.get(nbma).is_none_or(|peer| (peer.registrations as usize) < most);
        if prefix.addr() != client || !self.is_client_address(client) || is_known(self) || !has_room {
            return;
        }
        let offer = Offer {
            claimed: saved.claimed_nbma,
            unique: saved.unique,
            mtu: saved.mtu,
            request_id: saved.request_id,
            ..Offer::new(Kind::Registered, nbma, Some(remaining))
        };
        self.install(cx, client, offer);
    }
}
