//! An underlay of IPv6: extension headers, fragments, checksums.

use std::{net::UdpSocket, os::fd::AsRawFd as _};

use anyhow::{Context as _, Result};
use dmvpn_common::DropReason;
use dmvpn_tests::{lab::Plan, poll};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg, setsockopt, sockopt};

use super::{
    Inbox, PATIENCE, numbered,
    packet::{CHECKED, DESTINATION_OPTIONS, Gre, HOP_BY_HOP, Ip, Ip6, PLAIN, PORT},
    to_hub,
};
use crate::ipv6_underlay::{lab, nbma, start_all};

#[test]
fn extension_headers_and_fragments_over_ipv6_arrive_once() -> Result<()> {
    let lab = lab(Plan { spokes: 1, ..Plan::default() })?;
    let (hub, _spokes) = start_all(&lab)?;
    let spoke = &lab.spokes[0];
    let sender = to_hub(&lab)?;
    let inbox = Inbox::open(&lab.hub.namespace, lab.hub.address)?;
    let inner = Ip::between(spoke.address, lab.hub.address);
    let outer = Ip6 { source: nbma(spoke), destination: nbma(&lab.hub), class: 0 };
    let received = || -> Result<u64> { Ok(hub.peers()?.iter().map(|peer| peer.received_packets).sum()) };
    let before = (received()?, hub.drops()?);
    let mut sent = 0;
    let mut next = |length| {
        sent += 1;
        inner.udp(&numbered(sent - 1, length))
    };
    for gre in [PLAIN, CHECKED, Gre { sequence: Some(1), ..PLAIN }] {
        sender.send(&outer.gre(&gre.around(&next(77))))?;
        for header in [HOP_BY_HOP, DESTINATION_OPTIONS] {
            sender.send(&outer.behind(header, &gre.around(&next(100))))?;
        }
        let id = gre.sequence.unwrap_or_default() + u32::from(gre.checksum.is_some()) * 2;
        for piece in outer.fragments(id, &gre.around(&next(1400))) {
            sender.send(&piece)?;
        }
    }
    inbox.wait_for_all(sent)?;
    assert_eq!((received()?, hub.drops()?), (before.0 + u64::from(sent), before.1));

    let refused = inner.udp(&numbered(sent, 9));
    let wrong = Gre { checksum: Some(false), ..CHECKED };
    let stranger = Ip6 { source: "2001:db8:9::9".parse()?, ..outer };
    let nobody = Ip6 { source: "::".parse()?, ..outer };
    let multicast = Ip6 { source: "ff02::5".parse()?, ..outer };
    for (reason, packets) in [
        (
            DropReason::GreChecksum,
            [wrong.around(&refused)].map(|gre| outer.behind(HOP_BY_HOP, &gre)).to_vec(),
        ),
        (
            DropReason::UnknownPeer,
            vec![
                stranger.gre(&CHECKED.around(&refused)),
                nobody.gre(&CHECKED.around(&refused)),
                nobody.gre(&PLAIN.around(&refused)),
                multicast.gre(&CHECKED.around(&refused)),
                multicast.gre(&PLAIN.around(&refused)),
            ],
        ),
    ] {
        for packet in &packets {
            sender.send(packet)?;
        }
        let count = u64::try_from(packets.len())?;
        poll::until_matches(reason.name(), PATIENCE, || hub.dropped(reason), |seen| *seen >= count)?;
        assert_eq!(hub.dropped(reason)?, count);
    }
    assert_eq!(inbox.numbers().len(), 0);
    Ok(())
}

/// RFC 6040, over both: the mark of the outer packet reaches the receiver, in fragments too.
#[test]
fn congestion_marks_reach_the_receiver() -> Result<()> {
    let lab = lab(Plan { spokes: 1, ..Plan::default() })?;
    let (hub, _spokes) = start_all(&lab)?;
    let spoke = &lab.spokes[0];
    let sender = to_hub(&lab)?;
    let socket = lab.hub.namespace.run(|| UdpSocket::bind((lab.hub.address, PORT)).context("a socket"))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    setsockopt(&socket, sockopt::IpRecvTos, &true)?;
    let received = || -> Result<u8> {
        let mut buffer = [0; 2048];
        let mut parts = [std::io::IoSliceMut::new(&mut buffer)];
        let mut space = nix::cmsg_space!(u8);
        let message =
            recvmsg::<SockaddrIn>(socket.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::empty())?;
        let tos = message.cmsgs()?.find_map(|part| match part {
            ControlMessageOwned::Ipv4Tos(tos) => Some(tos),
            _ => None,
        });
        tos.context("no type of service")
    };
    let (not_capable, capable, congested) = (0xb8, 0xba, 0xbb);
    let inner = |tos| Ip { tos, ..Ip::between(spoke.address, lab.hub.address) }.udp(&numbered(0, 1000));
    let outer = |class| Ip6 { source: nbma(spoke), destination: nbma(&lab.hub), class };
    for (id, class, inner_tos, expected) in [
        (1, capable, capable, capable),
        (2, congested, capable, congested),
        (3, capable, not_capable, not_capable),
        (4, congested, congested, congested),
    ] {
        let gre = CHECKED.around(&inner(inner_tos));
        sender.send(&outer(class).gre(&gre))?;
        assert_eq!(received()?, expected, "{id}");
        for piece in outer(class).fragments(id, &gre) {
            sender.send(&piece)?;
        }
        assert_eq!(received()?, expected, "{id} in fragments");
    }
    sender.send(&outer(congested).gre(&CHECKED.around(&inner(not_capable))))?;
    poll::until("a drop", PATIENCE, || Ok((hub.dropped(DropReason::Congestion)? == 1).then_some(())))
}
