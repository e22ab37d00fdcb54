//! Packets from an address that has not registered.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use anyhow::{Context as _, Result};
use dmvpn_common::{DropReason, IPPROTO_GRE};
use dmvpn_tests::{
    lab::{Lab, Node, Plan},
    poll,
};
use socket2::{Domain, Protocol, Socket, Type};

/// GRE with key 42 around an IPv4 packet: an empty UDP datagram from a LAN that does not exist.
const DATA: [u8; 36] = [
    // GRE: key present, version 0, IPv4; the key
    0x20, 0x00, 0x08, 0x00, 0, 0, 0, 42, //
    // IPv4: 28 bytes, TTL 64, UDP, header checksum
    0x45, 0x00, 0, 28, 0, 0, 0, 0, 64, 17, 0xef, 0x6d, //
    // 192.168.9.9 -> 192.168.1.10
    192, 168, 9, 9, 192, 168, 1, 10, //
    // UDP: ports 9 -> 9, 8 bytes, no checksum
    0, 9, 0, 9, 0, 8, 0, 0,
];

fn send_data(from: &Node, to: Ipv4Addr, count: u32) -> Result<()> {
    from.namespace.run(|| {
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(i32::from(IPPROTO_GRE))))
            .context("opening a raw socket")?;
        for _ in 0..count {
            socket.send_to(&DATA, &SocketAddr::from((to, 0)).into()).context("sending GRE")?;
        }
        Ok(())
    })
}

#[test]
fn data_is_dropped_and_counted_but_registration_passes() -> Result<()> {
    let lab = Lab::new(Plan { spokes: 1, ..Plan::default() })?;
    let hub = lab.start(&lab.hub)?;
    let stranger = &lab.spokes[0];

    send_data(stranger, lab.hub.nbma, 7)?;
    poll::until("seven counted drops", Duration::from_secs(5), || {
        Ok((hub.dropped(DropReason::UnknownPeer)? == 7).then_some(()))
    })?;

    let spoke = lab.start(stranger)?;
    spoke.wait_registered()?;
    hub.wait_cached(stranger)?;
    send_data(stranger, lab.hub.nbma, 3)?;
    poll::until_matches(
        "three packets of a peer",
        Duration::from_secs(5),
        || hub.peers(),
        |peers| peers.iter().any(|peer| peer.nbma == stranger.nbma && peer.received_packets >= 3),
    )?;
    assert_eq!(hub.dropped(DropReason::UnknownPeer)?, 7);
    Ok(())
}
