//! Strangers: noise, changed copies of real packets, forged packets of every kind, floods.
//!
//! Some of them know the network's password, which is sent in clear text. None of them can be in two places: what
//! comes with the password comes from a stranger's address. (Who has the password and can send from a member's
//! address is that member, to NHRP.)

use std::time::Duration;

use dmvpn::nhrp::{
    engine::Input,
    wire::{
        Authentication, Body, Cie, Clients, ErrorCode, ErrorIndication, Flags, Packet, TrafficIndication,
        Value,
    },
};

use super::{
    address::{Address, NodeId, ip, stranger, stranger_tunnel},
    queue::Event,
    random::Random,
    settings::{PASSWORD, TUNNEL},
    world::World,
};

/// Time between two packets of strangers.
const GAP: Duration = Duration::from_millis(50);

/// Packets of a flood: all at once.
const FLOOD: u32 = 10_000;
const FLOOD_INTERVAL: Duration = Duration::from_mins(10);

/// Addresses that strangers who know the password register. Nothing but the bound of the hub's table would keep them
/// from registering more; then there would be no room for spokes.
const REGISTERED: u32 = 1024;

/// Real packets that strangers remember.
const OVERHEARD: usize = 64;

/// Where the checksum of a packet is.
const CHECKSUM: std::ops::Range<usize> = 12..14;

/// The strangers.
#[derive(Debug)]
pub(super) struct Strangers {
    random: Random,
    /// Real packets, and where they came from.
    overheard: Vec<(Address, Vec<u8>)>,
    /// Packets since one was remembered.
    unheard: u32,
    /// Packets that strangers sent.
    pub(super) sent: u64,
}

/// What a stranger does.
#[derive(Clone, Copy, Debug)]
enum Attack {
    /// Bytes that mean nothing.
    Noise,
    /// A real packet with some bytes changed: the checksum tells.
    Damage,
    /// The same with a right checksum, but with a wrong password, from a stranger or in a member's name.
    Forgery { in_a_members_name: bool },
    /// Takes back somebody's registration.
    Purge,
    /// Registers somebody else's address.
    Theft,
    /// Answers what nobody asked it.
    FalseReply,
    /// Sends traffic to itself.
    FalseIndication,
    /// Finds fault with what nobody sent.
    FalseError,
    /// Registers an address that is free: that is not forbidden.
    Registration,
    /// Asks for somebody's LAN.
    Question,
}

const ATTACKS: [Attack; 11] = [
    Attack::Noise,
    Attack::Damage,
    Attack::Forgery { in_a_members_name: false },
    Attack::Forgery { in_a_members_name: true },
    Attack::Purge,
    Attack::Theft,
    Attack::FalseReply,
    Attack::FalseIndication,
    Attack::FalseError,
    Attack::Registration,
    Attack::Question,
];

impl Strangers {
    pub(super) const fn new(random: Random) -> Self {
        Self { random, overheard: Vec::new(), unheard: 0, sent: 0 }
    }

    /// A real packet is on the wire.
    pub(super) fn overhear(&mut self, from: Address, bytes: &[u8]) {
        /// One of so many is remembered.
        const RARELY: u32 = 97;

        self.unheard += 1;
        if self.overheard.len() < OVERHEARD {
            self.overheard.push((from, bytes.to_vec()));
        } else if self.unheard >= RARELY {
            self.unheard = 0;
            let place = self.random.below(64) as usize;
            self.overheard[place] = (from, bytes.to_vec());
        }
    }

    /// A real packet with the last byte of its password and up to four others changed.
    fn forge(&mut self) -> Option<(Address, Vec<u8>)> {
        let (from, mut bytes) = self.overheard.get(self.random.below(64) as usize)?.clone();
        for _ in 0..=self.random.below(4) {
            let at = self.random.below(u32::try_from(bytes.len()).ok()?) as usize;
            bytes[at] ^= 1 << self.random.below(8);
        }
        // The changes may have spared the password, or have made one of something else.
        while let Some(at) = bytes.windows(PASSWORD.len()).position(|window| window == PASSWORD) {
            bytes[at] ^= 0x20;
        }
        mend(&mut bytes);
        Some((from, bytes))
    }
}

/// Gives a packet the checksum it should have.
fn mend(bytes: &mut [u8]) {
    if bytes.len() < CHECKSUM.end {
        return;
    }
    bytes[CHECKSUM].fill(0);
    let (words, rest) = bytes.as_chunks::<2>();
    let mut sum: u32 = words.iter().map(|&word| u32::from(u16::from_be_bytes(word))).sum();
    sum += rest.first().map_or(0, |&byte| u32::from(byte) << 8);
    while sum >> 16 != 0 {
        sum = (sum & 0xFFFF) + (sum >> 16);
    }
    let checksum = !u16::try_from(sum).unwrap_or(0);
    bytes[CHECKSUM].copy_from_slice(&checksum.to_be_bytes());
}

/// A packet's bytes, with the right password.
fn with_password(packet: Packet) -> Option<Vec<u8>> {
    let packet = packet
        .with_extension(Value::ForwardTransit(Vec::new()))
        .with_extension(Value::ReverseTransit(Vec::new()))
        .with_extension(Value::Authentication(Authentication::clear_text(PASSWORD)));
    let mut bytes = Vec::new();
    packet.encode(&mut bytes).ok()?;
    Some(bytes)
}

impl World {
    /// A stranger sends a packet.
    pub(super) fn stranger(&mut self) {
        self.queue.plan(self.now + GAP, Event::Stranger);
        let attack = *self.strangers.random.pick(&ATTACKS);
        self.attack(attack);
    }

    /// Strangers send very many packets at once: half of them from one address.
    pub(super) fn flood(&mut self) {
        self.queue.plan(self.now + FLOOD_INTERVAL, Event::Flood);
        let hub = self.strangers.random.below(self.plan.hubs);
        for number in 0..FLOOD {
            let from = if number % 2 == 0 { stranger(0) } else { self.a_stranger() };
            if let Some((_, bytes)) = self.strangers.forge() {
                self.intrude(from, hub, bytes);
            }
        }
    }

    fn attack(&mut self, attack: Attack) {
        let from = self.a_stranger();
        let number = u16::try_from(self.strangers.random.below(REGISTERED)).unwrap_or(0);
        let own = stranger_tunnel(number);
        let hub = self.strangers.random.below(self.plan.hubs);
        let victim = self.plan.spoke(self.strangers.random.below(self.plan.spokes));
        let id = self.strangers.random.below(u32::MAX);
        let clients = |cie| Clients { request_id: id, cies: vec![cie] };
        let hub_address = self.plan.tunnel(hub);
        let victim_address = self.plan.tunnel(victim);
        let binding = |protocol: Address| Cie {
            prefix_length: 32,
            mtu: 1472,
            holding_time: 7200,
            ..Cie::binding(ip(from), ip(protocol))
        };
        let packet = |source: Address, destination: Address, body| {
            Packet::new(ip(from), ip(source), ip(destination), body)
        };
        match attack {
            Attack::Noise => {
                let length = self.strangers.random.below(300);
                let bytes = (0..length).map(|_| u8::try_from(self.strangers.random.below(256)).unwrap_or(0));
                let bytes = bytes.collect();
                self.intrude(from, hub, bytes);
            }
            Attack::Damage => {
                if let Some((_, bytes)) = self.strangers.forge() {
                    let mut bytes = bytes;
                    bytes[CHECKSUM.start] ^= 0x55;
                    self.intrude(from, hub, bytes);
                }
            }
            Attack::Forgery { in_a_members_name } => {
                if let Some((member, bytes)) = self.strangers.forge() {
                    self.intrude(if in_a_members_name { member } else { from }, hub, bytes);
                }
            }
            Attack::Purge => {
                let cie = Cie { prefix_length: 32, protocol: Some(ip(victim_address)), ..Cie::default() };
                let body = Body::PurgeRequest(clients(cie));
                self.intrude_with(from, hub, packet(victim_address, hub_address, body));
            }
            Attack::Theft => {
                // An address that nobody holds at the moment is free for whoever knows the password. So this comes
                // at once: while it is on its way, the victim might take its registration back.
                let body = Body::RegistrationRequest(clients(binding(victim_address)));
                let packet = packet(victim_address, hub_address, body);
                if self.is_mapped(victim, hub)
                    && let Some(bytes) = with_password(packet.with_flags(Flags::REGISTRATION_UNIQUE))
                {
                    self.strangers.sent += 1;
                    let input = Input::Packet { tunnel: TUNNEL, source: ip(from), bytes: &bytes };
                    self.input(hub, input, true);
                }
            }
            Attack::FalseReply => {
                let body = Body::ResolutionReply(clients(binding(own)));
                self.intrude_with(from, victim, packet(victim_address, own, body));
            }
            Attack::FalseIndication => {
                let mut head = vec![0x45; 28];
                head[16..20].copy_from_slice(&self.plan.lan(victim).to_be_bytes());
                let body = Body::TrafficIndication(TrafficIndication::redirect(&head));
                self.intrude_with(from, victim, packet(own, victim_address, body));
            }
            Attack::FalseError => {
                let error = ErrorIndication::new(ErrorCode::PROTOCOL_ADDRESS_UNREACHABLE, 0, &[0; 60]);
                self.intrude_with(from, victim, packet(own, victim_address, Body::ErrorIndication(error)));
            }
            Attack::Registration => {
                let body = Body::RegistrationRequest(clients(binding(own)));
                self.intrude_with(from, hub, packet(own, hub_address, body));
            }
            Attack::Question => {
                let cie = Cie { holding_time: 7200, mtu: 1472, ..Cie::default() };
                let body = Body::ResolutionRequest(clients(cie));
                let packet = packet(own, self.plan.lan(victim) + 1, body);
                self.intrude_with(from, hub, packet.with_flags(Flags::RESOLUTION_SOURCE_STABLE));
            }
        }
    }

    fn a_stranger(&mut self) -> Address {
        stranger(u16::try_from(self.strangers.random.below(1 << 16)).unwrap_or(0))
    }

    /// Sends a packet with the right password.
    fn intrude_with(&mut self, from: Address, to: NodeId, packet: Packet) {
        if let Some(bytes) = with_password(packet) {
            self.intrude(from, to, bytes);
        }
    }

    fn intrude(&mut self, from: Address, to: NodeId, bytes: Vec<u8>) {
        self.strangers.sent += 1;
        self.send(from, self.address(to), bytes, true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forgeries_have_a_right_checksum_and_no_right_password() {
        let packet = Packet::new(
            ip(1),
            ip(2),
            ip(3),
            Body::PurgeRequest(Clients { request_id: 1, cies: vec![Cie::default()] }),
        )
        .with_extension(Value::Authentication(Authentication::clear_text(PASSWORD)));
        let mut bytes = Vec::new();
        packet.encode(&mut bytes).unwrap();
        let mut mended = bytes.clone();
        mended[CHECKSUM].fill(0);
        mend(&mut mended);
        assert_eq!(mended, bytes);

        let mut strangers = Strangers::new(Random::new(1));
        for _ in 0..OVERHEARD {
            strangers.overhear(1, &bytes);
        }
        let mut readable = 0;
        for _ in 0..1000 {
            let (_, forged) = strangers.forge().unwrap();
            if let Ok(packet) = Packet::decode(&forged) {
                readable += 1;
                let password = packet.authentication().and_then(|authentication| authentication.password());
                assert_ne!(password, Some(PASSWORD));
            }
        }
        assert!(readable > 200, "{readable}");
    }
}
