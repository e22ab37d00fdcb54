//! Opening the data path: what is refused and why, what is taken over, what is left behind.

use std::{
    fs,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::Path,
};

use crate::testbed::{Pins, chain, refusal};
use aya::maps::{Array, HashMap, MapData};
use dmvpn::datapath::{DataPath, Options, remove_all_pins};
use dmvpn_common::{LAYOUT_VERSION, PeerIndex, map_names};

/// Pins a map of the given kind in place of one of ours.
fn pin_array<V: aya::Pod>(pins: &Pins, name: &str, entries: u32) {
    make_private(&pins.path);
    make_private(&pins.layout());
    Array::<MapData, V>::create(entries, 0).unwrap().pin(pins.layout().join(name)).unwrap();
}

fn make_private(directory: &Path) {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).unwrap();
}

#[test]
fn pins_every_map_in_a_private_directory() {
    let pins = Pins::new("private");
    let data_path = pins.open();
    for name in map_names::ALL {
        assert!(pins.layout().join(name).exists(), "{name}");
    }
    for directory in [&pins.path, &pins.layout()] {
        assert_eq!(fs::metadata(directory).unwrap().permissions().mode() & 0o777, 0o700);
    }
    assert!(data_path.links().unwrap().is_empty());
}

#[test]
fn close_leaves_nothing() {
    let pins = Pins::new("close");
    pins.open().close().unwrap();
    assert!(!pins.path.exists());
}

#[test]
fn dropping_leaves_every_map_pinned() {
    let pins = Pins::new("drop");
    drop(pins.open());
    assert_eq!(fs::read_dir(pins.layout()).unwrap().count(), map_names::ALL.len());
    pins.open();
}

#[test]
fn pins_can_be_removed_without_loading_anything() {
    let pins = Pins::new("remove");
    let data_path = pins.open();
    let refused = remove_all_pins(&pins.path).unwrap_err();
    assert!(refused.to_string().contains("in use by another dmvpn agent"), "{refused}");
    drop(data_path);
    remove_all_pins(&pins.path).unwrap();
    assert!(!pins.path.exists());
    remove_all_pins(&pins.path).unwrap();
}

#[test]
fn files_of_others_are_left_and_named() {
    let pins = Pins::new("others");
    drop(pins.open());
    Array::<MapData, u32>::create(1, 0).unwrap().pin(pins.layout().join("foreign")).unwrap();
    let refused = chain(&remove_all_pins(&pins.path).unwrap_err());
    assert!(refused.contains("cannot remove") && refused.contains("not empty"), "{refused}");
    assert!(pins.layout().join("foreign").exists());
    assert!(!pins.layout().join(map_names::PEERS).exists());
}

#[test]
fn a_second_agent_is_refused_while_the_first_runs() {
    let pins = Pins::new("twice");
    let first = pins.open();
    let text = refusal(pins.try_open());
    assert!(text.contains("in use by another dmvpn agent"), "{text}");
    assert!(text.contains(pins.path.to_str().unwrap()), "{text}");
    drop(first);
    pins.open();
}

#[test]
fn a_directory_that_is_on_no_bpf_file_system_is_refused() {
    let pins = Pins::new("nowhere");
    let path = std::env::temp_dir().join(format!("dmvpn-test-{}-nowhere", std::process::id()));
    let text = refusal(DataPath::open(&Options { pin_directory: path.clone(), ..pins.options() }));
    assert!(text.contains("mount -t bpf bpf /sys/fs/bpf"), "{text}");
    assert!(text.contains(path.to_str().unwrap()), "{text}");
    assert!(!path.exists());
}

#[test]
fn a_directory_without_parent_is_refused() {
    let pins = Pins::new("orphan");
    let text = refusal(DataPath::open(&Options { pin_directory: pins.path.join("below"), ..pins.options() }));
    assert!(text.contains(pins.path.to_str().unwrap()) && text.contains("No such file"), "{text}");
}

#[test]
fn a_dot_in_the_directory_is_explained() {
    let pins = Pins::new("dot");
    let path = pins.path.with_extension("d");
    let text = refusal(DataPath::open(&Options { pin_directory: path, ..pins.options() }));
    assert!(text.contains("no dot in names"), "{text}");
}

#[test]
fn a_directory_that_others_can_write_is_refused() {
    let pins = Pins::new("exposed");
    fs::create_dir(&pins.path).unwrap();
    fs::set_permissions(&pins.path, fs::Permissions::from_mode(0o770)).unwrap();
    let text = refusal(pins.try_open());
    assert!(text.contains("mode 770") && text.contains("chmod 700"), "{text}");
}

#[test]
fn a_directory_of_another_user_is_refused() {
    let pins = Pins::new("owner");
    make_private(&pins.path);
    std::os::unix::fs::chown(&pins.path, Some(65534), None).unwrap();
    let text = refusal(pins.try_open());
    assert!(text.contains("belongs to user 65534"), "{text}");
}

#[test]
fn missing_capabilities_are_named() {
    let pins = Pins::new("capabilities");
    let options = pins.options();
    let body = move || {
        // SAFETY: changes the user of this thread only, which ends with the test.
        #[expect(unsafe_code, reason = "the C library changes the user of every thread")]
        let changed = unsafe { libc::syscall(libc::SYS_setresuid, 65534, 65534, 65534) };
        assert_eq!(changed, 0);
        refusal(DataPath::open(&options))
    };
    let text = std::thread::spawn(body).join().unwrap();
    assert!(text.contains("missing CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN, CAP_NET_RAW"), "{text}");
    assert!(!pins.path.exists());
}

#[test]
fn an_empty_directory_of_another_layout_is_no_obstacle() {
    let pins = Pins::new("empty");
    make_private(&pins.path.join(format!("v{}", LAYOUT_VERSION + 1)));
    make_private(&pins.path.join("violet"));
    pins.open();
    assert!(!pins.path.join(format!("v{}", LAYOUT_VERSION + 1)).exists());
    assert!(pins.path.join("violet").exists(), "not ours");
}

#[test]
fn a_pinned_map_with_values_of_another_size_is_refused() {
    let pins = Pins::new("value");
    pin_array::<[u64; 12]>(&pins, map_names::PEERS, 9);
    let text = refusal(pins.try_open());
    let path = pins.layout().join(map_names::PEERS);
    assert!(text.contains(path.to_str().unwrap()), "{text}");
    assert!(text.contains("value size 96") && text.contains("needs 128"), "{text}");
    assert!(text.contains(&format!("rm -r {}", pins.layout().display())), "{text}");
}

#[test]
fn a_pinned_map_of_another_type_is_refused() {
    let pins = Pins::new("type");
    pin_array::<PeerIndex>(&pins, map_names::PEER_BY_NBMA, 8);
    let text = refusal(pins.try_open());
    assert!(text.contains(map_names::PEER_BY_NBMA) && text.contains("map type 2"), "{text}");
}

#[test]
fn a_pinned_map_with_keys_of_another_size_is_refused() {
    let pins = Pins::new("key");
    make_private(&pins.layout());
    let map = HashMap::<MapData, [u32; 6], PeerIndex>::create(8, 0).unwrap();
    map.pin(pins.layout().join(map_names::PEER_BY_NBMA)).unwrap();
    let text = refusal(pins.try_open());
    assert!(text.contains("key size 24") && text.contains("needs 28"), "{text}");
}

#[test]
fn another_max_peers_is_refused_with_both_values() {
    let pins = Pins::new("max");
    drop(pins.open());
    let text = refusal(DataPath::open(&Options { max_peers: 100, ..pins.options() }));
    assert!(text.contains("made with max-peers 8, now it is 100"), "{text}");
    pins.open();
}

#[test]
fn a_map_that_lost_its_pin_is_made_again() {
    let pins = Pins::new("lost");
    drop(pins.open());
    fs::remove_file(pins.layout().join(map_names::REDIRECT_SEEN)).unwrap();
    pins.open();
    assert!(pins.layout().join(map_names::REDIRECT_SEEN).exists());
}

#[test]
fn events_can_be_taken_once() {
    let pins = Pins::new("events");
    let mut data_path = pins.open();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    let _context = runtime.enter();
    let events = data_path.events().unwrap();
    assert_eq!(events.malformed(), 0);
    assert!(data_path.events().is_err_and(|error| error.to_string().contains("already taken")));
    data_path.log().unwrap();
    assert!(data_path.log().is_err_and(|error| error.to_string().contains("already taken")));
}
