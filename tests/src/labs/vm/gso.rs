//! Large buffers: one goes through the tunnel program as a whole, and is cut up behind it, by the kernel or by a device.
//!
//! The kernel's GRE and a node of ours take what becomes of them, at the other end of a router, whose wires do not help
//! the kernel: what left a node in one piece is cut up there.

use std::{
    net::{IpAddr, Ipv6Addr, UdpSocket},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use dmvpn_common::DropReason;
use ipnet::{IpNet, Ipv6Net};
use nix::sys::socket::{setsockopt, sockopt};
use serde_json::Value;

use super::{
    super::{Entry, Report, Stage, captures::Sender},
    segments::{self, Checksum, FRAME, Segment},
};
use crate::{
    agent::Agent,
    config::{Config, TUNNEL},
    lab::{Lab, Lan, Node, Plan},
    traffic::{self, FrameWatcher},
    wire::UNDERLAY,
};

const KEY: u32 = 42;
/// Bytes of a TCP transfer.
const BULK: u64 = 2 << 20;
/// TCP on an emulated machine takes segments for lost now and then: one in so many may be sent again. When buffers are
/// lost, most are.
const REPEATED: u64 = 4;
/// Datagrams in a buffer, and bytes in each.
const DATAGRAMS: usize = 20;
const SIZE: usize = 1000;
/// Reasons to drop what an interface says of its own accord.
const NORMAL: [&str; 2] = [DropReason::NeighbourSolicitation.name(), DropReason::NoMulticastReceiver.name()];
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) const LAB: Entry = Entry {
    name: "vm-gso",
    what: "large buffers of TCP and UDP, cut up by the kernel behind our programs or by a device, for GRE of either make",
    needs_vm: false,
    build: |_name, _report| Ok(Box::new(Buffers)),
};

struct Buffers;

impl Stage for Buffers {
    fn play(&mut self, report: &mut Report) -> Result<()> {
        for outer in [4, 6] {
            for inner in [4, 6] {
                for receiver in [Receiver::Kernel, Receiver::Ours] {
                    Case { outer, inner, receiver }.play(report)?;
                }
            }
        }
        Ok(())
    }

    fn keep(self: Box<Self>) -> String {
        String::new()
    }
}

/// Who takes what is in the tunnel.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Receiver {
    /// The kernel's GRE, made by `ip link`.
    Kernel,
    Ours,
}

/// What the sender's underlay device promises to do for its kernel.
struct Device {
    what: &'static str,
    /// For `ethtool -K`.
    features: &'static str,
    /// Whether it takes large buffers of ours.
    takes_large: bool,
}

/// A veth promises everything, and what is handed to it in one piece arrives in one piece. So it shows what the kernel
/// leaves to a device.
const DEVICES: [Device; 3] = [
    Device { what: "a device without offloads", features: "tx off tso off gso off", takes_large: false },
    Device {
        what: "a device that knows tunnels of other kinds",
        features: "tx on tso on gso on tx-udp-segmentation on tx-gre-segmentation off \
            tx-gre-csum-segmentation off",
        takes_large: false,
    },
    Device {
        what: "a device that knows GRE alone",
        features: "tx-gre-segmentation on tx-ipxip4-segmentation off tx-ipxip6-segmentation off \
            tx-udp_tnl-segmentation off tx-udp_tnl-csum-segmentation off",
        takes_large: true,
    },
];

/// Versions of IP outside and inside, and who is at the other end.
#[derive(Clone, Copy)]
struct Case {
    outer: u8,
    inner: u8,
    receiver: Receiver,
}

impl Case {
    fn play(self, report: &mut Report) -> Result<()> {
        let Self { outer, inner, receiver } = self;
        let receiver = if receiver == Receiver::Kernel { "the kernel's GRE" } else { "our node" };
        let title = format!("IPv{inner} in IPv{outer} to {receiver}");
        let lab = Lab::new(Plan::default())?;
        for node in &lab.spokes {
            let place = format!("ipv{inner}-in-ipv{outer}-{}", node.name);
            report.capture(&lab.underlay, &node.name, &place, Sender::Unjudged)?;
        }
        let (a, b) = (&lab.spokes[0], &lab.spokes[1]);
        let agents = self.start(&lab).with_context(|| title.clone())?;
        // Where the frames of the sender leave it, and where they leave the router.
        let near = FrameWatcher::open(&a.namespace, UNDERLAY)?;
        let far = FrameWatcher::open(&lab.underlay, &b.name)?;
        let (from, to) = (lab.spoke_lan(0)?, lab.spoke_lan(1)?);
        for device in &DEVICES {
            a.namespace.command(&format!("ethtool -K {UNDERLAY} {}", device.features))?;
            report.step(format!("{title}: datagrams by {}", device.what), || {
                near.frames();
                far.frames();
                send_datagrams(from, to, self.host(to))?;
                let (near, far) = self.frames(a, device, &near, &far)?;
                ensure!(near.len() == if device.takes_large { 1 } else { DATAGRAMS }, "{near:?}");
                ensure!(far.len() == DATAGRAMS, "{} frames for {DATAGRAMS} datagrams", far.len());
                segments::count_up(&far)?;
                Ok(format!("{} frames leave it, {} arrive", near.len(), far.len()))
            })?;
            report.step(format!("{title}: TCP by {}", device.what), || {
                let transfer = traffic::transfer(&from.host, &to.host, self.host(to), BULK, |_| {})?;
                let (near, far) = self.frames(a, device, &near, &far)?;
                ensure!(far.iter().any(|segment| segment.frame == FRAME), "TCP does not fill its frames");
                if !device.takes_large {
                    segments::count_up(&near)?;
                }
                segments::count_up(&far)?;
                let repeated = segments::repeated(&near, BULK)?.max(segments::repeated(&far, BULK)?);
                ensure!(repeated * REPEATED < BULK, "{repeated} of {BULK} bytes were sent more than once");
                let seconds = transfer.time.as_secs_f64();
                let [near, far] = [near.len(), far.len()];
                Ok(format!("{near} frames leave it, {far} arrive; {repeated} bytes repeated; {seconds:.1} s"))
            })?;
        }
        report.step(format!("{title}: nothing was dropped"), || {
            for agent in &agents {
                let mut drops = agent.drops()?;
                drops.retain(|row| row.packets > 0 && !NORMAL.contains(&row.reason.as_str()));
                ensure!(drops.is_empty(), "{}: {drops:?}", agent.node().name);
            }
            for (node, interface) in [(a, TUNNEL), (a, UNDERLAY), (b, UNDERLAY)] {
                let dropped = dropped(node, interface)?;
                ensure!(dropped == 0, "{dropped} packets to {interface} of {}", node.name);
            }
            Ok("neither by the programs nor by the devices".to_owned())
        })
    }

    /// Builds what the plan of the lab does not, and starts the agents.
    fn start(self, lab: &Lab) -> Result<Vec<Agent>> {
        lab.underlay.set("ipv6/conf/all/forwarding", "1")?;
        let (a, b) = (&lab.spokes[0], &lab.spokes[1]);
        // With a program at the other end a veth does not cut anything up.
        lab.underlay.command(&format!("ip link set dev {} xdpdrv off", a.name))?;
        for node in [a, b] {
            let Lan { host, .. } = lan(node)?;
            node.namespace.set("ipv6/conf/all/forwarding", "1")?;
            node.namespace.command(&format!("ip address add {}/64 dev lan0 nodad", site6(node, 1)))?;
            host.command(&format!("ip address add {}/64 dev eth0 nodad", site6(node, 16)))?;
            host.command(&format!("ip route add default via {}", site6(node, 1)))?;
            let gateway = underlay6(node, 0xfe);
            lab.underlay.command(&format!("ip address add {gateway}/64 dev {} nodad", node.name))?;
            let own = underlay6(node, 1);
            node.namespace.command(&format!("ip address add {own}/64 dev {UNDERLAY} nodad"))?;
            node.namespace.command(&format!("ip route add default via {gateway}"))?;
        }
        let mut agents = vec![Agent::start(a, &self.config(lab, a, b)?)?];
        if self.receiver == Receiver::Ours {
            agents.push(Agent::start(b, &self.config(lab, b, a)?)?);
        } else {
            self.make_gre(b, a)?;
        }
        let (from, to) = (lab.spoke_lan(0)?, lab.spoke_lan(1)?);
        // When a connection was made once, nobody waits for anything any more.
        traffic::transfer(&from.host, &to.host, self.host(to), 1, |_| {}).with_context(|| agents[0].log())?;
        Ok(agents)
    }

    /// A node of ours that has nobody to register with: it knows the other one.
    fn config(self, lab: &Lab, node: &Node, other: &Node) -> Result<Config> {
        let (address, nbma) = (self.address(other), self.nbma(other));
        Ok(Config {
            address: IpNet::new(self.address(node), if self.inner == 4 { 24 } else { 64 })?,
            source: self.nbma(node).to_string(),
            nhs: None,
            routes: vec![(self.site(other)?, address)],
            more: format!("maps: [{{address: '{address}', nbma: '{nbma}'}}]"),
            ..lab.config(node)
        })
    }

    /// The kernel's GRE on a node, to another one.
    fn make_gre(self, node: &Node, other: &Node) -> Result<()> {
        let kind = if self.outer == 4 { "gre" } else { "ip6gre encaplimit none" };
        let (own, its) = (self.nbma(node), self.nbma(other));
        let (address, via, site) = (self.address(node), self.address(other), self.site(other)?);
        let (length, flags) = if self.inner == 4 { (24, "") } else { (64, "nodad") };
        for line in [
            format!("ip link add kernel0 type {kind} local {own} remote {its} key {KEY} ttl 255"),
            format!("ip address add {address}/{length} dev kernel0 {flags}"),
            "ip link set kernel0 up".to_owned(),
            format!("ip route add {site} via {via} dev kernel0"),
        ] {
            node.namespace.command(&line)?;
        }
        Ok(())
    }

    /// What the sender sent, and what left the router, after their headers were looked at. At the
    /// sender none is longer than the wire takes, unless the device promised to cut it up; behind the router none is.
    fn frames(
        self,
        sender: &Node,
        device: &Device,
        near: &FrameWatcher,
        far: &FrameWatcher,
    ) -> Result<(Vec<Segment>, Vec<Segment>)> {
        let checksum =
            if device.features.contains("tx off") { Checksum::Complete } else { Checksum::LeftToTheDevice };
        let [near, far] = [("sender", near, checksum), ("router", far, Checksum::Complete)].map(
            |(place, watcher, checksum)| {
                let read =
                    |frame: &Vec<u8>| Segment::read(frame, self.nbma(sender), KEY, checksum).transpose();
                let segments = watcher.frames().iter().filter_map(read).collect::<Result<Vec<_>>>();
                segments.with_context(|| format!("a frame at the {place}"))
            },
        );
        let (near, far) = (near?, far?);
        let longest = |segments: &[Segment]| segments.iter().map(|segment| segment.frame).max().unwrap_or(0);
        let (sent, routed) = (longest(&near), longest(&far));
        ensure!((sent > FRAME) == device.takes_large, "a frame of {sent} bytes leaves the sender");
        ensure!(routed <= FRAME, "a frame of {routed} bytes leaves the router");
        Ok((near, far))
    }

    fn nbma(self, node: &Node) -> IpAddr {
        if self.outer == 4 { node.nbma.into() } else { underlay6(node, 1).into() }
    }

    /// A node's address in the tunnel.
    fn address(self, node: &Node) -> IpAddr {
        let last = node.address.octets()[3];
        if self.inner == 4 { node.address.into() } else { address6(0, 0, last.into()).into() }
    }

    /// The network behind a node.
    fn site(self, node: &Node) -> Result<IpNet> {
        Ok(if self.inner == 4 { lan(node)?.prefix.into() } else { Ipv6Net::new(site6(node, 0), 64)?.into() })
    }

    /// The host in a LAN.
    fn host(self, lan: &Lan) -> IpAddr {
        if self.inner == 4 {
            lan.address.into()
        } else {
            address6(1, lan.address.octets()[2].into(), 16).into()
        }
    }
}

fn address6(part: u16, network: u16, host: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, part, network, 0, 0, 0, host)
}

/// An address in the network behind a node.
fn site6(node: &Node, host: u16) -> Ipv6Addr {
    address6(1, node.nbma.octets()[2].into(), host)
}

/// An address on a node's wire.
fn underlay6(node: &Node, host: u16) -> Ipv6Addr {
    address6(2, node.nbma.octets()[2].into(), host)
}

fn lan(node: &Node) -> Result<&Lan> {
    node.lan.as_ref().with_context(|| format!("{} has no LAN", node.name))
}

/// Hands a buffer of datagrams to the kernel of a host; each has to arrive as it is.
fn send_datagrams(from: &Lan, to: &Lan, address: IpAddr) -> Result<()> {
    let receiver = to.host.run(|| UdpSocket::bind((address, 0)).context("a socket for datagrams"))?;
    receiver.set_read_timeout(Some(PATIENCE))?;
    let target = receiver.local_addr()?;
    let any = if target.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let sender = from.host.run(|| UdpSocket::bind(any).context("a socket for datagrams"))?;
    setsockopt(&sender, sockopt::UdpGsoSegment, &i32::try_from(SIZE)?).context("asking for datagrams")?;
    let buffer: Vec<u8> = (0..=250).cycle().take(DATAGRAMS * SIZE).collect();
    let sent = sender.send_to(&buffer, target).context("sending a buffer")?;
    ensure!(sent == buffer.len(), "{sent} bytes were sent");
    for (number, datagram) in buffer.chunks(SIZE).enumerate() {
        let mut bytes = [0; 2 * SIZE];
        let length = receiver.recv(&mut bytes).with_context(|| format!("datagram {number}"))?;
        ensure!(bytes[..length] == *datagram, "datagram {number} arrived with {length} bytes, or changed");
    }
    Ok(())
}

/// Packets that an interface was to send and did not.
fn dropped(node: &Node, interface: &str) -> Result<u64> {
    let text = node.namespace.command(&format!("ip -json -stats link show dev {interface}"))?;
    let link: Value = serde_json::from_str(&text)?;
    link[0]["stats64"]["tx"]["dropped"].as_u64().context("a count")
}
