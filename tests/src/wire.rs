//! A wire between the underlay's router and a node: a veth pair made to behave like two NICs.
//!
//! A NIC puts complete packets of at most the MTU on the wire, and takes whatever arrives. A veth does neither by
//! itself:
//!
//! - It hands packets over as the sender left them: without a checksum (the NIC would add it) and larger than the MTU
//!   (the NIC would cut them up). An XDP program at the other end would see, and send on, garbage. So these offloads
//!   are off: the kernel completes packets before they leave.
//! - Frames that an XDP program sends (`XDP_TX`) are taken by the other end only when that has an XDP program too.
//!   Without one they wait in a ring that nobody empties, and are lost when it is full; generic receive offload at
//!   the other end makes it take redirected frames, but not these. So the router's end gets a program that lets
//!   everything pass.

use std::{fs, net::Ipv4Addr, path::Path};

use anyhow::{Context as _, Result};

use crate::{bpf, namespace::Namespace};

/// The node's end; the router's end has the name of the node.
pub const UNDERLAY: &str = "underlay0";

/// Connects a node to the router. `pin` is a path on a BPF file system that nobody else uses meanwhile.
pub(crate) fn connect(
    router: (&Namespace, Ipv4Addr),
    node: (&Namespace, Ipv4Addr),
    name: &str,
    pin: &Path,
) -> Result<()> {
    link(router, node, [name, UNDERLAY], pin)?;
    node.0.command(&format!("ip route add default via {}", router.1)).map(drop)
}

/// The same without a route; `interfaces` are the names of the router's end and of the node's.
pub(crate) fn link(
    router: (&Namespace, Ipv4Addr),
    node: (&Namespace, Ipv4Addr),
    interfaces: [&str; 2],
    pin: &Path,
) -> Result<()> {
    let (router, gateway) = router;
    let (node, address) = node;
    let [name, end] = interfaces;
    let inside = node.name();
    router.command(&format!("ip link add {name} type veth peer name {end} netns {inside}"))?;
    for (namespace, interface, address) in [(router, name, gateway), (node, end, address)] {
        namespace.command(&format!("ip address add {address}/24 dev {interface}"))?;
        namespace.command(&format!("ethtool -K {interface} tx off tso off gso off"))?;
        namespace.command(&format!("ip link set {interface} up"))?;
    }
    attach_pass_program(router, name, pin)
}

/// Attaches an XDP program to an interface that lets everything pass. `pin` is a path on a BPF file system that nobody
/// else uses meanwhile.
pub(crate) fn attach_pass_program(namespace: &Namespace, interface: &str, pin: &Path) -> Result<()> {
    bpf::pin_pass_program(pin).with_context(|| format!("cannot pin an XDP program at {}", pin.display()))?;
    let attached = namespace.command(&format!("ip link set dev {interface} xdpdrv pinned {}", pin.display()));
    // The interface keeps the program; the name has served its purpose.
    fs::remove_file(pin).with_context(|| format!("cannot remove {}", pin.display()))?;
    attached.map(drop)
}
