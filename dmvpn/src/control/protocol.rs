//! What is said on the control socket: one line with a [`Request`], one line with a [`Response`], both JSON.
//!
//! Addresses are text, times are whole seconds, sizes are bytes, words are kebab-case. `--json` prints the
//! response as it is, so a field is never renamed or given another meaning without a new [`VERSION`]; a new field
//! may appear at any time.

use std::{net::IpAddr, path::PathBuf};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// Version of the responses.
pub const VERSION: u32 = 1;

/// What a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// Report a part of the agent's state: `{"show":"peers"}`.
    Show(View),
}

/// The parts of the agent's state that can be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum View {
    /// Remote nodes, one row an NBMA address of a tunnel.
    Peers,
    /// The NHRP cache.
    Cache,
    /// Next hop servers.
    Nhs,
    /// Shortcut routes.
    Shortcuts,
    /// Tunnel interfaces.
    Interfaces,
    /// Packets the data path dropped, by reason.
    Drops,
    /// Groups of peers whose traffic is limited.
    Groups,
    /// NHRP packets and errors.
    Counters,
}

/// What the agent answers: `{"version":1,"peers":[...]}` or `{"version":1,"error":"..."}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Response {
    /// Always [`VERSION`].
    pub version: u32,
    /// The answer, under its name.
    #[serde(flatten)]
    pub answer: Answer,
}

/// The body of a [`Response`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// For [`View::Peers`].
    Peers(Vec<PeerRow>),
    /// For [`View::Cache`].
    Cache(Vec<CacheRow>),
    /// For [`View::Nhs`].
    Nhs(Vec<NhsRow>),
    /// For [`View::Shortcuts`].
    Shortcuts(Vec<ShortcutRow>),
    /// For [`View::Interfaces`].
    Interfaces(Vec<InterfaceRow>),
    /// For [`View::Drops`]: every reason, also those that never happened.
    Drops(Vec<DropRow>),
    /// For [`View::Groups`].
    Groups(Vec<GroupRow>),
    /// For [`View::Counters`]: one row a tunnel.
    Counters(Vec<CounterRow>),
    /// The request was not understood or could not be carried out: why.
    Error(String),
}

impl From<Answer> for Response {
    fn from(answer: Answer) -> Self {
        Self { version: VERSION, answer }
    }
}

/// A remote node, like a line of Cisco's `show dmvpn`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerRow {
    /// Tunnel interface.
    pub interface: String,
    /// Index in `PEERS`, as in the neighbour's link-layer address.
    pub index: u32,
    /// Where its packets come from and go to.
    pub nbma: IpAddr,
    /// Where it says it is, when that is different: it is behind NAT.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claimed_nbma: Option<IpAddr>,
    /// Its protocol addresses.
    pub protocol: Vec<IpAddr>,
    /// Whether data is exchanged with it.
    pub state: PeerState,
    /// How it became a peer.
    pub attributes: Vec<PeerAttribute>,
    /// Time since it came into its state.
    pub since_seconds: u64,
    /// Packets received from it.
    pub received_packets: u64,
    /// Their bytes.
    pub received_bytes: u64,
    /// Packets sent to it.
    pub sent_packets: u64,
    /// Their bytes.
    pub sent_bytes: u64,
    /// The same by path; those that were never taken are left out, and an older agent says nothing of them.
    #[serde(default)]
    pub paths: Vec<PathRow>,
    /// How it is reached; absent while there is no route.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub underlay: Option<UnderlayRow>,
    /// Largest inner packet in bytes.
    pub mtu: u32,
    /// It gets copies of multicast packets.
    pub multicast: bool,
}

/// What was exchanged with a peer by one path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathRow {
    /// Which path.
    pub path: Path,
    /// Packets received from it.
    pub received_packets: u64,
    /// Their bytes.
    pub received_bytes: u64,
    /// Packets sent to it.
    pub sent_packets: u64,
    /// Their bytes.
    pub sent_bytes: u64,
    /// Of those sent, packets that came from another peer and never saw the kernel's routing.
    pub transit_packets: u64,
    /// Their bytes.
    pub transit_bytes: u64,
}

/// Who takes packets out of outer headers, and puts them in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Path {
    /// The XDP programs.
    Xdp,
    /// The TC programs.
    Tc,
    /// The agent.
    Slow,
}

/// Whether data is exchanged with a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PeerState {
    /// In both directions.
    Up,
    /// In none.
    Down,
}

/// How a peer became one. The tables show Cisco's letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PeerAttribute {
    /// `S`: configured, or a server.
    Static,
    /// `D`: registered or resolved.
    Dynamic,
    /// `I`: being resolved.
    Incomplete,
    /// `N`: behind NAT.
    Nat,
    /// `L`: this box.
    Local,
    /// `T1`: a shortcut route leads to it.
    Route,
}

/// How an NBMA address is reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnderlayRow {
    /// Interface packets leave by.
    pub interface: String,
    /// Next hop; absent when the peer is on the link.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
}

/// An entry of the NHRP cache, like Cisco's `show ip nhrp`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheRow {
    /// Tunnel interface.
    pub interface: String,
    /// Where the entry comes from.
    #[serde(rename = "type")]
    pub kind: CacheKind,
    /// Protocol addresses it is about.
    pub protocol: IpNet,
    /// Where they are; absent for incomplete and negative entries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nbma: Option<IpAddr>,
    /// Where they say they are, when that is different.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claimed_nbma: Option<IpAddr>,
    /// What else is known.
    pub flags: Vec<CacheFlag>,
    /// Time since the entry was made.
    pub created_seconds: u64,
    /// Time until it expires; absent: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_seconds: Option<u64>,
    /// Whether it can be used.
    pub state: EntryState,
    /// MTU that the station announced, 0 if none.
    pub mtu: u16,
}

/// Where a cache entry comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CacheKind {
    /// An address of this box.
    Local,
    /// The configuration.
    Static,
    /// A next hop server.
    Nhs,
    /// A registration.
    Dynamic,
    /// A resolution, or what a passing packet said of its sender.
    Cached,
    /// Left in the kernel by an earlier agent, not confirmed yet.
    Adopted,
    /// Asked for, not answered yet.
    Incomplete,
    /// The answer was that there is nothing.
    Negative,
}

/// What else is known about a cache entry; Cisco's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CacheFlag {
    /// The answer came from a server that the station registered with.
    Authoritative,
    /// Learnt from a packet that was not sent for it.
    Implicit,
    /// Nobody else may register the address.
    Unique,
    /// Learnt from a registration.
    Registered,
    /// A router, or a prefix behind one.
    Router,
    /// Traffic used it since the last renewal.
    Used,
    /// The station is behind NAT.
    Nat,
    /// A route of ours for it is in the kernel.
    Rib,
}

/// Whether a cache entry or shortcut can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EntryState {
    /// Installed, traffic uses it.
    Up,
    /// Installed, and being asked for again before it expires.
    Refreshing,
    /// Not installed: asked for, no answer yet.
    Pending,
    /// Not installed.
    Down,
}

/// A next hop server, like Cisco's `show ip nhrp nhs detail`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NhsRow {
    /// Tunnel interface.
    pub interface: String,
    /// Its protocol address; absent while it has to be learnt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<IpAddr>,
    /// Its protocol address is learnt from it (`address: dynamic`).
    pub dynamic: bool,
    /// Its NBMA address; absent while its host name has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nbma: Option<IpAddr>,
    /// The host name that the address belongs to, if the server is given by one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Whether it answers.
    pub state: NhsState,
    /// Time in this state.
    pub since_seconds: u64,
    /// Its priority, 0 the best.
    pub priority: u8,
    /// Its cluster.
    pub cluster: u8,
    /// Registration requests sent.
    pub requests_sent: u64,
    /// Of those, refused or never answered.
    pub requests_failed: u64,
    /// Registration replies received.
    pub replies_received: u64,
    /// Time since the last reply; absent: there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_reply_seconds: Option<u64>,
    /// Time until the next request; absent: none is planned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_request_seconds: Option<u64>,
    /// Our address as it sees it, when that is not ours: we are behind NAT.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public: Option<IpAddr>,
}

/// Whether a next hop server answers. The tables show Cisco's letters and the word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NhsState {
    /// `W`: not asked, because better ones answer or the tunnel is not ready.
    Waiting,
    /// `E`: asked, no answer.
    Expecting,
    /// `RE`: registered and answering.
    Responding,
}

/// A shortcut route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShortcutRow {
    /// Tunnel interface.
    pub interface: String,
    /// Destination.
    pub prefix: IpNet,
    /// Next hop; absent when the destination is itself the next hop, or not known yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub via: Option<IpAddr>,
    /// Where the next hop is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nbma: Option<IpAddr>,
    /// Whether the route is in the kernel.
    pub state: EntryState,
    /// Time since it was made.
    pub created_seconds: u64,
    /// Time until it expires; absent: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_seconds: Option<u64>,
    /// Traffic used it since the last renewal.
    pub used: bool,
}

/// A tunnel interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceRow {
    /// Its name.
    pub name: String,
    /// Its index.
    pub ifindex: u32,
    /// Our protocol address and the length of the subnet.
    pub address: IpNet,
    /// Cisco's phase, 1 to 3.
    pub phase: u8,
    /// NHRP network.
    pub network_id: u32,
    /// Our NBMA address; absent while the source interface has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<IpAddr>,
    /// GRE key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<u32>,
    /// MTU in bytes.
    pub mtu: u32,
    /// Underlay interfaces the XDP program is attached to.
    pub xdp: Vec<XdpRow>,
    /// How the TC program is attached.
    pub tc: TcHook,
    /// Peers of this tunnel.
    pub peers: u32,
    /// Directory of the pinned maps and links, with the layout version.
    pub pin_directory: PathBuf,
}

/// An underlay interface with the XDP program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct XdpRow {
    /// Its name.
    pub interface: String,
    /// How the program is attached.
    pub mode: XdpHook,
    /// The CPUs that share the work; none: a packet stays on the CPU where it comes in. Their counters are of all
    /// interfaces together.
    pub spread: Vec<CpuRow>,
}

/// A CPU that shares the work on received packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuRow {
    /// Its number.
    pub cpu: u32,
    /// Packets that other CPUs handed over to it.
    pub handed_over: u64,
    /// Of those, packets that it took. The others wait, or are lost because its queue was full.
    pub taken: u64,
}

/// How an XDP program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum XdpHook {
    /// In the driver: fast.
    Native,
    /// In the kernel's generic hook: works everywhere, slow.
    Generic,
    /// In the network card.
    Offloaded,
    /// Not in XDP but at TC: there is no native mode.
    Tc,
}

/// How a TC program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TcHook {
    /// As a TCX link (kernel 6.6 and later).
    Tcx,
    /// As a filter of a clsact qdisc.
    Clsact,
}

/// A group of peers, and what was sent to those who are in it now, all of them together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupRow {
    /// Tunnel interface.
    pub interface: String,
    /// Name in the configuration.
    pub name: String,
    /// Bits a second to each of them.
    pub rate: u64,
    /// Bytes at once to each of them.
    pub burst: u32,
    /// Peers in it now.
    pub peers: u32,
    /// Packets sent to them.
    pub passed_packets: u64,
    /// Their bytes.
    pub passed_bytes: u64,
    /// Packets dropped because they were too many.
    pub policed_packets: u64,
    /// Their bytes.
    pub policed_bytes: u64,
}

/// Packets dropped for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropRow {
    /// [`DropReason::name`](dmvpn_common::DropReason::name).
    pub reason: String,
    /// Packets.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What the reason means.
    pub explanation: String,
}

/// What NHRP did on one tunnel, like Cisco's `show ip nhrp traffic`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CounterRow {
    /// Tunnel interface.
    pub interface: String,
    /// Packets by type.
    pub packets: Vec<PacketCount>,
    /// Errors by cause and by the packet that was received. A cause that did not happen has one row.
    pub errors: Vec<ErrorCount>,
    /// Traffic Indications sent.
    pub redirects_sent: u64,
    /// Traffic Indications not sent because one was sent shortly before.
    pub redirects_suppressed: u64,
    /// Log events not written because too many came at once.
    pub events_suppressed: u64,
}

/// NHRP packets of one type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PacketCount {
    /// The type, as in `registration-request`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Received.
    pub received: u64,
    /// Sent.
    pub sent: u64,
}

/// NHRP errors of one cause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorCount {
    /// The cause, as in `authentication-failed`.
    pub cause: String,
    /// Type of the packet that was received; `None` where there was none, or where it could not be read.
    pub packet: Option<String>,
    /// How often.
    pub count: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::samples;

    #[test]
    fn requests_are_short_words() {
        for (view, text) in [
            (View::Peers, r#"{"show":"peers"}"#),
            (View::Cache, r#"{"show":"cache"}"#),
            (View::Nhs, r#"{"show":"nhs"}"#),
            (View::Shortcuts, r#"{"show":"shortcuts"}"#),
            (View::Interfaces, r#"{"show":"interfaces"}"#),
            (View::Drops, r#"{"show":"drops"}"#),
            (View::Groups, r#"{"show":"groups"}"#),
            (View::Counters, r#"{"show":"counters"}"#),
        ] {
            let request = Request::Show(view);
            assert_eq!(serde_json::to_string(&request).unwrap(), text);
            assert_eq!(serde_json::from_str::<Request>(text).unwrap(), request);
        }
    }

    #[test]
    fn every_answer_round_trips() {
        for answer in samples::all().into_iter().chain([Answer::Error("no".into())]) {
            let response = Response::from(answer);
            let text = serde_json::to_string(&response).unwrap();
            assert!(!text.contains('\n') && text.starts_with("{\"version\":1,\""), "{text}");
            assert_eq!(serde_json::from_str::<Response>(&text).unwrap(), response);
        }
    }

    /// Scripts depend on these names.
    #[test]
    fn a_peer_looks_as_scripts_expect_it() {
        let Answer::Peers(rows) = samples::peers() else { panic!("peers") };
        assert_eq!(
            serde_json::to_value(&rows[0]).unwrap(),
            serde_json::json!({
                "interface": "dmvpn0",
                "index": 12,
                "nbma": "203.0.113.5",
                "claimed_nbma": "192.168.1.5",
                "protocol": ["10.0.0.5", "10.0.0.6"],
                "state": "up",
                "attributes": ["dynamic", "nat", "route"],
                "since_seconds": 93784,
                "received_packets": 1_234_567,
                "received_bytes": 987_654_321,
                "sent_packets": 12,
                "sent_bytes": 3456,
                "paths": [
                    {
                        "path": "xdp",
                        "received_packets": 1_234_560,
                        "received_bytes": 987_654_000,
                        "sent_packets": 12,
                        "sent_bytes": 3456,
                        "transit_packets": 2,
                        "transit_bytes": 56,
                    },
                    {
                        "path": "slow",
                        "received_packets": 7,
                        "received_bytes": 321,
                        "sent_packets": 0,
                        "sent_bytes": 0,
                        "transit_packets": 0,
                        "transit_bytes": 0,
                    },
                ],
                "underlay": {"interface": "eth0", "gateway": "192.0.2.1"},
                "mtu": 1472,
                "multicast": true,
            })
        );
    }

    #[test]
    fn ignores_fields_of_a_newer_agent() {
        let text = r#"{"version":1,"news":1,"drops":[{"reason":"a","packets":1,"bytes":2,"explanation":"b","x":3}]}"#;
        let response: Response = serde_json::from_str(text).unwrap();
        assert!(matches!(response.answer, Answer::Drops(rows) if rows.len() == 1));
    }
}
