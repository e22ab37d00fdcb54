//! Interfaces that go down and come back, and a gateway that is another box all of a sudden.

use std::time::Duration;

use anyhow::Result;
use dmvpn_tests::{
    config::TUNNEL,
    lab::{Addressing, Lab, Plan},
    poll,
    wire::UNDERLAY,
};

const PATIENCE: Duration = Duration::from_secs(15);
/// Packets a second.
const RATE: u32 = 1000;

/// The kernel keeps the gateway reachable.
fn is_kept_fresh(lab: &Lab, spoke: usize) -> Result<bool> {
    let gateway = format!("ip neigh show 198.18.{}.254 dev {UNDERLAY}", spoke + 1);
    let entry = lab.spokes[spoke].namespace.command(&gateway)?;
    Ok(entry.contains("managed") && entry.contains("REACHABLE"))
}

#[test]
fn traffic_goes_on_after_the_underlay_was_down() -> Result<()> {
    let lab = Lab::new(Plan::default())?;
    let (_hub, spokes) = lab.start_all()?;
    let (there, back) = (lab.stream(0, 1, RATE)?, lab.stream(1, 0, RATE)?);
    spokes[0].wait_shortcut(lab.spoke_lan(1)?.prefix)?;
    spokes[1].wait_shortcut(lab.spoke_lan(0)?.prefix)?;
    let node = &lab.spokes[0].namespace;
    poll::until("a gateway kept fresh", PATIENCE, || Ok(is_kept_fresh(&lab, 0)?.then_some(())))?;

    // The carrier, as when a switch is started again: the kernel forgets its neighbours and nothing else.
    lab.underlay.command("ip link set spoke-a down")?;
    poll::until("no carrier", PATIENCE, || {
        Ok(node.command("ip link show dev underlay0")?.contains("NO-CARRIER").then_some(()))
    })?;
    lab.underlay.command("ip link set spoke-a up")?;
    poll::until("a gateway kept fresh again", PATIENCE, || Ok(is_kept_fresh(&lab, 0)?.then_some(())))?;
    for stream in [&there, &back] {
        stream.wait_received(u64::from(RATE))?;
    }

    // The interface itself, by an operator: the kernel forgets the routes, too.
    for pause in [Duration::ZERO, Duration::from_secs(1)] {
        node.command("ip link set underlay0 down")?;
        std::thread::sleep(pause);
        node.command("ip link set underlay0 up")?;
        node.command("ip route add default via 198.18.1.254")?;
        poll::until(
            "a gateway kept fresh once more",
            PATIENCE,
            || Ok(is_kept_fresh(&lab, 0)?.then_some(())),
        )?;
        for stream in [&there, &back] {
            stream.wait_received(u64::from(RATE))?;
        }
    }
    assert_eq!(lab.path(0, 1)?, ["lan-a", "spoke-a", "spoke-b", "lan-b"]);
    Ok(())
}

/// Setting an interface down makes the kernel forget all its neighbours and routes, permanent or not.
#[test]
fn an_operator_may_set_the_tunnel_interface_down_and_up() -> Result<()> {
    for addressing in [Addressing::Subnet, Addressing::Host] {
        let lab = Lab::new(Plan { addressing, ..Plan::default() })?;
        let (hub, spokes) = lab.start_all()?;
        let (there, back) = (lab.stream(0, 1, RATE)?, lab.stream(1, 0, RATE)?);
        spokes[0].wait_shortcut(lab.spoke_lan(1)?.prefix)?;
        spokes[1].wait_shortcut(lab.spoke_lan(0)?.prefix)?;
        for node in [&lab.spokes[0], &lab.hub] {
            for pause in [Duration::ZERO, Duration::from_secs(1)] {
                let routes = node.namespace.command(&format!("ip route show dev {TUNNEL} metric 50"))?;
                node.namespace.command(&format!("ip link set {TUNNEL} down"))?;
                std::thread::sleep(pause);
                node.namespace.command(&format!("ip link set {TUNNEL} up"))?;
                poll::until_matches(
                    "the configured routes",
                    PATIENCE,
                    || node.namespace.command(&format!("ip route show dev {TUNNEL} metric 50")),
                    |now| *now == routes && !now.is_empty(),
                )?;
                for stream in [&there, &back] {
                    stream.wait_received(u64::from(RATE))?;
                }
            }
        }
        poll::until("the direct way", PATIENCE, || {
            Ok((lab.path(0, 1)? == ["lan-a", "spoke-a", "spoke-b", "lan-b"]).then_some(()))
        })?;
        // Not by chance: every client is in the hub's table again.
        let neighbours = lab.hub.namespace.command(&format!("ip neigh show dev {TUNNEL}"))?;
        for node in &lab.spokes {
            assert!(neighbours.contains(&format!("{} lladdr", node.address)), "{neighbours}\n{}", hub.log());
        }
    }
    Ok(())
}

/// A gateway whose place another box takes (VRRP without a virtual address, a new interface card). It says so by ARP, as
/// such boxes do. Packets that are sent to the old address until then, and until the node has heard of it, are lost: no
/// one can help that. Nothing else may be.
#[test]
fn a_gateway_may_change_its_link_layer_address_under_load() -> Result<()> {
    /// In packets at [`RATE`]: 100 ms, far more than it takes, and far less than a probe of the kernel's.
    const LOSS: usize = 100;
    let lab = Lab::new(Plan::default())?;
    let (_hub, spokes) = lab.start_all()?;
    lab.underlay.set("ipv4/conf/spoke-a/arp_notify", "1")?;
    let (there, back) = (lab.stream(0, 1, RATE)?, lab.stream(1, 0, RATE)?);
    spokes[0].wait_shortcut(lab.spoke_lan(1)?.prefix)?;
    spokes[1].wait_shortcut(lab.spoke_lan(0)?.prefix)?;
    let changes = 5;
    for last in 1..=changes {
        let mac = format!("02:00:00:00:99:0{last}");
        lab.underlay.command(&format!("ip link set spoke-a address {mac}"))?;
        poll::until("the new address", PATIENCE, || {
            let entry = lab.spokes[0].namespace.command("ip neigh show 198.18.1.254")?;
            Ok(entry.contains(&mac).then_some(()))
        })?;
        there.wait_received(u64::from(RATE) / 2)?;
    }
    for (name, report) in [("there", there.finish()?), ("back", back.finish()?)] {
        println!("{name}: {} of {} packets lost in {changes} changes", report.lost.len(), report.sent);
        assert!(report.lost.len() <= LOSS * changes, "{name}: {report:?}");
    }
    Ok(())
}
