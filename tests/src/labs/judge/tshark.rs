//! tshark, out of Debian packages that are unpacked below `target/tshark` and never installed.

use std::{
    collections::BTreeSet,
    iter,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use anyhow::{Context as _, Result};

use crate::{
    command, target,
    undo::remove_directory,
    vm::packages::{self, Source},
};

const PACKAGES: &[&str] = &["tshark"];

/// What it is told beside its defaults.
const PREFERENCES: &[&str] = &[
    // A veth may carry packets without a checksum, so it does not look by itself. Our wires are made not to.
    "ip.check_checksum:TRUE",
    "tcp.check_checksum:TRUE",
    "udp.check_checksum:TRUE",
    // RFC 2332 5.3.4 has the sender's address before the password. Cisco leaves it out, and so does everybody else.
    "nhrp.auth_ext_has_addr:FALSE",
];

/// Severities of what it says about a packet: those of its manual, `_ws.expert.severity`.
const WARNING: u64 = 0x0060_0000;
const ERROR: u64 = 0x0080_0000;

/// Between the values of a field that is there several times; in none of its messages.
const BETWEEN: char = '|';

/// What it says about a redirect that quotes an ICMP error, whose quote it reads beyond what there is of it.
const BOGUS: &str = "Bogus IP version";

/// The first port that the kernel gives to who asks for none.
const EPHEMERAL: u16 = 32768;

/// tshark, ready to be run.
#[derive(Debug)]
pub(super) struct Tshark {
    directory: PathBuf,
    /// Protocols that it would only guess.
    guesses: Vec<String>,
}

/// What there is in a capture.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Read {
    /// Numbers of the frames with NHRP, whoever sent them.
    pub(super) frames: BTreeSet<u64>,
    /// How many of these are the node's.
    pub(super) sent: usize,
    /// What is wrong with the node's frames.
    pub(super) complaints: Vec<String>,
}

impl Tshark {
    /// Fetches and unpacks it when it is not there. `tell` hears what takes long.
    pub(super) fn get(mut tell: impl FnMut(&str)) -> Result<Self> {
        let make = |directory: &Path| {
            let start = Instant::now();
            tell("unpacking tshark from Debian packages (about 50 MB), once");
            let (root, downloads) = (directory.join("root"), directory.join("downloads"));
            // One of another recipe.
            remove_directory(&root)?;
            packages::unpack(&packages::download(Source::Machine, PACKAGES, &downloads)?, &root)
                .context("cannot unpack tshark")?;
            remove_directory(&downloads)?;
            tell(&format!("unpacked in {:.0} s", start.elapsed().as_secs_f64()));
            Ok(())
        };
        let directory = target::made_once("tshark", &format!("{PACKAGES:?}"), make)?;
        let mut tshark = Self { directory, guesses: Vec::new() };
        let list = |what| command::output(tshark.command().args(["-G", what])).context("tshark");
        tshark.guesses = guesses(&list("heuristic-decodes")?, &list("decodes")?);
        Ok(tshark)
    }

    fn command(&self) -> Command {
        let root = self.directory.join("root");
        let mut tshark = packages::program(&root, "usr/bin/tshark", "tshark");
        // Nobody's own preferences.
        tshark.env("HOME", &self.directory).env("XDG_CONFIG_HOME", &self.directory);
        tshark.env("WIRESHARK_DATA_DIR", root.join("usr/share/wireshark"));
        tshark
    }

    /// Reads the capture of a node's wire, whose other end has the link-layer address `router`.
    ///
    /// A complaint is: a malformed packet; anything it calls an error, wrong checksums among them; in NHRP anything it
    /// calls a warning. Warnings about TCP are not: they speak of segments that were lost or overtaken.
    pub(super) fn read(&self, file: &Path, router: &str) -> Result<Read> {
        let mut tshark = self.command();
        tshark.arg("-n").arg("-r").arg(file);
        for preference in PREFERENCES {
            tshark.args(["-o", preference]);
        }
        for protocol in &self.guesses {
            tshark.args(["--disable-protocol", protocol]);
        }
        let text = command::output(fields(&mut tshark)).context("tshark")?;
        judge(&text, router)
    }
}

/// Protocols that it finds in TCP and UDP by what the bytes look like, or by a port that anybody may be given by chance: the
/// labs' own payload is of no protocol, and some of it looks like one, malformed. Reads what `tshark -G` prints: in the first
/// list who asks, a protocol and whether it is on, in the second what is looked at, a number and a protocol.
fn guesses(heuristics: &str, ports: &str) -> Vec<String> {
    let by_looks = heuristics.lines().filter_map(|line| match line.split('\t').collect::<Vec<_>>()[..] {
        ["tcp" | "udp", protocol, ..] => Some(protocol.to_owned()),
        _ => None,
    });
    let by_port = ports.lines().filter_map(|line| match line.split('\t').collect::<Vec<_>>()[..] {
        ["tcp.port" | "udp.port", port, protocol]
            if port.parse::<u16>().is_ok_and(|port| port >= EPHEMERAL) =>
        {
            Some(protocol.to_owned())
        }
        _ => None,
    });
    let all: BTreeSet<_> = by_looks.chain(by_port).collect();
    all.into_iter().collect()
}

/// Lets it print a line about each frame with NHRP, and about each that it has something to say about.
fn fields(tshark: &mut Command) -> &mut Command {
    tshark.args(["-Y", &format!("nhrp || _ws.malformed || _ws.expert.severity >= {WARNING}")]);
    tshark.args(["-T", "fields", "-E", "separator=/t", "-E", "occurrence=a"]);
    tshark.args(["-E", &format!("aggregator={BETWEEN}")]);
    for field in ["frame.number", "eth.src", "frame.protocols", "_ws.expert.severity", "_ws.expert.message"] {
        tshark.args(["-e", field]);
    }
    tshark
}

/// Reads what it printed.
fn judge(text: &str, router: &str) -> Result<Read> {
    let mut read = Read::default();
    for line in text.lines() {
        let mut fields = line.split('\t');
        let mut next = || fields.next().with_context(|| format!("a line without all fields: {line}"));
        let (frame, source, protocols) = (next()?, next()?, next()?);
        let (severities, messages) = (next()?, next()?);
        let frame: u64 = frame.parse().with_context(|| format!("no number: {line}"))?;
        // Not what a router quotes.
        let outer = protocols.split_once(":icmp").map_or(protocols, |(outer, _)| outer);
        let quoted = outer.split_once(":nhrp").map(|(_, quoted)| quoted);
        if quoted.is_some() {
            read.frames.insert(frame);
        }
        if source == router {
            continue;
        }
        read.sent += usize::from(quoted.is_some());
        let least = if quoted.is_some() { WARNING } else { ERROR };
        let quotes_error = quoted == Some(":ip") || quoted == Some(":ipv6");
        let all_messages = messages.split(BETWEEN).chain(iter::repeat(""));
        let complains = severities.split(BETWEEN).zip(all_messages).any(|(severity, message)| {
            let is_severe = severity.parse::<u64>().is_ok_and(|severity| severity >= least);
            is_severe && !(quotes_error && outer != protocols && message == BOGUS)
        });
        if complains || protocols.contains("_ws.malformed") {
            read.complaints.push(format!("frame {frame}: {messages}"));
        }
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTER: &str = "02:00:00:00:00:01";
    const NODE: &str = "02:00:00:00:00:02";

    fn complaints(source: &str, protocols: &str, severities: &str) -> usize {
        let line = format!("4\t{source}\t{protocols}\t{severities}\twhat it is|something else\n");
        judge(&line, ROUTER).unwrap().complaints.len()
    }

    #[test]
    fn complains_about_errors_of_the_node_and_warnings_in_its_nhrp() {
        let nhrp = "eth:ethertype:ip:gre:nhrp";
        let tcp = "eth:ethertype:ip:gre:ip:tcp";
        let (note, warning, error) = ("4194304", "6291456", "8388608");
        for (protocols, severities, expected) in [
            (nhrp, "", 0),
            (nhrp, note, 0),
            (nhrp, warning, 1),
            (tcp, warning, 0),
            (tcp, error, 1),
            (tcp, &format!("{note}|{error}"), 1),
            ("eth:ethertype:ip:gre:ip:_ws.malformed", "", 1),
        ] {
            assert_eq!(complaints(NODE, protocols, severities), expected, "{protocols} {severities}");
            assert_eq!(complaints(ROUTER, protocols, severities), 0, "{protocols} {severities}");
        }
        assert!(judge("4\tx\n", ROUTER).is_err());
    }

    #[test]
    fn excuses_only_what_it_reads_behind_a_quoted_icmp_error() {
        let of = |protocols: &str, message: &str| {
            let line = format!("4\t{NODE}\t{protocols}\t8388608\t{message}\n");
            judge(&line, ROUTER).unwrap().complaints.len()
        };
        assert_eq!(of("eth:ethertype:ip:gre:nhrp:ip:icmp:ip", BOGUS), 0);
        assert_eq!(of("eth:ethertype:ip:gre:nhrp:ip:icmp:ip", "Bad checksum"), 1);
        assert_eq!(of("eth:ethertype:ip:gre:nhrp:ip", BOGUS), 1);
        assert_eq!(of("eth:ethertype:ip:gre:ip:icmp:ip", BOGUS), 1);
    }

    #[test]
    fn finds_protocols_that_are_guessed() {
        let heuristics = "usb.bulk\tusb_x\tT\nudp\tthrift\tT\ntcp\tthrift\tF\n";
        let ports = "tcp.port\t179\tbgp\nudp.port\t44818\tenip\nip.proto\t47\tgre\n";
        assert_eq!(guesses(heuristics, ports), ["enip", "thrift"]);
    }

    #[test]
    fn counts_nhrp_but_not_what_routers_quote() {
        let text = format!(
            "4\t{NODE}\teth:ethertype:ip:gre:nhrp:ip:icmp\t\t\n5\t{ROUTER}\teth:ethertype:ip:gre:nhrp\t\t\n\
             6\t{ROUTER}\teth:ethertype:ip:icmp:ip:gre:nhrp\t\t\n"
        );
        let read = judge(&text, ROUTER).unwrap();
        assert_eq!(read, Read { frames: [4, 5].into(), sent: 1, complaints: Vec::new() });
    }
}
