//! How long it takes from the first packet to the direct path.
//!
//! A host behind one spoke sends to hosts behind another, a new network each time. The first packets go by the hub, which
//! tells the spoke; the spoke asks, hears, and sends directly. A packet's time to live on arrival says which way it came:
//! the hub costs one more hop.

use std::{
    io::{ErrorKind, Read as _},
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use ipnet::Ipv4Net;
use socket2::{Domain, Protocol, Socket, Type};

use crate::{
    agent::Agent,
    bench::statistics::Sample,
    lab::{Lab, Plan},
};

/// Between two packets of a flow.
const INTERVAL: Duration = Duration::from_micros(200);
/// Between two shortcuts: neither agents nor programs may take the hub's messages for a flood (`packets-per-source`).
const PAUSE: Duration = Duration::from_millis(25);
/// Longest wait for a direct path.
const PATIENCE: Duration = Duration::from_secs(10);
/// Time to live of a packet that the sender's router and the receiver's router have forwarded, nobody else.
const DIRECT_TTL: u8 = 62;
const PORT: u16 = 9;
/// Bytes of an IPv4 header without options.
const IP_LENGTH: usize = 20;
/// Most networks: the third byte of their addresses tells them apart.
const MOST: u8 = 250;

/// Makes `count` shortcuts, one after the other; milliseconds from the first packet to the first that arrives directly.
pub(super) fn times(count: u8) -> Result<Sample> {
    ensure!(count <= MOST, "at most {MOST} shortcuts");
    let lab = Lab::new(Plan { holding_time: 600, registration_interval: 200, ..Plan::default() })?;
    let networks = Ipv4Net::new_assert(Ipv4Addr::new(10, 100, 0, 0), 16).into();
    let start = |number: Option<usize>| -> Result<Agent> {
        let node = number.map_or(&lab.hub, |number| &lab.spokes[number]);
        let mut config = lab.config(node);
        config.log = "warn";
        match number {
            None => config.routes.push((networks, lab.spokes[1].address.into())),
            Some(0) => config.routes.push((networks, lab.hub.address.into())),
            Some(_) => {}
        }
        Agent::start(node, &config)
    };
    let hub = start(None)?;
    let spokes = [start(Some(0))?, start(Some(1))?];
    for spoke in &spokes {
        spoke.wait_registered()?;
        hub.wait_cached(spoke.node())?;
    }

    let (from, to) = (lab.spoke_lan(0)?, lab.spoke_lan(1)?);
    for number in 0..count {
        lab.spokes[1].namespace.command(&format!("ip address add 10.100.{number}.1/24 dev lan0"))?;
        to.host.command(&format!("ip address add 10.100.{number}.10/24 dev eth0"))?;
    }
    let (receiver, _open) = to.host.run(|| {
        let receiver =
            Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::UDP)).context("opening a raw socket")?;
        receiver.set_nonblocking(true).context("preparing to look")?;
        // The port is open, so that nobody answers that it is not.
        Ok((receiver, UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PORT)).context("opening the port")?))
    })?;
    let sender = from
        .host
        .run(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).context("opening the sender's socket"))?;
    let times = (0..count)
        .map(|number| {
            thread::sleep(PAUSE);
            time_of(&sender, &receiver, Ipv4Addr::new(10, 100, number, 10))
        })
        .collect::<Result<Vec<_>>>()?;
    let shortcuts = spokes[0].shortcuts()?.len();
    ensure!(shortcuts >= usize::from(count), "{count} direct paths, but {shortcuts} shortcuts");
    Sample::new(times)
}

/// Sends to `address` until a packet arrives directly; milliseconds since the first was sent.
fn time_of(sender: &UdpSocket, mut receiver: &Socket, address: Ipv4Addr) -> Result<f64> {
    let mut buffer = [0; 256];
    let start = Instant::now();
    let mut due = start;
    let mut by_hub = 0_u32;
    loop {
        let now = Instant::now();
        if now >= due {
            sender.send_to(&[0; 64], SocketAddr::from((address, PORT))).context("sending")?;
            due = now + INTERVAL;
        }
        match receiver.read(&mut buffer) {
            Ok(length) if length >= IP_LENGTH && buffer[16..IP_LENGTH] == address.octets() => {
                if buffer[8] == DIRECT_TTL {
                    ensure!(by_hub > 0, "a packet to {address} was direct from the start");
                    return Ok(start.elapsed().as_secs_f64() * 1e3);
                }
                by_hub += 1;
            }
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::yield_now(),
            Err(error) => return Err(error).context("receiving"),
        }
        if start.elapsed() > PATIENCE {
            bail!("no direct path to {address} within {PATIENCE:?}; {by_hub} packets arrived by the hub");
        }
    }
}
