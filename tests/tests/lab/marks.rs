//! Type of service end to end: DSCP of outer headers, and congestion marks that a router of the underlay sets (RFC 6040).

use std::{
    io::ErrorKind,
    mem::MaybeUninit,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket},
    time::Duration,
};

use anyhow::{Context as _, Result};
use dmvpn_common::DropReason;
use dmvpn_tests::{
    agent::Agent,
    lab::{Lab, Node, Plan},
    namespace::Namespace,
    poll,
};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

const PATIENCE: Duration = Duration::from_secs(10);
const KEY: u32 = 42;
const GRE: u8 = 47;
const UDP: u8 = 17;

/// Congestion fields.
const NOT_CAPABLE: u8 = 0;
const CAPABLE_1: u8 = 1;
const CAPABLE_0: u8 = 2;
const CONGESTED: u8 = 3;

/// A socket that hears every frame of the namespace.
fn frames(namespace: &Namespace) -> Result<Socket> {
    namespace.run(|| {
        let all = Protocol::from(i32::from(u16::try_from(libc::ETH_P_ALL)?.to_be()));
        let socket = Socket::new(Domain::PACKET, Type::RAW, Some(all)).context("a packet socket")?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    })
}

/// Bytes of the next frame that is there.
fn next_frame(socket: &Socket) -> Result<Option<Vec<u8>>> {
    let mut buffer = [MaybeUninit::uninit(); 2048];
    match socket.recv(&mut buffer) {
        Ok(length) => {
            #[expect(unsafe_code, reason = "socket2 wants memory that need not be initialised")]
            // SAFETY: the kernel has written this many bytes.
            Ok(Some(buffer[..length].iter().map(|byte| unsafe { byte.assume_init() }).collect()))
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// One's complement of the sum of all words.
fn checksum(bytes: &[u8]) -> [u8; 2] {
    let mut sum: u32 =
        bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |b| u32::from(*b))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!u16::try_from(sum).unwrap_or(0)).to_be_bytes()
}

fn ipv4(tos: u8, protocol: u8, from: Ipv4Addr, to: Ipv4Addr, payload: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(20 + payload.len()).unwrap_or(0).to_be_bytes();
    let mut packet = vec![0x45, tos, high, low, 0, 0, 0, 0, 64, protocol, 0, 0];
    packet.extend(from.octets());
    packet.extend(to.octets());
    let sum = checksum(&packet);
    packet[10..12].copy_from_slice(&sum);
    packet.extend(payload);
    packet
}

/// A datagram in GRE, as it leaves the second spoke for the first.
fn encapsulated(lab: &Lab, to: SocketAddrV4, outer_tos: u8, inner_tos: u8, payload: u8) -> Result<Vec<u8>> {
    let [a, b] = &lab.spokes[..] else { unreachable!("the plan has two spokes") };
    // Without a checksum, which IPv4 allows.
    let mut datagram = vec![0x10, 0];
    datagram.extend(to.port().to_be_bytes());
    datagram.extend([0, 9, 0, 0, payload]);
    let inner = ipv4(inner_tos, UDP, lab.spoke_lan(1)?.address, *to.ip(), &datagram);
    let mut gre = vec![0x20, 0, 8, 0];
    gre.extend(KEY.to_be_bytes());
    gre.extend(inner);
    Ok(ipv4(outer_tos, GRE, b.nbma, a.nbma, &gre))
}

/// Both spokes know each other.
fn start(lab: &Lab) -> Result<(Agent, Vec<Agent>)> {
    let (hub, spokes) = lab.start_all()?;
    let streams = [lab.stream(0, 1, 100)?, lab.stream(1, 0, 100)?];
    spokes[0].wait_shortcut(lab.spoke_lan(1)?.prefix)?;
    spokes[1].wait_shortcut(lab.spoke_lan(0)?.prefix)?;
    for stream in streams {
        stream.finish()?;
    }
    Ok((hub, spokes))
}

/// Type of service of the next inner packet with this one byte in it that a host hears.
fn tos_of(host: &Socket, payload: u8) -> Result<Option<u8>> {
    while let Some(frame) = next_frame(host)? {
        let is_it = frame.len() > 42
            && frame[12..14] == [8, 0]
            && frame[23] == UDP
            && frame[42] == payload
            && frame[38..40] == [0, 9];
        if is_it {
            return Ok(Some(frame[15]));
        }
    }
    Ok(None)
}

#[test]
fn a_mark_of_the_underlay_reaches_the_host_or_the_packet_is_dropped() -> Result<()> {
    let lab = Lab::new(Plan { key: Some(KEY), ..Plan::default() })?;
    let (_hub, spokes) = start(&lab)?;
    let a = lab.spoke_lan(0)?;
    let receiver = a.host.run(|| UdpSocket::bind((a.address, 0)).context("a socket"))?;
    let SocketAddr::V4(to) = receiver.local_addr()? else { unreachable!("bound to an IPv4 address") };
    let host = frames(&a.host)?;
    let router = lab.underlay.run(|| {
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(i32::from(GRE))))?;
        socket.set_header_included_v4(true)?;
        Ok(socket)
    })?;
    let nbma = SocketAddr::from((lab.spokes[0].nbma, 0));
    let dscp = 0xb8;
    let before = spokes[0].dropped(DropReason::Congestion)?;
    let mut payload = 0;
    // Outer and inner field, and what arrives (RFC 6040, figure 4).
    for (outer, inner, expected) in [
        (NOT_CAPABLE, NOT_CAPABLE, Some(NOT_CAPABLE)),
        (CONGESTED, CAPABLE_0, Some(CONGESTED)),
        (CONGESTED, CAPABLE_1, Some(CONGESTED)),
        (CONGESTED, CONGESTED, Some(CONGESTED)),
        (CAPABLE_0, CAPABLE_0, Some(CAPABLE_0)),
        (CAPABLE_1, CAPABLE_0, Some(CAPABLE_1)),
        (NOT_CAPABLE, CAPABLE_0, Some(CAPABLE_0)),
        (CONGESTED, NOT_CAPABLE, None),
        (CAPABLE_0, NOT_CAPABLE, Some(NOT_CAPABLE)),
    ] {
        // The second time what was remembered is used.
        for way in ["long", "short"] {
            payload += 1;
            let dropped = spokes[0].dropped(DropReason::Congestion)?;
            // DSCP of the outer header is of no interest to the host.
            let packet = encapsulated(&lab, to, outer, dscp | inner, payload)?;
            router.send_to(&packet, &nbma.into())?;
            let what = format!("outer {outer}, inner {inner}, {way} way");
            match expected {
                Some(field) => {
                    let tos = poll::until(&what, PATIENCE, || tos_of(&host, payload))?;
                    assert_eq!(tos, dscp | field, "{what}");
                }
                None => poll::until(&what, PATIENCE, || {
                    Ok((spokes[0].dropped(DropReason::Congestion)? == dropped + 1).then_some(()))
                })?,
            }
        }
    }
    assert_eq!(spokes[0].dropped(DropReason::Congestion)?, before + 2);
    Ok(())
}

/// Outer type of service of a packet from the first LAN with this inner one.
fn outer_tos(lab: &Lab, node: &Node, tos: u8) -> Result<u8> {
    let router = frames(&lab.underlay)?;
    let (a, b) = (lab.spoke_lan(0)?, lab.spoke_lan(1)?);
    let sender = a.host.run(|| UdpSocket::bind((a.address, 0)).context("a socket"))?;
    SockRef::from(&sender).set_tos_v4(tos.into())?;
    sender.send_to(&[7; 333], (b.address, 9))?;
    // Outer header, GRE with key, inner header, UDP.
    let length = u16::try_from(333 + 20 + 8 + 20 + 8)?.to_be_bytes();
    poll::until("the packet on the underlay", PATIENCE, || {
        while let Some(frame) = next_frame(&router)? {
            if frame.len() > 34
                && frame[16..18] == length
                && frame[23] == GRE
                && frame[26..30] == node.nbma.octets()
            {
                return Ok(Some(frame[15]));
            }
        }
        Ok(None)
    })
}

#[test]
fn outer_headers_have_the_dscp_that_is_configured_and_the_congestion_field_of_the_packet() -> Result<()> {
    // The type of service within which Linux lets programs have their way: no congestion mark of their own.
    let wanted = [0, 0xb8, 0x20 | CAPABLE_0, 0x20 | CAPABLE_1];
    for (configured, expected) in [("inherit", wanted), ("10", wanted.map(|tos| 10 << 2 | tos & 3))] {
        let lab = Lab::new(Plan { phase: 1, ..Plan::default() })?;
        let _hub = lab.start(&lab.hub)?;
        let mut spokes = Vec::new();
        for node in &lab.spokes {
            let mut config = lab.config(node);
            config.more = format!("tos: {configured}\n");
            let spoke = Agent::start(node, &config)?;
            spoke.wait_registered()?;
            spokes.push(spoke);
        }
        for (inner, outer) in wanted.into_iter().zip(expected) {
            for _ in 0..2 {
                assert_eq!(outer_tos(&lab, &lab.spokes[0], inner)?, outer, "tos: {configured}, {inner:#x}");
            }
        }
    }
    Ok(())
}
