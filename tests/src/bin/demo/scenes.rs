//! The scenes of the demo, in order. Everything it claims is measured: hop by hop, and by the nodes' own counters.

use std::{
    net::Ipv4Addr,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail};
use dmvpn::control::{
    client,
    protocol::{Answer, EntryState, Request, View},
};
use dmvpn_tests::{
    agent::Agent,
    lab::{self, Lab, Plan},
    namespace,
    traffic::{ping, transfer},
};
use ipnet::Ipv4Net;

use crate::{story::Story, summary::Summary};

const INTRODUCTION: &str = "\
A company network across a provider that knows nothing of it. A head office (the hub) and two branch offices
(the spokes) each have a provider address, 198.18.x.1, and an address inside the company, 10.0.0.x. A packet
between offices travels inside another packet (GRE) from provider address to provider address. Which provider
address belongs to which company address is what NHRP finds out. At the start a spoke knows nobody but the hub.

     lan-a                                                            lan-b
  192.168.1.10                                                     192.168.2.10
       |                                                                |
    spoke-a                      hub                                 spoke-b
   10.0.0.11                  10.0.0.1                              10.0.0.12
  198.18.1.1                  198.18.0.1                           198.18.2.1
       |                          |                                     |
       +------------------- underlay (a router) ------------------------+";

/// Pings in each of the two rounds.
const PINGS: u16 = 100;
/// Of those, how many are told one by one.
const TOLD: u16 = 5;
const BETWEEN_PINGS: Duration = Duration::from_millis(5);
/// Longest wait for one answer and for the shortcut.
const PATIENCE: Duration = Duration::from_secs(10);
const FILE: u64 = 64 << 20;
/// TTL that a Linux host gives an answer; every router on its way takes one.
const TTL: u8 = 64;

/// The network and the agents.
pub(crate) struct Demo {
    pub(crate) hub: Agent,
    pub(crate) spokes: Vec<Agent>,
    /// The host the packets go to.
    pub(crate) target: Ipv4Addr,
    /// Last, so that the agents end before their network.
    pub(crate) lab: Lab,
}

impl Demo {
    /// Plays all scenes and fills in the summary; an error ends the play.
    pub(crate) fn play(name: &str, story: &Story, summary: &mut Summary) -> Result<Self> {
        story.lines(INTRODUCTION);
        let demo = Self::start(name, story, summary)?;
        demo.first_packets(story, summary)?;
        demo.direct_packets(story, summary)?;
        demo.file(story, summary)?;
        demo.tables(story)?;
        Ok(demo)
    }

    /// Leaves everything running.
    pub(crate) fn keep(self) {
        self.hub.keep();
        self.spokes.into_iter().for_each(Agent::keep);
        self.lab.keep();
    }

    fn start(name: &str, story: &Story, summary: &mut Summary) -> Result<Self> {
        story.scene("The network");
        if !namespace::names_with(&format!("{name}-")).is_empty() {
            story.say("an earlier demo is still there: removing it");
            lab::remove(name)?;
        }
        story.say("building it from network namespaces and veth pairs");
        let lab = Lab::named(name, Plan::default())?;
        let target = lab.spoke_lan(1)?.address;

        story.scene("Registration");
        story.say("starting the agent on the hub");
        let hub = lab.start(&lab.hub)?;
        let mut spokes = Vec::new();
        let mut begun = Instant::now();
        for node in &lab.spokes {
            story.say(&format!("starting the agent on {}: it tells the hub where it is", node.name));
            begun = Instant::now();
            spokes.push(lab.start(node)?);
        }
        for (spoke, node) in spokes.iter().zip(&lab.spokes) {
            spoke.wait_registered()?;
            hub.wait_cached(node)?;
            story.say(&format!("the hub knows: {} ({}) is at {}", node.address, node.name, node.nbma));
        }
        summary.registered = true;
        summary.time_to_register_ms = Some(milliseconds(begun.elapsed()));
        Ok(Self { hub, spokes, target, lab })
    }

    /// The first packets, and what they set off.
    fn first_packets(&self, story: &Story, summary: &mut Summary) -> Result<()> {
        let prefix = self.lab.spoke_lan(1)?.prefix;
        let before = self.hub.packets_sent()?;
        story.scene("The first packets go by the hub");
        story.lines(&format!("spoke-a has one route for {prefix}: to the hub."));

        let socket = self.spokes[0].config().control_socket.clone();
        let start = Instant::now();
        let watcher = thread::spawn(move || watch_for_shortcut(&socket, prefix));
        summary.first_path = self.lab.path(0, 1)?;
        story.say(&format!("the way of the first packets, hop by hop: {}", summary.first_path.join(" > ")));
        self.pings(story, summary)?;
        let shortcut_at = watcher.join().map_err(|_| anyhow!("the watcher panicked"))?;
        let by_hub = ["lan-a", "spoke-a", "hub", "spoke-b", "lan-b"];
        summary.expect(summary.first_path == by_hub, || "the first packet did not go by the hub".to_owned());
        summary.hub_packets_before_shortcut = self.hub.packets_sent()? - before;

        story.scene("The hub says that there is a shorter way, and spoke-a asks for it");
        self.tell_nhrp(story, summary)?;
        let shortcut_at = shortcut_at?;
        summary.shortcut_established = true;
        summary.time_to_shortcut_ms = Some(milliseconds(shortcut_at.saturating_duration_since(start)));
        story.say(&format!(
            "spoke-a has its shortcut, {} ms after the first packet; it is a route of the kernel:",
            milliseconds(shortcut_at.saturating_duration_since(start))
        ));
        let routes = self.lab.spokes[0].shortcut_routes()?;
        let to_lan_b = prefix.to_string();
        story.lines(
            &routes
                .iter()
                .filter(|route| route.starts_with(&to_lan_b))
                .cloned()
                .collect::<Vec<_>>()
                .join("\n"),
        );
        let via = format!("{prefix} via {} ", self.lab.spokes[1].address);
        summary.expect(routes.iter().any(|route| route.starts_with(&via)), || {
            format!("the kernel of spoke-a has no route {via}")
        });
        Ok(())
    }

    /// NHRP packets of the redirect and the resolution, as the nodes counted them.
    fn tell_nhrp(&self, story: &Story, summary: &mut Summary) -> Result<()> {
        let spoke_a = &self.spokes[0];
        let steps = [
            (
                "traffic-indication",
                &self.hub,
                true,
                "hub     > spoke-a: \"this packet goes back where it came from\" (traffic indication, or redirect)",
            ),
            (
                "resolution-request",
                spoke_a,
                true,
                "spoke-a > hub    : \"where is 192.168.2.10?\" (resolution request)",
            ),
            (
                "resolution-reply",
                spoke_a,
                false,
                "spoke-b > spoke-a: \"behind me, at 198.18.2.1\" (resolution reply)",
            ),
        ];
        for (kind, agent, sent, words) in steps {
            let count = nhrp_packets(agent, kind, sent)?;
            let done = if sent { "sent" } else { "received" };
            story.say(&format!("{words} [{} {done} {count}]", agent.node().name));
            summary.expect(count > 0, || format!("{} {done} no {kind}", agent.node().name));
        }
        Ok(())
    }

    /// The same packets again, and proof that the hub does not see them.
    fn direct_packets(&self, story: &Story, summary: &mut Summary) -> Result<()> {
        story.scene("From now on packets go directly");
        let (hub_before, spoke_before) = (self.hub.packets_sent()?, self.sent_to_spoke_b()?);
        self.pings(story, summary)?;
        let hub = self.hub.packets_sent()? - hub_before;
        let spoke = self.sent_to_spoke_b()? - spoke_before;
        summary.hub_packets_after_shortcut += hub;
        summary.final_path = self.lab.path(0, 1)?;
        story.say(&format!("hop by hop: {}", summary.final_path.join(" > ")));
        story.say(&format!("counted: spoke-a sent {spoke} packets to spoke-b; the hub forwarded {hub}"));
        let direct = ["lan-a", "spoke-a", "spoke-b", "lan-b"];
        summary.expect(summary.final_path == direct, || "the last packets did not go directly".to_owned());
        summary.expect(hub == 0, || format!("the hub still forwarded {hub} packets"));
        summary.expect(spoke >= u64::from(PINGS), || format!("spoke-a counted {spoke} of {PINGS} packets"));
        Ok(())
    }

    /// Pings from LAN to LAN, each numbered and waited for; tells the first ones and every change of the way.
    fn pings(&self, story: &Story, summary: &mut Summary) -> Result<()> {
        let host = &self.lab.spoke_lan(0)?.host;
        let (mut last_hops, mut lost) = (None, 0);
        for number in 1..=PINGS {
            summary.packets_sent += 1;
            let Some(reply) = ping(host, self.target, number, Duration::from_secs(1))? else {
                lost += 1;
                story.say(&format!("ping {number}: no answer"));
                continue;
            };
            let routers = TTL.saturating_sub(reply.ttl);
            if number <= TOLD || last_hops != Some(routers) {
                let way = if routers == 2 { "directly" } else { "by the hub" };
                story.say(&format!(
                    "ping {number}: {:.2} ms, the answer came over {routers} routers: {way}",
                    reply.time.as_secs_f64() * 1000.0
                ));
            }
            last_hops = Some(routers);
            thread::sleep(BETWEEN_PINGS);
        }
        summary.packets_lost += lost;
        story.say(&format!("{PINGS} pings, {lost} lost"));
        summary.expect(lost == 0, || format!("{lost} of {PINGS} pings were lost"));
        Ok(())
    }

    fn file(&self, story: &Story, summary: &mut Summary) -> Result<()> {
        story.scene("A file from lan-a to lan-b");
        let (a, b) = (self.lab.spoke_lan(0)?, self.lab.spoke_lan(1)?);
        let before = self.hub.packets_sent()?;
        let done = transfer(&a.host, &b.host, b.address, FILE, |received| {
            let line = format!("{:3} % of {} MiB", received * 100 / FILE, FILE >> 20);
            story.progress(&line, received == FILE);
        })
        .context("the file did not arrive")?;
        let hub = self.hub.packets_sent()? - before;
        let rate = done.bytes * 8 / u64::try_from(done.time.as_micros()).unwrap_or(u64::MAX).max(1);
        summary.file_bytes = done.bytes;
        summary.file_mbit_per_second = Some(rate);
        summary.hub_packets_after_shortcut += hub;
        story.say(&format!(
            "every byte arrived unchanged, {rate} Mbit/s; the hub forwarded {hub} packets of it"
        ));
        summary.expect(hub == 0, || format!("the hub forwarded {hub} packets of the file"));
        Ok(())
    }

    fn tables(&self, story: &Story) -> Result<()> {
        story.scene("What each node knows now");
        for (agent, views) in [
            (&self.hub, &["cache"][..]),
            (&self.spokes[0], &["nhs", "cache", "shortcuts"]),
            (&self.spokes[1], &["cache", "shortcuts"]),
        ] {
            for view in views {
                story.lines(&format!("{}: dmvpn show {view}", agent.node().name));
                story.lines(&agent.table(view)?);
                story.blank();
            }
        }
        story.lines("spoke-a's kernel: ip neigh show dev dmvpn0 (the last four bytes are a number: the peer's place in the eBPF maps)");
        story.lines(&self.lab.spokes[0].namespace.command("ip neigh show dev dmvpn0")?);
        Ok(())
    }

    /// Data packets from spoke-a to spoke-b without a detour, as spoke-a counts them.
    fn sent_to_spoke_b(&self) -> Result<u64> {
        let nbma = self.lab.spokes[1].nbma;
        let peers = self.spokes[0].peers()?;
        Ok(peers.iter().filter(|peer| peer.nbma == nbma).map(|peer| peer.sent_packets).sum())
    }
}

/// When the agent behind `socket` says that a shortcut for `prefix` is in the kernel. Looks every millisecond, which
/// is why it asks the socket itself.
fn watch_for_shortcut(socket: &Path, prefix: Ipv4Net) -> Result<Instant> {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        let response = client::ask(socket, Request::Show(View::Shortcuts))?;
        let Answer::Shortcuts(rows) = response.answer else {
            bail!("asked for shortcuts, got something else")
        };
        if rows.iter().any(|row| row.prefix == prefix.into() && row.state == EntryState::Up) {
            return Ok(Instant::now());
        }
        thread::sleep(Duration::from_millis(1));
    }
    bail!("there is no shortcut for {prefix} after {PATIENCE:?}")
}

/// NHRP packets of one type that an agent has sent or received.
fn nhrp_packets(agent: &Agent, kind: &str, sent: bool) -> Result<u64> {
    let rows = agent.counters()?;
    let counts = rows.iter().flat_map(|row| &row.packets).filter(|count| count.kind == kind);
    Ok(counts.map(|count| if sent { count.sent } else { count.received }).sum())
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
