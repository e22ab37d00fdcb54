//! Plays the steps of a case to an engine and writes down what happens.

use std::{fmt, net::IpAddr, path::Path, time::Duration};

use anyhow::{Context, Result, anyhow, ensure};
use dmvpn::{
    agent::engine_config,
    config::{self, Config, NhsNbma, Source},
    nhrp::{
        engine::{Action, Engine, Input, Nhs, Time, TunnelConfig, TunnelId},
        wire::{Body, ErrorCode, Packet},
    },
};
use ipnet::IpNet;

use super::{
    data_packet,
    kernel::{Kernel, Leads},
    notation::{self, History},
    script::{Line, Step},
    show,
    transcript::{self, Transcript, moment},
    words::{Words, hex},
};

/// The seed of every engine: request ids and jitter come from it.
const SEED: u64 = 1;
/// MTU of the underlay in bytes.
const UNDERLAY_MTU: u32 = 1500;
/// Outer headers in bytes, without and with a GRE key.
const OVERHEAD: [u32; 2] = [24, 28];

pub(super) struct Player {
    tunnels: Vec<(String, TunnelConfig)>,
    engine: Engine,
    kernel: Kernel,
    now: Time,
    started: bool,
    history: History,
    transcript: Transcript,
    text: String,
}

/// Servers of the configuration. Host names are looked up by the agent, so there are none here.
fn servers(tunnel: &config::Tunnel) -> Result<Vec<Nhs>> {
    let server = |nhs: &config::Nhs| match nhs.nbma {
        NhsNbma::Address(nbma) => {
            Ok(Nhs { protocol: nhs.address.fixed(), nbma, priority: nhs.priority, cluster: nhs.cluster })
        }
        NhsNbma::Name(_) => Err(anyhow!("config.yaml: the nbma of a server has to be an address")),
    };
    tunnel.nhs.iter().map(server).collect()
}

impl Player {
    /// A box with this configuration file.
    pub(super) fn new(config: &Path) -> Result<Self> {
        let config = Config::load(config)?;
        let mut tunnels = Vec::new();
        let mut kernel = Kernel::default();
        for (number, tunnel) in (1..).zip(&config.tunnels) {
            let Source::Address(source) = tunnel.source else {
                return Err(anyhow!("config.yaml: the source of {} has to be an address", tunnel.name));
            };
            let mtu = UNDERLAY_MTU - OVERHEAD[usize::from(tunnel.key.is_some())];
            let mtu = tunnel.mtu.map_or(mtu, u32::from);
            let servers = servers(tunnel)?;
            let engine = engine_config(TunnelId(number), tunnel, servers, source, mtu, config.max_peers);
            kernel.connect(&engine);
            tunnels.push((tunnel.name.clone(), engine));
        }
        let mut transcript = Transcript::default();
        if tunnels.len() > 1 {
            transcript.names = tunnels.iter().map(|(name, config)| (config.id, name.clone())).collect();
        }
        Ok(Self {
            engine: Engine::new(Vec::new(), SEED),
            tunnels,
            kernel,
            now: Time::default(),
            started: false,
            history: History::default(),
            transcript,
            text: String::new(),
        })
    }

    /// Plays everything; gives what happened.
    pub(super) fn play(mut self, steps: &[Step]) -> Result<String> {
        for step in steps {
            let Line { number, text } = &step.line;
            for comment in &step.comments {
                self.say(format_args!("{comment}"));
            }
            self.step(step).with_context(|| format!("steps.txt line {number}: {text}"))?;
        }
        ensure!(self.started, "steps.txt: the engine is never started");
        self.end();
        for (_, config) in &self.tunnels {
            if let Some(secret) = &config.authentication {
                let secret = String::from_utf8_lossy(secret.expose());
                ensure!(!self.text.contains(&*secret), "the password is printed");
            }
        }
        Ok(self.text)
    }

    fn step(&mut self, step: &Step) -> Result<()> {
        let mut words = Words::of(&step.line.text)?;
        let keyword = words.word("a step")?;
        if matches!(keyword.as_str(), "at" | "wait") {
            let seconds = words.value("a time in seconds").map(Duration::from_secs_f64)?;
            let until = if keyword == "at" { Time::new(seconds) } else { self.now + seconds };
            ensure!(until >= self.now, "time does not go back");
            words.end()?;
            return self.pass(until);
        }
        if keyword != "show" {
            self.say(format_args!("[{}] {}", moment(self.now), step.line.text));
        }
        let packets = matches!(keyword.as_str(), "receive" | "answer");
        ensure!(packets || step.fields.is_empty(), "only packets have fields");
        match keyword.as_str() {
            "start" => {
                ensure!(!self.started, "the engine runs already");
                self.started = true;
                let configs = self.tunnels.iter().map(|(_, config)| config.clone()).collect();
                self.engine = Engine::new(configs, SEED);
                let mut actions = Vec::new();
                self.engine.start(self.now, &self.kernel, &mut actions);
                let happened = self.done(&actions)?;
                self.text += &happened;
            }
            "link-local" => {
                ensure!(!self.started, "the engine has been told its addresses");
                let address = words.value("an address")?;
                let tunnel = self.tunnel(&mut words)?;
                for (_, config) in self.tunnels.iter_mut().filter(|(_, config)| config.id == tunnel) {
                    config.link_local = Some(address);
                }
            }
            "receive" => self.receive(&mut words, &step.fields)?,
            "answer" => {
                let kind = notation::kind(&mut words)?;
                words.expect("from")?;
                let from = words.value("an NBMA address")?;
                let bytes = notation::answer(kind, from, &step.fields, &self.history)?;
                self.packet(&mut words, from, &bytes)?;
            }
            "route" | "no" => self.route(&keyword, &mut words)?,
            "traffic" => {
                words.expect("to")?;
                let to = words.value("an NBMA address")?;
                let tunnel = self.tunnel(&mut words)?;
                *self.kernel.traffic.entry((tunnel, to)).or_default() += 1;
            }
            "show" => {
                let table = words.word("a table")?;
                let tunnel = self.tunnel(&mut words)?;
                let lines = show::table(&table, &self.engine, &self.kernel, tunnel, self.now)?;
                self.say(format_args!("[{}] {}", moment(self.now), step.line.text));
                self.lines(&lines);
            }
            _ => self.event(&keyword, &mut words)?,
        }
        words.end()
    }

    /// Steps that are an input of the engine.
    fn event(&mut self, keyword: &str, words: &mut Words) -> Result<()> {
        match keyword {
            "resolve" => {
                let next_hop = words.value("an address")?;
                let tunnel = self.tunnel(words)?;
                self.give(words, Input::Resolve { tunnel, next_hop })
            }
            "forwarded" => {
                // A data packet that came out of the network and went back into it.
                words.expect("from")?;
                let source = words.value("an NBMA address")?;
                let head = data_packet::read(words)?;
                let tunnel = self.tunnel(words)?;
                self.give(words, Input::Redirect { tunnel, source, head: &head })
            }
            "seen" => {
                let address = words.value("a link-local address")?;
                words.expect("from")?;
                let nbma = words.value("an NBMA address")?;
                let tunnel = self.tunnel(words)?;
                self.give(words, Input::LinkLocalSeen { tunnel, nbma, address })
            }
            "source" => {
                let nbma = words.value("an NBMA address")?;
                let tunnel = self.tunnel(words)?;
                self.give(words, Input::LocalNbma { tunnel, nbma })
            }
            "servers" => {
                // Addresses that a host name has now.
                let tunnel = self.tunnel(words)?;
                let addresses = words.rest().iter().map(|word| word.parse());
                let addresses: Vec<IpAddr> = addresses.collect::<Result<_, _>>()?;
                let server = |&nbma| Nhs { protocol: None, nbma, priority: 0, cluster: 0 };
                let servers: Vec<_> = addresses.iter().map(server).collect();
                self.give(words, Input::Servers { tunnel, servers: &servers })
            }
            "adopt" => {
                let protocol = words.value("an address")?;
                words.expect("at")?;
                let nbma = words.value("an NBMA address")?;
                let tunnel = self.tunnel(words)?;
                self.kernel.neighbours.insert((tunnel, protocol), nbma);
                self.give(words, Input::Adopt { tunnel, protocol, nbma })
            }
            "adopt-shortcut" => {
                let prefix = words.value("a prefix")?;
                words.expect("via")?;
                let via = words.value("an address")?;
                let tunnel = self.tunnel(words)?;
                self.kernel.shortcuts.insert((tunnel, prefix), Some(via));
                self.give(words, Input::AdoptShortcut { tunnel, prefix, via })
            }
            "peer-down" => {
                let nbma = words.value("an NBMA address")?;
                let tunnel = self.tunnel(words)?;
                self.give(words, Input::PeerDown { tunnel, nbma })
            }
            "routes-changed" => self.give(words, Input::RoutesChanged),
            "shutdown" => self.give(words, Input::Shutdown),
            other => Err(anyhow!("`{other}` is no step")),
        }
    }
}

impl Player {
    /// `on dmvpn1`, or the first tunnel.
    fn tunnel(&self, words: &mut Words) -> Result<TunnelId> {
        let name = if words.take("on") { Some(words.word("a tunnel")?) } else { None };
        let mut tunnels = self.tunnels.iter();
        let found = tunnels.find(|(tunnel, _)| name.as_ref().is_none_or(|name| tunnel == name));
        found.map(|(_, config)| config.id).context("there is no such tunnel")
    }

    /// `receive from 192.0.2.1`, the packet below, or `receive from 192.0.2.1 hex 0001...`.
    fn receive(&mut self, words: &mut Words, fields: &[Line]) -> Result<()> {
        words.expect("from")?;
        let from = words.value("an NBMA address")?;
        let bytes = if words.take("hex") {
            let lines = fields.iter().map(|line| line.text.split_whitespace().map(str::to_owned));
            hex(&lines.flatten().collect::<Vec<_>>())?
        } else if words.take("again") {
            self.history.received.clone()
        } else {
            notation::packet(fields, &self.history)?
        };
        self.packet(words, from, &bytes)
    }

    fn packet(&mut self, words: &mut Words, source: IpAddr, bytes: &[u8]) -> Result<()> {
        let tunnel = self.tunnel(words)?;
        if bytes == self.history.received {
            self.text += "    < the bytes that were received last\n";
        } else {
            self.text += &self.transcript.received(bytes);
            self.history.received = bytes.to_vec();
        }
        self.give(words, Input::Packet { tunnel, source, bytes })
    }

    /// `route 10.1.0.0/16 lan`, `route 10.1.0.1/32 local`, `route 10.2.0.0/16 via 10.0.0.100`,
    /// `route 10.0.0.0/24 link`, `no route 10.1.0.0/16`.
    fn route(&mut self, keyword: &str, words: &mut Words) -> Result<()> {
        if keyword == "no" {
            words.expect("route")?;
            let prefix: IpNet = words.value("a prefix")?;
            return self.kernel.routes.remove(&prefix).map(drop).context("there is no such route");
        }
        let prefix: IpNet = words.value("a prefix")?;
        let leads = match words.word("where it leads")?.as_str() {
            "lan" => Leads::Lan,
            "local" => Leads::Local,
            "link" => Leads::Tunnel(self.tunnel(words)?, None),
            "via" => {
                let gateway = words.value("a gateway")?;
                Leads::Tunnel(self.tunnel(words)?, Some(gateway))
            }
            other => return Err(anyhow!("a route leads to `lan`, `local`, `link` or `via`, not `{other}`")),
        };
        self.kernel.routes.insert(prefix, leads);
        Ok(())
    }

    /// Lets time pass, with the timers that fire meanwhile.
    fn pass(&mut self, until: Time) -> Result<()> {
        while let Some(at) = self.engine.next_deadline().filter(|&at| at <= until) {
            self.now = self.now.max(at);
            let happened = self.input(Input::Timer)?;
            if !happened.is_empty() {
                self.say(format_args!("[{}] timer", moment(self.now)));
                self.text += &happened;
            }
        }
        self.now = until;
        Ok(())
    }

    /// Gives the engine an input, `times 30` if the words say so.
    fn give(&mut self, words: &mut Words, input: Input<'_>) -> Result<()> {
        ensure!(self.started, "the engine has not been started");
        let times: u32 = if words.take("times") { words.value("a number")? } else { 1 };
        if times == 1 {
            let happened = self.input(input)?;
            self.text += &happened;
            return Ok(());
        }
        let mut first = 1;
        let mut happened = self.input(input)?;
        for number in 2..=times {
            let next = self.input(input)?;
            if next != happened {
                self.several(first, number - 1, &happened);
                (first, happened) = (number, next);
            }
        }
        self.several(first, times, &happened);
        Ok(())
    }

    fn several(&mut self, first: u32, last: u32, happened: &str) {
        let nothing = if happened.is_empty() { "    nothing\n" } else { "" };
        self.say(format_args!("  number {first} to {last}:"));
        self.text += happened;
        self.text += nothing;
    }

    fn input(&mut self, input: Input<'_>) -> Result<String> {
        let mut actions = Vec::new();
        self.engine.handle(self.now, input, &self.kernel, &mut actions);
        self.done(&actions)
    }

    /// Does what the engine wants done; gives it as text.
    fn done(&mut self, actions: &[Action]) -> Result<String> {
        let mut text = String::new();
        for action in actions {
            text += &self.transcript.action(self.now, action);
            self.kernel.apply(action).with_context(|| format!("{text}then"))?;
            if let Action::Send { tunnel, to, bytes } = action {
                self.check_password(*tunnel, bytes).with_context(|| text.clone())?;
                self.history.sent.push((*to, bytes.clone()));
            }
        }
        Ok(text)
    }

    /// With a password configured, every packet has it, but for errors to those who do not know it.
    fn check_password(&self, tunnel: TunnelId, bytes: &[u8]) -> Result<()> {
        let packet = Packet::decode(bytes)?;
        let config = self.tunnels.iter().map(|(_, config)| config).find(|config| config.id == tunnel);
        let secret = config.and_then(|config| config.authentication.as_ref());
        let authentication = packet.authentication();
        let error = match &packet.body {
            Body::ErrorIndication(error) => Some(error.code),
            _ => None,
        };
        match (secret, authentication) {
            // An error can be for somebody who never showed that he knows it.
            (Some(_), None) => ensure!(error.is_some(), "a packet without the password was sent"),
            (Some(secret), Some(found)) => {
                let unknown = error == Some(ErrorCode::AUTHENTICATION_FAILURE);
                ensure!(!unknown, "the password was sent to somebody who does not know it");
                ensure!(found.password() == Some(secret.expose()), "another password than ours was sent");
            }
            (None, _) => {}
        }
        Ok(())
    }

    /// What is left, and what was counted.
    fn end(&mut self) {
        for (name, config) in self.tunnels.clone() {
            let name = if self.tunnels.len() > 1 { format!(" of {name}") } else { String::new() };
            self.say(format_args!("\nThe kernel{name} at the end:"));
            self.lines(&show::kernel(&self.kernel, config.id));
            self.say(format_args!("\nCounters{name}:"));
            self.lines(&show::counters(&self.engine, config.id));
        }
    }

    /// Writes a line down.
    fn say(&mut self, words: fmt::Arguments<'_>) {
        transcript::line(&mut self.text, words);
    }

    fn lines(&mut self, lines: &[String]) {
        if lines.is_empty() {
            self.text += "    nothing\n";
        }
        for line in lines {
            self.say(format_args!("    {line}"));
        }
    }
}
