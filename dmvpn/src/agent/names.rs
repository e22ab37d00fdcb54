//! Servers that are given by host name: every address of the name is a server.
//!
//! The system's resolver does the look-ups, in threads of their own. It does not say how long an answer holds, so the
//! operator does.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use tokio::{net, sync::mpsc, time};
use tracing::{info, warn};

use super::Agent;
use crate::{
    config::{self, Config, NhsNbma},
    nhrp::engine::{Input, Nhs, TunnelId},
    state::State,
};

/// Time to the next try after a look-up failed.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);
/// Addresses of one name that are used.
const MOST_ADDRESSES: usize = 32;
/// Answers that wait for the agent.
const ANSWER_QUEUE: usize = 8;

/// Host names and their addresses.
#[derive(Debug, Default)]
pub(super) struct Names {
    known: BTreeMap<String, BTreeSet<IpAddr>>,
    revision: u64,
}

/// What a host name resolved to.
pub(super) struct Answer {
    name: String,
    /// Not empty.
    addresses: BTreeSet<IpAddr>,
}

impl Names {
    /// The names of the configuration, with the addresses that the last agent found: they are servers before the
    /// first look-up has an answer.
    pub(super) fn new(config: &Config, state: Option<&State>) -> Self {
        let wanted: BTreeSet<_> =
            config.tunnels.iter().flat_map(|tunnel| &tunnel.nhs).filter_map(|nhs| nhs.nbma.name()).collect();
        let saved = state.into_iter().flat_map(|state| &state.names);
        let known = saved.filter(|(name, _)| wanted.contains(name.as_str()));
        Self { known: known.map(|(name, list)| (name.clone(), list.clone())).collect(), revision: 0 }
    }

    /// All that is known.
    pub(super) fn known(&self) -> &BTreeMap<String, BTreeSet<IpAddr>> {
        &self.known
    }

    /// Counts changes of what is known.
    pub(super) fn revision(&self) -> u64 {
        self.revision
    }

    /// Servers of a tunnel whose own NBMA address is `own`, in the operator's order; none for a name without a known
    /// address of that IP version. An address is one server, however often it is named.
    pub(super) fn servers(&self, tunnel: &config::Tunnel, own: IpAddr) -> Vec<Nhs> {
        let mut servers: Vec<Nhs> = Vec::with_capacity(tunnel.nhs.len());
        for nhs in &tunnel.nhs {
            for nbma in self.addresses(nhs, own) {
                let protocol = nhs.address.fixed();
                if nhs.nbma.name().is_some() && servers.iter().any(|server| server.nbma == nbma) {
                    continue;
                }
                servers.push(Nhs { protocol, nbma, priority: nhs.priority, cluster: nhs.cluster });
            }
        }
        servers
    }

    /// Where a server of the configuration is.
    fn addresses(&self, nhs: &config::Nhs, own: IpAddr) -> Vec<IpAddr> {
        match &nhs.nbma {
            NhsNbma::Address(address) => vec![*address],
            NhsNbma::Name(name) => {
                let known = self.known.get(name).into_iter().flatten().copied();
                // A protocol address is one server's: of several addresses, the lowest stays the one that is used.
                let most = if nhs.address.fixed().is_some() { 1 } else { MOST_ADDRESSES };
                let same_version = |address: &IpAddr| address.is_ipv4() == own.is_ipv4();
                known.filter(same_version).filter(|&address| address != own).take(most).collect()
            }
        }
    }

    /// The host name in `tunnel` that an address belongs to.
    pub(super) fn name_of<'t>(&self, tunnel: &'t config::Tunnel, nbma: IpAddr) -> Option<&'t str> {
        let names = tunnel.nhs.iter().filter_map(|nhs| nhs.nbma.name());
        names.into_iter().find(|&name| self.known.get(name).is_some_and(|known| known.contains(&nbma)))
    }

    /// Host names of a tunnel's servers that have no address.
    pub(super) fn without_address<'t>(
        &self,
        tunnel: &'t config::Tunnel,
        own: IpAddr,
    ) -> impl Iterator<Item = &'t config::Nhs> {
        tunnel.nhs.iter().filter(move |nhs| nhs.nbma.name().is_some() && self.addresses(nhs, own).is_empty())
    }
}

/// Begins to look up every host name of the configuration, again and again. Ends with the receiver.
pub(super) fn look_up(config: &Config) -> mpsc::Receiver<Answer> {
    let mut intervals: BTreeMap<&str, Duration> = BTreeMap::new();
    for tunnel in &config.tunnels {
        for name in tunnel.nhs.iter().filter_map(|nhs| nhs.nbma.name()) {
            let interval = intervals.entry(name).or_insert(tunnel.nhs_refresh);
            *interval = tunnel.nhs_refresh.min(*interval);
        }
    }
    let (queue, answers) = mpsc::channel(ANSWER_QUEUE);
    for (name, interval) in intervals {
        tokio::spawn(keep_looking_up(name.to_owned(), interval, queue.clone()));
    }
    answers
}

async fn keep_looking_up(name: String, interval: Duration, queue: mpsc::Sender<Answer>) {
    let mut failing = false;
    loop {
        let wait = match addresses(&name).await {
            Ok(addresses) => {
                failing = false;
                if queue.send(Answer { name: name.clone(), addresses }).await.is_err() {
                    return;
                }
                interval
            }
            Err(reason) => {
                if !failing {
                    warn!(
                        name,
                        "cannot look up the server: {reason}; trying every {} s",
                        RETRY_INTERVAL.as_secs()
                    );
                }
                failing = true;
                RETRY_INTERVAL
            }
        };
        tokio::select! {
            () = time::sleep(wait) => {}
            () = queue.closed() => return,
        }
    }
}

/// Looks a name up once.
async fn addresses(name: &str) -> Result<BTreeSet<IpAddr>, String> {
    let found = net::lookup_host((name, 0)).await.map_err(|error| error.to_string())?;
    let addresses: BTreeSet<_> = found.map(|address| address.ip()).collect();
    if addresses.is_empty() { Err("it has no address".to_owned()) } else { Ok(addresses) }
}

impl Agent {
    /// A host name was looked up: its addresses are servers from now on, and the ones it had before are not.
    pub(super) async fn take_in_answer(&mut self, Answer { name, addresses }: Answer) {
        if self.names.known.get(&name) == Some(&addresses) {
            return;
        }
        let list: Vec<_> = addresses.iter().map(ToString::to_string).collect();
        info!(name, "the server is at {}", list.join(", "));
        self.names.known.insert(name.clone(), addresses);
        self.names.revision += 1;
        let is_named = |nhs: &config::Nhs| nhs.nbma.name() == Some(name.as_str());
        let affected = self.tunnels.iter().filter(|tunnel| tunnel.plan.config.nhs.iter().any(is_named));
        let affected: Vec<_> = affected.map(|tunnel| tunnel.id).collect();
        for tunnel in affected {
            self.update_servers(tunnel).await;
        }
    }

    /// Tells the engine who the servers of a tunnel are now.
    pub(super) async fn update_servers(&mut self, id: TunnelId) {
        let Some(tunnel) = self.tunnels.get(id) else { return };
        let servers = self.names.servers(&tunnel.plan.config, tunnel.plan.source);
        self.input(Input::Servers { tunnel: id, servers: &servers }).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 10));

    fn tunnel(nhs: &str) -> config::Tunnel {
        let text = format!("tunnels: [{{name: a, address: 10.0.0.1/24, source: 192.0.2.10, nhs: [{nhs}]}}]");
        Config::parse(text.as_bytes()).unwrap().tunnels.remove(0)
    }

    fn names(known: &[(&str, &[&str])]) -> Names {
        let parse = |list: &[&str]| list.iter().map(|address| address.parse().unwrap()).collect();
        let known = known.iter().map(|(name, list)| ((*name).to_owned(), parse(list))).collect();
        Names { known, revision: 0 }
    }

    /// Protocol and NBMA address of each server, as text.
    fn servers(names: &Names, tunnel: &config::Tunnel) -> Vec<(String, String)> {
        let text = |nhs: Nhs| {
            (nhs.protocol.map_or("dynamic".to_owned(), |address| address.to_string()), nhs.nbma.to_string())
        };
        names.servers(tunnel, OWN).into_iter().map(text).collect()
    }

    fn dynamic(list: &[&str]) -> Vec<(String, String)> {
        list.iter().map(|nbma| ("dynamic".to_owned(), (*nbma).to_owned())).collect()
    }

    #[test]
    fn each_address_of_a_name_is_a_server_but_our_own() {
        let tunnel = tunnel(
            "{address: dynamic, nbma: hub.example.net, priority: 3, cluster: 4}, \
             {address: dynamic, nbma: 203.0.113.9}",
        );
        let known = names(&[("hub.example.net", &["203.0.113.2", "192.0.2.10", "203.0.113.1"])]);
        assert_eq!(servers(&known, &tunnel), dynamic(&["203.0.113.1", "203.0.113.2", "203.0.113.9"]));
        let found = known.servers(&tunnel, OWN);
        assert_eq!((found[1].priority, found[1].cluster), (3, 4));
        assert_eq!((found[2].priority, found[2].cluster), (0, 0));
        assert_eq!(known.name_of(&tunnel, "203.0.113.2".parse().unwrap()), Some("hub.example.net"));
        assert_eq!(known.name_of(&tunnel, "203.0.113.9".parse().unwrap()), None);
        assert_eq!(known.without_address(&tunnel, OWN).count(), 0);
    }

    #[test]
    fn addresses_of_the_other_ip_version_are_no_servers() {
        let tunnel = tunnel("{address: dynamic, nbma: hub.example.net}");
        let known = names(&[("hub.example.net", &["203.0.113.1", "2001:db8::1", "2001:db8::2"])]);
        let servers = |own: &str| {
            let found = known.servers(&tunnel, own.parse().unwrap());
            found.into_iter().map(|nhs| nhs.nbma.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(servers("192.0.2.10"), ["203.0.113.1"]);
        assert_eq!(servers("2001:db8::10"), ["2001:db8::1", "2001:db8::2"]);
    }

    #[test]
    fn a_name_without_address_is_no_server() {
        let tunnel = tunnel("{address: dynamic, nbma: hub.example.net}");
        for known in [names(&[]), names(&[("hub.example.net", &["192.0.2.10"])])] {
            assert!(servers(&known, &tunnel).is_empty());
            assert_eq!(known.without_address(&tunnel, OWN).count(), 1);
        }
    }

    #[test]
    fn an_address_is_one_server_however_often_it_is_named() {
        let tunnel = tunnel(
            "{address: dynamic, nbma: 203.0.113.1}, {address: dynamic, nbma: a.example.net}, \
             {address: dynamic, nbma: b.example.net}",
        );
        let known = names(&[
            ("a.example.net", &["203.0.113.1", "203.0.113.2"]),
            ("b.example.net", &["203.0.113.2", "203.0.113.3"]),
        ]);
        assert_eq!(servers(&known, &tunnel), dynamic(&["203.0.113.1", "203.0.113.2", "203.0.113.3"]));
    }

    #[test]
    fn a_given_protocol_address_is_at_one_address_of_the_name() {
        let tunnel = tunnel("{address: 10.0.0.2, nbma: hub.example.net}");
        let known = names(&[("hub.example.net", &["203.0.113.2", "203.0.113.1"])]);
        assert_eq!(servers(&known, &tunnel), [("10.0.0.2".to_owned(), "203.0.113.1".to_owned())]);
    }

    #[test]
    fn a_name_has_a_bounded_number_of_servers() {
        let tunnel = tunnel("{address: dynamic, nbma: hub.example.net}");
        let many = (0..100).map(|last| IpAddr::from([203, 0, 113, last])).collect();
        let known = Names { known: [("hub.example.net".to_owned(), many)].into(), revision: 0 };
        assert_eq!(known.servers(&tunnel, OWN).len(), MOST_ADDRESSES);
    }

    #[tokio::test]
    async fn looks_up_by_the_systems_resolver() {
        assert!(addresses("localhost").await.unwrap().contains(&IpAddr::from([127, 0, 0, 1])));
        // RFC 2606: never a host.
        assert!(addresses("no-such-host.invalid").await.is_err());
    }
}
