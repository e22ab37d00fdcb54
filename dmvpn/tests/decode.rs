//! `dmvpn decode`: the command itself, its output and its exit status.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

fn decode(arguments: &[&str], file: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_dmvpn")).arg("decode").args(arguments).arg(file).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).unwrap()
}

/// A copy of a file with one byte changed.
fn changed(name: &str, change: impl FnOnce(&mut Vec<u8>)) -> (TempDir, PathBuf) {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("changed");
    let mut bytes = fs::read(data(name)).unwrap();
    change(&mut bytes);
    fs::write(&path, bytes).unwrap();
    (directory, path)
}

const KINDS: [&str; 8] = [
    "Registration Request",
    "Registration Reply",
    "Resolution Request",
    "Resolution Reply",
    "Purge Request",
    "Purge Reply",
    "Error Indication",
    "Traffic Indication",
];

#[test]
fn prints_every_packet_in_full() {
    let output = decode(&[], &data("every-kind.pcap"));
    assert!(output.status.success());
    assert_eq!(text(&output.stderr), "8 NHRP packets in 8 frames\n");
    let lines: Vec<_> = text(&output.stdout).lines().filter(|line| line.starts_with('#')).collect();
    assert_eq!(lines.len(), KINDS.len());
    for (number, (line, kind)) in lines.iter().zip(KINDS).enumerate() {
        let start = format!(
            "#{} 1970-01-01T00:16:40.000007Z 198.51.100.2 > 203.0.113.1 GRE key 42: {kind}, ",
            number + 1
        );
        assert!(line.starts_with(&start), "{line}");
    }
    assert!(text(&output.stdout).contains("\n    authentication: 6 bytes (hidden)\n"));
    assert!(!text(&output.stdout).contains("secret"));
}

#[test]
fn prints_json() {
    let output = decode(&["--json", "--verify"], &data("every-kind.pcap"));
    assert!(output.status.success());
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["version"], 1);
    assert_eq!(json["frames"], 8);
    let packets = json["packets"].as_array().unwrap();
    for (packet, kind) in packets.iter().zip(KINDS) {
        assert_eq!(packet["packet"]["type"], kind.to_lowercase().replace(' ', "-"));
        assert_eq!(packet["verify"]["result"], "same");
        assert_eq!(packet["gre"]["key"], 42);
    }
    // One packet a line, for `grep`.
    assert_eq!(text(&output.stdout).lines().count(), packets.len() + 2);
    assert!(!text(&output.stdout).contains("secret"));
}

#[test]
fn reads_pcapng_and_standard_input() {
    let output = decode(&["--verify"], &data("two-interfaces.pcapng"));
    assert!(output.status.success());
    assert_eq!(
        text(&output.stderr),
        "3 NHRP packets in 3 frames\nencoded again: 3 the same, 0 the same but for what the capture explains, 0 \
         different, 0 malformed\n"
    );
    let mut child = Command::new(env!("CARGO_BIN_EXE_dmvpn"))
        .args(["decode", "--verify", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&fs::read(data("two-interfaces.pcapng")).unwrap()).unwrap();
    assert_eq!(child.wait_with_output().unwrap(), output);
}

#[test]
fn verify_fails_on_a_difference() {
    // The checksum of the first packet: behind the headers of file, record, Ethernet, IP and GRE.
    let (_directory, path) = changed("every-kind.pcap", |bytes| bytes[24 + 16 + 14 + 20 + 8 + 12] ^= 1);
    let output = decode(&[], &path);
    assert!(output.status.success());
    assert!(text(&output.stdout).contains("    checksum: 0xfdaa (WRONG, 0xfcaa is right)\n"));
    let output = decode(&["--verify"], &path);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains(
        "    encoded again: NOT the same bytes: byte 12 differs; the checksum in the capture is wrong\n"
    ));
    assert_eq!(
        text(&output.stderr),
        "8 NHRP packets in 8 frames\nencoded again: 7 the same, 0 the same but for what the capture explains, 1 \
         different, 0 malformed\nerror: not every packet gives the same bytes when it is encoded again\n"
    );
}

#[test]
fn verify_fails_on_a_malformed_packet() {
    let (_directory, path) = changed("every-kind.pcap", |bytes| bytes[24 + 16 + 14 + 20 + 8 + 17] = 99);
    let output = decode(&["--verify"], &path);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("\n    malformed: byte 17: unknown packet type 99\n"));
    assert!(text(&output.stderr).starts_with("8 NHRP packets in 8 frames, 1 of them malformed\n"));
    // To look at, it is no failure.
    assert!(decode(&[], &path).status.success());
}

#[test]
fn verify_accepts_a_packet_that_the_capture_cut() {
    let (_directory, path) = changed("every-kind.pcap", |bytes| {
        // Only the first record, with 40 bytes less of the frame.
        bytes.truncate(24 + 16 + 148 - 40);
        bytes[24 + 8] -= 40;
    });
    let output = decode(&["--verify"], &path);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).ends_with(
        "    checksum: 0xfcaa (not checked: the last 40 bytes of the packet are missing)\n    encoded again: the same \
         bytes, but size and checksum speak of bytes that were not captured\n"
    ));
}

#[test]
fn a_broken_file_gives_what_it_has_and_the_byte() {
    let (_directory, path) = changed("every-kind.pcap", |bytes| bytes.truncate(300));
    let output = decode(&[], &path);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).starts_with("#1 "));
    assert_eq!(
        text(&output.stderr),
        format!(
            "1 NHRP packet in 1 frame\nerror: {}\n  because: byte 204: the file ends too early: 188 bytes needed, 96 \
             left\n",
            path.display()
        )
    );
    let output = decode(&["--json"], &path);
    assert_eq!(output.status.code(), Some(1));
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["packets"].as_array().unwrap().len(), 1);
    assert_eq!(json["error"], "byte 204: the file ends too early: 188 bytes needed, 96 left");
}

#[test]
fn a_file_of_another_kind_is_named() {
    let (_directory, path) = changed("every-kind.pcap", |bytes| bytes[..4].copy_from_slice(b"GIF8"));
    let output = decode(&["--json"], &path);
    assert_eq!(output.status.code(), Some(1));
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["packets"], Value::Array(vec![]));
    assert!(text(&output.stderr).contains("because: byte 0: neither a pcap nor a pcapng file"));
    let output = decode(&[], Path::new("/nonexistent.pcap"));
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).starts_with("error: cannot read /nonexistent.pcap\n"));
}

#[test]
fn says_what_else_is_in_a_capture() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/capture-file/pcap-not-nhrp");
    let output = decode(&[], &corpus);
    assert!(output.status.success());
    assert_eq!(text(&output.stdout), "");
    assert_eq!(text(&output.stderr), "0 NHRP packets in 2 frames; others: 1 ARP, 1 ESP (encrypted)\n");
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    // Gone before the first packet is printed.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = Command::new(env!("CARGO_BIN_EXE_dmvpn"))
        .arg("decode")
        .arg(data("every-kind.pcap"))
        .stdout(writer)
        .output()
        .unwrap();
    assert!(output.status.success());
    assert_eq!(text(&output.stderr), "");
}
