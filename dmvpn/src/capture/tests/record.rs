//! Records as text and as JSON.

use std::time::Duration;

use super::build::{gre, ipv4, ipv6, join};
use crate::{
    capture::{Frame, LinkType, Record, Time, Verdict, find},
    nhrp::{
        render::{details, headline},
        wire::tests::{bytes, registration},
    },
};

const TIME: Time = Time(Duration::new(1_422_173_081, 190_210_000));

/// Calls `look` with the record of a frame.
fn with_record<T>(link: LinkType, bytes: &[u8], look: impl FnOnce(&Record<'_>) -> T) -> T {
    let length = u32::try_from(bytes.len()).unwrap();
    let frame = Frame { time: Some(TIME), link, bytes, length };
    look(&Record::read(7, frame.time, find(&frame).unwrap()))
}

fn nhrp() -> Vec<u8> {
    bytes(registration::REQUEST)
}

#[test]
fn the_outside_and_the_inside() {
    let tagged = join(&[
        &bytes("02000000000a 02000000000b 8100 0064 0800"),
        &ipv4(47, &gre(0xB000, "2fcb0000 0000002a 00000009", &nhrp())),
    ]);
    with_record(LinkType::ETHERNET, &tagged, |record| {
        let inspection = record.packet.as_ref().unwrap();
        assert_eq!(
            record.text(),
            format!(
                "#7 2015-01-25T08:04:41.190210Z 198.51.100.2 > 203.0.113.1 GRE key 42: {}\n    outer: TOS 0xc0, TTL \
                 255, VLAN 100, GRE sequence number 9, GRE checksum right\n{}",
                headline(inspection),
                details(inspection)
            )
        );
        let mut json = serde_json::to_value(record.row(Some(&Verdict::Same))).unwrap();
        let packet = json.as_object_mut().unwrap().remove("packet").unwrap();
        assert_eq!(packet["type"], "registration-request");
        assert_eq!(
            json,
            serde_json::json!({
                "frame": 7,
                "time": "2015-01-25T08:04:41.190210Z",
                "source": "198.51.100.2",
                "destination": "203.0.113.1",
                "tos": 0xC0,
                "ttl": 255,
                "vlans": [100],
                "gre": {"key": 42, "sequence": 9, "checksum": "right"},
                "captured_bytes": 106,
                "verify": {"result": "same"},
            })
        );
    });
}

#[test]
fn without_a_key_and_without_gre() {
    with_record(LinkType::RAW, &ipv6(47, &gre(0, "", &nhrp())), |record| {
        let text = record.text();
        assert!(text.contains(" 2001:db8::a > 2001:db8::b GRE: Registration Request"), "{text}");
        assert_eq!(serde_json::to_value(record.row(None)).unwrap()["gre"], serde_json::json!({}));
    });
    with_record(LinkType::RAW, &ipv4(54, &nhrp()), |record| {
        let text = record.text();
        assert!(text.contains("203.0.113.1 IP protocol 54: Registration Request"), "{text}");
        assert!(serde_json::to_value(record.row(None)).unwrap().get("gre").is_none());
    });
}

#[test]
fn a_malformed_packet_says_where_and_why() {
    let mut bytes = nhrp();
    bytes[17] = 99;
    with_record(LinkType::RAW, &ipv4(47, &gre(0, "", &bytes)), |record| {
        assert_eq!(
            record.text(),
            "#7 2015-01-25T08:04:41.190210Z 198.51.100.2 > 203.0.113.1 GRE: malformed NHRP, 106 bytes\n    outer: TOS \
             0xc0, TTL 255\n    malformed: byte 17: unknown packet type 99\n"
        );
        let verdict = record.verify();
        assert_eq!(verdict, Verdict::NotDecoded);
        let json = serde_json::to_value(record.row(Some(&verdict))).unwrap();
        assert_eq!(json["malformed"], serde_json::json!({"offset": 17, "reason": "unknown packet type 99"}));
        assert_eq!(json["verify"], serde_json::json!({"result": "not-decoded"}));
        assert!(json.get("packet").is_none());
    });
}

#[test]
fn differences_are_explained_or_shown() {
    let packet = ipv4(47, &gre(0, "", &nhrp()));
    with_record(LinkType::RAW, &packet, |record| {
        assert_eq!(record.verify().to_string(), "the same bytes");
    });
    with_record(LinkType::RAW, &packet[..100], |record| {
        assert_eq!(
            record.verify().to_string(),
            "the same bytes, but size and checksum speak of bytes that were not captured"
        );
    });
    let mut wrong = packet;
    wrong[24 + 12] ^= 1;
    with_record(LinkType::RAW, &wrong, |record| {
        let verdict = record.verify();
        assert_eq!(
            verdict.to_string(),
            "NOT the same bytes: byte 12 differs; the checksum in the capture is wrong"
        );
        let json = serde_json::to_value(record.row(Some(&verdict))).unwrap();
        assert_eq!(json["verify"]["result"], "different");
    });
}
