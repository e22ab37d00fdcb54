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
        let (destination, server) = match profile.destination {
            super::Destination::Server => (server, server),
            super::Destination::Broadcast => (self.network.broadcast(), server),
            super::Destination::Own => (self.address, Ipv4Addr::UNSPECIFIED),
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
        let entry = Cie {
            prefix_length: profile.resolution_prefix,
            mtu: profile.resolution_mtu,
            holding_time: self.holding_time,
            ..Cie::default()
        };
        let body = Body::ResolutionRequest(Clients { request_id: id, cies: vec![entry] });
        let mut packet = self.packet(destination, body).with_flags(Flags(profile.resolution_flags));
        packet.hop_count = profile.hops;
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
        reply.hop_count = self.profile.hops;
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
        let (hops, most) = self.profile.error;
        let head = about.get(..most.min(about.len())).unwrap_or_default();
        let mut packet = self.packet(to, Body::ErrorIndication(ErrorIndication::new(code, 0, head)));
        packet.hop_count = hops;
        packet
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::find;

    /// Sent by FRR 10.3 in the lab `vm-frr10-spokes`: a registration of 10.0.0.11 at 198.18.1.1 that need not be unique.
    const REGISTRATION: &str = "00010800000000000001006a88440034010304000404000200000001c61201010a00000b0a00000b\
         002000000000000a0000000080040000800500008003000000090014002000000000000004000400c612000100000000\
         8007000a0000000173656372657480000000";
    /// And there, its request for 192.168.2.10.
    const RESOLUTION: &str = "000108000000000000400056d5b80034010104000404c80200000003c61201010a00000bc0a8020a\
         002000000000000a00000000800400008005000080030000000900008007000a0000000173656372657480000000";
    /// Sent by FRR 10.3 in `vm-frr10-hub`: a redirect by 10.0.0.1 at 198.18.0.1 for a packet of 28 bytes.
    const REDIRECT: &str = "00010800000000000001005620310044010804000404000000000000c61200010a000001c0a8010a\
         4500001cffe840003e01b893c0a8010ac0a8020a0800f78f006f00018007000a0000000173656372657480000000";

    fn frr(address: Ipv4Addr, nbma: Ipv4Addr) -> Settings {
        Settings {
            profile: find("frr").unwrap(),
            address,
            network: "10.0.0.0/24".parse().unwrap(),
            nbma,
            password: Some("secret".to_owned()),
            holding_time: 10,
            lans: Vec::new(),
        }
    }

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    }

    fn encoded(packet: &Packet) -> Vec<u8> {
        let mut bytes = Vec::new();
        packet.encode(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn what_frr_starts_has_the_very_bytes_of_frr() {
        let hub = Ipv4Addr::new(198, 18, 0, 1);
        let spoke = frr(Ipv4Addr::new(10, 0, 0, 11), Ipv4Addr::new(198, 18, 1, 1));
        let registration = spoke.registration(1, Ipv4Addr::new(10, 0, 0, 1), hub);
        assert_eq!(registration.flags, Flags(0x8002));
        assert_eq!(encoded(&registration.with_flags(Flags::NAT)), bytes(REGISTRATION));
        let resolution = spoke.resolution(3, Ipv4Addr::new(192, 168, 2, 10));
        assert_eq!(encoded(&resolution), bytes(RESOLUTION));

        let redirect = bytes(REDIRECT);
        let indication = frr(Ipv4Addr::new(10, 0, 0, 1), hub)
            .indication(&redirect[40..68], Ipv4Addr::new(192, 168, 1, 10));
        assert_eq!(encoded(&indication), redirect);
    }
}
