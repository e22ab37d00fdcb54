//! Packets in the form a make of router sends them.

use std::net::{IpAddr, Ipv4Addr};

use dmvpn::nhrp::wire::{
    Authentication, Body, Cie, Clients, ErrorCode, ErrorIndication, ExtensionKind, Extensions, Flags, Opaque,
    Packet, TrafficIndication, Value,
};

use super::{Settings, node::Seconds, profile::IndicationExtensions};

/// Huawei's name of a device and its serial number, in the lengths that are known.
const HUAWEI_NAME: &[u8] = b"scripted-peer";
const HUAWEI_SERIAL: [u8; 20] = *b"00000000000000000001";

impl Settings {
    /// A Registration Request. `server` is the protocol address of the server where that is known.
    pub(super) fn registration(&self, id: u32, server: Ipv4Addr, server_nbma: Ipv4Addr) -> Packet {
        let profile = self.profile;
        let destination = match profile.destination {
            super::Destination::Server => server,
            super::Destination::Broadcast => self.network.broadcast(),
        };
        let entry = Cie {
            prefix_length: profile.registration_prefix,
            mtu: profile.registration_mtu,
            holding_time: self.holding_time,
            ..Cie::default()
        };
        let body = Body::RegistrationRequest(Clients { request_id: id, cies: vec![entry] });
        let mut packet = self.packet(destination, body).with_flags(Flags(profile.registration_flags));
        packet.hop_count = profile.registration_hops;
        let server = Cie {
            mtu: profile.registration_mtu,
            ..Cie::binding(IpAddr::V4(server_nbma), IpAddr::V4(server))
        };
        packet.extensions = Some(self.extensions(&[server]));
        packet
    }

    /// A Resolution Request for `destination`.
    pub(super) fn resolution(&self, id: u32, destination: Ipv4Addr) -> Packet {
        let profile = self.profile;
        let entry = Cie { mtu: profile.resolution_mtu, holding_time: self.holding_time, ..Cie::default() };
        let body = Body::ResolutionRequest(Clients { request_id: id, cies: vec![entry] });
        let mut packet = self.packet(destination, body).with_flags(Flags(profile.resolution_flags));
        packet.extensions = Some(self.extensions(&[]));
        packet
    }

    /// The reply to a Purge Request that wants one.
    pub(super) fn purge_reply(&self, purge: Packet) -> Option<Packet> {
        if purge.flags.contains(Flags::PURGE_NO_REPLY) {
            return None;
        }
        let mut reply = purge.into_reply()?;
        self.sign(&mut reply);
        Some(reply)
    }

    /// The reply to a Resolution Request for something that is behind this node: `prefix` bits of it.
    pub(super) fn resolution_reply(&self, request: Packet, prefix: u8) -> Option<Packet> {
        let (kept, added) = self.profile.reply_flags;
        let flags = Flags(request.flags.0 & kept | added);
        let mut reply = request.into_reply()?.with_flags(flags);
        let entry = Cie {
            prefix_length: prefix,
            mtu: self.profile.registration_mtu,
            holding_time: self.holding_time,
            ..Cie::binding(IpAddr::V4(self.nbma), IpAddr::V4(self.address))
        };
        reply.body.clients_mut()?.cies = vec![entry];
        self.sign(&mut reply);
        Some(reply)
    }

    /// A redirect for a data packet, to who sent it.
    pub(super) fn indication(&self, data: &[u8], to: Ipv4Addr) -> Packet {
        let form = self.profile.indication;
        let head = data.get(..form.head.min(data.len())).unwrap_or_default();
        let mut packet = self.packet(to, Body::TrafficIndication(TrafficIndication::redirect(head)));
        packet.hop_count = form.hops;
        let mut extensions = match form.extensions {
            IndicationExtensions::AsInRequests => self.extensions(&[]),
            IndicationExtensions::ForwardTransit | IndicationExtensions::Nothing => Extensions::default(),
        };
        if form.extensions == IndicationExtensions::ForwardTransit {
            extensions.set(Value::ForwardTransit(Vec::new()));
        }
        packet.extensions = Some(extensions);
        self.sign(&mut packet);
        packet
    }

    /// An Error Indication about a packet, to who sent that.
    pub(super) fn error(&self, code: ErrorCode, to: Ipv4Addr, about: &[u8]) -> Packet {
        self.packet(to, Body::ErrorIndication(ErrorIndication::new(code, 0, about)))
    }

    /// Puts the password in, in the place that the packet has for it; takes it out where there is none.
    pub(super) fn sign(&self, packet: &mut Packet) {
        match &self.password {
            Some(password) => {
                let value = Value::Authentication(Authentication::clear_text(password.as_bytes()));
                packet.set_extension(value);
            }
            None => {
                if let Some(extensions) = &mut packet.extensions {
                    extensions.remove(ExtensionKind::AUTHENTICATION);
                }
            }
        }
    }

    /// How long a registration may go unconfirmed, and how often it is renewed.
    pub(super) fn registration_interval(&self) -> Seconds {
        f64::from(self.holding_time) / 3.0
    }

    fn packet(&self, destination: Ipv4Addr, body: Body) -> Packet {
        Packet::new(IpAddr::V4(self.nbma), IpAddr::V4(self.address), IpAddr::V4(destination), body)
    }

    /// The extensions of a request. `nat` are the entries of the NAT address.
    fn extensions(&self, nat: &[Cie]) -> Extensions {
        let mut extensions = Extensions::default();
        for kind in self.profile.order {
            let value = match *kind {
                ExtensionKind::RESPONDER_ADDRESS => Value::ResponderAddress(Vec::new()),
                ExtensionKind::FORWARD_TRANSIT => Value::ForwardTransit(Vec::new()),
                ExtensionKind::REVERSE_TRANSIT => Value::ReverseTransit(Vec::new()),
                ExtensionKind::NAT_ADDRESS => Value::NatAddress(nat.to_vec()),
                _ => match &self.password {
                    Some(password) => Value::Authentication(Authentication::clear_text(password.as_bytes())),
                    None => continue,
                },
            };
            extensions.list.push(value.into());
        }
        if self.profile.private_extensions {
            for (number, value) in
                [(0x400, &[][..]), (0x401, HUAWEI_NAME), (0x402, &[]), (0x403, &HUAWEI_SERIAL)]
            {
                let value = Value::Other { kind: ExtensionKind(number), value: Opaque::from(value) };
                extensions.list.push(value.into());
            }
        }
        extensions
    }
}
