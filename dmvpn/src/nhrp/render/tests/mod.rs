//! The exact text and JSON of every kind of packet, in `golden/`.

use proptest::{collection::vec, prelude::*};

use super::{PacketRow, details, headline};
use crate::nhrp::wire::{
    Inspection, Packet,
    tests::{bytes, forms, indication, purge, registration, resolution, sealed},
};

fn inspect(bytes: &[u8], length: usize) -> Inspection {
    Packet::inspect(bytes, length).unwrap()
}

fn text(inspection: &Inspection) -> String {
    format!("{}\n{}", headline(inspection), details(inspection))
}

fn json(inspection: &Inspection) -> String {
    serde_json::to_string_pretty(&PacketRow::from(inspection)).unwrap() + "\n"
}

#[track_caller]
fn assert_text(inspection: &Inspection, golden: &str) {
    let text = text(inspection);
    assert_eq!(text, golden, "\n{text}");
}

#[track_caller]
fn assert_json(inspection: &Inspection, golden: &str) {
    let json = json(inspection);
    assert_eq!(json, golden, "\n{json}");
}

fn whole(vector: &str) -> Inspection {
    let bytes = bytes(vector);
    inspect(&bytes, bytes.len())
}

#[test]
fn every_kind_of_packet() {
    assert_text(&whole(registration::REQUEST), include_str!("golden/registration-request.txt"));
    assert_json(&whole(registration::REQUEST), include_str!("golden/registration-request.json"));
    assert_text(&whole(registration::REPLY), include_str!("golden/registration-reply.txt"));
    assert_text(&whole(registration::REFUSAL), include_str!("golden/registration-refusal.txt"));
    assert_text(&whole(resolution::REQUEST), include_str!("golden/resolution-request.txt"));
    assert_text(&whole(resolution::REPLY), include_str!("golden/resolution-reply.txt"));
    assert_json(&whole(resolution::REPLY), include_str!("golden/resolution-reply.json"));
    assert_text(&whole(resolution::REFUSAL), include_str!("golden/resolution-refusal.txt"));
    assert_text(&whole(purge::REQUEST), include_str!("golden/purge-request.txt"));
    assert_text(&whole(purge::REPLY), include_str!("golden/purge-reply.txt"));
    assert_text(&whole(indication::ERROR), include_str!("golden/error-indication.txt"));
    assert_text(&whole(indication::TRAFFIC), include_str!("golden/traffic-indication.txt"));
    assert_json(&whole(indication::TRAFFIC), include_str!("golden/traffic-indication.json"));
}

#[test]
fn rare_forms() {
    assert_text(&whole(forms::EXTENSIONS), include_str!("golden/all-extensions.txt"));
    assert_json(&whole(forms::EXTENSIONS), include_str!("golden/all-extensions.json"));
    assert_text(&whole(forms::NO_END), include_str!("golden/no-end.txt"));
    assert_text(&whole(forms::SHORTEST), include_str!("golden/shortest.txt"));
    assert_text(&whole(forms::RARE_FIELDS), include_str!("golden/rare-fields.txt"));
    assert_json(&whole(forms::RARE_FIELDS), include_str!("golden/rare-fields.json"));
    assert_text(&whole(forms::MIXED_RESPONDER), include_str!("golden/ipv6-over-ipv4.txt"));
    assert_text(&whole(indication::PADDED_ERROR), include_str!("golden/padded-error.txt"));
}

#[test]
fn a_cut_packet_and_a_wrong_checksum() {
    let whole = bytes(registration::REQUEST);
    assert_text(&inspect(&whole[..70], whole.len()), include_str!("golden/cut.txt"));
    assert_json(&inspect(&whole[..70], whole.len()), include_str!("golden/cut.json"));
    let mut wrong = whole;
    wrong[12] ^= 1;
    assert_text(&inspect(&wrong, wrong.len()), include_str!("golden/wrong-checksum.txt"));
}

/// An Error Indication that quotes a packet.
fn error_about(packet: &[u8]) -> Vec<u8> {
    let mut error = bytes(indication::ERROR);
    error.truncate(40);
    error.extend_from_slice(packet);
    let size = u16::try_from(error.len()).unwrap();
    error[10..12].copy_from_slice(&size.to_be_bytes());
    sealed(error)
}

#[test]
fn an_error_shows_the_packet_that_it_is_about_and_no_deeper() {
    let error = error_about(&bytes(registration::REQUEST));
    assert_text(&inspect(&error, error.len()), include_str!("golden/error-about-registration.txt"));
    assert_json(&inspect(&error, error.len()), include_str!("golden/error-about-registration.json"));
    let error = error_about(&error);
    assert_text(&inspect(&error, error.len()), include_str!("golden/error-about-error.txt"));
}

/// Whether the password of the vectors can be read in what is shown, as text or as hexadecimal digits.
fn tells_the_password(inspection: &Inspection) -> bool {
    let shown = text(inspection) + &json(inspection);
    ["secret", "736563726574", "7365637265"].iter().any(|password| shown.contains(password))
}

#[test]
fn the_password_is_never_shown() {
    let request = bytes(registration::REQUEST);
    let error = error_about(&request);
    for bytes in [&request, &error] {
        for length in 0..=bytes.len() {
            if let Ok(inspection) = Packet::inspect(&bytes[..length], bytes.len()) {
                assert!(!tells_the_password(&inspection), "cut to {length}");
            }
        }
    }
    // Behind an End that someone put before it.
    let mut early_end = request;
    early_end[52..56].copy_from_slice(&[0x80, 0, 0, 0]);
    let inspection = inspect(&early_end, early_end.len());
    assert!(text(&inspection).contains("then 50 bytes (not shown)"));
    assert!(!tells_the_password(&inspection));
}

proptest! {
    #[test]
    fn showing_never_panics(tail in vec(any::<u8>(), 8..300), kind in 1..9_u8, cut in 0..400_usize) {
        let mut bytes = bytes(registration::REQUEST);
        bytes.truncate(20);
        bytes.extend(tail);
        bytes[17] = kind;
        let size = u16::try_from(bytes.len()).unwrap();
        bytes[10..12].copy_from_slice(&size.to_be_bytes());
        for captured in [&bytes[..], &bytes[..cut.min(bytes.len())]] {
            if let Ok(inspection) = Packet::inspect(captured, bytes.len()) {
                prop_assert!(text(&inspection).ends_with('\n'));
                prop_assert!(serde_json::from_str::<serde_json::Value>(&json(&inspection)).is_ok());
            }
        }
    }
}
