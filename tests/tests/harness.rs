//! The labs themselves, with plain routing over the underlay instead of agents: what the other tests rest on.

use std::{net::Ipv4Addr, path::Path, time::Duration};

use anyhow::Result;
use dmvpn_tests::{
    lab::{Lab, Plan},
    namespace, poll,
    traffic::{Probe, path, ping, transfer},
};

/// A lab whose LANs reach each other without any tunnel.
fn routed() -> Result<Lab> {
    let lab = Lab::new(Plan::default())?;
    for (number, spoke) in lab.spokes.iter().enumerate() {
        let (prefix, nbma) = (lab.spoke_lan(number)?.prefix, spoke.nbma);
        lab.underlay.command(&format!("ip route add {prefix} via {nbma}"))?;
    }
    Ok(lab)
}

#[test]
fn finds_every_hop() -> Result<()> {
    let lab = routed()?;
    assert_eq!(lab.path(0, 1)?, ["lan-a", "spoke-a", "underlay", "spoke-b", "lan-b"]);

    let (a, b) = (lab.spoke_lan(0)?, lab.spoke_lan(1)?);
    let reply = ping(&a.host, b.address, 1, Duration::from_secs(5))?;
    assert_eq!(reply.map(|reply| reply.ttl), Some(61));
    Ok(())
}

#[test]
fn counts_exactly_what_is_lost() -> Result<()> {
    let lab = routed()?;
    let b = lab.spoke_lan(1)?;
    let stream = lab.stream(0, 1, 1000)?;
    stream.wait_received(200)?;
    lab.underlay.command(&format!("ip route replace blackhole {}", b.prefix))?;
    let (sent, _) = stream.progress();
    poll::until("packets into the black hole", Duration::from_secs(10), || {
        Ok((stream.progress().0 >= sent + 100).then_some(()))
    })?;
    lab.underlay.command(&format!("ip route replace {} via {}", b.prefix, lab.spokes[1].nbma))?;
    stream.wait_received(200)?;
    let report = stream.finish()?;

    assert!(report.lost.len() >= 90, "{} lost", report.lost.len());
    assert_eq!(report.sent, report.received + report.lost.len() as u64);
    assert!(report.lost.iter().all(|number| *number + 20 >= sent), "lost before the black hole: {report:?}");
    Ok(())
}

#[test]
fn transfers_bulk_data_unchanged() -> Result<()> {
    let lab = routed()?;
    let (a, b) = (lab.spoke_lan(0)?, lab.spoke_lan(1)?);
    let transfer = transfer(&a.host, &b.host, b.address, 16 << 20, |_| ())?;
    assert_eq!(transfer.bytes, 16 << 20);
    Ok(())
}

#[test]
fn says_that_nothing_comes_back() -> Result<()> {
    let lab = Lab::new(Plan { spokes: 1, ..Plan::default() })?;
    let host = &lab.spoke_lan(0)?.host;
    let nowhere = Ipv4Addr::new(192, 0, 2, 1);
    assert!(ping(host, nowhere, 1, Duration::from_millis(300))?.is_none());
    assert!(path(host, nowhere, Probe::Udp).is_err());
    Ok(())
}

#[test]
fn removes_everything_even_after_a_panic() -> Result<()> {
    let lab = Lab::new(Plan { spokes: 1, ..Plan::default() })?;
    let prefix = format!("{}-", lab.name());
    let files = lab.hub.files.clone();
    assert_eq!(namespace::names_with(&prefix).len(), 4);
    let sleeper = lab.hub.namespace.run(|| Ok(std::process::Command::new("sleep").arg("1000").spawn()?))?;

    let panicked = std::thread::spawn(move || {
        let _lab = lab;
        panic!("on purpose");
    })
    .join();
    assert!(panicked.is_err());
    assert_eq!(namespace::names_with(&prefix), Vec::<String>::new());
    assert!(!files.exists());
    let mut sleeper = sleeper;
    assert!(!sleeper.wait()?.success(), "the process inside was killed");
    assert!(!Path::new("/sys/fs/bpf").join(format!("dmvpn-{prefix}hub")).exists());
    Ok(())
}
