//! What TCP connections through the tunnel announce as their largest segment.

use std::{
    net::{TcpListener, TcpStream},
    time::Duration,
};

use anyhow::{Context as _, Result};
use dmvpn_tests::{
    agent::Agent,
    lab::{Lab, Lan, Plan},
    poll,
};
use nix::sys::socket::{getsockopt, sockopt};

const PATIENCE: Duration = Duration::from_secs(15);
/// What TCP takes for itself of each segment: its timestamps.
const TIMESTAMPS: u32 = 12;
/// What hosts with an MTU of 1500 announce.
const ETHERNET: u32 = 1460;
/// MTU of the tunnel, less the headers of IPv4 and TCP.
const FITS: u32 = 1472 - 40;

/// A lab whose agents have these keys in their configuration.
fn lab(phase: u8, more: &str) -> Result<(Lab, Agent, Vec<Agent>)> {
    let lab = Lab::new(Plan { phase, ..Plan::default() })?;
    let start =
        |node| Agent::start(node, &dmvpn_tests::config::Config { more: more.to_owned(), ..lab.config(node) });
    let hub = start(&lab.hub)?;
    let spokes = lab.spokes.iter().map(start).collect::<Result<Vec<_>>>()?;
    for spoke in &spokes {
        spoke.wait_registered()?;
    }
    Ok((lab, hub, spokes))
}

/// The largest segments that both ends of a connection from one LAN to another send, timestamps counted.
fn segments(from: &Lan, to: &Lan) -> Result<[u32; 2]> {
    let listener = to.host.run(|| TcpListener::bind((to.address, 0)).context("listening"))?;
    let address = listener.local_addr()?;
    let stream = from.host.run(|| TcpStream::connect_timeout(&address, PATIENCE).context("connecting"))?;
    let (accepted, _) = listener.accept()?;
    let largest = |stream| anyhow::Ok(getsockopt(stream, sockopt::TcpMaxSeg)? + TIMESTAMPS);
    Ok([largest(&stream)?, largest(&accepted)?])
}

#[test]
fn connections_fit_the_tunnel_from_their_first_packet_on() -> Result<()> {
    for phase in [1, 3] {
        let (lab, ..) = lab(phase, "")?;
        let (a, b) = (lab.spoke_lan(0)?, lab.spoke_lan(1)?);
        assert_eq!(segments(a, b)?, [FITS; 2], "phase {phase}");
        assert_eq!(segments(b, a)?, [FITS; 2], "phase {phase}");
    }
    Ok(())
}

#[test]
fn segments_are_as_small_as_the_operator_wants_them() -> Result<()> {
    let (lab, ..) = lab(3, "mss-clamp: 1200")?;
    assert_eq!(segments(lab.spoke_lan(0)?, lab.spoke_lan(1)?)?, [1200; 2]);
    Ok(())
}

#[test]
fn segments_are_left_alone_where_the_operator_wants_it() -> Result<()> {
    let (lab, ..) = lab(3, "mss-clamp: off")?;
    assert_eq!(segments(lab.spoke_lan(0)?, lab.spoke_lan(1)?)?, [ETHERNET; 2]);
    Ok(())
}

/// The hub knows of a narrow place on the way to one spoke. Nobody else does.
#[test]
fn connections_fit_a_narrow_place_that_is_known() -> Result<()> {
    const NARROW: u32 = 1400;
    let (lab, hub, _spokes) = lab(1, "")?;
    let (a, b) = (lab.spoke_lan(0)?, lab.spoke_lan(1)?);
    lab.hub.namespace.command(&format!("ip route add 198.18.2.0/24 via 198.18.0.254 mtu lock {NARROW}"))?;
    poll::until("the MTU of the second spoke", PATIENCE, || {
        let known = hub.peers()?.into_iter().find(|peer| peer.nbma == lab.spokes[1].nbma);
        Ok(known.filter(|peer| peer.mtu == NARROW - 28).map(|_| ()))
    })?;
    assert_eq!(segments(a, b)?, [NARROW - 28 - 40; 2]);
    Ok(())
}
