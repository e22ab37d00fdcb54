//! An underlay of tagged frames (802.1Q): every NBMA address is on a VLAN device.

use std::{net::Ipv4Addr, path::Path as File, process::Command};

use anyhow::{Context as _, Result, ensure};
use dmvpn::control::protocol::{Path, XdpHook};

use super::super::{Entry, Report, Stage, capture::Capture, captures::Sender};
use crate::{
    agent::Agent,
    command,
    config::Config,
    lab::{self, Lab, Node, Plan},
    namespace::Namespace,
    traffic,
    wire::UNDERLAY,
};

/// The VLAN of the underlay.
const VLAN: u16 = 100;

/// Packets a second of a stream: what an emulated processor forwards with ease.
const RATE: u32 = 200;

pub(super) const LAB: Entry = Entry {
    name: "vm-vlan",
    what: "an underlay of VLAN devices: the tag goes on and off on every path",
    needs_vm: false,
    build: |_name, _report| Ok(Box::new(Tagged)),
};

struct Tagged;

impl Stage for Tagged {
    fn play(&mut self, report: &mut Report) -> Result<()> {
        // A bridge has no native XDP: the program goes to TC.
        passes_traffic(report, "auto", XdpHook::Tc)?;
        passes_traffic(report, "native", XdpHook::Native)?;
        passes_traffic(report, "generic", XdpHook::Generic)
    }

    fn keep(self: Box<Self>) -> String {
        String::new()
    }
}

/// A hub and two spokes with the underlay program attached as `xdp` says, which has to become `hook`.
fn passes_traffic(report: &mut Report, xdp: &'static str, hook: XdpHook) -> Result<()> {
    let lab = Lab::new(Plan { xdp, ..Plan::default() })?;
    let below = if hook == XdpHook::Tc { "bridge0" } else { UNDERLAY };
    for node in lab.nodes() {
        tag_router(&lab, node)?;
        tag_node(node, below)?;
        report.capture(&lab.underlay, &node.name, &format!("{xdp}-{}", node.name), Sender::Ours)?;
    }
    let config = |node| Config { source: format!("{below}.{VLAN}"), ..lab.config(node) };
    // What the hub's programs forward and send, and what the tunnel program of a spoke sends.
    let wires = [&lab.hub, &lab.spokes[0]].map(|node| (node, node.files.join(format!("{}.pcap", node.name))));
    let captures = wires.each_ref().map(|(node, file)| Capture::start(&lab.underlay, &node.name, file));
    let captures = captures.into_iter().collect::<Result<Vec<_>>>()?;

    let mut agents = None;
    report.step(format!("xdp: {xdp}: spokes register with the hub"), || {
        // In Phase 1 it tells nobody about shorter ways: all traffic is its own to forward.
        let hub = Agent::start(&lab.hub, &Config { phase: 1, ..config(&lab.hub) })?;
        let start = |node| Agent::start(node, &config(node));
        let spokes = lab.spokes.iter().map(start).collect::<Result<Vec<_>>>()?;
        spokes.iter().try_for_each(Agent::wait_registered)?;
        lab.spokes.iter().try_for_each(|spoke| hub.wait_cached(spoke))?;
        let row = hub.interfaces()?.pop().context("no interface")?;
        ensure!(!row.xdp.is_empty(), "no program on the underlay");
        ensure!(row.xdp.iter().all(|row| row.mode == hook), "{:?} instead of {hook:?}", row.xdp);
        agents = Some((hub, spokes));
        Ok(format!("underlay {hook:?}"))
    })?;
    let (hub, spokes) = agents.context("started above")?;

    let stream = lab.stream(0, 1, RATE)?;
    report.step(format!("xdp: {xdp}: the hub forwards from spoke to spoke"), || {
        let path = if hook == XdpHook::Tc { Path::Tc } else { Path::Xdp };
        stream.wait_received(20)?;
        let before = packets_by(&hub, path)?;
        stream.wait_received(100)?;
        let [received, sent] = packets_by(&hub, path)?;
        let forwarded = (received - before[0]).min(sent - before[1]);
        // Some of those hundred were past the hub before.
        ensure!(forwarded > 80, "{forwarded} of 100 packets by {path:?}: {:?}", hub.peers()?);
        let slow = packets_by(&hub, Path::Slow)?;
        ensure!(slow == [0, 0], "received and sent by the slow path: {slow:?}");
        Ok(format!("{forwarded} packets by {path:?}"))
    })?;
    report.step(format!("xdp: {xdp}: the hub itself talks to a LAN"), || {
        let mut seen = Vec::new();
        for stream in lab.streams_with_hub(0, RATE)? {
            stream.wait_received(50)?;
            let account = stream.finish()?;
            ensure!(account.lost.is_empty(), "lost: {:?}", account.lost);
            seen.push(account.sent.to_string());
        }
        Ok(format!("{} packets", seen.join(" and ")))
    })?;
    drop(captures);
    report.step(format!("xdp: {xdp}: every frame on the wires has the tag, and no other"), || {
        let seen = wires.iter().map(|(node, file)| {
            let tagged = tagged_frames(file).with_context(|| format!("on the wire of {}", node.name))?;
            Ok(format!("{tagged} frames of VLAN {VLAN} at {}", node.name))
        });
        Ok(seen.collect::<Result<Vec<_>>>()?.join(", "))
    })?;
    hub.kill()?;
    let hub = Agent::start(&lab.hub, &config(&lab.hub))?;
    report.step(format!("xdp: {xdp}: LANs reach each other by a shortcut"), || {
        let shortcut = spokes[0].wait_shortcut(lab.spoke_lan(1)?.prefix)?;
        let path = lab.path(0, 1)?;
        ensure!(path == ["lan-a", "spoke-a", "spoke-b", "lan-b"], "{path:?}");
        Ok(format!("{} directly", shortcut.prefix))
    })?;
    report.step(format!("xdp: {xdp}: nothing was lost, the change of the hub's agent included"), || {
        let account = stream.finish()?;
        ensure!(account.lost.is_empty(), "{} of {} packets", account.lost.len(), account.sent);
        Ok(format!("{} packets sent and received", account.sent))
    })?;
    report.step(format!("xdp: {xdp}: a TCP transfer arrives unchanged"), || {
        const BYTES: u64 = 2 << 20;
        let (a, b) = (lab.spoke_lan(0)?, lab.spoke_lan(1)?);
        let transfer = traffic::transfer(&a.host, &b.host, b.address, BYTES, |_| {})?;
        Ok(format!("{BYTES} bytes in {:.1} s", transfer.time.as_secs_f64()))
    })?;
    report.step(format!("xdp: {xdp}: an agent that ends takes its programs with it"), || {
        let status = hub.terminate()?;
        ensure!(status.success(), "{status}");
        for interface in [below, &format!("{below}.{VLAN}")] {
            let link = lab.hub.namespace.command(&format!("ip link show dev {interface}"))?;
            let filters = lab.hub.namespace.command(&format!("tc filter show dev {interface} ingress"))?;
            ensure!(!link.contains("prog/xdp"), "still at XDP: {link}");
            ensure!(!filters.contains("bpf"), "still at TC ingress of {interface}: {filters}");
        }
        Ok("none on either interface".to_owned())
    })
}

/// Packets that a node received from and sent to its peers by one path.
fn packets_by(agent: &Agent, path: Path) -> Result<[u64; 2]> {
    let rows = agent.peers()?.into_iter().flat_map(|peer| peer.paths);
    let of_path = rows.filter(|row| row.path == path);
    Ok(of_path
        .fold([0, 0], |[received, sent], row| [received + row.received_packets, sent + row.sent_packets]))
}

/// Number of GRE frames in a capture that has ended; an error when one of them has not exactly the tag of [`VLAN`], with
/// priority 0, as a VLAN device puts it on.
fn tagged_frames(file: &File) -> Result<usize> {
    let read = |filter: &str| {
        command::output(Command::new("tcpdump").args(["-n", "-e", "-r"]).arg(file).arg(filter))
    };
    // Each `vlan` of a filter looks behind one more tag.
    let tagged = read("vlan and ip proto 47")?;
    let (none, two) = (read("ip proto 47")?, read("vlan and vlan")?);
    let mark = format!(" vlan {VLAN}, p 0, ethertype IPv4 (0x0800),");
    let other = tagged.lines().filter(|line| !line.contains(&mark));
    let other = none.lines().chain(two.lines()).chain(other).next();
    ensure!(other.is_none(), "a frame with another tag, two or none: {other:?}");
    let count = tagged.lines().count();
    ensure!(count >= 100, "{count} frames only");
    Ok(count)
}

/// Moves the address of the router's end of a node's wire to a VLAN device.
fn tag_router(lab: &Lab, node: &Node) -> Result<()> {
    move_address(&lab.underlay, &node.name, &node.name, lab::gateway_of(node.nbma))
}

/// Moves the address of a node to a VLAN device, on a bridge if that is to be `below` it.
fn tag_node(node: &Node, below: &str) -> Result<()> {
    if below != UNDERLAY {
        for line in [
            format!("ip link add {below} type bridge"),
            format!("ip link set {UNDERLAY} master {below}"),
            format!("ip link set {below} up"),
        ] {
            node.namespace.command(&line)?;
        }
    }
    move_address(&node.namespace, UNDERLAY, below, node.nbma)?;
    let gateway = lab::gateway_of(node.nbma);
    node.namespace.command(&format!("ip route replace default via {gateway} dev {below}.{VLAN}")).map(drop)
}

/// Gives the address of `wire` to a VLAN device on `below`.
fn move_address(namespace: &Namespace, wire: &str, below: &str, address: Ipv4Addr) -> Result<()> {
    for line in [
        // A NIC puts the tag into the frame; a veth would hand it over beside the packet.
        format!("ethtool -K {wire} txvlan off"),
        format!("ip address flush dev {wire}"),
        format!("ip link add link {below} name {below}.{VLAN} type vlan id {VLAN}"),
        format!("ip address add {address}/24 dev {below}.{VLAN}"),
        format!("ip link set {below}.{VLAN} up"),
    ] {
        namespace.command(&line)?;
    }
    Ok(())
}
