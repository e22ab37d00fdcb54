//! The engine's state and the kernel's, as text.

use std::{
    fmt::{Debug, Display},
    time::Duration,
};

use anyhow::{Result, bail};
use dmvpn::nhrp::engine::{CacheView, Engine, NhsView, PeerView, ShortcutView, Time, TunnelId};

use super::kernel::Kernel;

/// What is in a table of the engine.
pub(super) fn table(
    name: &str,
    engine: &Engine,
    kernel: &Kernel,
    tunnel: TunnelId,
    now: Time,
) -> Result<Vec<String>> {
    Ok(match name {
        "cache" => engine.cache(tunnel, now, kernel).map(|entry| cache(&entry)).collect(),
        "servers" => engine.servers(tunnel, now).map(|entry| server(&entry)).collect(),
        "shortcuts" => engine.shortcuts(tunnel, now, kernel).map(|entry| shortcut(&entry)).collect(),
        "peers" => engine.peers(tunnel, now).map(|entry| peer(&entry)).collect(),
        "tables" => {
            let tables = engine.tables(tunnel);
            tables.map(|table| format!("{}: {} of {}", table.name, table.entries, table.bound)).collect()
        }
        "counters" => counters(engine, tunnel),
        other => bail!("`{other}` is no table"),
    })
}

/// Everything that was counted, without zeros.
pub(super) fn counters(engine: &Engine, tunnel: TunnelId) -> Vec<String> {
    let Some(counters) = engine.counters(tunnel) else { return Vec::new() };
    let packets = counters.packets().filter(|&(_, received, sent)| received + sent > 0);
    let mut lines: Vec<_> = packets
        .map(|(kind, received, sent)| format!("{}: received {received}, sent {sent}", kind.name()))
        .collect();
    lines.extend(counters.faults_by_packet().map(|(fault, kind, count)| match kind {
        Some(kind) => format!("{}: {count} by {}", fault.name(), kind.name()),
        None => format!("{}: {count}", fault.name()),
    }));
    let suppressed = [
        ("redirects-suppressed", counters.redirects_suppressed),
        ("events-suppressed", counters.events_suppressed),
    ];
    let suppressed = suppressed.into_iter().filter(|&(_, count)| count > 0);
    lines.extend(suppressed.map(|(name, count)| format!("{name}: {count}")));
    lines
}

/// What the engine has put into the kernel.
pub(super) fn kernel(kernel: &Kernel, tunnel: TunnelId) -> Vec<String> {
    let mut lines = Vec::new();
    let peers = kernel.peers.iter().filter(|(at, _)| *at == tunnel);
    lines.extend(peers.map(|peer| {
        let copies = if kernel.copies.contains(peer) { ", gets multicast copies" } else { "" };
        format!("peer {}{copies}", peer.1)
    }));
    let neighbours = kernel.neighbours.iter().filter(|((at, _), _)| *at == tunnel);
    lines.extend(neighbours.map(|((_, protocol), nbma)| format!("neighbour {protocol} at {nbma}")));
    let routes = kernel.shortcuts.iter().filter(|((at, _), _)| *at == tunnel);
    lines.extend(routes.map(|((_, prefix), via)| match via {
        Some(via) => format!("route {prefix} via {via}"),
        None => format!("host route {prefix}"),
    }));
    lines
}

fn cache(entry: &CacheView) -> String {
    let CacheView { protocol, kind, nbma, claimed_nbma, mtu, created, expires, .. } = entry;
    let mut parts = vec![format!("{protocol} {}{}", lower(kind), optional(" at ", *nbma))];
    parts.extend(claimed_nbma.map(|claimed| format!("calls itself {claimed}")));
    let marks = [
        (entry.unique, "unique"),
        (entry.nat, "nat"),
        (entry.implicit, "implicit"),
        (entry.used, "used"),
        (entry.route, "route"),
        (entry.pending, "pending"),
    ];
    parts.extend(marks.into_iter().filter(|(set, _)| *set).map(|(_, mark)| mark.to_owned()));
    parts.extend([format!("mtu {mtu}"), since(*created), lasts(*expires)]);
    parts.join(", ")
}

fn server(entry: &NhsView) -> String {
    let NhsView { nbma, priority, cluster, state, .. } = entry;
    let address = entry.protocol.map_or(", address unknown".to_owned(), |protocol| format!(" as {protocol}"));
    let learnt = if entry.dynamic { " (learnt)" } else { "" };
    let mut parts = vec![
        format!("{nbma}{address}{learnt}"),
        format!("priority {priority}"),
        format!("cluster {cluster}"),
        format!("{} {}", lower(state), since(entry.since)),
        format!("requests sent {}", entry.requests_sent),
        format!("failed {}", entry.requests_failed),
        format!("replies {}", entry.replies_received),
    ];
    parts.extend(entry.next_request.map(|next| format!("next request in {}", span(next))));
    parts.extend(entry.public.map(|public| format!("sees us at {public}")));
    parts.join(", ")
}

fn shortcut(entry: &ShortcutView) -> String {
    let ShortcutView { prefix, via, nbma, state, used, created, expires } = entry;
    let way = optional(" via ", *via) + &optional(" at ", *nbma);
    let mut parts = vec![format!("{prefix} {}{way}", lower(state))];
    parts.extend(used.then(|| "used".to_owned()));
    parts.extend([since(*created), lasts(*expires)]);
    parts.join(", ")
}

fn peer(entry: &PeerView) -> String {
    let protocols: Vec<_> = entry.protocols.iter().map(ToString::to_string).collect();
    let mut parts = vec![format!("{} for [{}]", entry.nbma, protocols.join(", ")), since(entry.since)];
    parts.extend(entry.multicast.then(|| "gets multicast copies".to_owned()));
    parts.join(", ")
}

/// The name of a variant in lower case.
fn lower(variant: &impl Debug) -> String {
    format!("{variant:?}").to_lowercase()
}

fn optional(words: &str, value: Option<impl Display>) -> String {
    value.map(|value| format!("{words}{value}")).unwrap_or_default()
}

fn since(age: Duration) -> String {
    format!("since {}", span(age))
}

fn lasts(expires: Option<Duration>) -> String {
    expires.map_or("never expires".to_owned(), |expires| format!("expires in {}", span(expires)))
}

fn span(span: Duration) -> String {
    format!("{}.{:03} s", span.as_secs(), span.subsec_millis())
}
