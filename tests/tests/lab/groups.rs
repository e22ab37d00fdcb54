//! Groups: how much the hub sends to a spoke.

use std::{
    net::UdpSocket,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use dmvpn_tests::{
    agent::Agent,
    config::Config,
    lab::{Lab, Plan},
    poll,
};
use nix::sys::socket::{setsockopt, sockopt};

/// Bits a second of inner packets that each spoke may get.
const RATE: u64 = 8_000_000;
/// Bytes at once: more than comes in while a busy machine lets the sender wait.
const BURST: u64 = 200_000;
/// Longest wait for the last packet.
const PATIENCE: Duration = Duration::from_secs(10);
/// Receive buffer in bytes: room for everything.
const BUFFER: usize = 16 << 20;
/// Bytes of an inner packet: IPv4, UDP and what is in it.
const PACKET: usize = 1000;

#[test]
fn each_member_gets_its_rate_and_no_more() -> Result<()> {
    let lab = Lab::new(Plan { phase: 1, ..Plan::default() })?;
    let more = format!(
        "groups:\n  - {{name: small, rate: {RATE}bit, burst: {BURST}, members: [{}/32, {}/32]}}",
        lab.spokes[0].address, lab.spokes[1].address
    );
    let hub = Agent::start(&lab.hub, &Config { more, ..lab.config(&lab.hub) })?;
    let spokes = lab.spokes.iter().map(|spoke| lab.start(spoke)).collect::<Result<Vec<_>>>()?;
    for spoke in &spokes {
        spoke.wait_registered()?;
        hub.wait_cached(spoke.node())?;
    }
    let (a, b) = (lab.spoke_lan(0)?, lab.spoke_lan(1)?);
    let sink = b.host.run(|| UdpSocket::bind((b.address, 0)).context("a socket"))?;
    setsockopt(&sink, sockopt::RcvBufForce, &BUFFER)?;
    sink.set_nonblocking(true)?;
    let to = sink.local_addr()?;
    let sender = a.host.run(|| UdpSocket::bind((a.address, 0)).context("a socket"))?;

    // Twice as much, for two seconds; taken out at once, so that no buffer is the limit.
    let (content, mut buffer) = ([0; PACKET - 28], [0; PACKET]);
    let start = Instant::now();
    let (mut sent, mut received) = (0_u64, 0_u64);
    let budget = |elapsed: Duration| elapsed.as_micros() * u128::from(2 * RATE / 8) / 1_000_000;
    while start.elapsed() < Duration::from_secs(2) {
        while u128::from(sent) * (PACKET as u128) < budget(start.elapsed()) {
            sender.send_to(&content, to)?;
            sent += 1;
        }
        while sink.recv(&mut buffer).is_ok() {
            received += 1;
        }
        thread::sleep(Duration::from_millis(1));
    }
    let elapsed = start.elapsed();
    let shown = poll::until("everything to be in the books, and what passed to arrive", PATIENCE, || {
        while sink.recv(&mut buffer).is_ok() {
            received += 1;
        }
        let groups = hub.groups()?;
        let [shown] = groups.as_slice() else { bail!("one group: {groups:?}") };
        let all = shown.passed_packets + shown.policed_packets == sent && received == shown.passed_packets;
        Ok(all.then(|| shown.clone()))
    })?;
    println!("{sent} sent, {received} received in {elapsed:?}; {shown:?}");
    assert_eq!((shown.name.as_str(), shown.peers), ("small", 2));
    assert_eq!(shown.passed_packets + shown.policed_packets, sent, "everything is in the books");
    assert_eq!(shown.passed_bytes + shown.policed_bytes, sent * PACKET as u64);
    assert_eq!(received, shown.passed_packets, "what passed arrived");
    let expected = elapsed.as_millis() * u128::from(RATE) / 8000 + u128::from(BURST);
    let got = u128::from(received) * PACKET as u128;
    assert!((expected * 9..=expected * 11).contains(&(got * 10)), "{got} bytes, not {expected}");

    // What the other member gets is its own, and a bucket is full.
    let sink = a.host.run(|| UdpSocket::bind((a.address, 0)).context("a socket"))?;
    setsockopt(&sink, sockopt::RcvBufForce, &BUFFER)?;
    sink.set_nonblocking(true)?;
    let sender = b.host.run(|| UdpSocket::bind((b.address, 0)).context("a socket"))?;
    let more = BURST / PACKET as u64;
    for _ in 0..more {
        sender.send_to(&content, sink.local_addr()?)?;
    }
    let mut arrived = 0;
    poll::until("a burst to the other member", PATIENCE, || {
        while sink.recv(&mut buffer).is_ok() {
            arrived += 1;
        }
        Ok((arrived == more).then_some(()))
    })
    .with_context(|| format!("{arrived} of {more} arrived"))
}
