//! A hub whose routing depends on more than the destination: what the data path remembers for one packet must not be used
//! for another.
//!
//! Two hosts have the address 192.168.2.10, one behind the second spoke, one behind the third. Table 66 leads to the
//! latter. Phase 1: the hub decides about every packet.

use std::{
    collections::BTreeMap,
    io::ErrorKind,
    net::{Ipv4Addr, UdpSocket},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use dmvpn_tests::{
    agent::Agent,
    lab::{Lab, Plan},
    namespace::Namespace,
    poll,
};
use socket2::SockRef;

const PATIENCE: Duration = Duration::from_secs(10);
const DESTINATION: Ipv4Addr = Ipv4Addr::new(192, 168, 2, 10);
/// Ports of the receivers.
const PORTS: [u16; 2] = [4000, 5000];
/// The host behind the first spoke has these addresses.
const SOURCES: u8 = 20;
/// Rounds of packets, one of each kind.
const ROUNDS: u8 = 20;

/// What tells packets apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    /// Last byte of the source address.
    source: u8,
    port: u16,
    tos: u8,
}

const PLAIN: Kind = Kind { source: 10, port: PORTS[0], tos: 0 };

struct Crossing {
    lab: Lab,
    _hub: Agent,
    _spokes: Vec<Agent>,
    /// Of the second and the third spoke's host, for each port.
    receivers: Vec<(usize, UdpSocket)>,
    round: u8,
}

impl Crossing {
    fn new() -> Result<Self> {
        let lab = Lab::new(Plan { phase: 1, spokes: 3, ..Plan::default() })?;
        let (hub, spokes) = lab.start_all()?;
        let a = &lab.spoke_lan(0)?.host;
        for last in 11..10 + SOURCES {
            a.command(&format!("ip address add 192.168.1.{last}/24 dev eth0"))?;
        }
        let c = lab.spoke_lan(2)?;
        c.host.command(&format!("ip address add {DESTINATION}/32 dev lo"))?;
        let third = &lab.spokes[2].namespace;
        third.command(&format!("ip route add {DESTINATION} via {}", c.address))?;
        let via = lab.spokes[2].address;
        lab.hub.namespace.command(&format!("ip route add 192.168.2.0/24 via {via} dev dmvpn0 table 66"))?;
        let mut receivers = Vec::new();
        for spoke in [1, 2] {
            for port in PORTS {
                receivers.push((spoke, receiver(&lab.spoke_lan(spoke)?.host, port)?));
            }
        }
        Ok(Self { lab, _hub: hub, _spokes: spokes, receivers, round: 0 })
    }

    fn hub(&self, command: &str) -> Result<()> {
        self.lab.hub.namespace.command(command).map(drop)
    }

    /// Sends a packet of each kind; where each arrived: number of the spoke.
    fn send(&mut self, kinds: &[Kind]) -> Result<BTreeMap<Kind, usize>> {
        self.round = self.round.wrapping_add(1);
        let host = &self.lab.spoke_lan(0)?.host;
        for kind in kinds {
            let socket = host.run(|| {
                let source = Ipv4Addr::new(192, 168, 1, kind.source);
                UdpSocket::bind((source, 0)).with_context(|| format!("binding to {source}"))
            })?;
            SockRef::from(&socket).set_tos_v4(kind.tos.into())?;
            socket.send_to(&[self.round, kind.tos], (DESTINATION, kind.port))?;
        }
        let mut arrived = BTreeMap::new();
        poll::until("the packets of a round", PATIENCE, || {
            for (spoke, socket) in &self.receivers {
                let mut packet = [0; 2];
                match socket.recv_from(&mut packet) {
                    Ok((2, from)) if packet[0] == self.round => {
                        let std::net::IpAddr::V4(from) = from.ip() else { continue };
                        let kind = Kind {
                            source: from.octets()[3],
                            port: socket.local_addr()?.port(),
                            tos: packet[1],
                        };
                        ensure!(arrived.insert(kind, *spoke).is_none(), "{kind:?} arrived twice");
                    }
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error.into()),
                }
            }
            Ok((arrived.len() == kinds.len()).then_some(()))
        })
        .with_context(|| format!("arrived: {arrived:?} of {kinds:?}"))?;
        Ok(arrived)
    }

    /// Waits until `special` packets arrive at the third spoke, then checks that they do so always, and `plain` ones never.
    fn are_told_apart(&mut self, plain: Kind, special: Kind) -> Result<()> {
        poll::until(&format!("{special:?} at the third spoke"), PATIENCE, || {
            Ok((self.send(&[plain, special])?[&special] == 2).then_some(()))
        })?;
        for _ in 0..ROUNDS {
            let arrived = self.send(&[plain, special])?;
            ensure!(arrived == BTreeMap::from([(plain, 1), (special, 2)]), "{arrived:?}");
        }
        Ok(())
    }
}

fn receiver(host: &Namespace, port: u16) -> Result<UdpSocket> {
    let socket = host.run(|| UdpSocket::bind((DESTINATION, port)).context("a socket"))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[test]
fn rules_take_effect_at_once_for_the_packets_they_are_for() -> Result<()> {
    let mut crossing = Crossing::new()?;
    let by_source = Kind { source: 11, ..PLAIN };
    let by_tos = Kind { tos: 0x10, ..PLAIN };
    let by_port = Kind { port: PORTS[1], ..PLAIN };
    let port_rule = format!("ipproto udp dport {}", PORTS[1]);
    for (rule, special) in [("from 192.168.1.11", by_source), ("tos 0x10", by_tos), (&port_rule, by_port)] {
        // Something to remember.
        for _ in 0..ROUNDS {
            let arrived = crossing.send(&[PLAIN, special])?;
            assert_eq!(arrived, BTreeMap::from([(PLAIN, 1), (special, 1)]), "before {rule}");
        }
        crossing.hub(&format!("ip rule add {rule} lookup 66 priority 66"))?;
        crossing.are_told_apart(PLAIN, special).context(rule.to_owned())?;
        crossing.hub("ip rule delete priority 66")?;
        poll::until("the way without the rule", PATIENCE, || {
            Ok((crossing.send(&[special])?[&special] == 1).then_some(()))
        })?;
    }
    Ok(())
}

#[test]
fn sources_share_the_next_hops_of_a_route_and_each_keeps_its_own() -> Result<()> {
    let mut crossing = Crossing::new()?;
    let kinds: Vec<_> = (10..10 + SOURCES).map(|source| Kind { source, ..PLAIN }).collect();
    for _ in 0..3 {
        crossing.send(&kinds)?;
    }
    let [_, b, c] = &crossing.lab.spokes[..] else { unreachable!("the plan has three spokes") };
    let (b, c) = (b.address, c.address);
    crossing.hub(&format!("ip route replace 192.168.2.0/24 metric 1 nexthop via {b} nexthop via {c}"))?;
    let both = |arrived: &BTreeMap<Kind, usize>| {
        [1, 2].map(|spoke| arrived.values().filter(|to| **to == spoke).count())
    };
    let first = poll::until("both next hops in use", PATIENCE, || {
        let arrived = crossing.send(&kinds)?;
        Ok((!both(&arrived).contains(&0)).then_some(arrived))
    })?;
    println!("next hops: {:?}", both(&first));
    for _ in 0..ROUNDS {
        assert_eq!(crossing.send(&kinds)?, first);
    }
    Ok(())
}
