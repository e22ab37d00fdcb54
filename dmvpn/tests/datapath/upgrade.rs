//! What an agent of another layout left: its directory is that of this layout under another name. That types may differ
//! is the business of the tests of `btf` and of the lab.

use std::{fs, os::unix::fs::DirBuilderExt as _, path::PathBuf};

use aya::{
    maps::{Array, MapData},
    programs::{
        SchedClassifier, TcAttachType,
        links::{FdLink, PinnedLink},
        loaded_programs,
    },
};
use dmvpn::{
    config::XdpMode,
    datapath::{DataPath, Options, TcMode},
};
use dmvpn_common::{LAYOUT_VERSION, PeerState, map_names};

use crate::testbed::{Pins, in_namespace, ip, refusal, run, tunnel};

/// Versions before and after this one.
const OTHERS: [u32; 2] = [LAYOUT_VERSION - 1, LAYOUT_VERSION + 7];

fn other(pins: &Pins, version: u32) -> PathBuf {
    pins.path.join(format!("v{version}"))
}

/// Makes what is pinned that of another version.
fn age(pins: &Pins, version: u32) -> PathBuf {
    let other = other(pins, version);
    fs::rename(pins.layout(), &other).unwrap();
    other
}

/// What is in the pin directory.
fn directories(pins: &Pins) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(&pins.path)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn own_only() -> Vec<String> {
    vec![format!("v{LAYOUT_VERSION}")]
}

fn unfinished(pins: &Pins) -> PathBuf {
    let path = pins.path.join("unfinished");
    fs::DirBuilder::new().mode(0o700).create(&path).unwrap();
    path
}

/// Ids of a pinned link and of its program, and the program's name.
fn link(pin: PathBuf) -> (u32, u32, String) {
    let info = FdLink::from(PinnedLink::from_pin(pin).unwrap()).info().unwrap();
    let program = loaded_programs().map(Result::unwrap).find(|program| program.id() == info.program_id());
    (info.id(), info.program_id(), program.unwrap().name_as_str().unwrap().to_owned())
}

fn add_veths() {
    for name in ["under", "lan", "tun"] {
        ip(&format!("link add {name} type veth"));
        ip(&format!("link set {name} up"));
    }
}

/// Attaches a program of each kind.
fn attach_all(data_path: &mut DataPath) {
    data_path.attach_xdp("under", XdpMode::Native).unwrap();
    data_path.attach_lan("lan", XdpMode::Native).unwrap();
    data_path.attach_tc("tun", TcMode::Tcx).unwrap();
    data_path.attach_underlay_tc("under", TcMode::Tcx).unwrap();
}

const LINKS: [&str; 4] = ["link_xdp_under", "link_xdp_lan", "link_tc_tun", "link_tcin_under"];

/// How many programs run on the egress of the tunnel interface, and on the ingress of the underlay's.
fn tcx_programs() -> [usize; 2] {
    [("tun", TcAttachType::Egress), ("under", TcAttachType::Ingress)]
        .map(|(interface, direction)| SchedClassifier::query_tcx(interface, direction).unwrap().1.len())
}

/// Three peers, the second of which has gone again; indexes of the others.
fn add_peers(data_path: &mut DataPath) -> [u32; 2] {
    let tunnel = tunnel();
    data_path.tunnels.set(&tunnel).unwrap();
    let [first, second, third] = ["203.0.113.1", "203.0.113.2", "203.0.113.3"]
        .map(|nbma| data_path.peers.add(&tunnel, nbma.parse().unwrap(), PeerState::Up).unwrap());
    data_path.peers.remove(second).unwrap();
    for peer in [first, third] {
        data_path.multicast.add(&mut data_path.tunnels.interfaces, tunnel.ifindex, peer).unwrap();
    }
    [first, third]
}

#[test]
fn entries_of_another_version_are_taken_over() {
    for version in OTHERS {
        let pins = Pins::new(&format!("upgrade-entries-{version}"));
        let mut data_path = pins.open();
        let [first, third] = add_peers(&mut data_path);
        let peers = format!("{:?}", data_path.peers.entries().unwrap());
        let tunnels = format!("{:?}", data_path.tunnels.entries().unwrap());
        drop(data_path);
        age(&pins, version);

        let data_path = pins.open();
        assert_eq!(directories(&pins), own_only());
        assert_eq!(fs::read_dir(pins.layout()).unwrap().count(), map_names::ALL.len());
        assert_eq!(format!("{:?}", data_path.peers.entries().unwrap()), peers);
        assert_eq!(format!("{:?}", data_path.tunnels.entries().unwrap()), tunnels);
        assert_eq!(data_path.multicast.receivers(tunnel().ifindex), [third, first]);
        let found = data_path.peers.index_of(1, "203.0.113.1".parse().unwrap()).unwrap();
        assert_eq!(found, Some(first));
    }
}

#[test]
fn counts_go_on() {
    let pins = Pins::new("upgrade-counts");
    drop(pins.open());
    // As programs would: a value for each CPU, reason 7 of which is "truncated".
    let map = MapData::from_pin(pins.layout().join(map_names::COUNTERS)).unwrap();
    let mut counters: aya::maps::PerCpuArray<_, [u64; 3]> =
        aya::maps::PerCpuArray::try_from(aya::maps::Map::PerCpuArray(map)).unwrap();
    let cpus = aya::util::nr_cpus().unwrap() as u64;
    let values = (0..cpus).map(|cpu| [7, 10 + cpu, 1000]).collect::<Vec<_>>();
    counters.set(7, aya::maps::PerCpuValues::try_from(values).unwrap(), 0).unwrap();
    age(&pins, OTHERS[1]);

    let totals = pins.open().drops.totals().unwrap();
    let total = totals.iter().find(|total| total.reason as u32 == 7).unwrap();
    assert_eq!(total.packets, (0..cpus).map(|cpu| 10 + cpu).sum::<u64>());
    assert_eq!(total.bytes, 1000 * cpus);
}

#[test]
fn programs_are_swapped_in_the_links_of_another_version() {
    in_namespace(|| {
        add_veths();
        for version in OTHERS {
            let pins = Pins::new(&format!("upgrade-links-{version}"));
            let mut data_path = pins.open();
            attach_all(&mut data_path);
            drop(data_path);
            let old = age(&pins, version);
            let before = LINKS.map(|name| link(old.join(name)));

            let data_path = pins.open();
            assert_eq!(directories(&pins), own_only());
            let after = LINKS.map(|name| link(pins.layout().join(name)));
            for ((link, program, name), (same_link, new_program, same_name)) in before.iter().zip(&after) {
                assert_eq!((link, name), (same_link, same_name), "never detached, and the right successor");
                assert_ne!(program, new_program);
            }
            assert_eq!(tcx_programs(), [1, 1]);
            data_path.close().unwrap();
            assert!(!pins.path.exists());
        }
    });
}

#[test]
fn a_filter_of_another_version_is_replaced_in_place() {
    in_namespace(|| {
        add_veths();
        let pins = Pins::new("upgrade-clsact");
        let mut data_path = pins.open();
        data_path.attach_tc("tun", TcMode::Clsact).unwrap();
        drop(data_path);
        age(&pins, OTHERS[1]);
        let filters = || run("tc", "filter show dev tun egress");
        let before = filters();
        assert!(before.contains("dmvpn_tunnel"), "{before}");

        let mut data_path = pins.open();
        assert_eq!(filters(), before, "it forwards until it is replaced");
        assert!(data_path.attach_tc("tun", TcMode::Clsact).unwrap().kept);
        let after = filters();
        assert_ne!(after, before);
        assert_eq!(after.matches("handle 0x1 dmvpn_tunnel").count(), 1, "{after}");
        data_path.close().unwrap();
        assert!(!filters().contains("dmvpn_tunnel"));
    });
}

#[test]
fn maps_that_were_not_finished_are_made_again() {
    let pins = Pins::new("upgrade-half-made");
    let mut data_path = pins.open();
    let peers = add_peers(&mut data_path);
    drop(data_path);
    age(&pins, OTHERS[1]);
    let path = unfinished(&pins);
    Array::<MapData, u32>::create(1, 0).unwrap().pin(path.join(map_names::PEERS)).unwrap();

    let data_path = pins.open();
    assert_eq!(directories(&pins), own_only());
    assert_eq!(data_path.peers.entries().unwrap().iter().map(|(index, _)| *index).collect::<Vec<_>>(), peers);
}

#[test]
fn maps_that_were_not_all_removed_go() {
    let pins = Pins::new("upgrade-half-removed");
    let mut data_path = pins.open();
    let peers = add_peers(&mut data_path);
    drop(data_path);
    let path = unfinished(&pins);
    Array::<MapData, u32>::create(1, 0).unwrap().pin(path.join("OF_ANOTHER_VERSION")).unwrap();

    let data_path = pins.open();
    assert_eq!(directories(&pins), own_only());
    assert_eq!(data_path.peers.entries().unwrap().len(), peers.len());
}

/// Killed while links were moved: whoever comes next has maps of its own, which are complete. Both versions do.
#[test]
fn links_that_were_not_all_moved_are_moved_on_or_back() {
    in_namespace(|| {
        add_veths();
        for moved in 0..=LINKS.len() {
            let pins = Pins::new(&format!("upgrade-half-moved-{moved}"));
            let mut data_path = pins.open();
            add_peers(&mut data_path);
            attach_all(&mut data_path);
            drop(data_path);
            // The other version's maps: the same, of which some links are left.
            let old = age(&pins, OTHERS[1]);
            drop(pins.open());
            fs::create_dir(&old).unwrap();
            fs::set_permissions(&old, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
            Array::<MapData, u32>::create(1, 0).unwrap().pin(old.join(map_names::PEERS)).unwrap();
            for name in &LINKS[moved..] {
                fs::rename(pins.layout().join(name), old.join(name)).unwrap();
            }

            let data_path = pins.open();
            assert_eq!(directories(&pins), own_only(), "{moved}");
            assert_eq!(data_path.peers.entries().unwrap().len(), 2, "its own peers, not the other's");
            assert_eq!(tcx_programs(), [1, 1]);
            for name in LINKS {
                link(pins.layout().join(name));
            }
            data_path.close().unwrap();
            assert!(!pins.path.exists());
        }
    });
}

#[test]
fn a_link_whose_interface_has_gone_goes_too() {
    in_namespace(|| {
        add_veths();
        let pins = Pins::new("upgrade-gone");
        let mut data_path = pins.open();
        attach_all(&mut data_path);
        drop(data_path);
        age(&pins, OTHERS[1]);
        ip("link delete tun");
        ip("link delete lan");

        let data_path = pins.open();
        assert_eq!(directories(&pins), own_only());
        let left: Vec<_> = data_path.links().unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(left.len(), 2, "{left:?}");
        assert!(left.iter().all(|link| link.ends_with("of under")), "{left:?}");
    });
}

/// Opening must fail with all of `words`, and change nothing.
fn refuses(pins: &Pins, options: &Options, words: &[&str]) {
    let before = directories(pins);
    let text = refusal(DataPath::open(options));
    for word in words {
        assert!(text.contains(word), "no \"{word}\" in: {text}");
    }
    assert_eq!(directories(pins), before, "{text}");
}

#[test]
fn maps_that_dmvpn_did_not_make_are_refused() {
    let pins = Pins::new("upgrade-foreign");
    drop(pins.open());
    let old = age(&pins, OTHERS[1]);
    let peers = old.join(map_names::PEERS);
    let advice = format!("rm -r {}", old.display());

    fs::remove_file(&peers).unwrap();
    Array::<MapData, u32>::create(1, 0).unwrap().pin(&peers).unwrap();
    refuses(&pins, &pins.options(), &["no type information", peers.to_str().unwrap(), &advice]);

    fs::remove_file(&peers).unwrap();
    fs::hard_link(old.join(map_names::EVENTS), &peers).unwrap();
    refuses(&pins, &pins.options(), &["its type, 27, is none", &advice]);

    // A map of ours, in the place of another.
    fs::remove_file(&peers).unwrap();
    fs::hard_link(old.join(map_names::PEER_COUNTERS), &peers).unwrap();
    refuses(&pins, &pins.options(), &["another kind of map under this name", &advice]);
}

#[test]
fn a_map_in_the_place_of_another_is_refused() {
    let pins = Pins::new("upgrade-mixed");
    let mut data_path = pins.open();
    add_peers(&mut data_path);
    drop(data_path);
    let old = age(&pins, OTHERS[0]);
    fs::remove_file(old.join(map_names::PEER_BY_NBMA)).unwrap();
    fs::hard_link(old.join(map_names::TUNNELS), old.join(map_names::PEER_BY_NBMA)).unwrap();
    refuses(&pins, &pins.options(), &["PEER_BY_NBMA", "key: value: the other version has something else"]);
}

#[test]
fn a_pin_that_is_no_map_is_refused() {
    in_namespace(|| {
        add_veths();
        let pins = Pins::new("upgrade-no-map");
        let mut data_path = pins.open();
        attach_all(&mut data_path);
        drop(data_path);
        let old = age(&pins, OTHERS[1]);
        fs::remove_file(old.join(map_names::PEERS)).unwrap();
        fs::hard_link(old.join(LINKS[0]), old.join(map_names::PEERS)).unwrap();
        refuses(&pins, &pins.options(), &["PEERS", "it is no map", "rm -r"]);
        assert_eq!(tcx_programs(), [1, 1], "what forwards is left alone");
    });
}

#[test]
fn a_pin_that_is_no_link_is_named_and_tried_again_the_next_time() {
    in_namespace(|| {
        add_veths();
        let pins = Pins::new("upgrade-no-link");
        let mut data_path = pins.open();
        add_peers(&mut data_path);
        attach_all(&mut data_path);
        drop(data_path);
        let old = age(&pins, OTHERS[1]);
        let foreign = old.join("link_xdp_zz");
        fs::hard_link(old.join(map_names::PEERS), &foreign).unwrap();
        let text = refusal(pins.try_open());
        assert!(text.contains(foreign.to_str().unwrap()), "{text}");
        fs::remove_file(&foreign).unwrap();

        let data_path = pins.open();
        assert_eq!(directories(&pins), own_only());
        assert_eq!(data_path.peers.entries().unwrap().len(), 2);
        assert_eq!(data_path.links().unwrap().len(), LINKS.len());
        assert_eq!(tcx_programs(), [1, 1]);
    });
}

#[test]
fn peers_that_do_not_fit_are_refused() {
    let pins = Pins::new("upgrade-small");
    let mut data_path = pins.open();
    let [_, third] = add_peers(&mut data_path);
    drop(data_path);
    age(&pins, OTHERS[1]);
    let small = Options { max_peers: third - 1, ..pins.options() };
    refuses(&pins, &small, &[&format!("entry {third} is in use"), "max-peers"]);
    // More room is no obstacle.
    let large = DataPath::open(&Options { max_peers: 100, ..pins.options() }).unwrap();
    assert_eq!((large.peers.capacity(), large.peers.entries().unwrap().len()), (100, 2));
}

#[test]
fn without_memory_nothing_changes() {
    let pins = Pins::new("upgrade-memory");
    let mut data_path = pins.open();
    add_peers(&mut data_path);
    drop(data_path);
    age(&pins, OTHERS[1]);
    refuses(&pins, &Options { max_peers: u32::MAX - 1, ..pins.options() }, &["cannot load the eBPF object"]);
    assert_eq!(pins.open().peers.entries().unwrap().len(), 2);
}

#[test]
fn who_may_not_look_is_told_what_it_takes() {
    let pins = Pins::new("upgrade-capability");
    drop(pins.open());
    age(&pins, OTHERS[1]);
    let options = pins.options();
    let body = move || {
        // SAFETY: changes the capabilities of this thread only, which ends with the test.
        #[expect(unsafe_code, reason = "there is no wrapper")]
        unsafe {
            let mut header = [0x2008_0522_u32, 0];
            let mut sets = [0_u32; 6];
            assert_eq!(libc::syscall(libc::SYS_capget, header.as_mut_ptr(), sets.as_mut_ptr()), 0);
            // CAP_SYS_ADMIN out of the effective set.
            sets[0] &= !(1 << 21);
            assert_eq!(libc::syscall(libc::SYS_capset, header.as_mut_ptr(), sets.as_ptr()), 0);
        }
        refusal(DataPath::open(&options))
    };
    let text = std::thread::spawn(body).join().unwrap();
    assert!(text.contains("CAP_SYS_ADMIN") && text.contains("as root"), "{text}");
    assert_eq!(directories(&pins), [format!("v{}", OTHERS[1])]);
}
