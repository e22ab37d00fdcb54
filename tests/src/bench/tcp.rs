//! Bulk TCP between two hosts on one wire: through the tunnel, through a kernel VXLAN device, and directly.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use super::{
    bars::{Bars, Row},
    hosts::Hosts,
    machine::Machine,
    pin,
    report::{Figure, Part, Plot, Report, Section, Table},
    statistics::{Sample, counter_as_f64, interleave},
    thresholds::Thresholds,
};
use crate::{namespace::Namespace, wire::UNDERLAY};
use anyhow::{Context as _, Result, anyhow, ensure};

/// How much to measure.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Runs of each way.
    pub runs: usize,
    /// Length of a run, after [`Plan::warm_up`].
    pub run: Duration,
    /// What a connection may take to find its speed.
    pub warm_up: Duration,
}

impl Plan {
    /// For figures to be quoted.
    pub const FULL: Self =
        Self { runs: 11, run: Duration::from_millis(1200), warm_up: Duration::from_millis(300) };
    /// For rough figures.
    pub const QUICK: Self =
        Self { runs: 7, run: Duration::from_millis(400), warm_up: Duration::from_millis(200) };
    /// To see that it works.
    pub const SMOKE: Self =
        Self { runs: 2, run: Duration::from_millis(50), warm_up: Duration::from_millis(20) };
}

const CHUNK: usize = 256 * 1024;
/// Longest silence.
const PATIENCE: Duration = Duration::from_secs(10);

/// A way from `a` to `b`.
struct Way {
    label: &'static str,
    /// Address of `b` on this way.
    address: Ipv4Addr,
}

const TUNNEL: usize = 0;
const VXLAN: usize = 1;
const PLAIN: usize = 2;

/// Measures.
pub fn measure(plan: Plan, thresholds: &Thresholds) -> Result<Report> {
    let hosts = Hosts::new()?;
    let _agents = hosts.start_agents()?;
    make_vxlan(&hosts)?;
    let mut ways = [
        Way { label: "dmvpn tunnel", address: hosts.b.address },
        Way { label: "kernel VXLAN", address: Ipv4Addr::new(10, 9, 0, 2) },
        Way { label: "no tunnel", address: hosts.b.nbma },
    ];
    let (from, to) = (&hosts.a.namespace, &hosts.b.namespace);
    let samples = interleave(plan.runs, &mut ways, |way| {
        rate(from, to, way.address, plan).with_context(|| format!("TCP by way of the {}", way.label))
    })?;
    let overheads = ways
        .iter()
        .map(|way| largest_payload(from, way.address))
        .collect::<Result<Vec<_>>>()
        .context("asking for segment sizes")?;
    report(&ways, &samples, &overheads, thresholds)
}

/// A VXLAN device at each host, over the same wire.
fn make_vxlan(hosts: &Hosts) -> Result<()> {
    for (host, other, number) in [(&hosts.a, &hosts.b, 1), (&hosts.b, &hosts.a, 2)] {
        let namespace = &host.namespace;
        namespace.command(&format!(
            "ip link add vxlan0 type vxlan id 42 local {} remote {} dstport 4789 dev {UNDERLAY}",
            host.nbma, other.nbma
        ))?;
        namespace.command(&format!("ip address add 10.9.0.{number}/24 dev vxlan0"))?;
        namespace.command("ip link set vxlan0 up")?;
    }
    Ok(())
}

/// Gbit/s of TCP payload from one host to the other, as the receiver sees it.
fn rate(from: &Namespace, to: &Namespace, address: Ipv4Addr, plan: Plan) -> Result<f64> {
    let listener =
        to.run(|| TcpListener::bind((address, 0)).with_context(|| format!("binding to {address}")))?;
    let target = listener.local_addr().context("asking for the port")?;
    let duration = plan.warm_up + plan.run;
    let sender = from.spawn(move || {
        pin(0)?;
        send(target, duration)
    });
    let receiver = thread::spawn(move || {
        pin(1)?;
        receive(&listener, plan.warm_up)
    });
    sender.join().map_err(|_| anyhow!("the sender panicked"))??;
    let (bytes, time) = receiver.join().map_err(|_| anyhow!("the receiver panicked"))??;
    Ok(counter_as_f64(bytes) * 8.0 / time.as_secs_f64() / 1e9)
}

fn send(target: SocketAddr, duration: Duration) -> Result<()> {
    let mut stream =
        TcpStream::connect_timeout(&target, PATIENCE).with_context(|| format!("connecting to {target}"))?;
    stream.set_write_timeout(Some(PATIENCE)).context("setting a timeout")?;
    let chunk = vec![0x5a; CHUNK];
    let start = Instant::now();
    while start.elapsed() < duration {
        stream.write_all(&chunk).context("sending")?;
    }
    Ok(())
}

/// Bytes that arrived after `warm_up`, and in what time.
fn receive(listener: &TcpListener, warm_up: Duration) -> Result<(u64, Duration)> {
    let mut stream = accept(listener)?;
    stream.set_read_timeout(Some(PATIENCE)).context("setting a timeout")?;
    let mut chunk = vec![0; CHUNK];
    let start = Instant::now();
    let mut counted: Option<(Instant, u64)> = None;
    let mut last = start;
    loop {
        let size = stream.read(&mut chunk).context("receiving")?;
        if size == 0 {
            break;
        }
        last = Instant::now();
        match &mut counted {
            Some((_, bytes)) => *bytes += size as u64,
            None if last - start >= warm_up => counted = Some((last, 0)),
            None => {}
        }
    }
    let (since, bytes) = counted.context("the connection ended before it was warm")?;
    ensure!(bytes > 0, "nothing arrived");
    Ok((bytes, last - since))
}

/// Waits for the connection, but not for ever.
fn accept(listener: &TcpListener) -> Result<TcpStream> {
    listener.set_nonblocking(true).context("preparing to wait")?;
    let start = Instant::now();
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false).context("preparing to read")?;
                return Ok(stream);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock && start.elapsed() < PATIENCE => {
                thread::sleep(Duration::from_millis(1));
            }
            Err(error) => return Err(error).context("waiting for the connection"),
        }
    }
}

/// Payload of a full TCP segment on the way to `address` (with timestamps), and bytes of its frame on the wire.
struct Payload {
    segment: u32,
    mtu: u32,
}

fn largest_payload(from: &Namespace, address: Ipv4Addr) -> Result<Payload> {
    let route = from.command(&format!("ip -o route get {address}"))?;
    let device = route
        .split_whitespace()
        .skip_while(|word| *word != "dev")
        .nth(1)
        .with_context(|| format!("no device in {route}"))?;
    let link = from.command(&format!("ip -o link show {device}"))?;
    let mtu: u32 = link
        .split_whitespace()
        .skip_while(|word| *word != "mtu")
        .nth(1)
        .and_then(|mtu| mtu.parse().ok())
        .with_context(|| format!("no MTU in {link}"))?;
    // IPv4, TCP, timestamps.
    Ok(Payload { segment: mtu - 20 - 20 - 12, mtu })
}

fn report(ways: &[Way], samples: &[Sample], payloads: &[Payload], thresholds: &Thresholds) -> Result<Report> {
    let vs_vxlan = samples[TUNNEL].over(&samples[VXLAN])?;
    let vs_plain = samples[TUNNEL].over(&samples[PLAIN])?;
    let figures = vec![
        Figure::median("tcp_vs_vxlan", "TCP through the tunnel / through kernel VXLAN", "", &vs_vxlan),
        Figure::median("tcp_vs_plain", "TCP through the tunnel / without a tunnel", "", &vs_plain),
    ];
    let rows = ways
        .iter()
        .zip(samples)
        .enumerate()
        .map(|(place, (way, sample))| Row::new(way.label, sample.clone(), usize::from(place != TUNNEL)));
    let mut rows: Vec<Row> = rows.collect();
    if let Some(threshold) = thresholds.of("tcp_vs_vxlan") {
        let aim = samples[VXLAN].median() * threshold.aim;
        rows[TUNNEL] = rows[TUNNEL].clone().with_limit(aim, format!("aim {threshold} × VXLAN"));
    }
    let bars = Bars {
        title: "Bulk TCP between two hosts".to_owned(),
        subtitle: "one connection, the same wire for all three; bar: median, dots: runs; more is better"
            .to_owned(),
        axis: "payload received, Gbit/s".to_owned(),
        rows,
    };
    let mut table =
        Table::of_samples("way", "Gbit/s", ways.iter().zip(samples).map(|(way, sample)| (way.label, sample)));
    table.header.extend(["MTU", "payload of a full segment"].map(str::to_owned));
    for (row, payload) in table.rows.iter_mut().zip(payloads) {
        row.extend([payload.mtu.to_string(), format!("{} B", payload.segment)]);
    }
    let (tunnel, vxlan, plain) = (payloads[TUNNEL].segment, payloads[VXLAN].segment, payloads[PLAIN].segment);
    Ok(Report {
        part: Part::Tcp,
        machine: Machine::ask()?,
        method: vec![
            "Two network namespaces, one veth pair between them as the wire: MTU 1500, segmentation and checksum \
             offload off at both ends, so that every packet on the wire is complete and of at most the MTU, as from a \
             NIC. The agents run and their native XDP programs are attached at both ends *in all three cases*: the \
             three differ in nothing but the address the sender connects to."
                .to_owned(),
            "One TCP connection a run, the sender on one processor, the receiver on another, both with the highest priority; payload is counted by the \
             receiver after a warm-up. Both directions' work, both hosts and the wire share the machine."
                .to_owned(),
            format!(
                "{} runs of {:.1} s each, the ways in turn; ratios are taken run by run.",
                samples[TUNNEL].runs(),
                Plan::FULL.run.as_secs_f64()
            ),
        ],
        figures,
        sections: vec![Section {
            title: "One connection".to_owned(),
            text: vec![format!(
                "What headers alone would give: a full segment carries {tunnel} bytes through the tunnel, {vxlan} through \
                 VXLAN and {plain} without a tunnel, so where only packets count, the tunnel is at {:.2} of VXLAN and \
                 {:.2} of no tunnel.",
                f64::from(tunnel) / f64::from(vxlan),
                f64::from(tunnel) / f64::from(plain)
            )],
            plot: Some(Plot {
                name: "tcp".to_owned(),
                alt: "Bulk TCP through the tunnel, through VXLAN, and without a tunnel".to_owned(),
                svg: bars.draw(),
            }),
            table: Some(table),
            notes: Vec::new(),
        }],
    })
}
