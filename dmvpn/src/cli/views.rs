//! A table for every view, with the columns operators know from Cisco and FRR.

use std::fmt::Display;

use super::{
    span::{span, span_or_never},
    table::{
        Column::{Number, Words},
        render,
    },
};
use crate::control::protocol::{
    Answer, CacheFlag, CacheKind, CacheRow, CounterRow, DropRow, EntryState, GroupRow, InterfaceRow, NhsRow,
    NhsState, PacketCount, Path, PeerAttribute, PeerRow, PeerState, ShortcutRow, TcHook, XdpHook,
};

/// The text for an answer; `all`: with drops and errors that never happened.
pub(super) fn text(answer: Answer, all: bool) -> String {
    match answer {
        Answer::Peers(rows) => peers(rows),
        Answer::Cache(rows) => cache(rows),
        Answer::Nhs(rows) => nhs(rows),
        Answer::Shortcuts(rows) => shortcuts(rows),
        Answer::Interfaces(rows) => interfaces(rows),
        Answer::Drops(rows) => drops(rows, all),
        Answer::Groups(rows) => groups(rows),
        Answer::Counters(rows) => counters(&rows, all),
        Answer::Error(reason) => format!("{reason}\n"),
    }
}

fn peers(mut rows: Vec<PeerRow>) -> String {
    if rows.is_empty() {
        return "no peers\n".into();
    }
    rows.sort_by(|one, other| (&one.interface, one.index).cmp(&(&other.interface, other.index)));
    let columns = [
        Words("Interface"),
        Number("Index"),
        Words("Peer NBMA"),
        Words("Claimed NBMA"),
        Words("Peer tunnel address"),
        Words("State"),
        Number("UpDn time"),
        Words("Attrb"),
        Number("Rx packets"),
        Number("Rx bytes"),
        Number("Tx packets"),
        Number("Tx bytes"),
        Words("Paths"),
        Words("Underlay"),
        Number("MTU"),
    ];
    render(&columns, rows.into_iter().map(peer))
}

fn peer(row: PeerRow) -> Vec<String> {
    let state = match row.state {
        PeerState::Up => "UP",
        PeerState::Down => "DOWN",
    };
    let attributes: String = row
        .attributes
        .iter()
        .map(|attribute| match attribute {
            PeerAttribute::Static => "S",
            PeerAttribute::Dynamic => "D",
            PeerAttribute::Incomplete => "I",
            PeerAttribute::Nat => "N",
            PeerAttribute::Local => "L",
            PeerAttribute::Route => "T1",
        })
        .collect();
    let paths: Vec<_> = row
        .paths
        .iter()
        .map(|row| match row.path {
            Path::Xdp => "xdp",
            Path::Tc => "tc",
            Path::Slow => "slow",
        })
        .collect();
    let underlay = row.underlay.map(|underlay| match underlay.gateway {
        Some(gateway) => format!("{} via {gateway}", underlay.interface),
        None => underlay.interface,
    });
    vec![
        row.interface,
        row.index.to_string(),
        row.nbma.to_string(),
        or_dash(row.claimed_nbma),
        list(&row.protocol),
        state.into(),
        span(row.since_seconds),
        if attributes.is_empty() { "-".into() } else { attributes },
        row.received_packets.to_string(),
        row.received_bytes.to_string(),
        row.sent_packets.to_string(),
        row.sent_bytes.to_string(),
        if paths.is_empty() { "-".into() } else { paths.join(",") },
        or_dash(underlay),
        row.mtu.to_string(),
    ]
}

fn cache(mut rows: Vec<CacheRow>) -> String {
    if rows.is_empty() {
        return "no cache entries\n".into();
    }
    rows.sort_by(|one, other| (&one.interface, one.protocol).cmp(&(&other.interface, other.protocol)));
    let columns = [
        Words("Interface"),
        Words("Type"),
        Words("Protocol"),
        Words("NBMA"),
        Words("Claimed NBMA"),
        Words("State"),
        Number("Created"),
        Number("Expires"),
        Words("Flags"),
    ];
    render(&columns, rows.into_iter().map(cache_entry))
}

fn cache_entry(row: CacheRow) -> Vec<String> {
    let kind = match row.kind {
        CacheKind::Local => "local",
        CacheKind::Static => "static",
        CacheKind::Nhs => "nhs",
        CacheKind::Dynamic => "dynamic",
        CacheKind::Cached => "cached",
        CacheKind::Adopted => "adopted",
        CacheKind::Incomplete => "incomplete",
        CacheKind::Negative => "negative",
    };
    let flags: Vec<&str> = row
        .flags
        .iter()
        .map(|flag| match flag {
            CacheFlag::Authoritative => "authoritative",
            CacheFlag::Implicit => "implicit",
            CacheFlag::Unique => "unique",
            CacheFlag::Registered => "registered",
            CacheFlag::Router => "router",
            CacheFlag::Used => "used",
            CacheFlag::Nat => "nat",
            CacheFlag::Rib => "rib",
        })
        .collect();
    vec![
        row.interface,
        kind.into(),
        row.protocol.to_string(),
        or_dash(row.nbma),
        or_dash(row.claimed_nbma),
        entry_state(row.state).into(),
        span(row.created_seconds),
        span_or_never(row.expires_seconds),
        list(&flags),
    ]
}

fn nhs(rows: Vec<NhsRow>) -> String {
    if rows.is_empty() {
        return "no next hop servers\n".into();
    }
    let columns = [
        Words("Interface"),
        Words("Protocol"),
        Words("NBMA"),
        Words("State"),
        Number("Since"),
        Number("Priority"),
        Number("Cluster"),
        Number("Sent"),
        Number("Failed"),
        Number("Replies"),
        Number("Last reply"),
        Number("Next request"),
        Words("Seen as"),
    ];
    let cells = |row: NhsRow| {
        let (letters, word) = match row.state {
            NhsState::Waiting => ("W", "waiting"),
            NhsState::Expecting => ("E", "expecting"),
            NhsState::Responding => ("RE", "responding"),
        };
        let dynamic = if row.dynamic { "D" } else { "" };
        vec![
            row.interface,
            row.protocol.map_or_else(|| "dynamic".to_owned(), |protocol| protocol.to_string()),
            match row.name {
                Some(name) => format!("{} ({name})", or_dash(row.nbma)),
                None => or_dash(row.nbma),
            },
            format!("{letters}{dynamic} {word}"),
            span(row.since_seconds),
            row.priority.to_string(),
            row.cluster.to_string(),
            row.requests_sent.to_string(),
            row.requests_failed.to_string(),
            row.replies_received.to_string(),
            span_or_never(row.last_reply_seconds),
            span_or_never(row.next_request_seconds),
            or_dash(row.public),
        ]
    };
    render(&columns, rows.into_iter().map(cells))
}

fn shortcuts(mut rows: Vec<ShortcutRow>) -> String {
    if rows.is_empty() {
        return "no shortcuts\n".into();
    }
    rows.sort_by(|one, other| (&one.interface, one.prefix).cmp(&(&other.interface, other.prefix)));
    let columns = [
        Words("Interface"),
        Words("Prefix"),
        Words("Via"),
        Words("NBMA"),
        Words("State"),
        Number("Created"),
        Number("Expires"),
        Words("Used"),
    ];
    let cells = |row: ShortcutRow| {
        vec![
            row.interface,
            row.prefix.to_string(),
            or_dash(row.via),
            or_dash(row.nbma),
            entry_state(row.state).into(),
            span(row.created_seconds),
            span_or_never(row.expires_seconds),
            if row.used { "yes" } else { "no" }.into(),
        ]
    };
    render(&columns, rows.into_iter().map(cells))
}

fn interfaces(rows: Vec<InterfaceRow>) -> String {
    if rows.is_empty() {
        return "no tunnel interfaces\n".into();
    }
    let columns = [
        Words("Interface"),
        Number("Index"),
        Words("Address"),
        Number("Phase"),
        Number("Network"),
        Words("Source"),
        Number("Key"),
        Number("MTU"),
        Number("Peers"),
        Words("XDP"),
        Words("TC"),
        Words("Maps"),
    ];
    let cells = |row: InterfaceRow| {
        let hooks = row.xdp.iter().map(|hook| {
            let mode = match hook.mode {
                XdpHook::Native => "native",
                XdpHook::Generic => "generic",
                XdpHook::Offloaded => "offloaded",
                XdpHook::Tc => "tc",
            };
            let cpus: Vec<_> = hook.spread.iter().map(|row| row.cpu.to_string()).collect();
            let spread = if cpus.is_empty() { String::new() } else { format!(" (CPUs {})", cpus.join(" ")) };
            format!("{} {mode}{spread}", hook.interface)
        });
        let tc = match row.tc {
            TcHook::Tcx => "tcx",
            TcHook::Clsact => "clsact",
        };
        vec![
            row.name,
            row.ifindex.to_string(),
            row.address.to_string(),
            row.phase.to_string(),
            row.network_id.to_string(),
            or_dash(row.source),
            or_dash(row.key),
            row.mtu.to_string(),
            row.peers.to_string(),
            list(&hooks.collect::<Vec<_>>()),
            tc.into(),
            row.pin_directory.display().to_string(),
        ]
    };
    render(&columns, rows.into_iter().map(cells))
}

fn drops(rows: Vec<DropRow>, all: bool) -> String {
    let rows: Vec<DropRow> = rows.into_iter().filter(|row| all || row.packets > 0).collect();
    if rows.is_empty() {
        return "no drops\n".into();
    }
    let columns = [Words("Reason"), Number("Packets"), Number("Bytes"), Words("Explanation")];
    let cells =
        |row: DropRow| vec![row.reason, row.packets.to_string(), row.bytes.to_string(), row.explanation];
    render(&columns, rows.into_iter().map(cells))
}

fn groups(rows: Vec<GroupRow>) -> String {
    if rows.is_empty() {
        return "no groups\n".into();
    }
    let columns = [
        Words("Interface"),
        Words("Group"),
        Number("Bits/s"),
        Number("Burst"),
        Number("Peers"),
        Number("Passed"),
        Number("Bytes"),
        Number("Policed"),
        Number("Bytes"),
    ];
    let cells = |row: GroupRow| {
        vec![
            row.interface,
            row.name,
            row.rate.to_string(),
            row.burst.to_string(),
            row.peers.to_string(),
            row.passed_packets.to_string(),
            row.passed_bytes.to_string(),
            row.policed_packets.to_string(),
            row.policed_bytes.to_string(),
        ]
    };
    render(&columns, rows.into_iter().map(cells))
}

fn counters(rows: &[CounterRow], all: bool) -> String {
    if rows.is_empty() {
        return "no tunnel interfaces\n".into();
    }
    let packets = rows.iter().flat_map(|row| {
        let cells = |packet: &PacketCount| {
            vec![
                row.interface.clone(),
                packet.kind.clone(),
                packet.received.to_string(),
                packet.sent.to_string(),
            ]
        };
        row.packets.iter().map(cells)
    });
    let redirects = rows.iter().map(|row| {
        vec![
            row.interface.clone(),
            row.redirects_sent.to_string(),
            row.redirects_suppressed.to_string(),
            row.events_suppressed.to_string(),
        ]
    });
    let errors: Vec<Vec<String>> = rows
        .iter()
        .flat_map(|row| row.errors.iter().map(move |error| (&row.interface, error)))
        .filter(|(_, error)| all || error.count > 0)
        .map(|(interface, error)| {
            let packet = or_dash(error.packet.as_ref());
            vec![interface.clone(), error.cause.clone(), packet, error.count.to_string()]
        })
        .collect();

    let packets = render(&[Words("Interface"), Words("Packet"), Number("Received"), Number("Sent")], packets);
    let redirects = render(
        &[
            Words("Interface"),
            Number("Redirects sent"),
            Number("Suppressed"),
            Number("Log events suppressed"),
        ],
        redirects,
    );
    let errors = if errors.is_empty() {
        "no errors\n".into()
    } else {
        render(&[Words("Interface"), Words("Error"), Words("Received packet"), Number("Count")], errors)
    };
    format!("{packets}\n{redirects}\n{errors}")
}

fn entry_state(state: EntryState) -> &'static str {
    match state {
        EntryState::Up => "up",
        EntryState::Refreshing => "refreshing",
        EntryState::Pending => "pending",
        EntryState::Down => "down",
    }
}

fn or_dash(value: Option<impl Display>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// With commas between the values.
fn list(values: &[impl Display]) -> String {
    if values.is_empty() {
        return "-".into();
    }
    values.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::samples;

    #[track_caller]
    fn assert_text(answer: Answer, all: bool, expected: &str) {
        let text = text(answer, all);
        assert_eq!(text, expected, "got:\n{text}");
    }

    #[test]
    fn shows_peers() {
        assert_text(samples::peers(), false, include_str!("golden/peers.txt"));
    }

    #[test]
    fn shows_the_cache() {
        assert_text(samples::cache(), false, include_str!("golden/cache.txt"));
    }

    #[test]
    fn shows_servers() {
        assert_text(samples::nhs(), false, include_str!("golden/nhs.txt"));
    }

    #[test]
    fn shows_shortcuts() {
        assert_text(samples::shortcuts(), false, include_str!("golden/shortcuts.txt"));
    }

    #[test]
    fn shows_interfaces() {
        assert_text(samples::interfaces(), false, include_str!("golden/interfaces.txt"));
    }

    #[test]
    fn shows_drops() {
        assert_text(samples::drops(), false, include_str!("golden/drops.txt"));
    }

    #[test]
    fn shows_drops_that_never_happened_when_asked() {
        assert_text(samples::drops(), true, include_str!("golden/drops_all.txt"));
    }

    #[test]
    fn shows_counters() {
        assert_text(samples::counters(), false, include_str!("golden/counters.txt"));
    }

    #[test]
    fn shows_errors_that_never_happened_when_asked() {
        assert_text(samples::counters(), true, include_str!("golden/counters_all.txt"));
    }

    #[test]
    fn shows_groups() {
        assert_text(samples::groups(), false, include_str!("golden/groups.txt"));
    }

    #[test]
    fn says_that_there_is_nothing() {
        for (answer, expected) in [
            (Answer::Peers(Vec::new()), "no peers\n"),
            (Answer::Cache(Vec::new()), "no cache entries\n"),
            (Answer::Nhs(Vec::new()), "no next hop servers\n"),
            (Answer::Shortcuts(Vec::new()), "no shortcuts\n"),
            (Answer::Interfaces(Vec::new()), "no tunnel interfaces\n"),
            (Answer::Drops(Vec::new()), "no drops\n"),
            (Answer::Groups(Vec::new()), "no groups\n"),
            (Answer::Counters(Vec::new()), "no tunnel interfaces\n"),
        ] {
            assert_text(answer, false, expected);
        }
        let Answer::Drops(mut rows) = samples::drops() else { panic!("drops") };
        rows.retain(|row| row.packets == 0);
        assert_text(Answer::Drops(rows), false, "no drops\n");
    }

    #[test]
    fn shows_many_peers_in_reasonable_time() {
        let Answer::Peers(rows) = samples::peers() else { panic!("peers") };
        let many: Vec<PeerRow> = (0..16_384).map(|index| PeerRow { index, ..rows[0].clone() }).collect();
        let started = std::time::Instant::now();
        let text = text(Answer::Peers(many), false);
        assert_eq!(text.lines().count(), 16_385);
        // A second in a debug build on a busy machine; a quadratic algorithm would take minutes.
        assert!(started.elapsed() < std::time::Duration::from_secs(20), "{:?}", started.elapsed());
    }
}
