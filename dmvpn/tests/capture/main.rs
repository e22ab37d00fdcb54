//! `dmvpn capture` in a namespace of its own, on a veth pair into which the tests put frames. Needs root.

mod running;
mod wire;

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

use dmvpn::capture::{CaptureFile, find};
use running::{Capture, dmvpn};
use tempfile::TempDir;
use wire::{Tun, Wire, decoys, in_namespace, nhrp_frames};

/// Bytes of every frame in a capture file; all of them hold NHRP.
fn recorded(path: &Path) -> Vec<Vec<u8>> {
    let mut file = CaptureFile::open(fs::File::open(path).unwrap()).unwrap();
    let mut frames = Vec::new();
    while let Some(frame) = file.next_frame().unwrap() {
        find(&frame).unwrap();
        assert_eq!(frame.length as usize, frame.bytes.len());
        frames.push(frame.bytes.to_vec());
    }
    frames
}

#[test]
fn writes_what_is_sent_and_received_and_nothing_else() {
    in_namespace(|| {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("nhrp.pcap");
        let (near, far) = (Wire::open("near"), Wire::open("far"));
        let frames = nhrp_frames();
        let count = (2 * frames.len()).to_string();
        let capture =
            Capture::start(&["--interface", "near", "-w", path.to_str().unwrap(), "--count", &count]);
        for frame in decoys().iter().chain(&frames) {
            // Received by `near`, and sent by it.
            far.send(frame);
            near.send(frame);
        }
        let (status, _, errors) = capture.wait();
        assert!(status.success(), "{errors}");
        assert_eq!(errors, format!("recording NHRP on near; Ctrl-C ends\n{count} NHRP packets recorded\n"));
        let mut expected: Vec<_> = frames.iter().chain(&frames).cloned().collect();
        expected.sort();
        let mut recorded = recorded(&path);
        recorded.sort();
        assert_eq!(recorded, expected);
        // It holds the password.
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    });
}

#[test]
fn prints_packets_as_they_come_and_ends_at_sigint() {
    in_namespace(|| {
        let far = Wire::open("far");
        let mut capture = Capture::start(&["--interface", "near"]);
        far.send(&nhrp_frames()[0]);
        let line = capture.line();
        assert!(line.starts_with("#1 2"), "{line}");
        assert!(
            line.contains(" 198.51.100.2 > 203.0.113.1 GRE key 42: Registration Request, id 7,"),
            "{line}"
        );
        capture.interrupt();
        let (status, output, errors) = capture.wait();
        assert!(status.success(), "{errors}");
        assert!(output.contains("\n    authentication: 6 bytes (hidden)\n"), "{output}");
        assert!(!output.contains("secret"), "{output}");
        assert!(errors.ends_with("\n1 NHRP packet recorded\n"), "{errors}");
    });
}

#[test]
fn what_is_written_can_be_decoded() {
    in_namespace(|| {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("nhrp.pcap");
        let far = Wire::open("far");
        let capture = Capture::start(&[
            "--interface",
            "near",
            "--interface",
            "far",
            "-w",
            path.to_str().unwrap(),
            "--count",
            "2",
        ]);
        far.send(&nhrp_frames()[0]);
        let (status, _, errors) = capture.wait();
        assert!(status.success(), "{errors}");
        let output = dmvpn(&["decode", "--verify", path.to_str().unwrap()]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(text.matches("encoded again: the same bytes").count(), 2, "{text}");
    });
}

/// The packets in `recorded` frames of an interface, when `send` puts frames on it until there are so many.
fn recorded_on(interface: &str, count: usize, send: impl FnOnce()) -> Vec<Vec<u8>> {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("nhrp.pcap");
    let count = count.to_string();
    let capture =
        Capture::start(&["--interface", interface, "-w", path.to_str().unwrap(), "--count", &count]);
    send();
    let (status, _, errors) = capture.wait();
    assert!(status.success(), "{errors}");
    recorded(&path)
}

#[test]
fn an_interface_without_ethernet_headers_gets_empty_ones() {
    in_namespace(|| {
        let tun = Tun::open("raw0");
        let frames = nhrp_frames();
        let recorded = recorded_on("raw0", frames.len(), || {
            for frame in &frames {
                tun.receive(&frame[14..]);
            }
        });
        let expected: Vec<_> = frames.iter().map(|frame| [&[0; 12], &frame[12..]].concat()).collect();
        assert_eq!(recorded, expected);
    });
}

#[test]
fn the_loopback_interface_shows_each_packet_once() {
    in_namespace(|| {
        wire::ip("link set lo up");
        let (lo, frames) = (Wire::open("lo"), nhrp_frames());
        let recorded = recorded_on("lo", frames.len(), || frames.iter().for_each(|frame| lo.send(frame)));
        assert_eq!(recorded, frames);
    });
}

#[test]
fn an_interface_that_goes_down_ends_it() {
    in_namespace(|| {
        let capture = Capture::start(&["--interface", "near"]);
        wire::ip("link set near down");
        let (status, _, errors) = capture.wait();
        assert!(!status.success());
        assert!(
            errors.ends_with("\n0 NHRP packets recorded\nerror: the interface near went down\n"),
            "{errors}"
        );
    });
}

#[test]
fn says_what_is_missing() {
    in_namespace(|| {
        let errors = |command: &mut Command| {
            let output = command.output().unwrap();
            assert_eq!(output.status.code(), Some(1), "{output:?}");
            String::from_utf8(output.stderr).unwrap()
        };
        assert_eq!(
            errors(&mut dmvpn(&["capture", "--interface", "middle"])),
            "error: there is no interface middle\n"
        );
        let no_agent = errors(&mut dmvpn(&["capture", "--socket", "/nonexistent/control.sock"]));
        assert!(
            no_agent.starts_with(
                "error: cannot ask the agent which interfaces are below its tunnels (or name one with \
                 --interface)\n  because: no agent listens on /nonexistent/control.sock"
            ),
            "{no_agent}"
        );
        // Without capabilities, in the same namespace.
        let binary = dmvpn(&[]).get_program().to_owned();
        let mut unprivileged = Command::new("setpriv");
        unprivileged.args(["--bounding-set=-net_raw", "--inh-caps=-net_raw"]).arg(binary);
        unprivileged.args(["capture", "--interface", "near"]);
        assert_eq!(
            errors(&mut unprivileged),
            "error: capturing needs the capability CAP_NET_RAW: run this as root\n"
        );
    });
}
