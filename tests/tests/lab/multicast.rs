//! Multicast over the tunnel, as routing protocols use it: everyone who is to get a packet gets it once.

use std::{
    io::ErrorKind,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket},
    time::Duration,
};

use anyhow::{Context as _, Result};
use dmvpn::control::protocol::DropRow;
use dmvpn_common::DropReason;
use dmvpn_tests::{
    agent::Agent,
    config::{Config, TUNNEL},
    lab::{Lab, Node, Plan},
    poll,
};
use ipnet::{IpNet, Ipv6Net};
use nix::net::if_::if_nametoindex;
use socket2::{Domain, Protocol, Socket, Type};

/// Longest time until a packet is there.
const PATIENCE: Duration = Duration::from_secs(10);
const PORT: u16 = 520;
/// Packets of one sender.
const PACKETS: u8 = 20;
/// Sent by the hub when all is over: what comes later is not waited for.
const END: u8 = 255;

/// Where RIP version 2 speaks, and where `RIPng` does.
const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 9);
const GROUP_IPV6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 9);

/// A program on a node that is in the group on its tunnel interface.
struct Member {
    name: String,
    socket: UdpSocket,
    group: SocketAddr,
}

impl Member {
    fn join(node: &Node, ipv6: bool) -> Result<Self> {
        let open = || {
            let tunnel = if_nametoindex(TUNNEL)?;
            let (domain, any, group): (_, SocketAddr, SocketAddr) = if ipv6 {
                let group = SocketAddrV6::new(GROUP_IPV6, PORT, 0, tunnel);
                (Domain::IPV6, (Ipv6Addr::UNSPECIFIED, PORT).into(), group.into())
            } else {
                (Domain::IPV4, (Ipv4Addr::UNSPECIFIED, PORT).into(), (GROUP, PORT).into())
            };
            let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
            socket.bind(&any.into())?;
            // What this node sends itself is not looped back: it would hide a copy that comes back.
            if ipv6 {
                socket.join_multicast_v6(&GROUP_IPV6, tunnel)?;
                socket.set_multicast_loop_v6(false)?;
            } else {
                socket.join_multicast_v4(&GROUP, &node.address)?;
                socket.set_multicast_if_v4(&node.address)?;
                socket.set_multicast_loop_v4(false)?;
            }
            socket.set_nonblocking(true)?;
            Ok((socket.into(), group))
        };
        let (socket, group) =
            node.namespace.run(open).with_context(|| format!("a socket on {}", node.name))?;
        Ok(Self { name: node.name.clone(), socket, group })
    }

    /// Sends a packet that says who sent it and which one it is.
    fn say(&self, who: u8, which: u8) -> Result<()> {
        self.socket.send_to(&[who, which], self.group).context(self.name.clone())?;
        Ok(())
    }

    /// All packets up to the hub's last one.
    fn heard(&self) -> Result<Vec<[u8; 2]>> {
        let mut heard = Vec::new();
        poll::until(&format!("the last packet on {}", self.name), PATIENCE, || {
            loop {
                let mut packet = [0; 2];
                match self.socket.recv(&mut packet) {
                    Ok(_) if packet == [0, END] => return Ok(Some(())),
                    Ok(_) => heard.push(packet),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                    Err(error) => return Err(error.into()),
                }
            }
        })?;
        Ok(heard)
    }
}

fn lab() -> Result<Lab> {
    Lab::new(Plan { spokes: 3, ..Plan::default() })
}

/// What the agents' data paths dropped, but for address resolution. It is not nothing: before anybody has registered the
/// kernel speaks to groups, too.
fn drops(agents: &[&Agent]) -> Result<Vec<Vec<DropRow>>> {
    let resolution = DropReason::NeighbourSolicitation.name();
    let of = |agent: &&Agent| Ok(agent.drops()?.into_iter().filter(|row| row.reason != resolution).collect());
    agents.iter().map(of).collect()
}

/// Every node speaks: the hub to all spokes, the spokes to the hub.
fn everyone_hears_what_is_meant_for_it_once(lab: &Lab, agents: &[&Agent], ipv6: bool) -> Result<()> {
    let before = drops(agents)?;
    let members = lab.nodes().map(|node| Member::join(node, ipv6)).collect::<Result<Vec<_>>>()?;
    let expected = |who: u8| (0..PACKETS).map(move |which| [who, which]);
    for (who, member) in (0..).zip(&members) {
        for which in 0..PACKETS {
            member.say(who, which)?;
        }
    }
    // The hub's own last packet comes to itself by no other way.
    let [hub, spokes @ ..] = &members[..] else { unreachable!("there is a hub") };
    let mut of_spokes = Vec::new();
    let all = usize::from(PACKETS) * spokes.len();
    poll::until("the spokes' packets on the hub", PATIENCE, || {
        let mut packet = [0; 2];
        while hub.socket.recv(&mut packet).is_ok() {
            of_spokes.push(packet);
        }
        Ok((of_spokes.len() >= all).then_some(()))
    })?;
    hub.say(0, END)?;
    for spoke in spokes {
        assert_eq!(spoke.heard()?, expected(0).collect::<Vec<_>>(), "on {}", spoke.name);
    }
    // Nothing has come back to the hub meanwhile, nor a second copy of anything.
    let mut packet = [0; 2];
    assert!(hub.socket.recv(&mut packet).is_err(), "{packet:?} came to the hub");
    of_spokes.sort_unstable();
    assert_eq!(of_spokes, (1..=3).flat_map(expected).collect::<Vec<_>>());
    assert_eq!(drops(agents)?, before);
    Ok(())
}

#[test]
fn ipv4_is_copied_to_everyone_who_is_to_get_it() -> Result<()> {
    let lab = lab()?;
    let (hub, spokes) = lab.start_all()?;
    let agents: Vec<_> = std::iter::once(&hub).chain(&spokes).collect();
    everyone_hears_what_is_meant_for_it_once(&lab, &agents, false)
}

#[test]
fn ipv6_is_copied_to_everyone_who_is_to_get_it() -> Result<()> {
    let lab = lab()?;
    let hub = Agent::start(&lab.hub, &ipv6_config(&lab, &lab.hub))?;
    let spokes = lab
        .spokes
        .iter()
        .map(|node| Agent::start(node, &ipv6_config(&lab, node)))
        .collect::<Result<Vec<_>>>()?;
    for spoke in &spokes {
        spoke.wait_registered()?;
    }
    let agents: Vec<_> = std::iter::once(&hub).chain(&spokes).collect();
    everyone_hears_what_is_meant_for_it_once(&lab, &agents, true)
}

fn ipv6_config(lab: &Lab, node: &Node) -> Config {
    let global = |node: &Node| Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, node.address.octets()[3].into());
    let mut config = lab.config(node);
    config.address = IpNet::V6(Ipv6Net::new_assert(global(node), 64));
    config.nhs = config.nhs.map(|(_, nbma)| (global(&lab.hub).into(), nbma));
    config.routes = Vec::new();
    config
}
