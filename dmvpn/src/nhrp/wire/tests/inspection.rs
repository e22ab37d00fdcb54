//! Packets that are shown although they are not to be acted on.

use super::{bytes, forms, indication, purge, registration, resolution, sealed};
use crate::nhrp::wire::{Body, Comparison, End, Fault, Inspection, Packet};

fn inspect(bytes: &[u8]) -> Inspection {
    Packet::inspect(bytes, bytes.len()).unwrap()
}

/// The registration request as a capture of that many bytes has it.
fn cut(length: usize) -> (Vec<u8>, Inspection) {
    let whole = bytes(registration::REQUEST);
    let inspection = Packet::inspect(&whole[..length], whole.len()).unwrap();
    (whole[..length].to_vec(), inspection)
}

#[test]
fn a_good_packet_is_what_decode_says_and_comes_out_the_same() {
    for vector in [
        registration::REQUEST,
        registration::REPLY,
        resolution::REQUEST,
        resolution::REPLY,
        purge::REQUEST,
        indication::ERROR,
        indication::TRAFFIC,
        forms::EXTENSIONS,
        forms::NO_END,
        forms::RARE_FIELDS,
    ] {
        let bytes = bytes(vector);
        let inspection = inspect(&bytes);
        assert_eq!(inspection.packet, Packet::decode(&bytes).unwrap());
        assert_eq!(inspection.checksum_is_right(), Some(true));
        assert_eq!((usize::from(inspection.size), inspection.missing), (bytes.len(), 0));
        assert_eq!(inspection.compare(&bytes), Comparison::Same);
        // Ethernet padding is not looked at.
        let padded = [&bytes[..], &[0; 9]].concat();
        assert_eq!(inspect(&padded).compare(&padded), Comparison::Same);
    }
}

#[test]
fn a_wrong_checksum_is_a_difference_and_hides_nothing() {
    let mut bytes = bytes(registration::REQUEST);
    bytes[13] ^= 0xFF;
    let inspection = inspect(&bytes);
    assert_eq!(inspection.packet, registration::request());
    assert_eq!(inspection.checksum, 0xFC55);
    assert_eq!(inspection.right_checksum, Some(0xFCAA));
    assert_eq!(inspection.checksum_is_right(), Some(false));
    assert_eq!(inspection.compare(&bytes), Comparison::Different { offset: 13, bytes: 1 });
}

#[test]
fn the_other_zero_is_explained() {
    let mut bytes = bytes(registration::REQUEST);
    bytes[24..28].fill(0);
    let bytes = sealed(bytes);
    // With its checksum in the place of the request id, the sum over the rest is 0xFFFF.
    let mut other = bytes.clone();
    other.copy_within(12..14, 26);
    other[12..14].fill(0xFF);
    let inspection = inspect(&other);
    assert_eq!((inspection.checksum, inspection.right_checksum), (0xFFFF, Some(0)));
    assert_eq!(inspection.checksum_is_right(), Some(true));
    assert_eq!(inspection.compare(&other), Comparison::OtherZero);
}

#[test]
fn a_cut_packet_keeps_its_whole_extensions() {
    // Within authentication, which is at byte 64.
    for length in 64..78 {
        let (captured, inspection) = cut(length);
        let extensions = inspection.packet.extensions.as_ref().unwrap();
        assert_eq!((extensions.list.len(), &extensions.end), (3, &End::Missing), "{length}");
        assert_eq!(inspection.missing, 106 - length);
        assert_eq!(inspection.checksum_is_right(), None);
        assert_eq!(inspection.compare(&captured), Comparison::Cut, "{length}");
    }
    // Within the End extension.
    let (captured, inspection) = cut(105);
    assert_eq!(inspection.packet.extensions.as_ref().unwrap().list.len(), 5);
    assert_eq!(inspection.compare(&captured), Comparison::Cut);
}

#[test]
fn a_packet_cut_before_its_extensions_has_none() {
    let whole = bytes(indication::TRAFFIC);
    let captured = &whole[..60];
    let inspection = Packet::inspect(captured, whole.len()).unwrap();
    assert_eq!(inspection.packet.extensions, None);
    let Body::TrafficIndication(indication) = &inspection.packet.body else { unreachable!() };
    assert_eq!(indication.head.len(), 20);
    assert_eq!(inspection.compare(captured), Comparison::Cut);
}

#[test]
fn a_cut_entry_is_refused() {
    let whole = bytes(registration::REQUEST);
    let error = Packet::inspect(&whole[..50], whole.len()).unwrap_err();
    assert_eq!((error.offset, error.fault), (40, Fault::Truncated { needed: 12, left: 10 }));
    for length in 0..28 {
        assert!(Packet::inspect(&whole[..length], whole.len()).is_err(), "{length}");
    }
}

#[test]
fn a_size_that_was_never_sent_is_refused() {
    let bytes = bytes(registration::REQUEST);
    let error = Packet::inspect(&bytes[..100], 105).unwrap_err();
    assert_eq!((error.offset, error.fault), (10, Fault::Size { size: 106, received: 105 }));
}

#[test]
fn a_change_in_a_cut_packet_is_a_difference() {
    let (mut captured, inspection) = cut(70);
    captured[30] ^= 1;
    captured[40] ^= 1;
    assert_eq!(inspection.compare(&captured), Comparison::Different { offset: 30, bytes: 2 });
}
