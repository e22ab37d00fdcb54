//! What was said on a wire, read from its capture.

use std::{
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::super::Report;
use crate::command;

/// The capture of the hub's wire, which all registrations and resolutions pass, of the network that was built last.
pub(super) fn hub_wire(report: &mut Report) -> Result<PathBuf> {
    let wires = report.captures().wires();
    let hub = wires.into_iter().rev().find(|wire| wire.file.to_string_lossy().ends_with("-hub.pcap"));
    Ok(hub.context("the hub's wire is not captured")?.file)
}

/// The NHRP packets in a capture so far, as `dmvpn decode --json` prints each.
pub(super) fn packets(file: &Path) -> Result<Vec<Value>> {
    let mut decode = Command::new(crate::agent::binary()?);
    let text = command::output(decode.arg("decode").arg("--json").arg(file))?;
    let value: Value = serde_json::from_str(&text).with_context(|| format!("not JSON: {text}"))?;
    value["packets"].as_array().cloned().context("there is no list of packets")
}

/// Those of one type that one node sent to another.
pub(super) fn between(file: &Path, kind: &str, from: Ipv4Addr, to: Ipv4Addr) -> Result<Vec<Value>> {
    let (from, to) = (from.to_string(), to.to_string());
    let mut packets = packets(file)?;
    packets.retain(|packet| {
        packet["source"] == from.as_str()
            && packet["destination"] == to.as_str()
            && packet["packet"]["type"] == kind
    });
    Ok(packets)
}

/// Seconds of the day at which a packet was seen.
pub(super) fn second(packet: &Value) -> Result<f64> {
    let time = packet["time"].as_str().context("a packet without a time")?;
    let clock = time.split_once('T').map(|(_, clock)| clock.trim_end_matches('Z'));
    let clock = clock.with_context(|| format!("no time: {time}"))?;
    clock.split(':').try_fold(0.0, |sum, part| {
        let part: f64 = part.parse().with_context(|| format!("no time: {time}"))?;
        Ok(sum * 60.0 + part)
    })
}
