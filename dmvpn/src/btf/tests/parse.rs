//! From bytes to shapes.

use std::mem::offset_of;

use dmvpn_common::{CachedVerdict, NbmaKey, Peer, PeerCounters, PeerState, TunnelKey, Underlay};
use proptest::prelude::*;

use crate::btf::{Btf, BtfError, Shape};

/// The type information in the object that the agent loads.
fn own() -> Vec<u8> {
    static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/dmvpn-kernel"));
    aya_obj::Object::parse(OBJECT).unwrap().btf.unwrap().to_bytes()
}

fn shape(btf: &Btf, name: &str) -> Shape {
    Shape::of(btf, btf.find(name).unwrap_or_else(|| panic!("no {name}"))).unwrap()
}

fn offset(shape: &Shape, member: &str) -> usize {
    let Shape::Structure { members, .. } = shape else { panic!("{shape:?}") };
    members.iter().find(|found| found.name == member).unwrap_or_else(|| panic!("no {member}")).offset
}

#[test]
fn our_own_types_are_what_the_compiler_says() {
    let btf = Btf::parse(&own()).unwrap();
    for (name, size) in [
        ("Peer", size_of::<Peer>()),
        ("NbmaKey", size_of::<NbmaKey>()),
        ("PeerCounters", size_of::<PeerCounters>()),
        ("TunnelKey", size_of::<TunnelKey>()),
        ("Underlay", size_of::<Underlay>()),
    ] {
        assert_eq!(shape(&btf, name).size(), size, "{name}");
    }
    let peer = shape(&btf, "Peer");
    assert_eq!(offset(&peer, "header"), offset_of!(Peer, header));
    assert_eq!(offset(&peer, "nbma"), offset_of!(Peer, nbma));
    assert_eq!(offset(&peer, "tos_mask"), offset_of!(Peer, tos_mask));
    let Shape::Enumeration { size, values } = shape(&btf, "PeerState") else { panic!("no enumeration") };
    assert_eq!(size, size_of::<PeerState>());
    let named = |name: &str| values.iter().find(|(found, _)| found == name).unwrap().1;
    assert_eq!((named("Free"), named("Up")), (0, PeerState::Up as u64));
    let verdict = shape(&btf, "CachedVerdict");
    assert_eq!(verdict.size(), size_of::<CachedVerdict>());
}

/// BTF of the given types, each as words, with `strings` behind an empty one.
fn made(types: &[u32], strings: &str) -> Vec<u8> {
    let strings = format!("\0{strings}");
    let types: Vec<u8> = types.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let mut bytes = Vec::new();
    bytes.extend_from_slice(&0xeb9f_u16.to_ne_bytes());
    bytes.extend_from_slice(&[1, 0]);
    for word in [24, 0, types.len(), types.len(), strings.len()] {
        bytes.extend_from_slice(&u32::try_from(word).unwrap().to_ne_bytes());
    }
    bytes.extend_from_slice(&types);
    bytes.extend_from_slice(strings.as_bytes());
    bytes
}

fn first(types: &[u32], strings: &str) -> Result<Shape, BtfError> {
    Shape::of(&Btf::parse(&made(types, strings))?, 1)
}

/// `u32` as type 2, behind a first type.
const NUMBER: [u32; 4] = [0, 1 << 24, 4, 32];

#[test]
fn what_no_map_has_is_refused_by_name() {
    let pointer = first(&[1, 2 << 24, 0], "secret\0");
    assert_eq!(pointer, Err(BtfError::Unsupported { name: "secret".to_owned() }));
    let three_bytes = first(&[0, 1 << 24, 3, 24], "");
    assert_eq!(three_bytes, Err(BtfError::Unsupported { name: String::new() }));
    let five_of_32_bits = first(&[0, 1 << 24, 4, 5], "");
    assert_eq!(five_of_32_bits, Err(BtfError::Unsupported { name: String::new() }));
    // A structure of four bytes whose only member is a bit field, or ends behind it.
    for (flag, offset) in [(1 << 31, 4 << 24), (0, 8), (0, 3)] {
        let mut types = vec![0, flag | 4 << 24 | 1, 4, 1, 2, offset];
        types.extend(NUMBER);
        assert!(matches!(first(&types, "a\0"), Err(BtfError::Unsupported { .. })), "{offset}");
    }
}

#[test]
fn a_type_of_itself_has_an_end() {
    let mut structure = vec![0, 4 << 24 | 1, 4, 0, 1, 0];
    structure.extend(NUMBER);
    assert_eq!(first(&structure, ""), Err(BtfError::TooLarge));
    assert_eq!(first(&[0, 8 << 24, 1], ""), Err(BtfError::TooLarge));
}

#[test]
fn arrays_have_bounds() {
    let array = |count| {
        let mut types = vec![0, 3 << 24, 0, 2, 2, count];
        types.extend(NUMBER);
        first(&types, "")
    };
    assert_eq!(array(16_384).unwrap().size(), 65_536);
    assert_eq!(array(16_385), Err(BtfError::TooLarge));
    assert_eq!(array(u32::MAX), Err(BtfError::TooLarge));
    // Of nothing, very often.
    let nothing = first(&[0, 3 << 24, 0, 2, 2, u32::MAX, 0, 4 << 24, 0], "");
    assert!(matches!(nothing, Err(BtfError::Unsupported { .. })), "{nothing:?}");
}

#[test]
fn other_bytes_are_told_apart() {
    let good = made(&NUMBER, "");
    assert!(Btf::parse(&good).is_ok());
    let mut other_order = good.clone();
    other_order.swap(0, 1);
    assert_eq!(Btf::parse(&other_order), Err(BtfError::NotBtf));
    let mut other_version = good.clone();
    other_version[2] = 2;
    assert_eq!(Btf::parse(&other_version), Err(BtfError::NotBtf));
    assert_eq!(Btf::parse(b"\x7fELF"), Err(BtfError::NotBtf));
    assert_eq!(Btf::parse(&good[..good.len() - 1]), Err(BtfError::Truncated));
    assert_eq!(Btf::parse(&made(&[0, 20 << 24, 0], "")), Err(BtfError::UnknownKind { kind: 20 }));
    // A name that has no end.
    assert_eq!(first(&[1, 2 << 24, 0], "x"), Err(BtfError::Unsupported { name: String::new() }));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes: Vec<u8>, types: Vec<u32>) {
        let _ = Btf::parse(&bytes);
        let _ = first(&types, "a\0b\0");
    }

    /// A few bytes of ours, changed.
    #[test]
    fn no_change_of_ours_makes_it_panic(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let mut bytes = own();
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        if let Ok(btf) = Btf::parse(&bytes) {
            for id in 0..400 {
                let _ = Shape::of(&btf, id);
            }
        }
    }
}
