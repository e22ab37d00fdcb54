//! Bulk TCP: the LAN hosts send packets of up to 64 KB with unfinished checksums, as real hosts with offloads do.

use anyhow::Result;
use dmvpn_tests::{
    lab::{Lab, Plan},
    traffic::transfer,
};

const SIZE: u64 = 64 << 20;

fn transfers(phase: u8) -> Result<()> {
    let lab = Lab::new(Plan { phase, ..Plan::default() })?;
    let _agents = lab.start_all()?;
    let (a, b) = (lab.spoke_lan(0)?, lab.spoke_lan(1)?);
    let done = transfer(&a.host, &b.host, b.address, SIZE, |_| ())?;
    assert_eq!(done.bytes, SIZE);
    Ok(())
}

#[test]
fn arrives_unchanged_by_the_hub() -> Result<()> {
    transfers(1)
}

#[test]
fn arrives_unchanged_while_the_way_changes() -> Result<()> {
    transfers(3)
}

#[test]
fn arrives_unchanged_from_the_spoke_itself() -> Result<()> {
    let lab = Lab::new(Plan::default())?;
    let _agents = lab.start_all()?;
    let b = lab.spoke_lan(1)?;
    let done = transfer(&lab.spokes[0].namespace, &b.host, b.address, SIZE, |_| ())?;
    assert_eq!(done.bytes, SIZE);
    Ok(())
}
