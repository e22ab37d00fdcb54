//! A narrow place on the underlay: a router that lets only smaller packets through to one spoke, and says so.

use std::{
    net::{Ipv4Addr, UdpSocket},
    time::Duration,
};

use anyhow::{Context as _, Result};
use dmvpn_tests::{
    agent::Agent,
    lab::{Lab, Plan},
    namespace::Namespace,
    poll,
    traffic::transfer,
};

const PATIENCE: Duration = Duration::from_secs(15);
/// What the router lets through to the second spoke, and what is left of it: less the outer header with a key.
const NARROW: u32 = 1400;
const INNER: u32 = NARROW - 28;

/// A lab in Phase 1, so that the hub sends to the second spoke, all the time.
fn lab() -> Result<(Lab, Agent, Vec<Agent>)> {
    let lab = Lab::new(Plan { phase: 1, ..Plan::default() })?;
    let (hub, spokes) = lab.start_all()?;
    let narrow = format!("ip route change 198.18.2.0/24 dev spoke-b src 198.18.2.254 mtu lock {NARROW}");
    lab.underlay.command(&narrow)?;
    Ok((lab, hub, spokes))
}

/// What the hub knows of the second spoke.
fn known(hub: &Agent, lab: &Lab) -> Result<Option<u32>> {
    let wanted = lab.spokes[1].nbma;
    Ok(hub.peers()?.into_iter().find(|peer| peer.nbma == wanted).map(|peer| peer.mtu))
}

/// Sends datagrams that must not be cut until the sender knows how large they may be.
fn teach(from: &Namespace, to: Ipv4Addr) -> Result<()> {
    let socket = from.run(|| UdpSocket::bind(("0.0.0.0", 0)).context("a socket"))?;
    let route = format!("ip route get {to}");
    let mtu = format!("mtu {INNER}");
    poll::until(&format!("the path MTU in {}", from.name()), PATIENCE, || {
        // Cut by the sender itself, once it knows.
        socket.send_to(&[0; 1400], (to, 9))?;
        Ok(from.command(&route)?.contains(&mtu).then_some(()))
    })
}

#[test]
fn the_sender_learns_the_path_mtu() -> Result<()> {
    let (lab, hub, _spokes) = lab()?;
    assert_eq!(known(&hub, &lab)?, Some(1472));
    let (a, b) = (lab.spoke_lan(0)?, lab.spoke_lan(1)?);
    teach(&a.host, b.address)?;
    assert_eq!(known(&hub, &lab)?, Some(INNER));
    // Only the way to that spoke is narrow.
    let other = hub.peers()?.into_iter().find(|peer| peer.nbma == lab.spokes[0].nbma);
    assert_eq!(other.map(|peer| peer.mtu), Some(1472));
    // And a program of the hub itself.
    teach(&lab.hub.namespace, b.address)
}

#[test]
fn tcp_gets_through_a_narrow_place() -> Result<()> {
    let (lab, hub, _spokes) = lab()?;
    let (a, b) = (lab.spoke_lan(0)?, lab.spoke_lan(1)?);
    transfer(&a.host, &b.host, b.address, 8 << 20, |_| ())?;
    assert_eq!(known(&hub, &lab)?, Some(INNER));
    transfer(&lab.hub.namespace, &b.host, b.address, 8 << 20, |_| ())?;
    transfer(&b.host, &a.host, a.address, 8 << 20, |_| ())?;
    Ok(())
}

/// Datagrams that may be cut arrive whole, whatever their size.
#[test]
fn datagrams_of_every_size_get_through_in_pieces() -> Result<()> {
    let (lab, hub, _spokes) = lab()?;
    let (a, b) = (lab.spoke_lan(0)?, lab.spoke_lan(1)?);
    teach(&a.host, b.address)?;
    assert_eq!(known(&hub, &lab)?, Some(INNER));
    let receiver = b.host.run(|| UdpSocket::bind((b.address, 0)).context("a socket"))?;
    receiver.set_read_timeout(Some(PATIENCE))?;
    let to = receiver.local_addr()?;
    for sender in [&a.host, &lab.hub.namespace] {
        // Packets of this host may be cut from now on, and what it has learnt counts no more.
        sender.set("ipv4/ip_no_pmtu_disc", "1")?;
        sender.command("ip route flush cache")?;
        let socket = sender.run(|| UdpSocket::bind(("0.0.0.0", 0)).context("a socket"))?;
        let narrow = INNER as usize - 28;
        let around =
            (narrow - 8..=narrow + 16).chain(1472 - 32..=1472).chain([1473, 2000, 4000, 8000, 20_000]);
        for size in (0..narrow).step_by(97).chain(around) {
            let sent: Vec<u8> = (0..=250).cycle().skip(size % 13).take(size).collect();
            socket.send_to(&sent, to)?;
            let mut buffer = vec![0; 1 << 16];
            let length = receiver.recv(&mut buffer).with_context(|| format!("{size} bytes"))?;
            assert!(buffer[..length] == sent, "{size} bytes arrived as {length}, or changed");
        }
    }
    Ok(())
}
