//! Phase 3: the hub carries the first packets, tells the spoke about the shorter way, and is out of the way.

use std::time::Duration;

use anyhow::Result;
use dmvpn_tests::{
    lab::{Addressing, Lab, Plan},
    poll,
    traffic::finish_without_loss,
};

fn makes_a_shortcut(plan: Plan) -> Result<()> {
    let lab = Lab::new(plan)?;
    let (hub, spokes) = lab.start_all()?;
    let stream = lab.stream(0, 1, 1000)?;
    let back = lab.stream(1, 0, 1000)?;
    let (a, b) = (lab.spoke_lan(0)?, lab.spoke_lan(1)?);
    let shortcut = spokes[0].wait_shortcut(b.prefix)?;
    assert_eq!(shortcut.nbma, Some(lab.spokes[1].nbma.into()));
    spokes[1].wait_shortcut(a.prefix)?;
    assert!(hub.packets_sent()? > 0, "the first packets went by the hub");

    assert_eq!(lab.path(0, 1)?, ["lan-a", "spoke-a", "spoke-b", "lan-b"]);
    assert_eq!(lab.path(1, 0)?, ["lan-b", "spoke-b", "spoke-a", "lan-a"]);
    // Whoever looks at the kernel sees the same.
    let routes = lab.spokes[0].shortcut_routes()?;
    assert!(
        routes.iter().any(|route| route.starts_with(&format!("{} via {}", b.prefix, lab.spokes[1].address))),
        "{routes:?}"
    );

    let relayed = hub.packets_sent()?;
    stream.wait_received(500)?;
    assert_eq!(hub.packets_sent()?, relayed, "the hub still carries data");
    finish_without_loss([stream, back])?;
    Ok(())
}

#[test]
fn makes_a_shortcut_in_one_subnet() -> Result<()> {
    makes_a_shortcut(Plan::default())
}

#[test]
fn makes_a_shortcut_with_host_addresses() -> Result<()> {
    makes_a_shortcut(Plan { addressing: Addressing::Host, ..Plan::default() })
}

#[test]
fn makes_a_shortcut_without_key_and_authentication() -> Result<()> {
    makes_a_shortcut(Plan { key: None, authentication: None, ..Plan::default() })
}

#[test]
fn makes_a_shortcut_with_generic_xdp() -> Result<()> {
    makes_a_shortcut(Plan { xdp: "generic", ..Plan::default() })
}

#[test]
fn makes_shortcuts_between_all_of_four_spokes() -> Result<()> {
    let lab = Lab::new(Plan { spokes: 4, ..Plan::default() })?;
    let (_hub, spokes) = lab.start_all()?;
    let pairs: Vec<(usize, usize)> =
        (0..4).flat_map(|from| (0..4).map(move |to| (from, to))).filter(|(from, to)| from != to).collect();
    let streams = pairs.iter().map(|(from, to)| lab.stream(*from, *to, 100)).collect::<Result<Vec<_>>>()?;
    for (from, to) in &pairs {
        spokes[*from].wait_shortcut(lab.spoke_lan(*to)?.prefix)?;
        assert_eq!(lab.path(*from, *to)?.len(), 4, "from {from} to {to}");
    }
    finish_without_loss(streams)
}

#[test]
fn a_shortcut_does_not_need_the_hub() -> Result<()> {
    let lab = Lab::new(Plan::default())?;
    let (_hub, spokes) = lab.start_all()?;
    let [there, back] = lab.streams_by_shortcuts(&spokes, 1000)?;

    lab.underlay.command("ip link set hub down")?;
    there.wait_received(2000)?;
    finish_without_loss([there, back])?;
    Ok(())
}

#[test]
fn a_shortcut_goes_when_its_spoke_goes() -> Result<()> {
    let lab = Lab::new(Plan::default())?;
    let (_hub, mut spokes) = lab.start_all()?;
    let stream = lab.stream(0, 1, 1000)?;
    spokes[0].wait_shortcut(lab.spoke_lan(1)?.prefix)?;
    stream.finish()?;

    let leaving = spokes.remove(1);
    assert!(leaving.terminate()?.success());
    // Long before the holding time of a minute.
    poll::until_matches("no shortcut", Duration::from_secs(5), || spokes[0].shortcuts(), Vec::is_empty)?;
    let to_lan_b = format!("{} ", lab.spoke_lan(1)?.prefix);
    let routes = lab.spokes[0].shortcut_routes()?;
    assert!(!routes.iter().any(|route| route.starts_with(&to_lan_b)), "{routes:?}");
    Ok(())
}
