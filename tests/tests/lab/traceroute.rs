//! What traceroute shows: every hop that there is, the hub among them for as long as it is one.

use std::{net::IpAddr, time::Duration};

use anyhow::Result;
use dmvpn::control::protocol::EntryState;
use dmvpn_tests::{
    agent::Agent,
    lab::{Lab, Plan},
    poll,
    traffic::{Probe, path},
};
use ipnet::IpNet;

use crate::ipv6;

const PATIENCE: Duration = Duration::from_secs(15);
const PROBES: [Probe; 2] = [Probe::Udp, Probe::Echo];

/// Waits until a shortcut for `prefix` is in use.
fn wait_shortcut(agent: &Agent, prefix: IpNet) -> Result<()> {
    poll::until(&format!("a shortcut to {prefix}"), PATIENCE, || {
        let rows = agent.shortcuts()?;
        Ok(rows.iter().any(|row| row.prefix == prefix && row.state == EntryState::Up).then_some(()))
    })
}

#[test]
fn the_hub_is_a_hop_until_there_is_a_shortcut() -> Result<()> {
    for probe in PROBES {
        let lab = Lab::new(Plan::default())?;
        let (_hub, spokes) = lab.start_all()?;
        // The probe that the hub forwards is what asks for the shortcut.
        assert_eq!(lab.path_of(probe, 0, 1)?, ["lan-a", "spoke-a", "hub", "spoke-b", "lan-b"], "{probe:?}");
        wait_shortcut(&spokes[0], lab.spoke_lan(1)?.prefix.into())?;
        assert_eq!(lab.path_of(probe, 0, 1)?, ["lan-a", "spoke-a", "spoke-b", "lan-b"], "{probe:?}");
        // From the spoke itself, and to one.
        let (a, b) = (&lab.spokes[0], &lab.spokes[1]);
        let host = IpAddr::from(lab.spoke_lan(1)?.address);
        assert_eq!(path(&a.namespace, host, probe)?, [b.address.into(), host], "{probe:?}");
    }
    Ok(())
}

#[test]
fn the_hub_is_a_hop_for_ipv6_until_there_is_a_shortcut() -> Result<()> {
    for probe in PROBES {
        let lab = ipv6::lab(Plan::default())?;
        let (_hub, spokes) = ipv6::start_with_lans(&lab)?;
        let [a, b] = &lab.spokes[..] else { unreachable!("the plan has two spokes") };
        let (prefix, host) = ipv6::lan6(b)?;
        let (from, router) = (&lab.spoke_lan(0)?.host, ipv6::router6(a)?);
        let (hub, b) = (ipv6::global(&lab.hub), ipv6::global(b));
        assert_eq!(path(from, host, probe)?, [router, hub, b, host].map(IpAddr::from), "{probe:?}");
        wait_shortcut(&spokes[0], prefix.into())?;
        assert_eq!(path(from, host, probe)?, [router, b, host].map(IpAddr::from), "{probe:?}");
        assert_eq!(path(&a.namespace, host, probe)?, [b, host].map(IpAddr::from), "{probe:?}");
    }
    Ok(())
}
