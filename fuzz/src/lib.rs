//! What every fuzz target does with its input, and what has to hold then: a panic is a finding.
//!
//! The project's tests run the files in `corpus/` through the same functions: `dmvpn/tests/corpora.rs`.

use dmvpn::{
    btf::{Btf, Conversion, Shape},
    capture::{CaptureFile, Record, find},
    config::Config,
    control::protocol::{Request, Response},
    gre::{Gre, Inner},
    import::{self, Given, Input, Vendor},
    nhrp::{
        render::{PacketRow, details, headline},
        wire::{Comparison, Inspection, Packet},
    },
    state,
};

/// Bytes that may be an NHRP packet.
pub fn packet(bytes: &[u8]) {
    let decoded = Packet::decode(bytes);
    let inspected = Packet::inspect(bytes, bytes.len());
    if let Ok(inspection) = &inspected {
        show(inspection);
        // Without a wrong checksum, both ways to read say the same.
        assert_eq!(inspection.checksum_is_right() == Some(true), decoded.is_ok());
    }
    if let Ok(packet) = decoded {
        let inspection = inspected.expect("what is decoded can be inspected");
        assert_eq!(inspection.packet, packet);
        let comparison = inspection.compare(bytes);
        assert!(matches!(comparison, Comparison::Same | Comparison::OtherZero), "{comparison:?}");
        let mut encoded = Vec::new();
        packet.encode(&mut encoded).expect("what was decoded can be encoded");
        assert_eq!(Packet::decode(&encoded).as_ref(), Ok(&packet));
    }
    // As if a capture had cut it out of something longer.
    if let Ok(inspection) = Packet::inspect(bytes, usize::from(u16::MAX)) {
        show(&inspection);
        let comparison = inspection.compare(bytes);
        if inspection.missing > 0 {
            assert_eq!(comparison, Comparison::Cut);
        }
    }
}

/// Bytes that may be a list of extensions: in a packet that is right but for them.
pub fn extensions(bytes: &[u8]) {
    /// A registration request from 198.51.100.2, 10.0.0.2 to 10.0.0.1 without entries, up to its extensions.
    const HEADER: [u8; 40] = [
        0, 1, 8, 0, 0, 0, 0, 0, 0, 255, 0, 0, 0, 0, 0, 40, 1, 3, 4, 0, 4, 4, 0x80, 2, 0, 0, 0, 7, 198, 51,
        100, 2, 10, 0, 0, 2, 10, 0, 0, 1,
    ];

    let mut whole = HEADER.to_vec();
    whole.extend_from_slice(&bytes[..bytes.len().min(usize::from(u16::MAX) - HEADER.len())]);
    let size = u16::try_from(whole.len()).expect("it was cut to fit");
    whole[10..12].copy_from_slice(&size.to_be_bytes());
    if let Ok(inspection) = Packet::inspect(&whole, whole.len()) {
        let checksum = inspection.right_checksum.expect("nothing is missing");
        whole[12..14].copy_from_slice(&checksum.to_be_bytes());
        assert!(Packet::decode(&whole).is_ok());
    }
    packet(&whole);
}

/// Bytes that may be a capture file.
pub fn capture_file(bytes: &[u8]) {
    let Ok(mut file) = CaptureFile::open(bytes) else { return };
    let mut frames = 0;
    while let Ok(Some(frame)) = file.next_frame() {
        frames += 1;
        assert!(frame.bytes.len() <= bytes.len());
        assert!(frame.bytes.len() <= frame.length as usize);
        if let Ok(found) = find(&frame) {
            assert!(found.bytes.len() <= found.length);
            let record = Record::read(frames, frame.time, found);
            let verdict = record.verify();
            assert!(record.text().ends_with('\n'));
            serde_json::to_string(&record.row(Some(&verdict))).expect("a record can be JSON");
        }
    }
    // Every frame has a header.
    assert!(frames <= bytes.len() as u64 / 16);
}

/// The type of service of an outer packet, and bytes that may be the GRE packet in it.
pub fn gre(bytes: &[u8]) {
    let Some((tos, bytes)) = bytes.split_first() else { return };
    // As if a capture had cut it out of something longer.
    assert_eq!(Gre::parse(bytes, false).is_ok(), Gre::parse(bytes, true).is_ok());
    let Ok(header) = Gre::parse(bytes, true) else { return };
    let payload = bytes.get(header.length..).expect("the header is there");
    let Ok(inner) = Inner::take_out(header.protocol, payload, *tos) else { return };
    assert_eq!(inner.ether_type, header.protocol);
    assert_eq!(inner.source.is_ipv4(), inner.destination.is_ipv4());
    let changes = if inner.source.is_ipv4() { vec![1, 10, 11] } else { vec![0, 1] };
    for (place, (new, old)) in inner.packet.iter().zip(payload).enumerate() {
        assert!(new == old || changes.contains(&place), "byte {place} was changed");
    }
    assert!((20..=payload.len()).contains(&inner.packet.len()));
}

/// Bytes that may be a line of the control socket, in either direction.
pub fn control(bytes: &[u8]) {
    if let Ok(request) = serde_json::from_slice::<Request>(bytes) {
        let line = serde_json::to_vec(&request).expect("a request can be JSON");
        assert_eq!(serde_json::from_slice::<Request>(&line).ok(), Some(request));
    }
    if let Ok(response) = serde_json::from_slice::<Response>(bytes) {
        let line = serde_json::to_vec(&response).expect("a response can be JSON");
        assert_eq!(serde_json::from_slice::<Response>(&line).ok(), Some(response));
    }
}

/// Bytes that may be a configuration file.
pub fn config(bytes: &[u8]) {
    match Config::parse(bytes) {
        Ok(config) => {
            assert!(!config.tunnels.is_empty());
            serde_json::to_string(&config).expect("a configuration can be JSON");
        }
        Err(problems) => {
            assert!(!problems.is_empty());
            let lines = 1 + bytes.iter().filter(|byte| matches!(byte, b'\n' | b'\r')).count();
            for problem in problems {
                assert!((1..=lines).contains(&problem.at.line), "line {} of {lines}", problem.at.line);
                assert!(problem.at.column >= 1);
                assert!(!problem.message.is_empty());
            }
        }
    }
}

/// Bytes that may be the types of maps.
pub fn btf(bytes: &[u8]) {
    let Ok(btf) = Btf::parse(bytes) else { return };
    let shapes: Vec<Shape> = (0..16).filter_map(|id| Shape::of(&btf, id).ok()).collect();
    for from in &shapes {
        let value: Vec<u8> = bytes.iter().copied().cycle().take(from.size()).collect();
        for to in &shapes {
            let Ok(conversion) = Conversion::new(from, to) else { continue };
            if let Ok(made) = conversion.apply(&value) {
                assert_eq!(made.len(), to.size());
            }
            // A value that was cut does no harm either.
            let _ = conversion.apply(&value[..value.len() / 2]);
        }
    }
}

/// A byte that says whose it is, and bytes that may be a configuration of other nodes: two files, where there is a form
/// feed in them.
pub fn import(bytes: &[u8]) {
    let Some((vendor, text)) = bytes.split_first() else { return };
    let vendor = match vendor {
        b'c' => Vendor::Cisco,
        b'h' => Vendor::Huawei,
        b'v' => Vendor::Vyos,
        _ => Vendor::Opennhrp,
    };
    let text = String::from_utf8_lossy(text);
    let inputs: Vec<Input<'_>> = text.split('\u{c}').map(|text| Input { name: "file", text }).collect();
    let imported = import::import(vendor, &inputs, &Given::default());
    let numbers = inputs.iter().flat_map(|input| 1..=input.text.lines().count());
    assert!(imported.lines.iter().map(|line| line.line).eq(numbers));
    for line in &imported.lines {
        assert!(!line.note.is_empty());
        assert!(!line.text.chars().any(char::is_control));
    }
    match imported.configuration {
        Ok(text) => assert!(Config::parse(text.as_bytes()).is_ok()),
        Err(why) => assert!(!why.is_empty()),
    }
}

/// Bytes that may be a state file.
pub fn state(bytes: &[u8]) {
    if let Ok(read) = state::parse(bytes) {
        let written = state::encode(&read).expect("what was read can be written");
        assert_eq!(state::parse(&written).ok(), Some(read));
    }
}

/// Shows a packet in every way.
fn show(inspection: &Inspection) {
    assert!(!headline(inspection).contains('\n'));
    assert!(details(inspection).ends_with('\n'));
    serde_json::to_string(&PacketRow::from(inspection)).expect("a packet can be JSON");
}
