//! Forwarding between spokes, in the guest: the same frames to every forwarder.
//!
//! ```text
//!   b: generator --(redirect)--> wire --> a: the forwarder --> wire --> b: a sink counts and drops
//! ```
//!
//! Each forwarder has a pair of hosts of its own (see [`Hosts`]): `a` forwards, all spokes are behind `b`, on paper.

use std::{
    fmt::Write as _,
    fs,
    io::{ErrorKind, Read as _},
    os::fd::OwnedFd,
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use dmvpn::control::protocol::XdpHook;
use dmvpn_common::{IPPROTO_GRE, LAYOUT_VERSION};
use serde::{Deserialize, Serialize};
use socket2::{Domain, Protocol, Socket, Type};

use super::Plan;
use crate::{
    agent::Agent,
    bench::{
        datapath::{
            flow,
            kernel::{Kernel, Program, Ways},
            live,
        },
        hosts::Hosts,
        pin_behind_others, progress,
        statistics::{Sample, interleave},
    },
    bpf, command,
    crowd::{self, Crowd},
    wire::UNDERLAY,
};

/// Spokes, each with a network behind it.
const SPOKES: u32 = 16;
const FORWARDER_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x01];
const SPOKES_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0xfe];

/// Places in the results.
pub(super) const XDP: usize = 0;
pub(super) const TC: usize = 1;
pub(super) const GRE: usize = 2;
pub(super) const NOTHING: usize = 3;

/// What the runs of one forwarder showed.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Forwarding {
    pub(super) label: String,
    /// Frames a second that came out, by run.
    pub(super) rates: Vec<f64>,
    /// Frames that did not come out, of all runs.
    pub(super) lost: u64,
    /// Frames sent in all runs.
    pub(super) sent: u64,
}

impl Forwarding {
    /// The rates.
    pub(super) fn sample(&self) -> Result<Sample> {
        Sample::new(self.rates.clone())
    }
}

/// What forwards.
#[expect(dead_code, reason = "both are kept for what their end would do")]
enum By {
    Agent(Box<Agent>),
    Program(OwnedFd),
    Kernel,
}

struct Forwarder {
    label: &'static str,
    generator: u32,
    lost: u64,
    sent: u64,
    kernel: Kernel,
    _sink: OwnedFd,
    _by: By,
    hosts: Hosts,
}

/// Measures, the forwarders in turn.
pub(super) fn measure(plan: Plan) -> Result<Vec<Forwarding>> {
    progress("forwarders");
    let xdp = hosts()?;
    // Every forwarder's frames are made by programs that share maps with this agent: they are the ones of the bench of
    // the data path, and some of those need it.
    let pins = xdp.a.pins.join(format!("v{LAYOUT_VERSION}"));
    let agent = agent(&xdp, "native", XdpHook::Native)?;
    let xdp = Forwarder::new("dmvpn, native XDP", xdp, By::Agent(Box::new(agent)), &pins)?;

    let tc = hosts()?;
    // A veth has no native XDP where more queues send to it than it receives by; so the agent takes TC.
    tc.b.namespace.command(&format!("ethtool -L {UNDERLAY} tx 2"))?;
    let agent = agent_at_tc(&tc)?;
    let tc = Forwarder::new("dmvpn, TC", tc, By::Agent(Box::new(agent)), &pins)?;

    let gre = hosts()?;
    make_gre(&gre)?;
    let gre = Forwarder::new("kernel GRE", gre, By::Kernel, &pins)?;

    let nothing = hosts()?;
    let nothing = Forwarder::returning(nothing, &pins)?;

    let mut forwarders = [xdp, tc, gre, nothing];
    for forwarder in &mut forwarders {
        // Fills caches and tables.
        forwarder.run(plan.frames / 4)?;
        (forwarder.lost, forwarder.sent) = (0, 0);
    }
    progress("forwarding");
    let samples = interleave(plan.runs, &mut forwarders, |forwarder| forwarder.run(plan.frames))?;
    let results = forwarders.iter().zip(samples).map(|(forwarder, sample)| Forwarding {
        label: forwarder.label.to_owned(),
        rates: sample.results().to_vec(),
        lost: forwarder.lost,
        sent: forwarder.sent,
    });
    Ok(results.collect())
}

impl Forwarder {
    /// A forwarder that is ready, after a look at what it does.
    fn new(label: &'static str, hosts: Hosts, by: By, pins: &Path) -> Result<Self> {
        let kernel = load(&hosts, pins)?;
        let generator = index(&hosts)?;
        check(&hosts, &kernel, generator).with_context(|| label.to_owned())?;
        Self::with_sink(label, hosts, by, kernel, generator)
    }

    /// Only a program that sends each frame back as it came: what generator, wire and sink take by themselves.
    fn returning(hosts: Hosts, pins: &Path) -> Result<Self> {
        let kernel = load(&hosts, pins)?;
        let generator = index(&hosts)?;
        let attach = || {
            let underlay = nix::net::if_::if_nametoindex(UNDERLAY).context("no underlay")?;
            bpf::attach_xdp(kernel.program(Program::Return)?, underlay)
        };
        let program = hosts.a.namespace.run(attach)?;
        Self::with_sink("frames only returned", hosts, By::Program(program), kernel, generator)
    }

    fn with_sink(label: &'static str, hosts: Hosts, by: By, kernel: Kernel, generator: u32) -> Result<Self> {
        let sink = hosts
            .b
            .namespace
            .run(|| bpf::attach_xdp(kernel.program(Program::Sink)?, generator).context("the sink"))?;
        Ok(Self { label, generator, lost: 0, sent: 0, kernel, _sink: sink, _by: by, hosts })
    }

    /// Frames a second that come out when `frames` go in.
    fn run(&mut self, frames: u32) -> Result<f64> {
        let (kernel, generator) = (&self.kernel, self.generator);
        let run = self.hosts.b.namespace.run(|| {
            // Whoever has frames goes first: no queue is overrun because its owner does not get the processor.
            pin_behind_others(1)?;
            live::send(kernel, generator, frames)
        });
        let run = run.with_context(|| self.label.to_owned())?;
        ensure!(run.rate > 0.0, "{}: no frame came out", self.label);
        self.lost += run.lost;
        self.sent += u64::from(frames);
        Ok(run.rate)
    }
}

/// Two hosts, `a` a router.
fn hosts() -> Result<Hosts> {
    let hosts = Hosts::new()?;
    let router = &hosts.a.namespace;
    router.set("ipv4/ip_forward", "1")?;
    for conf in ["all", UNDERLAY] {
        router.set(&format!("ipv4/conf/{conf}/send_redirects"), "0")?;
    }
    for (host, address) in [(&hosts.a, FORWARDER_MAC), (&hosts.b, SPOKES_MAC)] {
        let namespace = &host.namespace;
        namespace.command(&format!("ip link set {UNDERLAY} address {}", mac(address)))?;
        // A veth takes redirected frames only where it polls.
        namespace.command(&format!("ethtool -K {UNDERLAY} gro on"))?;
    }
    // The sink takes everything, answers to ARP as well.
    let (spokes, address) = (hosts.b.nbma, mac(SPOKES_MAC));
    router.command(&format!("ip neigh replace {spokes} lladdr {address} dev {UNDERLAY} nud permanent"))?;
    Ok(hosts)
}

/// Our agent as the hub of all spokes.
fn agent(hosts: &Hosts, xdp: &'static str, hook: XdpHook) -> Result<Agent> {
    let mut config = hosts.config(&hosts.a);
    config.address = ipnet::Ipv4Net::new_assert(hosts.a.address, 8).into();
    config.max_peers = Some(2 * SPOKES);
    (config.log, config.xdp) = ("warn", xdp);
    for spoke in 0..SPOKES {
        let network = ipnet::Ipv4Net::new_assert(flow::network(spoke), 24).into();
        config.routes.push((network, crowd::address(spoke).into()));
    }
    let agent = Agent::start(&hosts.a, &config)?;
    Crowd::gather(hosts, flow::KEY)?.register(0..SPOKES).with_context(|| agent.log())?;
    let row = agent.interfaces()?.pop().context("the agent has no interface")?;
    ensure!(row.xdp.iter().all(|row| row.mode == hook), "{:?} instead of {hook:?}", row.xdp);
    Ok(agent)
}

fn agent_at_tc(hosts: &Hosts) -> Result<Agent> {
    agent(hosts, "auto", XdpHook::Tc)
}

/// The kernel's multipoint GRE device, with the neighbours and routes that an agent would make.
fn make_gre(hosts: &Hosts) -> Result<()> {
    let router = &hosts.a;
    // Makes the spokes' addresses reachable, too.
    drop(Crowd::gather(hosts, flow::KEY)?);
    let mut lines = format!(
        "link add gre1 type gre local {} key {} ttl 64\naddress add {}/8 dev gre1\nlink set gre1 up\n",
        router.nbma,
        flow::KEY,
        router.address
    );
    for spoke in 0..SPOKES {
        let (address, nbma, network) = (crowd::address(spoke), crowd::nbma(spoke), flow::network(spoke));
        writeln!(
            lines,
            "neigh replace {address} lladdr {nbma} dev gre1 nud permanent\n\
             route add {network}/24 via {address} dev gre1"
        )?;
    }
    let batch = router.files.join("gre.batch");
    fs::write(&batch, lines).with_context(|| format!("writing {}", batch.display()))?;
    router.namespace.run(|| command::run(&format!("ip -batch {}", batch.display())))?;
    router.namespace.set("ipv4/conf/gre1/send_redirects", "0")
}

/// The programs that make and count frames: one frame from each spoke to another one's network.
fn load(hosts: &Hosts, pins: &Path) -> Result<Kernel> {
    let link = (FORWARDER_MAC, SPOKES_MAC);
    let frames: Vec<_> = (0..SPOKES).map(|to| flow::tunneled(link, flow::sender(to, SPOKES), to)).collect();
    let generator = index(hosts)?;
    // No program that runs here looks at the others.
    let ways = Ways { generator, underlay: generator, tunnel: generator, lan: generator };
    Kernel::load(&frames, ways, pins)
}

/// Index of the spokes' end of the wire.
fn index(hosts: &Hosts) -> Result<u32> {
    hosts.b.namespace.run(|| nix::net::if_::if_nametoindex(UNDERLAY).context("no underlay"))
}

/// Sends some frames and looks at what comes out: for the right spoke, decremented, from the forwarder.
fn check(hosts: &Hosts, kernel: &Kernel, generator: u32) -> Result<()> {
    // Takes what a program sends back; see `wire`.
    hosts.b.occupy_xdp(UNDERLAY)?;
    let seen = hosts.b.namespace.run(|| {
        let mut receiver = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(i32::from(IPPROTO_GRE))))
            .context("opening a raw socket")?;
        receiver.set_read_timeout(Some(Duration::from_secs(2))).context("setting a timeout")?;
        bpf::send_live(kernel.program(Program::Generate)?, &kernel.packet, generator, 4 * SPOKES)?;
        let (mut seen, mut packet) = (0, [0; 2048]);
        while seen < SPOKES {
            let length = match receiver.read(&mut packet) {
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error).context("receiving"),
            };
            // Protocol of what is inside: others are messages of NHRP.
            if packet[22..24] == [0x08, 0] {
                is_right(packet.get(..length).unwrap_or_default())?;
                seen += 1;
            }
        }
        Ok(seen)
    })?;
    ensure!(seen == SPOKES, "only {seen} of {} frames came out", 4 * SPOKES);
    hosts.b.namespace.command(&format!("ip link set dev {UNDERLAY} xdpdrv off")).map(drop)
}

/// Fails when a packet is not what the forwarder has to make of those of the generator.
fn is_right(packet: &[u8]) -> Result<()> {
    let address = |at: usize| packet.get(at..at + 4).and_then(|bytes| <[u8; 4]>::try_from(bytes).ok());
    let (source, target, inner) = (address(12), address(16), address(28 + 16));
    let spoke = (0..SPOKES).find(|spoke| inner == Some(flow::host(*spoke).octets()));
    let Some(spoke) = spoke else { bail!("a packet for nobody: {packet:x?}") };
    ensure!(source == Some(flow::LOCAL.octets()), "not from the forwarder: {packet:x?}");
    ensure!(target == Some(crowd::nbma(spoke).octets()), "to another spoke: {packet:x?}");
    ensure!(packet.len() == flow::TUNNELED - 14, "of another length: {packet:x?}");
    ensure!(packet.get(28 + 8) == Some(&63), "the time to live is wrong: {packet:x?}");
    Ok(())
}

fn mac(address: [u8; 6]) -> String {
    address.map(|byte| format!("{byte:02x}")).join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_a_forwarded_packet_from_one_that_only_came_back() {
        let link = (FORWARDER_MAC, SPOKES_MAC);
        let mut packet = flow::tunneled(link, 3, 5).split_off(14);
        assert!(is_right(&packet).is_err(), "as it was sent");
        packet[12..16].copy_from_slice(&flow::LOCAL.octets());
        packet[16..20].copy_from_slice(&crowd::nbma(5).octets());
        assert!(is_right(&packet).is_err(), "the time to live is as before");
        packet[28 + 8] = 63;
        is_right(&packet).unwrap();
        packet[16..20].copy_from_slice(&crowd::nbma(6).octets());
        assert!(is_right(&packet).is_err(), "to another spoke");
        packet[16..20].copy_from_slice(&[0; 4]);
        assert!(is_right(&packet[..40]).is_err(), "cut");
    }
}
