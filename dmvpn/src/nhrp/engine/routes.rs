//! What follows from a change of our own routes: answers of ours may be wrong, shortcuts may be.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use ipnet::IpNet;

use super::{
    Reason, Route,
    answer::SHORTEST_PREFIX,
    cache::Kind,
    shortcut::Source,
    timers::Subject,
    tunnel::{Context, Tunnel},
};

/// A routing protocol changes many routes at once; look when it is done.
const SETTLE: Duration = Duration::from_millis(200);

impl Tunnel {
    /// Routes of the kernel changed.
    pub(super) fn routes_changed(&mut self, cx: &Context<'_>) {
        self.timers.set(Subject::Routes, cx.now + SETTLE);
    }

    /// A moment has passed since routes changed.
    pub(super) fn routes_settled(&mut self, cx: &mut Context<'_>) {
        self.check_answers(cx);
        self.check_shortcuts(cx);
    }

    /// Takes back what we told others if it does not leave the network here any more (RFC 2332 5.2.5).
    fn check_answers(&mut self, cx: &mut Context<'_>) {
        for prefix in self.requesters.prefixes() {
            let host = prefix.addr();
            let is_host = prefix.prefix_len() == prefix.max_prefix_len();
            let network = self.shortcuts.get(prefix);
            let for_client = network.is_some_and(|network| network.source == Source::Registered)
                || is_host
                    && self.cache.get(&host).is_some_and(|binding| binding.offer.kind == Kind::Registered);
            let is_summary = self.config.policy.summaries.iter().any(|summary| summary.contains(&prefix));
            // A default route is no statement about where a network is: by it we answer for a host, or for what the
            // operator says.
            let shortest = if is_summary || is_host { 0 } else { SHORTEST_PREFIX };
            if is_summary || !self.is_own(host) && !for_client {
                self.check_answer(cx, prefix, shortest);
            }
        }
    }

    /// The same for one prefix. What somebody asked for decides for them: not all of a summary need be here, and of a
    /// network whose interface is down our own address still is.
    fn check_answer(&mut self, cx: &mut Context<'_>, prefix: IpNet, shortest: u8) {
        let mut here = BTreeMap::new();
        for (requester, nbma, destination) in self.requesters.asked_for(prefix) {
            if !*here.entry(destination).or_insert_with(|| self.leaves_here(cx, destination, shortest)) {
                self.purge_requester(cx, prefix, requester, nbma);
            }
        }
    }

    /// Whether a destination is ours or leaves the NHRP network here, by a route of at least this length.
    fn leaves_here(&self, cx: &Context<'_>, destination: IpAddr, shortest: u8) -> bool {
        match cx.environment.route(destination) {
            Route::Local { .. } => true,
            Route::Elsewhere { prefix } => prefix.prefix_len() >= shortest,
            Route::Tunnel { tunnel, prefix, .. } => {
                cx.networks.get(&tunnel) != Some(&self.config.network_id) && prefix.prefix_len() >= shortest
            }
            Route::None => false,
        }
    }

    /// Lets shortcuts go that our own routes contradict: the destination is here, or there is no route to it any
    /// more, or the routed path is now what the shortcut is. Where the path changed otherwise, asks again and keeps
    /// the shortcut meanwhile.
    fn check_shortcuts(&mut self, cx: &mut Context<'_>) {
        let resolved = self.shortcuts.iter().filter(|(_, shortcut)| shortcut.source == Source::Resolved);
        let resolved: Vec<_> = resolved
            .map(|(prefix, shortcut)| (prefix, shortcut.via, shortcut.destination, shortcut.path))
            .collect();
        for (prefix, via, destination, path) in resolved {
            match cx.environment.route(destination) {
                Route::Tunnel { tunnel, next_hop, prefix: covering, .. } if tunnel == self.config.id => {
                    if next_hop == via || covering.prefix_len() > prefix.prefix_len() {
                        self.remove_shortcut(cx, prefix, Reason::Routes);
                    } else if path.is_some_and(|path: IpAddr| path != next_hop) {
                        self.shortcut_path_changed(cx, prefix, next_hop);
                    }
                }
                _ => self.remove_shortcut(cx, prefix, Reason::Routes),
            }
        }
    }
}
