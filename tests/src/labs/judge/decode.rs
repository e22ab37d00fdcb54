//! `dmvpn decode --verify`.

use std::{collections::BTreeSet, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

/// What there is in a capture.
#[derive(Debug, Default)]
pub(super) struct Read {
    /// Numbers of the frames with NHRP.
    pub(super) frames: BTreeSet<u64>,
    /// What is malformed, encoded to other bytes, or has no name.
    pub(super) complaints: Vec<String>,
}

/// Reads a capture.
pub(super) fn read(file: &Path) -> Result<Read> {
    let mut decode = Command::new(crate::agent::binary()?);
    let output = decode.args(["decode", "--json", "--verify"]).arg(file).output();
    let output = output.context("cannot start dmvpn decode")?;
    let errors = String::from_utf8_lossy(&output.stderr);
    // Of a capture with a packet that cannot be read it prints everything, and fails.
    let whole: Value = serde_json::from_slice(&output.stdout).with_context(|| errors.to_string())?;
    let read = judge(&whole)?;
    ensure!(output.status.success() || !read.complaints.is_empty(), "dmvpn decode failed: {errors}");
    Ok(read)
}

/// Reads what `dmvpn decode` printed.
fn judge(whole: &Value) -> Result<Read> {
    ensure!(whole["error"].is_null(), "the capture cannot be read to its end: {}", whole["error"]);
    let mut read = Read::default();
    for record in whole["packets"].as_array().context("no list of packets")? {
        let frame = record["frame"].as_u64().context("a packet without a frame")?;
        read.frames.insert(frame);
        let mut complain = |what: &str| read.complaints.push(format!("frame {frame}: {what}: {record}"));
        let verdict = record["verify"]["result"].as_str().context("a packet that was not verified")?;
        if !matches!(verdict, "same" | "explained") {
            complain(verdict);
        }
        if record["packet"]["checksum"]["state"] == "wrong" {
            complain("wrong checksum");
        }
        let mut packet = record["packet"].clone();
        if packet["type"] == "error-indication" {
            // It has none (RFC 2332 5.2.7): FRR 10.3 leaves there those of the packet that it complains about.
            packet["flags"] = Value::Null;
        }
        if let Some(unknown) = unknown(&packet) {
            complain(&format!("unknown: {unknown}"));
        }
    }
    Ok(read)
}

/// The first thing in a packet, or in one that it quotes, that has a number where others have a name.
fn unknown(value: &Value) -> Option<String> {
    match value {
        Value::Array(list) => list.iter().find_map(unknown),
        Value::Object(fields) => fields.iter().find_map(|(field, value)| match (field.as_str(), value) {
            ("name", Value::String(name)) => name.starts_with("extension ").then(|| name.clone()),
            ("meaning", Value::String(name)) => {
                let is_number = ["code ", "error "].iter().any(|word| name.starts_with(word));
                (is_number || name == "unknown").then(|| format!("{field} {name}"))
            }
            ("flags", Value::Array(flags)) => {
                let unknown = flags.iter().filter_map(Value::as_str).find(|flag| flag.starts_with("0x"));
                unknown.map(|flag| format!("flag {flag}"))
            }
            _ => unknown(value),
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn judged(packet: &Value, verdict: &str) -> Vec<String> {
        let record = json!({"frame": 3, "packet": packet, "verify": {"result": verdict}});
        judge(&json!({"packets": [record], "frames": 9})).unwrap().complaints
    }

    #[test]
    fn a_packet_is_good_when_all_of_it_has_a_name_and_encodes_to_the_same_bytes() {
        let good = json!({
            "flags": ["unique", "nat"],
            "checksum": {"state": "right"},
            "entries": [{"code": 0, "meaning": "success"}],
            "extensions": [{"type": 0x400, "name": "Huawei Padding", "data": ""}],
        });
        assert!(judged(&good, "same").is_empty());
        assert_eq!(judged(&good, "different").len(), 1);
        for (field, bad) in [
            ("flags", json!(["0x0400"])),
            ("checksum", json!({"state": "wrong"})),
            ("entries", json!([{"code": 77, "meaning": "code 77"}])),
            ("extensions", json!([{"type": 0x500, "name": "extension 0x500", "data": ""}])),
            ("error", json!({"code": 99, "meaning": "error 99"})),
            ("error", json!({"meaning": "protocol error", "packet": {"flags": ["0x0001"]}})),
            ("traffic", json!({"code": 4, "meaning": "unknown"})),
        ] {
            let mut packet = good.clone();
            packet[field] = bad;
            assert_eq!(judged(&packet, "same").len(), 1, "{packet}");
        }
    }

    #[test]
    fn flags_of_an_error_mean_nothing_but_those_of_what_it_quotes_do() {
        let mut error =
            json!({"type": "error-indication", "flags": ["0x8002"], "error": {"packet": {"flags": ["nat"]}}});
        assert!(judged(&error, "same").is_empty());
        error["error"]["packet"]["flags"] = json!(["0x0001"]);
        assert_eq!(judged(&error, "same").len(), 1);
    }

    #[test]
    fn a_packet_that_cannot_be_read_is_a_complaint() {
        assert_eq!(judged(&Value::Null, "not-decoded").len(), 1);
        assert!(judge(&json!({"packets": [], "error": "cut"})).is_err());
    }
}
