//! IPv6 in the tunnel.

use std::{
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use anyhow::Result;
use dmvpn::control::protocol::{CacheKind, CacheRow, EntryState, ShortcutRow};
use dmvpn_tests::{
    agent::Agent,
    config::{Config, TUNNEL},
    lab::{Lab, Node, Plan},
    poll,
    traffic::{ping6, ping6_by_kernel},
};
use ipnet::{IpNet, Ipv6Net};

const PATIENCE: Duration = Duration::from_secs(15);
/// Longest wait for the answer to one packet, the first of a resolution among them.
const ANSWER: Duration = Duration::from_secs(3);

/// The node's address in the IPv6 tunnel.
pub(crate) fn global(node: &Node) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, node.address.octets()[3].into())
}

/// What the agent is expected to make of it.
fn link_local(node: &Node) -> Ipv6Addr {
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, node.address.octets()[3].into())
}

fn config(lab: &Lab, node: &Node) -> Config {
    let mut config = lab.config(node);
    config.address = IpNet::V6(Ipv6Net::new_assert(global(node), 64));
    config.nhs = config.nhs.map(|(_, nbma)| (global(&lab.hub).into(), nbma));
    config.routes = Vec::new();
    config
}

/// A lab whose nodes forward IPv6.
pub(crate) fn lab(plan: Plan) -> Result<Lab> {
    let lab = Lab::new(plan)?;
    for node in lab.nodes() {
        node.namespace.set("ipv6/conf/all/forwarding", "1")?;
    }
    Ok(lab)
}

/// Starts all agents and waits until the hub knows both addresses of every spoke.
fn start_all(lab: &Lab) -> Result<(Agent, Vec<Agent>)> {
    let hub = Agent::start(&lab.hub, &config(lab, &lab.hub))?;
    let spokes: Vec<_> =
        lab.spokes.iter().map(|node| Agent::start(node, &config(lab, node))).collect::<Result<_>>()?;
    for node in &lab.spokes {
        for address in [global(node), link_local(node)] {
            wait_at(&hub, address, node, CacheKind::Dynamic)?;
        }
    }
    for spoke in &spokes {
        spoke.wait_registered()?;
        wait_at(spoke, link_local(&lab.hub), &lab.hub, CacheKind::Nhs)?;
    }
    Ok((hub, spokes))
}

/// Waits until an agent knows that `address` is at `node`.
fn wait_at(agent: &Agent, address: Ipv6Addr, node: &Node, kind: CacheKind) -> Result<()> {
    let what = format!("{address} at {} in the cache of {}", node.nbma, agent.node().name);
    let is_it = |row: &CacheRow| {
        row.protocol.addr() == IpAddr::V6(address) && row.nbma == Some(node.nbma.into()) && row.kind == kind
    };
    poll::until_matches(&what, PATIENCE, || agent.cache(), |rows| rows.iter().any(is_it)).map(drop)
}

#[test]
fn every_node_reaches_global_and_link_local_addresses_of_every_other() -> Result<()> {
    let lab = lab(Plan::default())?;
    let (hub, spokes) = start_all(&lab)?;
    let nodes: Vec<_> = lab.nodes().collect();
    let mut sequence = 0;
    for from in &nodes {
        for to in nodes.iter().filter(|to| to.name != from.name) {
            for address in [global(to), link_local(to)] {
                sequence += 1;
                // The first packet to another spoke waits for its resolution, or takes the way by the hub.
                assert!(
                    ping6(&from.namespace, address, TUNNEL, sequence, ANSWER)?,
                    "no answer of {address} to {}; hub:\n{}\n{}:\n{}",
                    from.name,
                    hub.log(),
                    spokes[0].node().name,
                    spokes[0].log()
                );
            }
        }
    }
    // Resolved, both kinds of address: spoke to spoke directly.
    let [a, b] = &lab.spokes[..] else { unreachable!("the plan has two spokes") };
    for address in [global(b), link_local(b)] {
        wait_at(&spokes[0], address, b, CacheKind::Cached)?;
    }
    let before = hub.packets_sent()?;
    for address in [global(b), link_local(b)] {
        sequence += 1;
        assert!(ping6(&a.namespace, address, TUNNEL, sequence, ANSWER)?);
    }
    assert_eq!(hub.packets_sent()?, before, "the hub forwarded packets of resolved next hops");
    Ok(())
}

/// As for an IPv6 underlay: what the hub's kernel forwards is the buffer that a spoke has encapsulated.
#[test]
fn what_the_hubs_kernel_forwards_gets_its_header_too() -> Result<()> {
    for xdp in ["native", "generic"] {
        let lab = lab(Plan { xdp, phase: 1, ..Plan::default() })?;
        let (hub, _spokes) = start_all(&lab)?;
        let [a, b] = &lab.spokes[..] else { unreachable!("the plan has two spokes") };
        for sequence in 1..=3 {
            let answer = ping6_by_kernel(&a.namespace, global(b), sequence, ANSWER)?;
            assert!(answer, "{xdp} {sequence}: {}", hub.table("drops")?);
        }
    }
    Ok(())
}

/// The network behind a spoke, and the host in it.
pub(crate) fn lan6(node: &Node) -> Result<(Ipv6Net, Ipv6Addr)> {
    let number = node.nbma.octets()[2].into();
    let prefix = Ipv6Net::new(Ipv6Addr::new(0x2001, 0xdb8, 1, number, 0, 0, 0, 0), 64)?;
    Ok((prefix, Ipv6Addr::new(0x2001, 0xdb8, 1, number, 0, 0, 0, 0x10)))
}

/// The spoke's own address there.
pub(crate) fn router6(node: &Node) -> Result<Ipv6Addr> {
    Ok(Ipv6Addr::from_bits(lan6(node)?.0.addr().to_bits() | 1))
}

/// Starts all agents with IPv6 behind the spokes: the hub knows every network, a spoke sends all to the hub.
pub(crate) fn start_with_lans(lab: &Lab) -> Result<(Agent, Vec<Agent>)> {
    let mut hub_config = config(lab, &lab.hub);
    for node in &lab.spokes {
        let ((prefix, host), router) = (lan6(node)?, router6(node)?);
        node.namespace.command(&format!("ip address add {router}/64 dev lan0 nodad"))?;
        let lan = node.lan.as_ref().expect("a spoke has a LAN");
        lan.host.command(&format!("ip address add {host}/64 dev eth0 nodad"))?;
        lan.host.command(&format!("ip route add default via {router}"))?;
        hub_config.routes.push((prefix.into(), global(node).into()));
    }
    let hub = Agent::start(&lab.hub, &hub_config)?;
    let mut spokes = Vec::new();
    for node in &lab.spokes {
        let mut config = config(lab, node);
        config.routes.push(("2001:db8:1::/48".parse()?, global(&lab.hub).into()));
        spokes.push(Agent::start(node, &config)?);
    }
    for spoke in &spokes {
        spoke.wait_registered()?;
        wait_at(&hub, global(spoke.node()), spoke.node(), CacheKind::Dynamic)?;
    }
    Ok((hub, spokes))
}

/// Phase 3 with IPv6 inside: by the hub first, directly then.
#[test]
fn shortcuts_are_made_for_ipv6_networks() -> Result<()> {
    let lab = lab(Plan::default())?;
    let (hub, spokes) = start_with_lans(&lab)?;
    let [a, b] = &lab.spokes[..] else { unreachable!("the plan has two spokes") };
    let (prefix, target) = lan6(b)?;
    let host = &lab.spoke_lan(0)?.host;
    let mut sequence = 0;
    let mut ping = || {
        sequence += 1;
        ping6(host, target, "eth0", sequence, ANSWER)
    };
    assert!(ping()?, "no answer by the hub");
    let is_it = |row: &ShortcutRow| {
        row.prefix == prefix.into() && row.state == EntryState::Up && row.nbma == Some(b.nbma.into())
    };
    poll::until("the shortcut", PATIENCE, || {
        assert!(ping()?, "a packet was lost");
        Ok(spokes[0].shortcuts()?.iter().any(is_it).then_some(()))
    })?;
    let routes = a.namespace.command("ip -6 route show proto 54")?;
    assert!(routes.contains(&format!("{prefix} via {}", global(b))), "{routes}");
    poll::until("the shortcut back", PATIENCE, || {
        assert!(ping()?, "a packet was lost");
        let (prefix, _) = lan6(a)?;
        Ok(spokes[1].shortcuts()?.iter().any(|row| row.prefix == prefix.into()).then_some(()))
    })?;
    let before = hub.packets_sent()?;
    for _ in 0..20 {
        assert!(ping()?, "a packet was lost");
    }
    assert_eq!(hub.packets_sent()?, before, "the hub forwarded what goes directly");
    Ok(())
}

#[test]
fn a_killed_agent_leaves_ipv6_working_and_another_one_adopts_it() -> Result<()> {
    let lab = lab(Plan::default())?;
    let (_hub, mut spokes) = start_all(&lab)?;
    let [a, b] = &lab.spokes[..] else { unreachable!("the plan has two spokes") };
    assert!(ping6(&a.namespace, link_local(b), TUNNEL, 1, ANSWER)?);
    wait_at(&spokes[0], link_local(b), b, CacheKind::Cached)?;
    spokes.remove(0).kill()?;
    assert!(ping6(&a.namespace, link_local(b), TUNNEL, 2, ANSWER)?);
    let again = Agent::start(a, &config(&lab, a))?;
    let log = again.log();
    let again_log = &log[log.rfind("adopted what").expect("it says that it adopted something")..];
    assert!(!again_log.contains("removed address"), "{again_log}");
    for (sequence, address) in [(3, global(b)), (4, link_local(b)), (5, link_local(&lab.hub))] {
        assert!(ping6(&a.namespace, address, TUNNEL, sequence, ANSWER)?, "{address}");
    }
    Ok(())
}

#[test]
fn a_given_link_local_address_is_the_one_that_is_used() -> Result<()> {
    let lab = Lab::new(Plan { spokes: 1, ..Plan::default() })?;
    let node = &lab.spokes[0];
    let hub = Agent::start(&lab.hub, &config(&lab, &lab.hub))?;
    let mut given = config(&lab, node);
    given.more = "link-local: fe80::5678\n".to_owned();
    let spoke = Agent::start(node, &given)?;
    let address: Ipv6Addr = "fe80::5678".parse()?;
    wait_at(&hub, address, node, CacheKind::Dynamic)?;
    assert!(ping6(&lab.hub.namespace, address, TUNNEL, 1, ANSWER)?);
    let addresses = node.namespace.command(&format!("ip -o -6 address show dev {TUNNEL} scope link"))?;
    assert_eq!(addresses.lines().count(), 1, "{addresses}");
    drop(spoke);
    Ok(())
}

/// An address that nobody registered: a routing daemon made it, say.
#[test]
fn a_link_local_address_that_a_peer_speaks_from_is_learnt() -> Result<()> {
    let lab = lab(Plan { spokes: 1, ..Plan::default() })?;
    let (hub, _spokes) = start_all(&lab)?;
    let node = &lab.spokes[0];
    node.namespace.command(&format!("ip address add fe80::abcd/64 dev {TUNNEL} nodad"))?;
    let to = link_local(&lab.hub);
    // The first answer may be on its way before the hub knows where to.
    let ping = format!("ping -6 -c 5 -i 0.3 -W 2 -I fe80::abcd%{TUNNEL} {to}%{TUNNEL}");
    let text = node.namespace.command(&ping)?;
    assert!(text.contains("5 received") || text.contains("4 received"), "{text}");
    wait_at(&hub, "fe80::abcd".parse()?, node, CacheKind::Cached)
}
