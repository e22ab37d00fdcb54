//! Attaching programs to interfaces, and taking over what an earlier agent attached.

use std::path::Path;

use aya::programs::{
    SchedClassifier, TcAttachType,
    links::{FdLink, PinnedLink},
};
use dmvpn::{
    config::XdpMode,
    datapath::{Hook, LinkName, RunningMode, TcMode},
};

use crate::testbed::{Pins, chain, eventually, in_namespace, ip, run};

/// Ids of a pinned link and of the program it holds.
fn ids(pin: &Path) -> (u32, u32) {
    let info = FdLink::from(PinnedLink::from_pin(pin).unwrap()).info().unwrap();
    (info.id(), info.program_id())
}

fn add_veth(name: &str) {
    ip(&format!("link add {name} type veth"));
    ip(&format!("link set {name} up"));
}

/// Whether `ip` shows an XDP program on the interface, whatever its mode.
fn has_xdp(interface: &str) -> bool {
    ip(&format!("-details link show dev {interface}")).contains("prog/xdp")
}

/// How many programs TCX runs on the egress of an interface.
fn tcx_programs(interface: &str) -> usize {
    SchedClassifier::query_tcx(interface, TcAttachType::Egress).unwrap().1.len()
}

/// The filters on the egress of an interface.
fn clsact_filters(interface: &str) -> Vec<String> {
    let list = run("tc", &format!("filter show dev {interface} egress"));
    list.lines().filter(|line| line.contains("handle")).map(str::to_owned).collect()
}

#[test]
fn attaches_natively_and_a_restart_swaps_the_program_in_the_link() {
    in_namespace(|| {
        add_veth("under");
        let pins = Pins::new("xdp");
        let mut data_path = pins.open();
        let attachment = data_path.attach_xdp("under", XdpMode::Auto).unwrap();
        assert_eq!((attachment.mode, attachment.kept), (RunningMode::Native, false));
        assert_eq!(attachment.fallback, None);
        let pin = pins.layout().join("link_xdp_under");
        let (link, program) = ids(&pin);
        drop(data_path);
        assert!(has_xdp("under"), "the program outlives the agent");

        let mut data_path = pins.open();
        let attachment = data_path.attach_xdp("under", XdpMode::Auto).unwrap();
        assert_eq!((attachment.mode, attachment.kept), (RunningMode::Native, true));
        let (same_link, new_program) = ids(&pin);
        assert_eq!(same_link, link, "never detached");
        assert_ne!(new_program, program, "but another program");

        data_path.close().unwrap();
        assert!(!pins.path.exists());
        eventually("the program goes with the link", || !has_xdp("under"));
    });
}

#[test]
fn attaching_twice_in_one_run_changes_nothing() {
    in_namespace(|| {
        add_veth("under");
        let pins = Pins::new("xdp-twice");
        let mut data_path = pins.open();
        data_path.attach_xdp("under", XdpMode::Native).unwrap();
        let before = ids(&pins.layout().join("link_xdp_under"));
        assert!(data_path.attach_xdp("under", XdpMode::Native).unwrap().kept);
        assert_eq!(ids(&pins.layout().join("link_xdp_under")), before);
    });
}

#[test]
fn generic_mode_is_used_when_asked_for() {
    in_namespace(|| {
        add_veth("under");
        let pins = Pins::new("generic");
        let mut data_path = pins.open();
        let attachment = data_path.attach_xdp("under", XdpMode::Generic).unwrap();
        assert_eq!((attachment.mode, attachment.fallback), (RunningMode::Generic, None));
    });
}

#[test]
fn a_driver_without_native_mode_is_refused_or_falls_back_with_the_reason() {
    in_namespace(|| {
        let pins = Pins::new("fallback");
        let mut data_path = pins.open();
        let error = data_path.attach_xdp("lo", XdpMode::Native).unwrap_err().to_string();
        assert!(error.contains("XDP (native)") && error.contains("interface lo"), "{error}");
        assert!(error.contains("not supported"), "{error}");
        assert!(data_path.links().unwrap().is_empty());

        let attachment = data_path.attach_xdp("lo", XdpMode::Auto).unwrap();
        assert_eq!(attachment.mode, RunningMode::Generic);
        let reason = attachment.fallback.unwrap();
        assert!(reason.contains("not supported"), "{reason}");
        let kept = data_path.attach_xdp("lo", XdpMode::Auto).unwrap();
        assert!(kept.kept && kept.fallback.is_some_and(|reason| reason.contains("earlier")));
    });
}

#[test]
fn another_mode_replaces_the_link() {
    in_namespace(|| {
        add_veth("under");
        let pins = Pins::new("mode");
        pins.open().attach_xdp("under", XdpMode::Generic).unwrap();
        let attachment = pins.open().attach_xdp("under", XdpMode::Native).unwrap();
        assert_eq!((attachment.mode, attachment.kept), (RunningMode::Native, false));
        let attachment = pins.open().attach_xdp("under", XdpMode::Generic).unwrap();
        assert_eq!((attachment.mode, attachment.kept), (RunningMode::Generic, false));
    });
}

#[test]
fn an_interface_with_another_program_is_refused() {
    in_namespace(|| {
        add_veth("under");
        let (others, ours) = (Pins::new("occupant"), Pins::new("occupied"));
        others.open().attach_xdp("under", XdpMode::Native).unwrap();
        let (_, program) = ids(&others.layout().join("link_xdp_under"));
        let mut data_path = ours.open();
        for mode in [XdpMode::Auto, XdpMode::Native, XdpMode::Generic] {
            let error = data_path.attach_xdp("under", mode).unwrap_err().to_string();
            assert!(error.contains("already has another XDP program"), "{error}");
            assert!(error.contains(&format!("id {program}, native")), "{error}");
            assert!(error.contains("bpftool net show dev under"), "{error}");
        }
        assert!(data_path.links().unwrap().is_empty());
        assert_eq!(ids(&others.layout().join("link_xdp_under")).1, program, "left alone");
    });
}

#[test]
fn a_link_whose_interface_has_gone_is_replaced() {
    in_namespace(|| {
        add_veth("under");
        let pins = Pins::new("stale");
        let mut data_path = pins.open();
        data_path.attach_xdp("under", XdpMode::Auto).unwrap();
        data_path.attach_tc("under", TcMode::Tcx).unwrap();
        drop(data_path);
        ip("link del under");
        add_veth("under");
        let mut data_path = pins.open();
        assert!(!data_path.attach_xdp("under", XdpMode::Auto).unwrap().kept);
        assert!(!data_path.attach_tc("under", TcMode::Tcx).unwrap().kept);
        assert!(has_xdp("under"));
        assert_eq!(tcx_programs("under"), 1);
    });
}

#[test]
fn a_link_whose_interface_was_renamed_is_replaced() {
    in_namespace(|| {
        add_veth("under");
        let pins = Pins::new("renamed");
        let mut data_path = pins.open();
        data_path.attach_xdp("under", XdpMode::Auto).unwrap();
        data_path.attach_tc("under", TcMode::Tcx).unwrap();
        drop(data_path);
        ip("link set under down");
        ip("link set under name away");
        add_veth("under");
        let mut data_path = pins.open();
        assert!(!data_path.attach_xdp("under", XdpMode::Auto).unwrap().kept);
        assert!(!data_path.attach_tc("under", TcMode::Tcx).unwrap().kept);
        assert!(has_xdp("under"));
        eventually("the other interface is left", || !has_xdp("away") && tcx_programs("away") == 0);
    });
}

#[test]
fn an_interface_that_does_not_exist_is_named() {
    in_namespace(|| {
        let pins = Pins::new("missing");
        let mut data_path = pins.open();
        let errors = [
            data_path.attach_xdp("nothere", XdpMode::Auto).unwrap_err(),
            data_path.attach_tc("nothere", TcMode::Tcx).unwrap_err(),
            data_path.attach_xdp("with\0nul", XdpMode::Auto).unwrap_err(),
        ];
        for error in errors {
            assert!(error.to_string().contains("there is no interface"), "{}", chain(&error));
        }
    });
}

#[test]
fn an_interface_with_a_dot_in_its_name_can_be_pinned() {
    in_namespace(|| {
        add_veth("under.100");
        let pins = Pins::new("dotted");
        let mut data_path = pins.open();
        data_path.attach_xdp("under.100", XdpMode::Auto).unwrap();
        drop(data_path);
        let mut data_path = pins.open();
        assert!(data_path.attach_xdp("under.100", XdpMode::Auto).unwrap().kept);
        let [link] = &data_path.links().unwrap()[..] else { panic!("one link") };
        assert_eq!((link.hook, link.interface.as_str()), (Hook::Xdp, "under.100"));
    });
}

#[test]
fn a_restart_swaps_the_tunnel_program_in_its_link() {
    in_namespace(|| {
        add_veth("tun");
        let pins = Pins::new("tcx");
        let mut data_path = pins.open();
        let attachment = data_path.attach_tc("tun", TcMode::Tcx).unwrap();
        assert_eq!((attachment.mode, attachment.kept), (TcMode::Tcx, false));
        let pin = pins.layout().join("link_tc_tun");
        let (link, program) = ids(&pin);
        drop(data_path);

        let mut data_path = pins.open();
        let attachment = data_path.attach_tc("tun", TcMode::Tcx).unwrap();
        assert_eq!((attachment.mode, attachment.kept), (TcMode::Tcx, true));
        let (same_link, new_program) = ids(&pin);
        assert_eq!(same_link, link, "never detached");
        assert_ne!(new_program, program, "but another program");
        assert_eq!(tcx_programs("tun"), 1);
        data_path.close().unwrap();
        eventually("the program goes with the link", || tcx_programs("tun") == 0);
    });
}

#[test]
fn without_tcx_a_restart_replaces_the_filter() {
    in_namespace(|| {
        add_veth("tun");
        let pins = Pins::new("clsact");
        let mut data_path = pins.open();
        let attachment = data_path.attach_tc("tun", TcMode::Clsact).unwrap();
        assert_eq!((attachment.mode, attachment.kept), (TcMode::Clsact, false));
        let first = clsact_filters("tun");
        assert_eq!(first.len(), 1);
        drop(data_path);
        assert_eq!(clsact_filters("tun"), first, "the filter outlives the agent");

        let mut data_path = pins.open();
        let attachment = data_path.attach_tc("tun", TcMode::Clsact).unwrap();
        assert_eq!((attachment.mode, attachment.kept), (TcMode::Clsact, true));
        let second = clsact_filters("tun");
        assert_eq!(second.len(), 1, "replaced, not added");
        assert_ne!(second, first, "another program");
        data_path.close().unwrap();
        assert!(clsact_filters("tun").is_empty());
    });
}

#[test]
fn closing_does_not_mind_an_interface_that_has_gone() {
    in_namespace(|| {
        add_veth("tun");
        add_veth("under");
        let pins = Pins::new("vanished");
        let mut data_path = pins.open();
        data_path.attach_tc("tun", TcMode::Clsact).unwrap();
        data_path.attach_xdp("under", XdpMode::Auto).unwrap();
        ip("link del tun");
        ip("link del under");
        data_path.close().unwrap();
        assert!(!pins.path.exists());
    });
}

#[test]
fn one_interface_can_be_detached() {
    in_namespace(|| {
        add_veth("under");
        add_veth("tun");
        let pins = Pins::new("detach");
        let mut data_path = pins.open();
        data_path.attach_xdp("under", XdpMode::Auto).unwrap();
        data_path.attach_tc("tun", TcMode::Tcx).unwrap();
        let mut links = data_path.links().unwrap();
        links.sort();
        let expected = [(Hook::Xdp, "under"), (Hook::TcEgress, "tun")];
        let expected = expected.map(|(hook, name)| LinkName { hook, interface: name.to_owned() });
        assert_eq!(links, expected);
        data_path.detach(&expected[0]).unwrap();
        data_path.detach(&expected[0]).unwrap();
        eventually("the program goes with the link", || !has_xdp("under"));
        assert_eq!(data_path.links().unwrap(), expected[1..]);
        assert_eq!(tcx_programs("tun"), 1);
    });
}
