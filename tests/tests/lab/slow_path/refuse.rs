//! What the slow path must not accept, each with its reason; and what is none of its business.

use std::{
    io::Read as _,
    net::{Ipv4Addr, SocketAddr},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use dmvpn_common::{DropReason, IPPROTO_GRE};
use dmvpn_tests::{
    agent::Agent,
    lab::{Lab, Plan},
    poll,
};
use socket2::{Domain, Protocol, Socket, Type};

use super::{
    Inbox, PATIENCE, numbered, outer,
    packet::{CHECKED, Gre, Ip, PLAIN},
    peer, to_hub,
};

/// Waits until so many packets were dropped for the reason.
fn wait_dropped(agent: &Agent, reason: DropReason, count: u64) -> Result<()> {
    poll::until_matches(reason.name(), PATIENCE, || agent.dropped(reason), |dropped| *dropped >= count)?;
    assert_eq!(agent.dropped(reason)?, count, "{}", reason.name());
    Ok(())
}

/// All drops of an agent.
fn all_dropped(agent: &Agent) -> Result<u64> {
    Ok(agent.drops()?.iter().map(|row| row.packets).sum())
}

#[test]
fn every_packet_that_is_not_delivered_has_a_reason() -> Result<()> {
    let lab = Lab::new(Plan { spokes: 1, ..Plan::default() })?;
    let (hub, _spokes) = lab.start_all()?;
    let spoke = &lab.spokes[0];
    let sender = to_hub(&lab)?;
    let inbox = Inbox::open(&lab.hub.namespace, lab.hub.address)?;
    let before = all_dropped(&hub)?;
    let inner = Ip::between(spoke.address, lab.hub.address);
    let good = inner.udp(&numbered(0, 100));
    let from_spoke = outer(&lab, spoke);
    let from = |source: [u8; 4]| Ip { source: source.into(), ..from_spoke };
    let options = |ip: Ip<'static>| Ip { options: &[1, 1, 1, 0], ..ip };
    let wrong = Gre { checksum: Some(false), ..CHECKED };
    let congested = |ip: Ip<'static>| Ip { tos: 0b11, ..ip };
    let mut reasons: Vec<(DropReason, u64)> = Vec::new();
    for (reason, packets) in [
        (
            DropReason::GreChecksum,
            [
                vec![from_spoke.gre(&wrong.around(&good)), options(from_spoke).gre(&wrong.around(&good))],
                from_spoke.fragments(20, &wrong.around(&inner.udp(&numbered(0, 900)))),
            ]
            .concat(),
        ),
        (
            DropReason::UnknownPeer,
            vec![
                from([198, 18, 9, 9]).gre(&CHECKED.around(&good)),
                // Nobody sends from these, whatever the GRE header is, and the kernel would not tell.
                from([0, 0, 0, 0]).gre(&CHECKED.around(&good)),
                from([0, 0, 0, 0]).gre(&PLAIN.around(&good)),
                options(from([0, 0, 0, 0])).gre(&PLAIN.around(&good)),
                from([0, 0, 0, 0]).gre(&Gre { protocol: 0x2001, ..PLAIN }.around(&good)),
                from([127, 0, 0, 1]).gre(&CHECKED.around(&good)),
                from([127, 0, 0, 1]).gre(&PLAIN.around(&good)),
                from([224, 0, 0, 5]).gre(&CHECKED.around(&good)),
                from([224, 0, 0, 5]).gre(&PLAIN.around(&good)),
                from([255, 255, 255, 255]).gre(&CHECKED.around(&good)),
                from([255, 255, 255, 255]).gre(&PLAIN.around(&good)),
            ],
        ),
        (
            DropReason::WrongKey,
            vec![
                from_spoke.gre(&Gre { key: Some(43), ..CHECKED }.around(&good)),
                from_spoke.gre(&Gre { key: None, ..CHECKED }.around(&good)),
                options(from_spoke).gre(&Gre { key: Some(43), ..PLAIN }.around(&good)),
            ],
        ),
        (
            DropReason::GreVersion,
            vec![options(from_spoke).gre(&[0x30, 0x81, 0x08, 0, 0, 0, 0, 42, 0, 0, 0, 1])],
        ),
        (DropReason::Truncated, vec![from_spoke.gre(&CHECKED.around(&good[..19]))]),
        (DropReason::InnerMalformed, vec![from_spoke.gre(&CHECKED.around(&good[..good.len() - 1]))]),
        (DropReason::GreProtocol, vec![from_spoke.gre(&Gre { protocol: 0x6558, ..CHECKED }.around(&good))]),
        (DropReason::Congestion, vec![congested(from_spoke).gre(&CHECKED.around(&good))]),
    ] {
        for packet in &packets {
            sender.send(packet)?;
        }
        // The fragments are one packet.
        let count = if reason == DropReason::GreChecksum { 3 } else { u64::try_from(packets.len())? };
        wait_dropped(&hub, reason, count).with_context(|| format!("{:#?}", hub.drops()))?;
        reasons.push((reason, count));
    }
    let total: u64 = reasons.iter().map(|(_, count)| count).sum();
    assert_eq!(all_dropped(&hub)? - before, total);
    assert_eq!(inbox.numbers().len(), 0);
    Ok(())
}

#[test]
fn nhrp_is_nhrp_with_or_without_a_checksum() -> Result<()> {
    let lab = Lab::new(Plan { spokes: 1, ..Plan::default() })?;
    let (hub, _spokes) = lab.start_all()?;
    let sender = to_hub(&lab)?;
    let plain = outer(&lab, &lab.spokes[0]);
    let with_options = Ip { options: &[1, 1, 1, 0], ..plain };
    let errors = || -> Result<u64> {
        Ok(hub.counters()?.iter().flat_map(|row| &row.errors).map(|error| error.count).sum())
    };
    let (before, drops) = (errors()?, hub.drops()?);
    for gre in [CHECKED, PLAIN, Gre { sequence: Some(1), ..PLAIN }] {
        let nonsense = Gre { protocol: 0x2001, ..gre }.around(&[0xee; 40]);
        for outer in [plain, with_options] {
            sender.send(&outer.gre(&nonsense))?;
        }
    }
    // Each of them is heard once.
    poll::until("six errors of NHRP", PATIENCE, || Ok((errors()? >= before + 6).then_some(())))?;
    assert_eq!((errors()?, hub.drops()?), (before + 6, drops));
    Ok(())
}

/// As in the programs: anyone who has an address.
#[test]
fn strangers_are_welcome_where_the_operator_says_so() -> Result<()> {
    let lab = Lab::new(Plan { spokes: 1, ..Plan::default() })?;
    let mut config = lab.config(&lab.hub);
    config.more = "accept: any".into();
    let hub = Agent::start(&lab.hub, &config)?;
    let sender = to_hub(&lab)?;
    let inbox = Inbox::open(&lab.hub.namespace, lab.hub.address)?;
    let spoke = &lab.spokes[0];
    let inner = Ip::between(spoke.address, lab.hub.address);
    // Private addresses are addresses like any other, where the underlay routes them.
    let sources = [[198, 18, 9, 9], [10, 99, 0, 1], [172, 16, 0, 1], [192, 168, 77, 1], [100, 64, 0, 1]];
    for (number, source) in (0..).zip(sources) {
        let from = Ip { source: source.into(), ..outer(&lab, spoke) };
        sender.send(&from.gre(&CHECKED.around(&inner.udp(&numbered(number, 10)))))?;
        sender.send(&from.gre(&PLAIN.around(&inner.udp(&numbered(number + 5, 10)))))?;
    }
    inbox.wait_for_all(10).with_context(|| format!("{:?} {}", hub.drops(), hub.log()))?;
    for source in [[0, 0, 0, 0], [224, 0, 0, 5], [127, 0, 0, 1], [255, 255, 255, 255]] {
        let from = Ip { source: source.into(), ..outer(&lab, spoke) };
        sender.send(&from.gre(&CHECKED.around(&inner.udp(&numbered(10, 10)))))?;
        sender.send(&from.gre(&PLAIN.around(&inner.udp(&numbered(10, 10)))))?;
    }
    wait_dropped(&hub, DropReason::UnknownPeer, 8)?;
    assert_eq!(inbox.numbers().len(), 0);
    Ok(())
}

#[test]
fn sources_are_checked_by_the_routing_table() -> Result<()> {
    let lab = Lab::new(Plan::default())?;
    let mut config = lab.config(&lab.hub);
    config.more = "check-source: true".into();
    let hub = Agent::start(&lab.hub, &config)?;
    let spokes = lab.spokes.iter().map(|spoke| lab.start(spoke)).collect::<Result<Vec<_>>>()?;
    for spoke in &spokes {
        spoke.wait_registered()?;
        hub.wait_cached(spoke.node())?;
    }
    let sender = to_hub(&lab)?;
    let inbox = Inbox::open(&lab.hub.namespace, lab.hub.address)?;
    let (a, b) = (&lab.spokes[0], &lab.spokes[1]);
    let send = |number, source| {
        let inner = Ip::between(source, lab.hub.address).udp(&numbered(number, 10));
        sender.send(&outer(&lab, a).gre(&CHECKED.around(&inner)))
    };
    for (number, source) in (0..).zip([a.address, lab.spoke_lan(0)?.address]) {
        send(number, source)?;
    }
    inbox.wait_for_all(2)?;
    for source in [b.address, lab.spoke_lan(1)?.address, Ipv4Addr::new(203, 0, 113, 9), lab.hub.nbma] {
        send(9, source)?;
    }
    wait_dropped(&hub, DropReason::Spoofed, 4)?;
    assert_eq!(inbox.numbers().len(), 0);
    Ok(())
}

#[test]
fn gre_of_others_is_left_alone() -> Result<()> {
    let lab = Lab::new(Plan { spokes: 1, ..Plan::default() })?;
    let (hub, _spokes) = lab.start_all()?;
    let other = Ipv4Addr::new(198, 18, 0, 77);
    lab.hub.namespace.command(&format!("ip address add {other}/24 dev underlay0"))?;
    let mut socket = lab.hub.namespace.run(|| {
        let protocol = Some(Protocol::from(i32::from(IPPROTO_GRE)));
        let socket = Socket::new(Domain::IPV4, Type::RAW, protocol).context("a raw socket")?;
        socket.bind(&SocketAddr::from((other, 0)).into()).context("binding it")?;
        socket.set_read_timeout(Some(PATIENCE)).context("a timeout")?;
        Ok(socket)
    })?;
    let before = hub.drops()?;
    let sender = to_hub(&lab)?;
    let spoke = &lab.spokes[0];
    let inner = Ip::between(spoke.address, lab.hub.address).udp(&numbered(0, 10));
    let to_other = Ip { destination: other, ..outer(&lab, spoke) };
    for gre in [CHECKED, Gre { key: Some(7), ..CHECKED }, Gre { checksum: Some(false), ..CHECKED }] {
        let packet = to_other.gre(&gre.around(&inner));
        sender.send(&packet)?;
        let mut buffer = [0; 2048];
        let length = socket.read(&mut buffer).context("the other program's packet")?;
        assert_eq!(buffer[20..length], packet[20..]);
    }
    assert_eq!(hub.drops()?, before);
    Ok(())
}

#[test]
fn a_flood_is_cut_to_the_rate_and_nhrp_goes_on() -> Result<()> {
    const RATE: u32 = 200;
    const FLOOD: u32 = 20_000;
    let lab = Lab::new(Plan::default())?;
    let mut config = lab.config(&lab.hub);
    config.more = format!("limits: {{slow-path-packets: {RATE}}}");
    let hub = Agent::start(&lab.hub, &config)?;
    let spoke = lab.start(&lab.spokes[0])?;
    spoke.wait_registered()?;
    hub.wait_cached(&lab.spokes[0])?;
    let sender = to_hub(&lab)?;
    let inner = Ip::between(lab.spokes[0].address, lab.hub.address).udp(&numbered(0, 10));
    let packet = outer(&lab, &lab.spokes[0]).gre(&CHECKED.around(&inner));
    let started = Instant::now();
    let mut second = None;
    for number in 0..FLOOD {
        sender.send(&packet)?;
        if number % 100 == 0 {
            // The wire has room for 256 frames.
            thread::sleep(Duration::from_millis(1));
        }
        // In the middle of it, another spoke comes.
        if number == FLOOD / 4 {
            second = Some(lab.start(&lab.spokes[1])?);
        }
    }
    let second = second.context("it was started")?;
    second.wait_registered()?;
    hub.wait_cached(&lab.spokes[1])?;
    // All of them are either received or dropped, and nothing else happened to them.
    let reason = DropReason::SlowPathRateLimit;
    let received = || peer(&hub, lab.spokes[0].nbma).map(|peer| peer.received_packets);
    poll::until("the end of the flood", PATIENCE, || {
        Ok((received()? + hub.dropped(reason)? >= u64::from(FLOOD)).then_some(()))
    })?;
    let (received, dropped) = (received()?, hub.dropped(reason)?);
    println!("{received} received, {dropped} dropped in {:?}", started.elapsed());
    assert_eq!(received + dropped, u64::from(FLOOD));
    let seconds = started.elapsed() + Duration::from_secs(1);
    assert!(received <= (seconds.as_secs() + 1) * u64::from(RATE), "{received} in {seconds:?}");
    assert!(received >= u64::from(RATE) / 10, "{received}");
    Ok(())
}
