//! What every routing lab shows, in order.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use ipnet::IpNet;

use super::{
    network::{Member, Network},
    software::Sessions,
};
use crate::{labs::Report, poll, traffic::Stream};

/// Longest time until a routing protocol has done what it is to do, at the start or after a loss. The slowest are RIP,
/// which gives a router up after 15 s in these configurations, and OSPF, which elects only after its dead interval.
const CONVERGE: Duration = Duration::from_secs(45);
/// Longest time until a shortcut is taken back: well below the time until it would not be renewed.
const PURGED: Duration = Duration::from_secs(4);
/// Pings that are sent to see who carries them.
const PINGS: u16 = 100;
/// Packets of their own (greetings, answers) that hubs may send meanwhile.
const CHATTER: u64 = 50;
/// Packets a second of the stream that must not lose any.
const RATE: u32 = 500;

/// Goes through all of it.
pub(super) fn play(network: &mut Network, report: &mut Report) -> Result<()> {
    sessions(network, report)?;
    routes(network, report)?;
    let stream = (!network.spec.ipv6).then(|| network.lab.stream(0, 1, RATE)).transpose()?;
    reach(network, report)?;
    direct(network, report, stream)?;
    (network.spec.also)(network, report)?;
    lose_lan(network, report)?;
    lose_hub(network, report)?;
    lose_spoke(network, report)
}

fn sessions(network: &Network, report: &mut Report) -> Result<()> {
    let kind = network.spec.sessions;
    if kind == Sessions::None {
        return Ok(());
    }
    let state = if kind == Sessions::Bgp { "Established" } else { "Full" };
    report.step(format!("all sessions are {state}"), || {
        let mut words = Vec::new();
        for member in network.members() {
            let is_hub = member.node.lan.is_none();
            let wanted = if is_hub { network.spec.sessions_of_hub } else { network.hubs.len() };
            let what = format!("{wanted} sessions of {} to be {state}", member.node.name);
            poll::until_matches(&what, CONVERGE, || member.daemons.sessions(kind), |&count| count == wanted)
                .with_context(|| member.daemons.logs())?;
            words.push(format!("{} {wanted}", member.node.name));
        }
        Ok(words.join(", "))
    })
}

/// Routes to the LANs, on spokes as the phase wants them: Phase 2 by the spoke that has the LAN, Phase 3 by a hub.
fn routes(network: &Network, report: &mut Report) -> Result<()> {
    let by = if network.spec.phase == 2 { "the spoke that has it" } else { "a hub" };
    let name = format!("each spoke has routes to the others' LANs, by {by}");
    report.step(name, || {
        // The hubs carry the first packets, so they have to know the way, too.
        for hub in &network.hubs {
            for to in 0..network.spokes.len() {
                wait_hub_route(network, hub, to)?;
            }
        }
        let mut count = 0;
        for (from, to) in [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)] {
            if network.spec.summary {
                wait_summary(network, from)?;
            } else {
                wait_route(network, from, to)?;
            }
            count += 1;
        }
        Ok(format!("{count} routes"))
    })
}

/// Waits until a spoke has a route to the LAN of another with the next hops that it should have.
fn wait_route(network: &Network, from: usize, to: usize) -> Result<()> {
    let hubs: Vec<_> = network.hubs.iter().map(|hub| network.address(&hub.node)).collect();
    let spoke = network.address(&network.spokes[to].node);
    let is_right = |gateway: &IpAddr| match network.spec.phase {
        2 => *gateway == spoke || is_link_local_of(*gateway, spoke),
        _ => hubs.iter().any(|hub| gateway == hub || is_link_local_of(*gateway, *hub)),
    };
    let what = format!("a route of {} to the LAN of {}", name_of(network, from), name_of(network, to));
    poll::until_matches(
        &what,
        CONVERGE,
        || network.next_hops(&network.spokes[from].node, to),
        |hops| {
            // A shortcut may be there already; it is looked at later.
            let mut routed = hops.iter().filter(|hop| hop.protocol != "54").peekable();
            routed.peek().is_some() && routed.all(|hop| is_right(&hop.gateway))
        },
    )
    .map(drop)
    .with_context(|| network.spokes[from].daemons.logs())
}

/// Waits until a hub has a route to the LAN of a spoke, by that spoke.
fn wait_hub_route(network: &Network, hub: &Member, to: usize) -> Result<()> {
    let spoke = network.address(&network.spokes[to].node);
    let what = format!("a route of {} to the LAN of {}", hub.node.name, name_of(network, to));
    poll::until_matches(
        &what,
        CONVERGE,
        || network.next_hops(&hub.node, to),
        |hops| hops.iter().any(|hop| hop.gateway == spoke || is_link_local_of(hop.gateway, spoke)),
    )
    .map(drop)
    .with_context(|| hub.daemons.logs())
}

/// Whether an address is the link-local one that an agent makes of a global one.
fn is_link_local_of(address: IpAddr, global: IpAddr) -> bool {
    let (IpAddr::V6(address), IpAddr::V6(global)) = (address, global) else {
        return false;
    };
    address.is_unicast_link_local() && address.segments()[4..] == global.segments()[4..]
}

/// Waits until a spoke has the one route that stands for all LANs.
fn wait_summary(network: &Network, from: usize) -> Result<()> {
    let spoke = &network.spokes[from].node;
    let what = format!("the summary on {}", spoke.name);
    poll::until_matches(
        &what,
        CONVERGE,
        || spoke.namespace.command("ip -4 route show exact 192.168.0.0/16"),
        |text| text.contains("via 10.0.0."),
    )
    .map(drop)
    .with_context(|| network.spokes[from].daemons.logs())
}

/// Every LAN answers every other. Those behind the second and the third spoke stay strangers: for them it is shown
/// that the second hub brings nodes together, too.
fn reach(network: &mut Network, report: &mut Report) -> Result<()> {
    report.step("the LANs reach each other", || {
        for (from, to) in [(0, 1), (1, 0), (0, 2), (2, 0)] {
            wait_answer(network, from, to)?;
        }
        Ok("a and b, a and c, both ways".to_owned())
    })
}

fn wait_answer(network: &mut Network, from: usize, to: usize) -> Result<Duration> {
    let start = Instant::now();
    let what = format!("an answer to {} from the LAN of {}", name_of(network, from), name_of(network, to));
    poll::until(&what, CONVERGE, || Ok(network.ping(from, to)?.then_some(())))?;
    Ok(start.elapsed())
}

fn direct(network: &mut Network, report: &mut Report, stream: Option<Stream>) -> Result<()> {
    if network.spec.phase == 3 {
        report.step("a shortcut is made, and the kernel has it", || {
            let prefixes = wait_shortcut(network, 0, 1)?;
            let spoke = network.address(&network.spokes[1].node);
            let hops = network.next_hops(&network.spokes[0].node, 1)?;
            let ours = hops.iter().find(|hop| hop.protocol == "54");
            let ours = ours.with_context(|| format!("no route with protocol 54: {hops:?}"))?;
            ensure!(ours.gateway == spoke, "it leads to {}", ours.gateway);
            let routed = hops.iter().any(|hop| hop.protocol != "54");
            ensure!(routed || network.spec.summary, "the daemon's route is gone: {hops:?}");
            Ok(format!("{prefixes:?} by {spoke}, protocol 54"))
        })?;
    }
    report.step("traffic goes directly", || {
        let words = goes_directly(network, 0, 1)?;
        if let Some(stream) = stream {
            stream.wait_received(u64::from(RATE))?;
            let seen = stream.finish()?;
            ensure!(seen.lost.is_empty(), "packets of the stream were lost: {:?}", seen.lost);
            return Ok(format!("{words}; of {} packets since the first, none was lost", seen.sent));
        }
        Ok(words)
    })
}

fn wait_shortcut(network: &Network, from: usize, to: usize) -> Result<Vec<IpNet>> {
    let what = format!("a shortcut of {} to the LAN of {}", name_of(network, from), name_of(network, to));
    poll::until_matches(&what, CONVERGE, || network.shortcuts(from, to), |prefixes| !prefixes.is_empty())
}

/// Waits until packets take no hub, and shows that the hubs do not see them.
fn goes_directly(network: &mut Network, from: usize, to: usize) -> Result<String> {
    let mut seen = (0, 0);
    let what = format!("direct packets from {} to {}", name_of(network, from), name_of(network, to));
    poll::until(&what, CONVERGE, || {
        let (hubs, spoke) = (network.sent_by_hubs()?, network.sent_directly(from, to)?);
        for _ in 0..PINGS {
            if !network.ping(from, to)? {
                return Ok(None);
            }
        }
        // A peer that was forgotten meanwhile and found anew counts from zero: the next pings tell.
        let (Some(by_hubs), Some(direct)) =
            (network.sent_by_hubs()?.checked_sub(hubs), network.sent_directly(from, to)?.checked_sub(spoke))
        else {
            return Ok(None);
        };
        seen = (by_hubs, direct);
        Ok((seen.0 < CHATTER && seen.1 >= u64::from(PINGS)).then_some(()))
    })
    .with_context(|| format!("last seen: hubs sent {}, the spoke {}", seen.0, seen.1))?;
    let mut words =
        format!("of {PINGS} pings the spoke sent {} directly, the hubs sent {} packets", seen.1, seen.0);
    if !network.spec.ipv6 {
        let path = network.lab.path(from, to)?;
        ensure!(path.len() == 4 && !path.iter().any(|hop| hop.starts_with("hub")), "by {path:?}");
        words = format!("{}; {words}", path.join(" > "));
    }
    Ok(words)
}

/// Waits until a spoke has neither a route nor a shortcut to the LAN of another.
fn wait_gone(network: &Network, from: usize, to: usize) -> Result<Duration> {
    let start = Instant::now();
    let what = format!("{} to forget the LAN of {}", name_of(network, from), name_of(network, to));
    poll::until_matches(
        &what,
        CONVERGE,
        || Ok((network.next_hops(&network.spokes[from].node, to)?, network.shortcuts(from, to)?)),
        |(hops, shortcuts)| hops.is_empty() && shortcuts.is_empty(),
    )?;
    Ok(start.elapsed())
}

fn lose_lan(network: &mut Network, report: &mut Report) -> Result<()> {
    let spoke = network.spokes[1].node.clone();
    report.step("the loss of a LAN takes its routes and shortcuts away", || {
        spoke.namespace.command("ip link set lan0 down")?;
        let start = Instant::now();
        let mut words = String::new();
        if network.spec.phase == 3 {
            let what = format!("{} to take its shortcut back", spoke.name);
            poll::until_matches(&what, PURGED, || network.shortcuts(0, 1), Vec::is_empty)?;
            words = format!("the shortcut after {}, ", seconds(start.elapsed()));
        }
        wait_gone(network, 0, 1)?;
        ensure!(!network.ping(0, 1)?, "it answers");
        Ok(format!("{words}routes after {}", seconds(start.elapsed())))
    })?;
    report.step("the LAN is back, and traffic goes directly again", || {
        spoke.namespace.command("ip link set lan0 up")?;
        let time = wait_answer(network, 0, 1)?;
        Ok(format!("{}; {}", seconds(time), goes_directly(network, 0, 1)?))
    })
}

fn lose_hub(network: &mut Network, report: &mut Report) -> Result<()> {
    report.step("the loss of a hub: the other one takes over", || {
        let hub = network.hubs.remove(0);
        let start = Instant::now();
        network.power_off(hub)?;
        if network.spec.summary {
            wait_summary(network, 1)?;
        } else {
            wait_route(network, 1, 2)?;
        }
        wait_answer(network, 1, 2)?;
        Ok(seconds(start.elapsed()))
    })?;
    report.step("spokes that are new to each other go directly, by its help", || {
        goes_directly(network, 1, 2)
    })?;
    report.step("those that knew each other still do", || goes_directly(network, 0, 1))
}

fn lose_spoke(network: &mut Network, report: &mut Report) -> Result<()> {
    report.step("the loss of a spoke takes its routes and shortcuts away", || {
        // Not by an old acquaintance only.
        goes_directly(network, 0, 2)?;
        let spoke = network.spokes.remove(2);
        let node = spoke.node.clone();
        network.power_off(spoke)?;
        let time = wait_gone(network, 0, 2)?;
        Ok(format!("{} is forgotten after {}", node.name, seconds(time)))
    })?;
    report.step("the others still reach each other", || {
        wait_answer(network, 0, 1)?;
        wait_answer(network, 1, 0)?;
        Ok("a and b, both ways".to_owned())
    })
}

fn name_of(network: &Network, spoke: usize) -> &str {
    &network.lab.spokes[spoke].name
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}
