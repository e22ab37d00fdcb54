//! What routing daemons make of shortcuts.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::network::Network;
use crate::{labs::Report, poll};

const CONVERGE: Duration = Duration::from_secs(20);
/// A route of the spoke's kernel that is no shortcut, and is to be announced.
const OTHER: &str = "172.16.1.0/24";

/// FRR: a shortcut is a kernel route, OSPF in the LAN announces it, BGP to the hubs does not.
pub(super) fn seen_by_frr(network: &mut Network, report: &mut Report) -> Result<()> {
    let (lan, _) = network.lan(1)?;
    let (hub, spoke) = (&network.hubs[0], &network.spokes[0]);
    report.step("zebra has the shortcut as a kernel route", || {
        let routes = spoke.daemons.ask_json(&format!("show ip route {lan} json"))?;
        let route = routes.get(lan.to_string()).and_then(|routes| routes.get(0));
        let route = route.with_context(|| format!("no route: {routes}"))?;
        ensure!(route["protocol"] == "kernel" && route["selected"] == true, "{route}");
        Ok(format!("{lan}, protocol kernel, selected"))
    })?;
    report.step("OSPF in the LAN announces it", || {
        poll::until_matches(
            "an external LSA",
            CONVERGE,
            || spoke.daemons.ask("show ip ospf database external self-originate"),
            |text| text.contains(&lan.addr().to_string()),
        )?;
        Ok(format!("external LSA for {lan}"))
    })?;
    report.step("BGP announces other kernel routes to the hubs, but not the shortcut", || {
        let lan_host = network.lab.spoke_lan(0)?.address;
        spoke.node.namespace.command(&format!("ip route add {OTHER} via {lan_host} dev lan0"))?;
        let question = format!("show bgp ipv4 unicast neighbors {} routes json", spoke.node.address);
        let announced = |answer: &Value| -> Vec<String> {
            answer["routes"].as_object().map_or_else(Vec::new, |routes| routes.keys().cloned().collect())
        };
        let seen = poll::until_matches(
            &format!("{OTHER} at the hub"),
            CONVERGE,
            || hub.daemons.ask_json(&question).map(|answer| announced(&answer)),
            |routes| routes.iter().any(|route| route == OTHER),
        )?;
        let own = network.lan(0)?.0.to_string();
        ensure!(seen == [OTHER.to_owned(), own], "the hub hears of {seen:?}");
        Ok(format!("the hub hears of {}", seen.join(", ")))
    })
}

/// BIRD: the same, and the number of the protocol is there to be filtered by.
pub(super) fn seen_by_bird(network: &mut Network, report: &mut Report) -> Result<()> {
    let (lan, _) = network.lan(1)?;
    let (hub, spoke) = (&network.hubs[0], &network.spokes[0]);
    report.step("BIRD has the shortcut, with its protocol number", || {
        let text = poll::until_matches(
            "the route",
            CONVERGE,
            || spoke.daemons.ask(&format!("show route for {lan} all protocol kernel1")),
            |text| text.contains("Kernel.source: 54"),
        )?;
        ensure!(text.contains(&format!("via {}", network.spokes[1].node.address)), "{text}");
        Ok(format!("{lan}, krt_source 54"))
    })?;
    report.step("OSPF in the LAN announces it", || {
        poll::until_matches(
            "an external LSA",
            CONVERGE,
            || spoke.daemons.ask("show ospf lsadb self type 5"),
            |text| text.contains("0005"),
        )?;
        let state = spoke.daemons.ask("show ospf state")?;
        ensure!(state.contains(&format!("external {lan}")), "{state}");
        Ok(format!("external LSA for {lan}"))
    })?;
    report.step("BGP does not announce it to the hubs", || {
        let text = hub.daemons.ask(&format!("show route where from = {}", spoke.node.address))?;
        let own = network.lan(0)?.0.to_string();
        ensure!(text.contains(&own), "not even its LAN: {text}");
        ensure!(!text.contains(&lan.to_string()), "the hub hears of the shortcut: {text}");
        Ok(format!("the hub hears of {own} only"))
    })
}
