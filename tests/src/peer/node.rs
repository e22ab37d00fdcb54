//! The peer itself: what it does with packets and time.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
};

use dmvpn::nhrp::wire::{Body, Cie, DecodeError, ErrorCode, Fault, Packet};
use ipnet::Ipv4Net;

use super::{
    AuthenticationFailure, Profile, data,
    hub::Hub,
    spoke::{Ping, Spoke},
};

/// Time since some start.
pub(super) type Seconds = f64;

/// Who a scripted peer is.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The make of router.
    pub profile: &'static Profile,
    /// Protocol address.
    pub address: Ipv4Addr,
    /// The tunnel's network.
    pub network: Ipv4Net,
    /// NBMA address.
    pub nbma: Ipv4Addr,
    /// NHRP authentication.
    pub password: Option<String>,
    /// Seconds.
    pub holding_time: u16,
    /// Networks behind it: it answers for them, and pings there are answered.
    pub lans: Vec<Ipv4Net>,
}

/// What it is in its network.
#[derive(Clone, Debug)]
pub enum Role {
    /// Registers with a hub.
    Spoke {
        /// Protocol address of the hub.
        server: Ipv4Addr,
        /// NBMA address of the hub.
        nbma: Ipv4Addr,
        /// Who is pinged ten times a second, once it is registered.
        ping: Option<Ipv4Addr>,
    },
    /// Others register with it; it forwards between them and tells them of shorter ways.
    Hub {
        /// Networks and the protocol address of the spoke that they are behind.
        routes: Vec<(Ipv4Net, Ipv4Addr)>,
    },
}

/// What comes out of a [`Node`].
#[derive(Clone, Debug, PartialEq)]
pub enum Out {
    /// An NHRP packet for an NBMA address.
    Nhrp(Ipv4Addr, Packet),
    /// A data packet for an NBMA address.
    Data(Ipv4Addr, Vec<u8>),
    /// A line for whoever watches.
    Say(String),
}

/// A scripted peer.
#[derive(Debug)]
pub struct Node {
    pub(super) settings: Settings,
    kind: Kind,
    /// State of the random numbers.
    random: u64,
    out: Vec<Out>,
}

#[derive(Debug)]
enum Kind {
    Spoke(Spoke),
    Hub(Hub),
}

impl Node {
    /// A peer that has not said anything yet. The same seed gives the same pauses.
    pub fn new(settings: Settings, role: Role, seed: u64) -> Self {
        let kind = match role {
            Role::Spoke { server, nbma, ping } => Kind::Spoke(Spoke::new(server, nbma, ping.map(Ping::new))),
            Role::Hub { routes } => Kind::Hub(Hub::new(routes)),
        };
        Self { settings, kind, random: seed | 1, out: Vec::new() }
    }

    /// Does what is due at `now`, in seconds.
    pub fn tick(&mut self, now: f64) -> Vec<Out> {
        let chance = self.chance();
        match &mut self.kind {
            Kind::Spoke(spoke) => spoke.tick(&self.settings, now, chance, &mut self.out),
            Kind::Hub(hub) => hub.tick(now, &mut self.out),
        }
        std::mem::take(&mut self.out)
    }

    /// Takes an NHRP packet that came from an NBMA address.
    pub fn receive(&mut self, now: f64, from: Ipv4Addr, bytes: &[u8]) -> Vec<Out> {
        match Packet::decode(bytes) {
            Ok(packet) => self.take(now, from, packet, bytes),
            Err(DecodeError { fault: Fault::DuplicateAuthentication, .. })
                if self.settings.profile.refuses_double_authentication =>
            {
                self.say(format!("{from}: two authentication extensions"));
                let error = self.settings.error(ErrorCode::PROTOCOL_ERROR, from, bytes);
                self.out.push(Out::Nhrp(from, error));
            }
            Err(error) => self.say(format!("{from}: {error}")),
        }
        std::mem::take(&mut self.out)
    }

    /// Takes a data packet that came from an NBMA address.
    pub fn receive_data(&mut self, now: f64, from: Ipv4Addr, packet: &[u8]) -> Vec<Out> {
        let Some((_, to)) = data::addresses(packet) else { return Vec::new() };
        let mine = to == self.settings.address || self.settings.lans.iter().any(|lan| lan.contains(&to));
        match &mut self.kind {
            Kind::Hub(hub) if !mine => hub.forward(&self.settings, now, from, packet, &mut self.out),
            Kind::Spoke(spoke) if mine => spoke.take_data(from, packet, now, &mut self.out),
            _ => {}
        }
        if mine && let Some((back, answer)) = data::addresses(packet).zip(data::answer(packet)) {
            let way = match &self.kind {
                Kind::Spoke(spoke) => Some(spoke.way_to(back.0)),
                Kind::Hub(hub) => hub.way_to(back.0),
            };
            self.out.extend(way.map(|way| Out::Data(way, answer)));
        }
        std::mem::take(&mut self.out)
    }

    fn take(&mut self, now: f64, from: Ipv4Addr, packet: Packet, bytes: &[u8]) {
        if !self.is_authentic(&packet) {
            self.say(format!("{from}: wrong password"));
            let answers = self.settings.profile.authentication_failure == AuthenticationFailure::Error;
            if answers && !matches!(packet.body, Body::ErrorIndication(_)) {
                let error = self.settings.error(ErrorCode::AUTHENTICATION_FAILURE, from, bytes);
                self.out.push(Out::Nhrp(from, error));
            }
            return;
        }
        if self.settings.profile.ignores_mtu_zero && is_request(&packet.body) && has_mtu_zero(&packet.body) {
            self.say(format!("{from}: a request with MTU 0, which this router does not answer"));
            return;
        }
        if let Body::PurgeRequest(_) = packet.body
            && !self.settings.profile.obeys_purge
        {
            self.say(format!("{from}: a purge, which this router ignores"));
            return;
        }
        if let Body::ErrorIndication(error) = &packet.body {
            self.say(format!("error of {from}: {:?}", error.code));
            return;
        }
        match &mut self.kind {
            Kind::Spoke(spoke) => spoke.take(&self.settings, now, from, packet, &mut self.out),
            Kind::Hub(hub) => hub.take(&self.settings, now, from, packet, &mut self.out),
        }
    }

    fn is_authentic(&self, packet: &Packet) -> bool {
        // Not all routers sign their errors.
        if matches!(packet.body, Body::ErrorIndication(_)) {
            return true;
        }
        let password = packet.authentication().and_then(|authentication| authentication.password());
        password == self.settings.password.as_ref().map(String::as_bytes)
    }

    fn say(&mut self, line: String) {
        self.out.push(Out::Say(line));
    }

    /// A number between 0 and 1 (xorshift).
    fn chance(&mut self) -> f64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        f64::from(u32::try_from(self.random >> 32).unwrap_or(0)) / f64::from(u32::MAX)
    }
}

const fn is_request(body: &Body) -> bool {
    matches!(body, Body::ResolutionRequest(_) | Body::RegistrationRequest(_))
}

fn has_mtu_zero(body: &Body) -> bool {
    body.clients().is_some_and(|clients| clients.cies.iter().any(|cie| cie.mtu == 0))
}

/// The IPv4 address in a field of a packet.
pub(super) fn ipv4(address: Option<IpAddr>) -> Option<Ipv4Addr> {
    match address? {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    }
}

/// Networks and the NBMA address they are behind: the longest prefix wins.
#[derive(Debug, Default)]
pub(super) struct Ways(BTreeMap<(std::cmp::Reverse<u8>, Ipv4Net), Ipv4Addr>);

impl Ways {
    pub(super) fn learn(&mut self, network: Ipv4Net, nbma: Ipv4Addr) {
        self.0.insert((std::cmp::Reverse(network.prefix_len()), network.trunc()), nbma);
    }

    /// Forgets what is within `network`; returns whether there was anything.
    pub(super) fn forget(&mut self, network: Ipv4Net) -> bool {
        let before = self.0.len();
        self.0.retain(|(_, known), _| !network.contains(known));
        self.0.len() < before
    }

    pub(super) fn to(&self, address: Ipv4Addr) -> Option<Ipv4Addr> {
        self.0.iter().find(|((_, network), _)| network.contains(&address)).map(|(_, nbma)| *nbma)
    }
}

/// The network that an entry of a reply or a purge speaks of, when it is for `about`.
pub(super) fn network_of(entry: &Cie, about: Ipv4Addr) -> Option<Ipv4Net> {
    Ipv4Net::new(about, entry.prefix(dmvpn::nhrp::wire::IpFamily::V4)?).ok().map(|network| network.trunc())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::find;

    const HUB: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

    fn settings(name: &str) -> Settings {
        Settings {
            profile: find(name).unwrap(),
            address: Ipv4Addr::new(10, 0, 0, 9),
            network: "10.0.0.0/24".parse().unwrap(),
            nbma: Ipv4Addr::new(192, 0, 2, 9),
            password: Some("secret".to_owned()),
            holding_time: 60,
            lans: Vec::new(),
        }
    }

    fn spoke(name: &str) -> Node {
        let role = Role::Spoke { server: Ipv4Addr::new(10, 0, 0, 1), nbma: HUB, ping: None };
        Node::new(settings(name), role, 7)
    }

    fn hub(name: &str) -> Node {
        Node::new(settings(name), Role::Hub { routes: Vec::new() }, 7)
    }

    fn packets(out: &[Out]) -> Vec<&Packet> {
        out.iter()
            .filter_map(|out| if let Out::Nhrp(_, packet) = out { Some(packet) } else { None })
            .collect()
    }

    fn bytes_of(packet: &Packet) -> Vec<u8> {
        let mut bytes = Vec::new();
        packet.encode(&mut bytes).unwrap();
        bytes
    }

    /// The packet with a second authentication extension, which nothing of ours would write.
    fn with_another(packet: &[u8]) -> Vec<u8> {
        let mut bytes = packet[..packet.len() - 4].to_vec();
        bytes.extend([0x80, 7, 0, 10, 0, 0, 0, 1]);
        bytes.extend(b"secret");
        bytes.extend(&packet[packet.len() - 4..]);
        let size = u16::try_from(bytes.len()).unwrap();
        bytes[10..12].copy_from_slice(&size.to_be_bytes());
        bytes[12..14].fill(0);
        let sum: u32 = bytes
            .chunks(2)
            .map(|pair| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |b| u32::from(*b)))
            .sum();
        let folded = (sum & 0xffff) + (sum >> 16);
        let checksum = !u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap();
        bytes[12..14].copy_from_slice(&checksum.to_be_bytes());
        bytes
    }

    /// When requests are sent within `seconds`, and with which ids.
    fn requests(name: &str, seconds: u32) -> (Vec<f64>, Vec<u32>) {
        let mut node = spoke(name);
        let mut sent = (Vec::new(), Vec::new());
        for tenth in 0..seconds * 10 {
            let now = f64::from(tenth) / 10.0;
            for packet in packets(&node.tick(now)) {
                sent.0.push(now);
                sent.1.push(packet.body.clients().unwrap().request_id);
            }
        }
        sent
    }

    #[test]
    fn an_unanswered_registration_is_repeated_under_the_same_id() {
        let (times, ids) = requests("frr", 40);
        assert_eq!(times.len(), 6, "{times:?}");
        assert!(
            times.iter().zip([0.0, 1.0, 3.0, 7.0, 15.0, 31.0]).all(|(a, b)| (a - b).abs() < 0.5),
            "{times:?}"
        );
        assert!(ids.iter().all(|id| *id == 1));
        let (times, _) = requests("opennhrp", 100);
        assert_eq!(times.len(), 9, "six, and three of the next round: {times:?}");
    }

    #[test]
    fn two_authentications_are_an_error_to_cisco_and_nothing_to_others() {
        let bytes = with_another(&bytes_of(&settings("ios-xe").registration(1, HUB, HUB)));
        let answer = hub("ios-xe").receive(0.0, HUB, &bytes);
        assert!(
            matches!(packets(&answer)[..], [Packet { body: Body::ErrorIndication(_), .. }]),
            "{answer:?}"
        );
        assert!(packets(&hub("opennhrp").receive(0.0, HUB, &bytes)).is_empty());
    }

    #[test]
    fn huawei_says_nothing_to_a_wrong_password_or_an_mtu_of_zero() {
        let wrong = Settings { password: Some("other".to_owned()), ..settings("ios-xe") };
        let wrong = bytes_of(&wrong.registration(1, HUB, HUB));
        let mtu_zero = bytes_of(&settings("frr").registration(1, HUB, HUB));
        for bytes in [&wrong, &mtu_zero] {
            assert!(packets(&hub("huawei-usg").receive(0.0, HUB, bytes)).is_empty());
            assert_eq!(packets(&hub("ios-xe").receive(0.0, HUB, bytes)).len(), 1);
        }
    }

    #[test]
    fn private_extensions_come_last() {
        let request = settings("huawei-usg").registration(1, HUB, HUB);
        let kinds: Vec<u16> =
            request.extensions.unwrap().list.iter().map(|extension| extension.value.kind().0).collect();
        assert_eq!(kinds, [3, 4, 5, 7, 9, 0x400, 0x401, 0x402, 0x403]);
    }

    #[test]
    fn a_unique_address_is_kept_for_who_has_it() {
        let mut node = hub("ios-xe");
        let request = bytes_of(&settings("ios-xe").registration(1, HUB, HUB));
        let code = |out: Vec<Out>| packets(&out)[0].body.clients().unwrap().cies[0].code;
        assert_eq!(code(node.receive(0.0, HUB, &request)), dmvpn::nhrp::wire::CieCode::SUCCESS);
        let other = Ipv4Addr::new(192, 0, 2, 2);
        assert_eq!(code(node.receive(1.0, other, &request)), dmvpn::nhrp::wire::CieCode::ALREADY_REGISTERED);
        node.tick(100.0);
        assert_eq!(code(node.receive(101.0, other, &request)), dmvpn::nhrp::wire::CieCode::SUCCESS);
    }
}
