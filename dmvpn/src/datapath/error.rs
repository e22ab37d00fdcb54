//! What can go wrong with the data path, said so that an operator can act on it.

use std::{io, net::IpAddr, path::PathBuf};

use aya::{
    EbpfError,
    maps::{MapError, xdp::XdpMapError},
    programs::ProgramError,
};
use thiserror::Error;

/// An error of the data path. The causes of the kernel or of aya follow as its source.
#[derive(Debug, Error)]
pub enum DataPathError {
    /// The process lacks capabilities.
    #[error(
        "missing {}: run dmvpn as root, or grant them to its service (systemd: AmbientCapabilities=)",
        .missing.join(", ")
    )]
    MissingCapabilities {
        /// Their names.
        missing: Vec<&'static str>,
    },
    /// The parent of the pin directory is on another kind of file system.
    #[error(
        "pin-directory {}: its parent is not on a BPF file system; mount one with `mount -t bpf bpf /sys/fs/bpf`",
        .path.display()
    )]
    NotOnBpfFileSystem {
        /// The pin directory.
        path: PathBuf,
    },
    /// Others than the agent's user can change what is pinned.
    #[error(
        "pin directory {} must belong to the user that runs dmvpn and to nobody else: it belongs to user {owner} and \
         has mode {mode:03o}; remove it, or `chown` it and `chmod 700` it if you know who made it",
        .path.display()
    )]
    PinDirectoryExposed {
        /// The directory.
        path: PathBuf,
        /// User id of its owner.
        owner: u32,
        /// Its permission bits.
        mode: u32,
    },
    /// Another agent runs with the same pin directory.
    #[error(
        "pin directory {} is in use by another dmvpn agent: stop that one, or give each agent its own pin-directory",
        .path.display()
    )]
    PinDirectoryInUse {
        /// The directory.
        path: PathBuf,
    },
    /// A map of another version of dmvpn cannot be taken over.
    #[error(
        "cannot take over the map {} of another version of dmvpn: {reason}. Nothing was changed: run the version that \
         made it, or start afresh after `rm -r {}` (its tunnels stop forwarding until this version has started)",
        .path.display(), .path.parent().unwrap_or(.path).display()
    )]
    TakeOver {
        /// Where it is pinned; the file name is the map's name.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// A file system operation failed.
    #[error("cannot {operation} {}", .path.display())]
    File {
        /// What was tried, as a verb.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A map an earlier run pinned does not fit.
    #[error(
        "pinned map {} has {property} {pinned}, but this agent needs {expected}{hint}. To start afresh remove it with \
         `rm -r {}` (tunnels stop forwarding until the agent has started)",
        .path.display(), .path.parent().unwrap_or(.path).display()
    )]
    PinnedMapMismatch {
        /// Where it is pinned; the file name is the map's name.
        path: PathBuf,
        /// What differs.
        property: &'static str,
        /// The value the pinned map has.
        pinned: u32,
        /// The value this agent needs.
        expected: u32,
        /// Which setting the size comes from, empty if none.
        hint: String,
    },
    /// The embedded object file cannot be used: a defect of the build.
    #[error("the embedded eBPF object has no {what}: this dmvpn was built wrongly, build it again")]
    ObjectIncomplete {
        /// What is missing or wrong.
        what: String,
    },
    /// The kernel or the loader refused the object or one of its maps.
    #[error("cannot load the eBPF object")]
    Load(#[source] Box<EbpfError>),
    /// The kernel refused a program.
    #[error("the kernel refuses the eBPF program {program}")]
    Program {
        /// Its name.
        program: &'static str,
        /// Why, with the verifier's log.
        source: Box<ProgramError>,
    },
    /// A CPU that is to share the work does not run.
    #[error("spread: CPU {cpu} is not online: the CPUs of this box that are, are {online}")]
    CpuNotOnline {
        /// Its number.
        cpu: u32,
        /// Those that are, as the kernel lists them: `0-3,6`.
        online: String,
    },
    /// The kernel does not let packets be handed over to another CPU.
    #[error("the kernel refuses to hand packets over to CPU {cpu}: `spread: off` does without")]
    Spread {
        /// Its number.
        cpu: u32,
        /// Why not.
        source: Box<XdpMapError>,
    },
    /// A map operation failed.
    #[error("cannot {operation} map {map}")]
    Map {
        /// Name of the map.
        map: &'static str,
        /// What was tried, as a verb.
        operation: &'static str,
        /// Why not.
        source: Box<MapError>,
    },
    /// No room for another peer.
    #[error("peer table full: {capacity} peers; raise max-peers")]
    PeerTableFull {
        /// How many fit.
        capacity: u32,
    },
    /// No room for another next hop of the underlay.
    #[error("underlay table full: {capacity} next hops")]
    UnderlayTableFull {
        /// How many fit.
        capacity: u32,
    },
    /// A peer index that names no peer.
    #[error("no peer has the index {index}")]
    NoSuchPeer {
        /// The index.
        index: u32,
    },
    /// Local and remote NBMA address are of different families.
    #[error("NBMA address {remote} of the peer and our own, {local}, are not both IPv4 or both IPv6")]
    FamilyMismatch {
        /// Ours.
        local: IpAddr,
        /// The peer's.
        remote: IpAddr,
    },
    /// There is no such interface in this network namespace.
    #[error("there is no interface {interface} in this network namespace")]
    NoSuchInterface {
        /// Its name.
        interface: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// Somebody else's XDP program is on the interface.
    #[error(
        "interface {interface} already has another XDP program ({found}), and an interface can only have one: find its \
         owner with `bpftool net show dev {interface}`, detach it with `ip link set dev {interface} xdp off`, or take \
         {interface} out of dmvpn's configuration"
    )]
    XdpOccupied {
        /// The interface.
        interface: String,
        /// What is there.
        found: String,
    },
    /// A program could not be attached.
    #[error("cannot attach {hook} to interface {interface}: {reason}")]
    Attach {
        /// What and how, for example `XDP (native)`.
        hook: &'static str,
        /// The interface.
        interface: String,
        /// Why not, with what helps where that is known.
        reason: String,
    },
    /// The kernel attached the program without a link, so it would not survive a restart.
    #[error(
        "this kernel attaches XDP to {interface} only without a BPF link, so it cannot be pinned and traffic would stop \
         whenever the agent does; it was detached again. Use a newer kernel (6.1 or later)"
    )]
    NotPinnable {
        /// The interface.
        interface: String,
    },
    /// The kernel could not be asked what is attached to an interface.
    #[error("cannot ask what is attached to interface {interface}")]
    Query {
        /// The interface.
        interface: String,
        /// Why not.
        source: io::Error,
    },
    /// The events (or the log) can only be taken once.
    #[error("the {what} of the data path were already taken")]
    AlreadyTaken {
        /// What.
        what: &'static str,
    },
    /// A ring buffer could not be registered with the runtime.
    #[error("cannot wait for the {what} of the data path")]
    Wait {
        /// What.
        what: &'static str,
        /// Why not.
        source: io::Error,
    },
}

impl DataPathError {
    /// For `map_err` on a map operation.
    pub(super) fn map(map: &'static str, operation: &'static str) -> impl FnOnce(MapError) -> Self {
        move |source| Self::Map { map, operation, source: Box::new(source) }
    }
}
