//! Which of several next hop servers to be registered with.
//!
//! Within a cluster the servers are ordered by priority, then as the operator listed them. A server is wanted while
//! fewer than the cluster's bound of better servers are sound; one that does not answer or refuses us is not sound,
//! but is asked again for as long as it is wanted itself. A server that is no longer wanted is given up when the
//! better ones have answered for the fallback time.

use super::{
    EventKind, NhsState, Time,
    timers::Subject,
    tunnel::{Context, Tunnel},
};

impl Tunnel {
    /// Servers of the same cluster that are better than `index`.
    fn better(&self, index: usize) -> impl Iterator<Item = usize> + '_ {
        let rank = |index: usize| (self.servers[index].config.priority, index);
        let cluster = self.servers[index].config.cluster;
        (0..self.servers.len())
            .filter(move |&other| self.servers[other].config.cluster == cluster && rank(other) < rank(index))
    }

    fn bound(&self, index: usize) -> usize {
        let cluster = self.servers[index].config.cluster;
        self.config.failover.max_connections.get(&cluster).copied().unwrap_or(usize::MAX)
    }

    /// Whether a server should be tried at all.
    fn is_wanted(&self, index: usize) -> bool {
        self.better(index).filter(|&other| !self.servers[other].has_failed()).count() < self.bound(index)
    }

    /// Since when enough better servers answer; `None` while they do not.
    fn superfluous_since(&self, index: usize) -> Option<Time> {
        let mut up: Vec<_> = self
            .better(index)
            .filter(|&other| self.servers[other].state == NhsState::Up)
            .map(|other| self.servers[other].since)
            .collect();
        up.sort_unstable();
        let bound = self.bound(index);
        if bound == 0 { Some(Time::default()) } else { up.get(bound - 1).copied() }
    }

    /// Starts and stops servers after something changed.
    pub(super) fn choose_servers(&mut self, cx: &mut Context<'_>) {
        for index in 0..self.servers.len() {
            let standby = self.servers[index].state == NhsState::Standby;
            if standby && self.is_wanted(index) {
                self.set_server_state(cx, index, NhsState::Probing);
                self.register(cx, index);
            } else if !standby
                && !self.is_wanted(index)
                && let Some(since) = self.superfluous_since(index)
            {
                let at = since + self.config.failover.fallback;
                if at <= cx.now {
                    self.release_server(cx, index);
                } else {
                    self.timers.set(Subject::Servers, at);
                }
            }
        }
    }

    /// Gives a server up: it is told, and asked no more.
    pub(super) fn release_server(&mut self, cx: &mut Context<'_>, index: usize) {
        if self.servers[index].state == NhsState::Up {
            self.purge_own_registration(cx, index, None);
            self.report(cx, EventKind::NhsReleased { nbma: self.servers[index].config.nbma });
        }
        self.servers[index].stand_by();
        self.timers.clear(Subject::Server(self.servers[index].id));
        self.set_server_state(cx, index, NhsState::Standby);
    }
}
