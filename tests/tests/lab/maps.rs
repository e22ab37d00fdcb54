//! The pinned maps as an operator sees them.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use dmvpn_common::{LAYOUT_VERSION, map_names};
use dmvpn_tests::{
    command,
    lab::{Lab, Plan},
};

fn dump(directory: &Path, map: &str) -> Result<String> {
    command::run(&format!("bpftool map dump pinned {}", directory.join(map).display()))
}

#[test]
fn bpftool_prints_them_with_names() -> Result<()> {
    let lab = Lab::new(Plan::default())?;
    let (hub, spokes) = lab.start_all()?;
    // Traffic through the hub fills the rest.
    let stream = lab.stream(0, 1, 1000)?;
    spokes[0].wait_shortcut(lab.spoke_lan(1)?.prefix)?;
    stream.finish()?;

    let directory = hub.config().pin_directory.join(format!("v{LAYOUT_VERSION}"));
    for map in map_names::ALL {
        assert!(directory.join(map).exists(), "{map} is not pinned");
    }
    let expected: [(&str, &[&str]); 15] = [
        (
            map_names::TUNNELS,
            &["\"keyed\": \"Yes\"", "\"key\": 42", "\"far_ifindex\"", "\"family\": \"Ipv4\""],
        ),
        (map_names::LOCAL, &["\"family\": \"Ipv4\""]),
        (map_names::NHRP_RATE, &["\"family\": \"Ipv4\""]),
        (map_names::PEER_BY_NBMA, &["\"nbma\"", "\"family\": \"Ipv4\"", "\"peer\""]),
        (map_names::PEERS, &["\"state\": \"Up\"", "\"header_length\": 28", "\"nbma\"", "\"underlay\""]),
        (map_names::UNDERLAY, &["\"state\": \"Valid\"", "\"gateway\"", "\"gateway_mac\""]),
        (map_names::REDIRECT_SEEN, &["\"peer\"", "\"destination\""]),
        (map_names::COUNTERS, &["\"reason\": \"UnknownPeer\"", "\"packets\""]),
        (map_names::PEER_COUNTERS, &["\"received_xdp\"", "\"transit_xdp\"", "\"packets\""]),
        (map_names::CONTROL, &["\"generation\"", "\"seconds\""]),
        (map_names::STATIONS, &["\"own\"", "\"mac\": [", "\"vlan\": 0"]),
        (map_names::INTERFACES, &["\"role\": \"Tunnel\"", "\"first_receiver\""]),
        (map_names::MULTICAST, &["\"next\": 0"]),
        (map_names::POLICERS, &["\"rate\": 0", "\"burst\""]),
        (map_names::SPREAD_COUNTERS, &["\"handed_over\"", "\"taken\""]),
    ];
    for (map, words) in expected {
        let text = dump(&directory, map).with_context(|| format!("dumping {map}"))?;
        for word in words {
            assert!(text.contains(word), "no {word} in {map}:\n{}", &text[..text.len().min(4000)]);
        }
    }
    // Of a hundred thousand slots one is enough.
    for map in map_names::CACHES {
        let path = directory.join(map);
        let text =
            command::run(&format!("bpftool --pretty map lookup pinned {} key 0 0 0 0", path.display()))?;
        for word in ["\"outer_source\"", "\"verdict\"", "\"bytes\""] {
            assert!(text.contains(word), "no {word} in {map}: {text}");
        }
    }
    // Everything but the ring buffer was looked at.
    assert_eq!(expected.len() + map_names::CACHES.len() + 1, map_names::ALL.len());
    let pinned: Vec<_> =
        fs::read_dir(&directory)?.map(|entry| Ok(entry?.file_name())).collect::<Result<_>>()?;
    assert!(pinned.iter().any(|name| name.as_encoded_bytes().starts_with(b"link_xdp_")), "{pinned:?}");
    Ok(())
}
