//! `--keep`: everything stays, and the visitor is told where to look.

use std::fmt::Write as _;

use dmvpn_common::LAYOUT_VERSION;
use dmvpn_tests::config::TUNNEL;

use crate::{scenes::Demo, story::Story};

/// Leaves the network and the agents running and prints commands to try.
pub(crate) fn keep(demo: Demo, story: &Story) {
    let lab = &demo.lab;
    let name = lab.name();
    let (spoke, hub) = (&lab.spokes[0], &lab.hub);
    let dmvpn = demo.hub.program();
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write!(
        text,
        "Everything is still up. As root, look at:

the NHRP tables
  {dmvpn} show peers --socket {hub_socket}
  {dmvpn} show shortcuts --socket {spoke_socket}
  {dmvpn} show drops --socket {hub_socket}
the same in the kernel: shortcuts are routes, resolved next hops are neighbours
  ip -n {spoke_ns} route show proto 54
  ip -n {spoke_ns} neigh show dev {TUNNEL}
the data path's maps
  bpftool map lookup pinned {pins}/v{LAYOUT_VERSION}/PEERS key 1 0 0 0
  bpftool map dump pinned {pins}/v{LAYOUT_VERSION}/PEER_BY_NBMA
packets: send some from LAN to LAN, and watch them on the underlay's side of the spoke's wire and of the hub's
  nsenter --net=/run/netns/{lan} ping {target}
  nsenter --net=/run/netns/{name}-underlay tcpdump -n -i {spoke_name} ip proto 47
  nsenter --net=/run/netns/{name}-underlay tcpdump -n -i hub ip proto 47
configurations and logs
  ls {files}

Remove all of it: cargo xtask demo --clean",
        dmvpn = dmvpn.display(),
        hub_socket = demo.hub.config().control_socket.display(),
        spoke_socket = demo.spokes[0].config().control_socket.display(),
        spoke_ns = spoke.namespace.name(),
        pins = hub.pins.display(),
        lan = format_args!("{name}-lan-a"),
        target = demo.target,
        spoke_name = spoke.name,
        files = hub.files.display(),
    );
    story.lines(&text);
    demo.keep();
}
