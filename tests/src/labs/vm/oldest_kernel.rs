//! The oldest kernel that the documentation names: programs load, and nothing is lost, whatever the agent does.

use std::{net::Ipv6Addr, process::Command, time::Duration};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use dmvpn::control::protocol::{TcHook, XdpHook};
use dmvpn_common::{DropReason, LAYOUT_VERSION};

use super::super::{Entry, Report, Stage, captures::Sender};
use crate::{
    agent::Agent,
    command,
    config::{Config, TUNNEL},
    lab::{self, Lab, Node, Plan},
    poll,
    traffic::{self, Stream},
    wire::UNDERLAY,
};

/// What `README.md` says, up to the patch level.
const OLDEST: &str = "6.1.";

/// Packets a second of a stream: what an emulated processor forwards with ease.
const RATE: u32 = 200;

/// Longest wait for traffic.
const PATIENCE: Duration = Duration::from_mins(1);

pub(super) const LAB: Entry = Entry {
    name: "vm-oldest-kernel",
    what: "Linux 6.1: programs load, shortcuts are made, nothing is lost when agents die and come back",
    needs_vm: false,
    build: |_name, _report| Ok(Box::new(OldestKernel)),
};

struct OldestKernel;

impl Stage for OldestKernel {
    fn play(&mut self, report: &mut Report) -> Result<()> {
        report.step("the kernel is the oldest one", || {
            let release = command::output(Command::new("uname").arg("-r"))?;
            ensure!(release.starts_with(OLDEST), "it is {release}: the packages are of a newer Debian");
            Ok(release.trim_end().to_owned())
        })?;
        passes_traffic(report, "native", XdpHook::Native)?;
        passes_traffic(report, "generic", XdpHook::Generic)?;
        passes_traffic(report, "auto", XdpHook::Tc)?;
        spreads(report)?;
        short_packets_over_ipv6(report)
    }

    fn keep(self: Box<Self>) -> String {
        String::new()
    }
}

/// A hub and two spokes with the underlay program attached as `xdp` says, which has to become `hook`.
fn passes_traffic(report: &mut Report, xdp: &'static str, hook: XdpHook) -> Result<()> {
    let lab = Lab::new(Plan { xdp, ..Plan::default() })?;
    if hook == XdpHook::Tc {
        for node in lab.nodes() {
            bridge_underlay(node)?;
        }
    }
    capture(report, xdp, &lab)?;
    let mut agents = None;
    report.step(format!("xdp: {xdp}: spokes register with the hub"), || {
        let (hub, spokes) = lab.start_all()?;
        let row = hub.interfaces()?.pop().context("no interface")?;
        ensure!(row.tc == TcHook::Clsact, "the tunnel's program is attached by {:?}", row.tc);
        ensure!(row.xdp.iter().all(|row| row.mode == hook), "{:?} instead of {hook:?}", row.xdp);
        agents = Some((hub, spokes));
        Ok(format!("underlay {hook:?}, tunnel clsact"))
    })?;
    let (hub, spokes) = agents.context("started above")?;
    let stream = lab.stream(0, 1, RATE)?;
    report.step(format!("xdp: {xdp}: LANs reach each other by a shortcut"), || {
        let shortcut = spokes[0].wait_shortcut(lab.spoke_lan(1)?.prefix)?;
        let path = lab.path(0, 1)?;
        ensure!(path == ["lan-a", "spoke-a", "spoke-b", "lan-b"], "{path:?}");
        ensure!(hub.packets_sent()? > 0, "the first packets did not go by the hub");
        Ok(format!("{} directly", shortcut.prefix))
    })?;
    lossless(report, &format!("xdp: {xdp}: nothing was lost"), stream)?;
    report.step(format!("xdp: {xdp}: a TCP transfer arrives unchanged"), || {
        const BYTES: u64 = 8 << 20;
        let (a, b) = (lab.spoke_lan(0)?, lab.spoke_lan(1)?);
        let transfer = traffic::transfer(&a.host, &b.host, b.address, BYTES, |_| {})?;
        Ok(format!("{BYTES} bytes in {:.1} s", transfer.time.as_secs_f64()))
    })?;
    restarts(report, xdp, &lab, spokes)
}

/// A hub that hands packets over to one CPU from the other, and agents of it that come and go.
fn spreads(report: &mut Report) -> Result<()> {
    // Phase 1: everything goes by the hub, and returns by the interface it came in by.
    let lab = Lab::new(Plan { phase: 1, ..Plan::default() })?;
    capture(report, "spread", &lab)?;
    let config = Config { spread: Some("[1]"), ..lab.config(&lab.hub) };
    let hub = Agent::start(&lab.hub, &config)?;
    let spokes = lab.spokes.iter().map(|node| lab.start(node)).collect::<Result<Vec<_>>>()?;
    spokes.iter().try_for_each(Agent::wait_registered)?;
    let streams = [lab.stream(0, 1, RATE)?, lab.stream(1, 0, RATE)?];
    report.step("spread: a CPU of the hub takes what came in on the other one", || {
        let taken = poll::until("packets on CPU 1", PATIENCE, || {
            let rows = hub.interfaces()?.into_iter().flat_map(|row| row.xdp).flat_map(|row| row.spread);
            let taken: u64 = rows.map(|row| row.taken).sum();
            Ok((taken > 100).then_some(taken))
        })?;
        Ok(format!("{taken} packets"))
    })?;
    let mut hub = Some(hub);
    report.step("spread: the next agent gives it up", || {
        hub.take().context("started above")?.kill()?;
        streams[0].wait_received(50)?;
        hub = Some(lab.start(&lab.hub)?);
        streams[0].wait_received(50)?;
        Ok("100 more packets".to_owned())
    })?;
    for (stream, which) in streams.into_iter().zip(["there", "back"]) {
        lossless(report, &format!("spread: nothing was lost on the way {which}"), stream)?;
    }
    report.step("spread: no queue lost anything", || {
        let lost = hub.context("started above")?.dropped(DropReason::SpreadQueueFull)?;
        ensure!(lost == 0, "{lost} packets");
        Ok("what was handed over was taken".to_owned())
    })
}

/// An IPv4 packet that is shorter than an IPv6 header comes out of one at TC: before 6.4 the kernel does not help with that.
fn short_packets_over_ipv6(report: &mut Report) -> Result<()> {
    let lab = Lab::new(Plan { xdp: "auto", spokes: 1, ..Plan::default() })?;
    capture(report, "ipv6", &lab)?;
    lab.underlay.set("ipv6/conf/all/forwarding", "1")?;
    let underlay =
        |node: &Node, last: u16| Ipv6Addr::new(0x2001, 0xdb8, 0, node.nbma.octets()[2].into(), 0, 0, 0, last);
    let mut agents = Vec::new();
    report.step("over IPv6 at TC: a short packet is answered", || {
        for node in lab.nodes() {
            bridge_underlay(node)?;
            let (address, gateway) = (underlay(node, 1), underlay(node, 0xfe));
            lab.underlay.command(&format!("ip address add {gateway}/64 dev {} nodad", node.name))?;
            node.namespace.command(&format!("ip address add {address}/64 dev bridge0 nodad"))?;
            node.namespace.command(&format!("ip route add default via {gateway}"))?;
            let mut config = lab.config(node);
            config.source = address.to_string();
            config.nhs = config.nhs.map(|(server, _)| (server, underlay(&lab.hub, 1).into()));
            agents.push(Agent::start(node, &config)?);
        }
        agents.last().context("started above")?.wait_registered()?;
        let mut sequence = 0;
        let host = &lab.spoke_lan(0)?.host;
        let reply = poll::until("an answer of the hub", PATIENCE, || {
            sequence += 1;
            traffic::ping(host, lab.hub.address, sequence, Duration::from_secs(1))
        });
        let reply = reply.map_err(|error| anyhow!("{error:#}\n{:#?}", agents.first().map(Agent::drops)))?;
        Ok(format!("after {:.1?}", reply.time))
    })
}

fn capture(report: &mut Report, title: &str, lab: &Lab) -> Result<()> {
    lab.nodes().try_for_each(|node| {
        report.capture(&lab.underlay, &node.name, &format!("{title}-{}", node.name), Sender::Ours)
    })
}

/// Puts a bridge between a node and its underlay interface: bridges have no native XDP.
fn bridge_underlay(node: &Node) -> Result<()> {
    let gateway = lab::gateway_of(node.nbma);
    for line in [
        "ip link add bridge0 type bridge",
        &format!("ip link set {UNDERLAY} master bridge0"),
        &format!("ip address flush dev {UNDERLAY}"),
        &format!("ip address add {}/24 dev bridge0", node.nbma),
        "ip link set bridge0 up",
        &format!("ip route replace default via {gateway} dev bridge0"),
    ] {
        node.namespace.command(line)?;
    }
    Ok(())
}

/// Kills the agent of a spoke, starts another, and ends that in good order.
fn restarts(report: &mut Report, xdp: &str, lab: &Lab, mut spokes: Vec<Agent>) -> Result<()> {
    let node = &lab.spokes[0];
    let stream = lab.stream(0, 1, RATE)?;
    stream.wait_received(20)?;
    report.step(format!("xdp: {xdp}: a killed agent leaves its programs"), || {
        spokes.remove(0).kill()?;
        stream.wait_received(100)?;
        let filters = filters(node)?;
        ensure!(filters == 1, "{filters} filters at the egress of {TUNNEL}");
        Ok("100 more packets arrived".to_owned())
    })?;
    let mut agent = None;
    report.step(format!("xdp: {xdp}: the next agent takes over"), || {
        let next = lab.start(node)?;
        next.wait_registered()?;
        stream.wait_received(100)?;
        let filters = filters(node)?;
        ensure!(filters == 1, "{filters} filters at the egress of {TUNNEL}");
        agent = Some(next);
        Ok("one filter as before, 100 more packets".to_owned())
    })?;
    lossless(report, &format!("xdp: {xdp}: nothing was lost meanwhile"), stream)?;
    report.step(format!("xdp: {xdp}: an agent that ends takes all with it"), || {
        let status = agent.context("started above")?.terminate()?;
        ensure!(status.success(), "{status}");
        ensure!(!node.has_interface(TUNNEL), "{TUNNEL} is still there");
        let pins = node.pins.join(format!("v{LAYOUT_VERSION}"));
        ensure!(!pins.exists(), "pins are still there");
        let underlay = if node.has_interface("bridge0") { "bridge0" } else { UNDERLAY };
        let filters = node.namespace.command(&format!("tc filter show dev {underlay} ingress"))?;
        ensure!(!filters.contains("bpf"), "still at TC ingress: {filters}");
        Ok("no interface, no pins, no filters".to_owned())
    })
}

fn lossless(report: &mut Report, what: &str, stream: Stream) -> Result<()> {
    report.step(what, || {
        let account = stream.finish()?;
        if !account.lost.is_empty() {
            bail!("{} of {} packets: {:?}", account.lost.len(), account.sent, account.lost);
        }
        Ok(format!("{} packets sent and received", account.sent))
    })
}

/// How many programs the `clsact` of the tunnel interface runs at its egress.
fn filters(node: &Node) -> Result<usize> {
    let text = node.namespace.command(&format!("tc filter show dev {TUNNEL} egress"))?;
    Ok(text.lines().filter(|line| line.contains("direct-action")).count())
}
