//! Packets of ours: what all of them have in common, in the form Cisco gives it.

use std::{net::IpAddr, time::Duration};

use super::{
    Action, Fault,
    tunnel::{Context, Tunnel},
};
use crate::nhrp::wire::{Authentication, Body, Cie, ExtensionKind, Flags, IpFamily, Packet, Value};

/// Whether an address is good on the link only: no route leads to it.
pub(super) const fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
        IpAddr::V4(_) => false,
    }
}

/// A time as the packet has it: whole seconds, at least one.
pub(super) fn seconds(span: Duration) -> u16 {
    u16::try_from(span.as_secs()).unwrap_or(u16::MAX).max(1)
}

impl Tunnel {
    /// An entry that says where we are: in records, as responder, and in requests without the addresses.
    pub(super) fn own_cie(&self) -> Cie {
        Cie {
            prefix_length: self.host_prefix(),
            mtu: self.config.mtu,
            holding_time: seconds(self.config.holding_time),
            ..Cie::binding(self.config.nbma, self.address())
        }
    }

    /// The address of ours that a packet about `other` is from: both link-local, or none.
    pub(super) fn address_towards(&self, other: IpAddr) -> IpAddr {
        match self.link_local() {
            Some(ours) if is_link_local(other) => ours,
            _ => self.address(),
        }
    }

    /// An entry for the NAT address extension.
    pub(super) fn nat_cie(&self, nbma: IpAddr, protocol: IpAddr) -> Cie {
        Cie { holding_time: 0, ..Cie { nbma: Some(nbma), protocol: Some(protocol), ..self.own_cie() } }
    }

    /// Length of a host's prefix. We say 32, as Cisco does today, where RFC 2332 wants 255 for a unique address:
    /// both are understood by all, but OpenNHRP compares the number when a purge comes for it.
    pub(super) fn host_prefix(&self) -> u8 {
        IpFamily::of(self.address()).host_prefix()
    }

    /// A request of ours with the extensions that Cisco's requests have.
    pub(super) fn request(&self, destination: IpAddr, body: Body, flags: Flags, nat: Vec<Cie>) -> Packet {
        Packet::new(self.config.nbma, self.address_towards(destination), destination, body)
            .with_flags(flags)
            .with_extension(Value::ResponderAddress(Vec::new()))
            .with_extension(Value::ForwardTransit(Vec::new()))
            .with_extension(Value::ReverseTransit(Vec::new()))
            .with_extension(Value::NatAddress(nat))
    }

    /// Fills in what every reply of ours to a request has: who answers, an MTU (FRR sends none, Huawei wants one), and
    /// nothing of the asker's own.
    pub(super) fn sign_reply(&self, reply: &mut Packet) {
        let entries = reply.body.clients_mut().into_iter().flat_map(|clients| &mut clients.cies);
        for entry in entries.filter(|entry| entry.mtu == 0) {
            entry.mtu = self.config.mtu;
        }
        if let Some(responder) = reply.records_mut(ExtensionKind::RESPONDER_ADDRESS) {
            *responder = vec![self.own_cie()];
        }
        if let Some(extensions) = &mut reply.extensions {
            extensions.remove(ExtensionKind::AUTHENTICATION);
        }
    }

    /// Sends a packet, with our password if we have one.
    pub(super) fn send(&mut self, cx: &mut Context<'_>, to: IpAddr, mut packet: Packet) {
        if let Some(secret) = &self.config.authentication {
            packet.set_extension(Value::Authentication(Authentication::clear_text(secret.expose())));
        }
        self.send_as_is(cx, to, &packet);
    }

    pub(super) fn send_as_is(&mut self, cx: &mut Context<'_>, to: IpAddr, packet: &Packet) {
        let mut bytes = Vec::with_capacity(160);
        if packet.encode(&mut bytes).is_err() {
            self.counters.count(Fault::Encode);
            return;
        }
        self.counters.count_sent(packet.kind());
        cx.out.push(Action::Send { tunnel: self.config.id, to, bytes });
    }
}
