//! IPv6 outside of the tunnel.

use std::{
    fs,
    net::{IpAddr, Ipv6Addr},
    path::Path,
    process::Command,
    time::Duration,
};

use anyhow::Result;
use dmvpn::control::protocol::{CacheKind, CacheRow};
use dmvpn_tests::{
    agent::Agent,
    config::{Config, TUNNEL},
    lab::{Lab, Node, Plan},
    poll,
    traffic::ping6,
};
use ipnet::{IpNet, Ipv6Net};

const PATIENCE: Duration = Duration::from_secs(15);

/// Address of a node in the underlay, or of the router beside it.
fn underlay(node: &Node, last: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0xffff, node.nbma.octets()[2].into(), 0, 0, 0, last)
}

pub(crate) fn nbma(node: &Node) -> Ipv6Addr {
    underlay(node, 1)
}

/// A lab whose underlay has IPv6, too.
pub(crate) fn lab(plan: Plan) -> Result<Lab> {
    let lab = Lab::new(plan)?;
    lab.underlay.set("ipv6/conf/all/forwarding", "1")?;
    for node in lab.nodes() {
        let gateway = underlay(node, 0xfe);
        lab.underlay.command(&format!("ip address add {gateway}/64 dev {} nodad", node.name))?;
        node.namespace.command(&format!("ip address add {}/64 dev underlay0 nodad", nbma(node)))?;
        node.namespace.command(&format!("ip route add default via {gateway}"))?;
    }
    Ok(lab)
}

fn config(lab: &Lab, node: &Node) -> Config {
    let mut config = lab.config(node);
    config.source = nbma(node).to_string();
    config.nhs = config.nhs.map(|(address, _)| (address, nbma(&lab.hub).into()));
    config
}

fn wait_at(agent: &Agent, node: &Node, nbma: Ipv6Addr, kind: CacheKind) -> Result<()> {
    let what = format!("{} at {nbma} in the cache of {}", node.address, agent.node().name);
    let is_it = |row: &CacheRow| {
        row.protocol.addr() == node.address && row.nbma == Some(IpAddr::V6(nbma)) && row.kind == kind
    };
    poll::until_matches(&what, PATIENCE, || agent.cache(), |rows| rows.iter().any(is_it)).map(drop)
}

pub(crate) fn start_all(lab: &Lab) -> Result<(Agent, Vec<Agent>)> {
    let hub = Agent::start(&lab.hub, &config(lab, &lab.hub))?;
    let spokes: Vec<_> =
        lab.spokes.iter().map(|node| Agent::start(node, &config(lab, node))).collect::<Result<_>>()?;
    for spoke in &spokes {
        spoke.wait_registered()?;
        wait_at(&hub, spoke.node(), nbma(spoke.node()), CacheKind::Dynamic)?;
    }
    Ok((hub, spokes))
}

#[test]
fn spokes_register_over_ipv6_with_and_without_key() -> Result<()> {
    for (key, mtu) in [(Some(42), 1452), (None, 1456)] {
        let lab = lab(Plan { key, ..Plan::default() })?;
        let (hub, spokes) = start_all(&lab)?;
        for agent in spokes.iter().chain([&hub]) {
            let row = &agent.interfaces()?[0];
            assert_eq!((row.mtu, row.source), (mtu, Some(nbma(agent.node()).into())));
            for peer in agent.peers()? {
                assert_eq!(peer.mtu, mtu, "{peer:?}");
                let way = peer.underlay.expect("a way to the peer");
                assert_eq!(way.gateway, Some(underlay(agent.node(), 0xfe).into()));
            }
        }
    }
    Ok(())
}

/// All of Phase 3 with IPv4 inside: by the hub first, directly then, and nothing is lost.
#[test]
fn shortcuts_are_made_over_ipv6_without_loss() -> Result<()> {
    for (key, xdp) in [(Some(42), "native"), (None, "native"), (Some(42), "generic")] {
        let lab = lab(Plan { key, xdp, ..Plan::default() })?;
        let (hub, spokes) = start_all(&lab)?;
        let (there, back) = (lab.stream(0, 1, 500)?, lab.stream(1, 0, 500)?);
        let (a, b) = (lab.spoke_lan(0)?.prefix, lab.spoke_lan(1)?.prefix);
        let row = spokes[0].wait_shortcut(b)?;
        assert_eq!(row.nbma, Some(nbma(&lab.spokes[1]).into()));
        spokes[1].wait_shortcut(a)?;
        there.wait_received(500)?;
        assert_eq!(lab.path(0, 1)?, ["lan-a", "spoke-a", "spoke-b", "lan-b"]);
        let before = hub.packets_sent()?;
        there.wait_received(1000)?;
        assert_eq!(hub.packets_sent()?, before, "the hub forwarded what goes directly");
        for report in [there.finish()?, back.finish()?] {
            assert_eq!(report.lost, [] as [u64; 0], "{key:?} {xdp}: {report:?}");
        }
    }
    Ok(())
}

/// IPv6 inside, too: global and link-local addresses of every node, from every node.
#[test]
fn ipv6_is_carried_over_ipv6() -> Result<()> {
    let lab = lab(Plan::default())?;
    let inside = |node: &Node| Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, node.address.octets()[3].into());
    let start = |node: &Node| {
        let mut config = config(&lab, node);
        config.address = IpNet::V6(Ipv6Net::new_assert(inside(node), 64));
        config.nhs = config.nhs.map(|(_, nbma)| (inside(&lab.hub).into(), nbma));
        config.routes = Vec::new();
        Agent::start(node, &config)
    };
    let agents: Vec<_> = lab.nodes().map(start).collect::<Result<_>>()?;
    for spoke in &agents[1..] {
        spoke.wait_registered()?;
    }
    assert_eq!(agents[0].interfaces()?[0].mtu, 1452);
    lab.hub.namespace.set("ipv6/conf/all/forwarding", "1")?;
    let mut sequence = 0;
    for from in lab.nodes() {
        for to in lab.nodes().filter(|to| to.name != from.name) {
            let link_local = Ipv6Addr::from_bits((0xfe80 << 112) | u128::from(to.address.octets()[3]));
            for address in [inside(to), link_local] {
                sequence += 1;
                poll::until(&format!("an answer of {address} to {}", from.name), PATIENCE, || {
                    Ok(ping6(&from.namespace, address, TUNNEL, sequence, Duration::from_secs(1))?
                        .then_some(()))
                })?;
            }
        }
    }
    for agent in &agents {
        for peer in agent.peers()? {
            assert!(peer.nbma.is_ipv6() && peer.protocol.iter().all(IpAddr::is_ipv6), "{peer:?}");
        }
    }
    Ok(())
}

/// IP options are for the kernel of the hub, which hands the packet to its tunnel interface again. In a lab it is the
/// very buffer that a spoke has encapsulated, and the kernel still knows that.
#[test]
fn what_the_hubs_kernel_forwards_gets_its_ipv6_header_too() -> Result<()> {
    for xdp in ["native", "generic"] {
        let lab = lab(Plan { xdp, phase: 1, ..Plan::default() })?;
        let (hub, _spokes) = start_all(&lab)?;
        let to = lab.spokes[1].address;
        let answers = lab.spokes[0].namespace.command(&format!("ping -R -c 3 -i 0.2 -W 2 {to}"));
        assert!(answers.is_ok_and(|text| text.contains(" 3 received")), "{xdp}: {}", hub.table("drops")?);
    }
    Ok(())
}

#[test]
fn a_source_interface_with_both_has_the_version_of_its_servers() -> Result<()> {
    let lab = lab(Plan { spokes: 1, ..Plan::default() })?;
    let hub = Agent::start(&lab.hub, &config(&lab, &lab.hub))?;
    let node = &lab.spokes[0];
    let mut wanted = config(&lab, node);
    wanted.source = "underlay0".to_owned();
    let spoke = Agent::start(node, &wanted)?;
    spoke.wait_registered()?;
    wait_at(&hub, node, nbma(node), CacheKind::Dynamic)?;

    // It is followed to another address, which takes a while to be known as unique.
    let moved = underlay(node, 0x77);
    node.namespace.command(&format!("ip address add {moved}/64 dev underlay0"))?;
    node.namespace.command(&format!("ip address del {}/64 dev underlay0", nbma(node)))?;
    wait_at(&hub, node, moved, CacheKind::Dynamic)?;
    spoke.wait_registered()?;
    assert_eq!(spoke.interfaces()?[0].source, Some(moved.into()));
    Ok(())
}

#[test]
fn an_address_that_is_new_at_the_start_is_waited_for() -> Result<()> {
    let lab = lab(Plan { spokes: 1, ..Plan::default() })?;
    let hub = &lab.hub;
    hub.namespace.set("ipv6/conf/underlay0/dad_transmits", "2")?;
    let address = underlay(hub, 0x88);
    hub.namespace.command(&format!("ip address add {address}/64 dev underlay0"))?;
    assert!(hub.namespace.command("ip -6 address show dev underlay0 tentative")?.contains("inet6"));
    let mut wanted = config(&lab, hub);
    wanted.source = address.to_string();
    let agent = Agent::start(hub, &wanted)?;
    assert_eq!(agent.interfaces()?[0].source, Some(address.into()));
    Ok(())
}

#[test]
fn a_host_name_stands_for_its_ipv6_addresses_where_the_source_is_ipv6() -> Result<()> {
    const NAME: &str = "hub.dmvpn.test";
    let lab = lab(Plan { spokes: 1, ..Plan::default() })?;
    let _hub = Agent::start(&lab.hub, &config(&lab, &lab.hub))?;
    let hosts = lab.hub.files.join("hosts");
    fs::write(&hosts, format!("{} {NAME}\n{} {NAME}\n", lab.hub.nbma, nbma(&lab.hub)))?;
    let node = &lab.spokes[0];
    let mut wanted = config(&lab, node);
    wanted.nhs = None;
    wanted.more = format!("nhs:\n  - {{address: dynamic, nbma: {NAME}}}\n");
    let spoke = Agent::start_by(node, &wanted, move |program: &Path| {
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", "mount --bind \"$0\" /etc/hosts && exec \"$@\""]);
        command.arg(&hosts).arg(program);
        command
    })?;
    spoke.wait_registered()?;
    let rows = spoke.nhs()?;
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!((rows[0].nbma, rows[0].name.as_deref()), (Some(nbma(&lab.hub).into()), Some(NAME)));
    Ok(())
}
