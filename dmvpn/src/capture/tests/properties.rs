//! What holds for every file and every frame.

use proptest::{collection::vec, option, prelude::*, sample::Index};

use super::{
    build::{BIG, ETHERNET, LITTLE, gre, interface, ipv4, join, packet, pcap_header, pcap_record, section},
    read,
};
use crate::{
    capture::{Frame, LinkType, Record, Verdict, find},
    nhrp::wire::tests::{bytes, registration},
};

fn ethernet_frame() -> Vec<u8> {
    let nhrp = bytes(registration::REQUEST);
    join(&[&bytes(ETHERNET), &ipv4(47, &gre(0x2000, "0000002a", &nhrp))])
}

/// A file in order, with some bytes replaced, cut out or repeated.
fn changed_file() -> impl Strategy<Value = Vec<u8>> {
    let frame = ethernet_frame();
    let length = u32::try_from(frame.len()).unwrap();
    let mut files = Vec::new();
    for order in [&LITTLE, &BIG] {
        files.push(join(&[
            &pcap_header(order, 0xA1B2_C3D4, 1),
            &pcap_record(order, 1, &frame, length),
            &pcap_record(order, 2, &frame, length),
        ]));
        files.push(join(&[
            &section(order),
            &interface(order, 1, 0, &[(2, b"eth0"), (9, &[9])]),
            &packet(order, 0, 1, &frame, length),
            &packet(order, 0, 2, &frame, length),
        ]));
    }
    let replaced = vec((any::<Index>(), any::<u8>()), 0..6);
    let cut = option::of((any::<Index>(), 0..40_usize));
    let repeated = option::of((any::<Index>(), 0..80_usize));
    (prop::sample::select(files), replaced, cut, repeated).prop_map(|(mut file, replaced, cut, repeated)| {
        for (place, byte) in replaced {
            *place.get_mut(&mut file) = byte;
        }
        if let Some((place, length)) = cut {
            let start = place.index(file.len());
            file.drain(start..file.len().min(start + length));
        }
        if let Some((place, length)) = repeated {
            let start = place.index(file.len());
            let part = file[start..file.len().min(start + length)].to_vec();
            file.splice(start..start, part);
        }
        file
    })
}

/// Reads all of a frame that there is to read.
fn look(link: LinkType, bytes: &[u8]) -> Option<Verdict> {
    let frame = Frame { time: None, link, bytes, length: u32::try_from(bytes.len()).unwrap() };
    let record = Record::read(1, None, find(&frame).ok()?);
    assert!(record.text().starts_with("#1 "));
    let verdict = record.verify();
    serde_json::to_string(&record.row(Some(&verdict))).unwrap();
    Some(verdict)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn arbitrary_files_never_panic(bytes in vec(any::<u8>(), 0..200), magic in 0..3_usize) {
        let magic = [&[0xD4, 0xC3, 0xB2, 0xA1][..], &[0x0A, 0x0D, 0x0D, 0x0A], &[]][magic];
        let _ = read(&join(&[magic, &bytes]));
    }

    #[test]
    fn changed_files_never_panic(file in changed_file()) {
        for frame in read(&file).0 {
            look(frame.link, &frame.bytes);
        }
    }

    #[test]
    fn arbitrary_frames_never_panic(bytes in vec(any::<u8>(), 0..200), link in 0..9_usize) {
        let links = [0, 1, 12, 101, 108, 113, 228, 229, 276].map(LinkType);
        look(links[link], &bytes);
    }

    #[test]
    fn changed_frames_never_panic(place in any::<Index>(), byte in any::<u8>(), end in any::<Index>()) {
        let mut frame = ethernet_frame();
        *place.get_mut(&mut frame) = byte;
        look(LinkType::ETHERNET, &frame);
        look(LinkType::ETHERNET, &frame[..end.index(frame.len())]);
    }
}

/// A flipped bit of the NHRP packet is always noticed: by the decoder, or as a difference.
#[test]
fn every_bit_of_the_packet_is_compared() {
    let frame = ethernet_frame();
    assert_eq!(look(LinkType::ETHERNET, &frame), Some(Verdict::Same));
    for bit in 8 * (frame.len() - 106)..8 * frame.len() {
        let mut flipped = frame.clone();
        flipped[bit / 8] ^= 0x80 >> (bit % 8);
        let verdict = look(LinkType::ETHERNET, &flipped);
        assert!(
            matches!(verdict, Some(Verdict::Different(_) | Verdict::NotDecoded)),
            "bit {bit}: {verdict:?}"
        );
    }
}
