//! `dmvpn capture`.

use std::{
    collections::BTreeSet,
    fs::OpenOptions,
    io::{self, Write},
    net::IpAddr,
    os::{fd::AsFd, unix::fs::OpenOptionsExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use clap::Args;
use nix::sys::{
    signal::{SigSet, Signal},
    signalfd::SignalFd,
};

use super::decode::count;
use crate::{
    capture::{Envelope, Frame, LinkType, PcapWriter, Record, Recorder, Time, find},
    config::DEFAULT_CONTROL_SOCKET,
    control::{
        client,
        protocol::{Answer, InterfaceRow, Request, View},
    },
};

/// Record the NHRP packets that this box sends and receives; needs root (`CAP_NET_RAW`).
///
/// Without `--interface`, a running agent is asked for the interfaces below its tunnels. Ends at Ctrl-C, or after
/// `--count` packets. A file that is written holds the password of the tunnel, if it has one; what is printed does
/// not.
#[derive(Debug, Args)]
pub(super) struct CaptureArguments {
    /// Record on this interface; may be given several times. It is the one below the tunnel, not the tunnel's own.
    #[arg(long, value_name = "NAME", conflicts_with = "tunnel")]
    interface: Vec<String>,
    /// Record packets of this tunnel only.
    #[arg(long, value_name = "NAME")]
    tunnel: Option<String>,
    /// Write a pcap file instead of printing the packets; `-` is standard output.
    #[arg(short, long, value_name = "FILE")]
    write: Option<PathBuf>,
    /// End after so many packets.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// The agent's control socket (`control-socket` in its configuration).
    #[arg(long, value_name = "PATH", default_value = DEFAULT_CONTROL_SOCKET)]
    socket: PathBuf,
}

pub(super) fn capture(arguments: &CaptureArguments) -> anyhow::Result<()> {
    let Sources { interfaces, tunnel } = Sources::choose(arguments)?;
    let mut recorder = Recorder::open(&interfaces)?;
    let mut sink = Sink::open(arguments.write.as_deref())?;
    let signals = stop_signals()?;
    eprintln!("recording NHRP on {}; Ctrl-C ends", recorder.names().join(", "));

    let mut packets = 0;
    let result = loop {
        if arguments.count == Some(packets) {
            break Ok(());
        }
        let frame = match recorder.next_frame(signals.as_fd()) {
            Ok(Some(frame)) => frame,
            Ok(None) => break Ok(()),
            Err(error) => break Err(error.into()),
        };
        // What passed the filter is NHRP, unless it is cut or forged.
        let Ok(found) = find(&frame) else { continue };
        if tunnel.as_ref().is_some_and(|tunnel| !tunnel.carries(&found.envelope)) {
            continue;
        }
        packets += 1;
        match sink.put(&frame, &Record::read(packets, frame.time, found)) {
            Ok(()) => {}
            // Whoever reads has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => break Ok(()),
            Err(error) => break Err(anyhow::Error::new(error).context("cannot write what was recorded")),
        }
    };
    eprintln!("{} recorded", count(packets, "NHRP packet"));
    if recorder.dropped() > 0 {
        eprintln!("{} lost: they came too fast", count(recorder.dropped(), "more packet"));
    }
    result
}

/// A descriptor that can be read when SIGINT or SIGTERM came; they do nothing else from now on.
fn stop_signals() -> anyhow::Result<SignalFd> {
    let mut stop = SigSet::empty();
    stop.add(Signal::SIGINT);
    stop.add(Signal::SIGTERM);
    // The only thread of this process.
    stop.thread_block().context("cannot handle SIGINT")?;
    SignalFd::new(&stop).context("cannot handle SIGINT")
}

/// Where to record, and what.
struct Sources {
    interfaces: Vec<String>,
    /// `None`: all NHRP.
    tunnel: Option<Tunnel>,
}

/// What tells the packets of a tunnel from those of others.
#[derive(Debug, PartialEq, Eq)]
struct Tunnel {
    source: IpAddr,
    key: Option<u32>,
}

impl Tunnel {
    fn carries(&self, envelope: &Envelope) -> bool {
        let key = envelope.gre.and_then(|gre| gre.key);
        key == self.key && [envelope.source, envelope.destination].contains(&self.source)
    }
}

impl Sources {
    fn choose(arguments: &CaptureArguments) -> anyhow::Result<Self> {
        let CaptureArguments { interface, tunnel, socket, .. } = arguments;
        if !interface.is_empty() {
            return Ok(Self { interfaces: interface.clone(), tunnel: None });
        }
        let rows = client::ask(socket, Request::Show(View::Interfaces)).context(
            "cannot ask the agent which interfaces are below its tunnels (or name one with --interface)",
        )?;
        match rows.answer {
            Answer::Interfaces(rows) => Self::of_tunnels(rows, tunnel.as_deref()),
            _ => bail!("the agent did not answer which interfaces are below its tunnels"),
        }
    }

    fn of_tunnels(rows: Vec<InterfaceRow>, name: Option<&str>) -> anyhow::Result<Self> {
        let rows: Vec<InterfaceRow> =
            rows.into_iter().filter(|row| name.is_none_or(|name| row.name == name)).collect();
        if let (Some(name), []) = (name, &rows[..]) {
            bail!("the agent has no tunnel {name}");
        }
        let tunnel = match (name, &rows[..]) {
            (Some(name), [row]) => {
                let source = row.source.with_context(|| format!("{name} has no source address now"))?;
                Some(Tunnel { source, key: row.key })
            }
            _ => None,
        };
        let interfaces: BTreeSet<String> =
            rows.into_iter().flat_map(|row| row.xdp).map(|row| row.interface).collect();
        if interfaces.is_empty() {
            bail!("no interface is below the agent's tunnels now: name one with --interface");
        }
        Ok(Self { interfaces: interfaces.into_iter().collect(), tunnel })
    }
}

/// Where packets go.
enum Sink {
    Pcap(PcapWriter<Box<dyn Write>>),
    Text,
}

impl Sink {
    fn open(path: Option<&Path>) -> anyhow::Result<Self> {
        let Some(path) = path else { return Ok(Self::Text) };
        let output: Box<dyn Write> = if path == Path::new("-") {
            Box::new(io::stdout())
        } else {
            // For its owner only: NHRP carries its password in clear text.
            let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
            Box::new(file.with_context(|| format!("cannot write {}", path.display()))?)
        };
        let writer = PcapWriter::new(output, LinkType::ETHERNET)
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self::Pcap(writer))
    }

    fn put(&mut self, frame: &Frame<'_>, record: &Record<'_>) -> io::Result<()> {
        match self {
            Self::Pcap(writer) => {
                let time = frame.time.unwrap_or_else(Time::now);
                writer.write(time, frame.bytes, frame.length as usize)
            }
            Self::Text => {
                let mut output = io::stdout().lock();
                output.write_all(record.text().as_bytes())?;
                output.flush()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{control::samples, gre::Gre};

    fn rows() -> Vec<InterfaceRow> {
        let Answer::Interfaces(rows) = samples::interfaces() else { unreachable!() };
        rows
    }

    fn envelope(source: &str, destination: &str, key: Option<u32>) -> Envelope {
        Envelope {
            vlans: vec![],
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
            tos: 0,
            ttl: 255,
            gre: Some(Gre { protocol: 0x2001, key, sequence: None, checksum: None, length: 8 }),
        }
    }

    #[test]
    fn a_tunnel_is_recorded_where_it_is_attached() {
        let sources = Sources::of_tunnels(rows(), Some("dmvpn0")).unwrap();
        assert_eq!(sources.interfaces, ["eth0", "eth1"]);
        let tunnel = Tunnel { source: "192.0.2.10".parse().unwrap(), key: Some(42) };
        assert_eq!(sources.tunnel, Some(tunnel));
    }

    #[test]
    fn without_a_name_all_tunnels_are_recorded() {
        let mut rows = rows();
        rows[1].xdp = rows[0].xdp[..1].to_vec();
        let sources = Sources::of_tunnels(rows, None).unwrap();
        // Each interface once: a packet is not to be seen twice.
        assert_eq!(sources.interfaces, ["eth0", "eth1"]);
        assert_eq!(sources.tunnel, None);
    }

    #[test]
    fn says_why_there_is_nothing_to_record() {
        let error = |rows, name| Sources::of_tunnels(rows, name).err().unwrap().to_string();
        assert_eq!(error(rows(), Some("dmvpn9")), "the agent has no tunnel dmvpn9");
        assert_eq!(error(rows(), Some("dmvpn1")), "dmvpn1 has no source address now");
        let nothing = "no interface is below the agent's tunnels now: name one with --interface";
        assert_eq!(error(vec![], None), nothing);
        assert_eq!(error(rows()[1..].to_vec(), None), nothing);
    }

    #[test]
    fn a_tunnel_carries_what_has_its_address_and_its_key() {
        let tunnel = Tunnel { source: "192.0.2.10".parse().unwrap(), key: Some(42) };
        assert!(tunnel.carries(&envelope("192.0.2.10", "203.0.113.1", Some(42))));
        assert!(tunnel.carries(&envelope("203.0.113.1", "192.0.2.10", Some(42))));
        assert!(!tunnel.carries(&envelope("203.0.113.1", "192.0.2.10", Some(43))));
        assert!(!tunnel.carries(&envelope("203.0.113.1", "192.0.2.10", None)));
        assert!(!tunnel.carries(&envelope("203.0.113.1", "192.0.2.11", Some(42))));
    }
}
