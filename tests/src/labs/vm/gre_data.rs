//! Packets between our data path and the kernel's GRE: bulk, through a narrow place, and multicast.

use std::{
    io::{ErrorKind, Read as _},
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use socket2::{Domain, Protocol, Socket, Type};

use super::{
    super::{Entry, Report, Stage},
    cloud::{Cloud, Extra, Kind, PATIENCE, Peer, plan},
};
use crate::{
    lab::{self, Node},
    namespace::Namespace,
    poll,
    traffic::transfer,
};

/// Bytes of a TCP transfer.
const BULK: u64 = 4 << 20;
/// What the underlay's router lets through to the spokes, and what is left of it: less the outer header with a key.
const NARROW: u32 = 1400;
const INNER: u32 = NARROW - 28;
/// Where OSPF speaks, and a protocol number for experiments (RFC 3692), so that no program looks for more in what is sent.
/// Nor is it UDP: what the kernel reports to FRR, which copies it, has no checksum yet, so FRR's copies of UDP packets
/// have a wrong one, and nobody takes them.
const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 5);
const PROTOCOL: i32 = 253;

pub(super) const LAB: Entry = Entry {
    name: "vm-gre-data",
    what: "our data path and the kernel's GRE: TCP both ways, a narrow underlay, multicast, with either as hub",
    needs_vm: false,
    build: |_name, _report| Ok(Box::new(GreData)),
};

struct GreData;

impl Stage for GreData {
    fn play(&mut self, report: &mut Report) -> Result<()> {
        for (title, hub) in [("our hub", Kind::Ours), ("FRR's hub", Kind::Frr)] {
            let extra = Extra { multicast: true, ..Extra::default() };
            let cloud = Cloud::start(report, title, &plan(), hub, &[Kind::Ours, Kind::Frr], &extra)?;
            let hub = &cloud.lab.hub.namespace;
            let (a, b) = (cloud.lab.spoke_lan(0)?, cloud.lab.spoke_lan(1)?);
            for lan in [a, b] {
                report.step(format!("{title}: TCP from the hub to {}", lan.name), || {
                    bulk(hub, &lan.host, lan.address)
                })?;
            }
            multicast(report, title, &cloud)?;
            cloud.shortcut(report, title, 0, 1)?;
            for (from, to) in [(a, b), (b, a)] {
                report.step(format!("{title}: TCP from {} to {}", from.name, to.name), || {
                    bulk(&from.host, &to.host, to.address)
                })?;
            }
            narrow(&cloud)?;
            for (from, to) in [(a, b), (b, a)] {
                let what = format!("{title}: TCP from {} to {} through a narrow place", from.name, to.name);
                report.step(what, || bulk(&from.host, &to.host, to.address))?;
            }
            report.step(format!("{title}: our spoke has learnt how narrow it is"), || {
                let Peer::Ours(agent) = &cloud.spokes[0] else { bail!("the spoke is ours") };
                let peers = agent.peers()?;
                let peer = peers.iter().find(|peer| peer.nbma == cloud.lab.spokes[1].nbma);
                let mtu = peer.context("no such peer")?.mtu;
                ensure!(mtu == INNER, "{mtu} instead of {INNER}");
                Ok(format!("{mtu} bytes"))
            })?;
        }
        Ok(())
    }

    fn keep(self: Box<Self>) -> String {
        String::new()
    }
}

fn bulk(from: &Namespace, to: &Namespace, address: Ipv4Addr) -> Result<String> {
    let transfer = transfer(from, to, address, BULK, |_| {})?;
    Ok(format!("{BULK} bytes in {:.1} s, unchanged", transfer.time.as_secs_f64()))
}

/// Makes the ways from the underlay's router to the spokes narrower.
fn narrow(cloud: &Cloud) -> Result<()> {
    for spoke in &cloud.lab.spokes {
        let gateway = lab::gateway_of(spoke.nbma);
        let [a, b, c, _] = spoke.nbma.octets();
        let network = Ipv4Addr::new(a, b, c, 0);
        let line = format!("ip route change {network}/24 dev {} src {gateway} mtu lock {NARROW}", spoke.name);
        cloud.lab.underlay.command(&line)?;
    }
    Ok(())
}

/// The hub speaks to a group, then each spoke does: the hub is heard by all spokes, each spoke by the hub.
fn multicast(report: &mut Report, title: &str, cloud: &Cloud) -> Result<()> {
    let hub = join(&cloud.lab.hub)?;
    for spoke in &cloud.lab.spokes {
        let member = join(spoke)?;
        report.step(format!("{title}: multicast from the hub to {}", spoke.name), || {
            hears(&hub, &member, cloud.lab.hub.address)
        })?;
        report.step(format!("{title}: multicast from {} to the hub", spoke.name), || {
            hears(&member, &hub, spoke.address)
        })?;
    }
    Ok(())
}

/// A socket in the group, on the tunnel interface.
fn join(node: &Node) -> Result<Socket> {
    let open = || {
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(PROTOCOL)))?;
        socket.join_multicast_v4(&GROUP, &node.address)?;
        socket.set_multicast_if_v4(&node.address)?;
        // What comes back would look like what was heard.
        socket.set_multicast_loop_v4(false)?;
        socket.set_read_timeout(Some(Duration::from_millis(200)))?;
        Ok(socket)
    };
    node.namespace.run(open).with_context(|| format!("a socket on {}", node.name))
}

/// Speaks until the other one hears it, and looks for a second copy of anything.
fn hears(speaker: &Socket, listener: &Socket, from: Ipv4Addr) -> Result<String> {
    let mut sent = 0_u32;
    let mut heard = Vec::new();
    poll::until("a packet to the group", PATIENCE, || {
        sent += 1;
        match speaker.send_to(&sent.to_be_bytes(), &SocketAddr::from((GROUP, 0)).into()) {
            // FRR's firewall rule has told nhrpd, which copies the packet; the kernel is not to send it, too.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {}
            result => result.map(drop).context("sending to the group")?,
        }
        drain(listener, from, &mut heard)?;
        Ok((heard.len() >= 3).then_some(()))
    })?;
    drain(listener, from, &mut heard)?;
    let all = heard.len();
    heard.sort_unstable();
    heard.dedup();
    ensure!(heard.len() == all, "{} of {all} packets arrived twice", all - heard.len());
    Ok(format!("{all} of {sent} packets, none twice"))
}

/// Takes what a node has heard from `from`, until nothing comes for a while.
fn drain(mut listener: &Socket, from: Ipv4Addr, heard: &mut Vec<u32>) -> Result<()> {
    let mut packet = [0; 1500];
    loop {
        match listener.read(&mut packet) {
            // With its IP header, of 20 bytes.
            Ok(24) if packet[12..16] == from.octets() => {
                heard.push(u32::from_be_bytes([packet[20], packet[21], packet[22], packet[23]]));
            }
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return Ok(());
            }
            Err(error) => return Err(error).context("listening to the group"),
        }
    }
}
