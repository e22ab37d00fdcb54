//! Captures of other implementations that lie beside the project, where there are any: every well-formed packet is
//! decoded, and encoded again to the same bytes.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::BufReader,
    path::{Path, PathBuf},
};

use dmvpn::{
    capture::{CaptureFile, Record, Verdict, find},
    nhrp::wire::PacketKind,
};

/// What a capture holds.
#[derive(Debug, Default, PartialEq, Eq)]
struct Content {
    frames: u64,
    kinds: BTreeMap<&'static str, u64>,
    malformed: u64,
}

/// Reads a capture, and fails when a packet is not the same when it is encoded again.
fn content(path: &Path) -> Content {
    let mut content = Content::default();
    let mut file = CaptureFile::open(BufReader::new(File::open(path).unwrap())).unwrap();
    while let Some(frame) = file.next_frame().unwrap() {
        content.frames += 1;
        let Ok(found) = find(&frame) else { continue };
        let record = Record::read(content.frames, frame.time, found);
        let Ok(inspection) = &record.packet else {
            content.malformed += 1;
            continue;
        };
        *content.kinds.entry(inspection.packet.kind().name()).or_default() += 1;
        assert_eq!(record.verify(), Verdict::Same, "{}\n{}", path.display(), record.text());
    }
    content
}

/// The captures, if they are there.
fn captures() -> Option<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/captures");
    if directory.is_dir() {
        return Some(directory);
    }
    println!("not run: there are no captures beside the project (../shared/captures)");
    None
}

#[test]
fn captures_of_cisco_and_frr() {
    use PacketKind::{
        RegistrationReply, RegistrationRequest, ResolutionReply, ResolutionRequest, TrafficIndication,
    };

    let Some(directory) = captures() else { return };
    let frr = vec![
        (RegistrationRequest, 10),
        (RegistrationReply, 10),
        (ResolutionRequest, 4),
        (ResolutionReply, 4),
        (TrafficIndication, 6),
    ];
    for (name, frames, kinds, malformed) in [
        ("tcpdump-NHRP_registration.pcap", 4, vec![(RegistrationRequest, 2), (RegistrationReply, 2)], 0),
        ("tcpdump-ios_nhrp.pcap", 1, vec![(RegistrationRequest, 1)], 0),
        ("tcpdump-nhrp.pcapng", 25, vec![(RegistrationRequest, 15), (RegistrationReply, 10)], 0),
        // Made by a fuzzer.
        ("tcpdump-pb_nhrp_1.pcap", 1, vec![], 1),
        ("frr-phase3.pcap", 64, frr, 0),
        // Encrypted.
        ("frr-phase3-ipsec.pcap", 58, vec![], 0),
        ("strongswan-gre.pcap", 20, vec![], 0),
    ] {
        let path = directory.join(name);
        if !path.exists() {
            println!("not run: {name} is not there");
            continue;
        }
        let kinds = kinds.into_iter().map(|(kind, count)| (kind.name(), count)).collect();
        assert_eq!(content(&path), Content { frames, kinds, malformed }, "{name}");
    }
}

#[test]
fn every_other_capture() {
    let Some(directory) = captures() else { return };
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "pcap" || extension == "pcapng") {
            println!("{}: {:?}", path.display(), content(&path));
        }
    }
}
