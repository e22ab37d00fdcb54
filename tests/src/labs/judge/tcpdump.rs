//! tcpdump, which knows what is in our tunnels, but not NHRP in GRE.

use std::{fs::File, path::Path, process::Command};

use anyhow::{Context as _, Result};

use crate::command;

/// Words of its complaints, in small letters; besides, `[|` stands where a packet ends too early.
const COMPLAINTS: &[&str] = &[
    "bad",
    "wrong",
    "incorrect",
    "invalid",
    "illegal",
    "malformed",
    "truncated",
    "corrupt",
    "corrupted",
    "bogus",
    "missing",
    "unknown",
    "unsupported",
];

/// What there is in a capture.
#[derive(Debug)]
pub(super) struct Read {
    /// Packets of the node's tunnels.
    pub(super) packets: usize,
    /// What is wrong with them.
    pub(super) complaints: Vec<String>,
}

/// Reads the capture of a node's wire, whose other end has the link-layer address `router`: all that the node sent through
/// its tunnels, outside and inside, with every checksum.
pub(super) fn read(file: &Path, router: &str) -> Result<Read> {
    let input = File::open(file).with_context(|| format!("cannot open {}", file.display()))?;
    let mut tcpdump = Command::new("tcpdump");
    // It reads from a pipe, as it may give up the right to open the file before it does.
    tcpdump.args(["-n", "-t", "-vv", "-r", "-"]).stdin(input);
    tcpdump.arg(format!("not ether src {router} and (proto 47 or (vlan and proto 47))"));
    Ok(judge(&command::output(&mut tcpdump)?))
}

/// Reads what it printed: a line for each packet, and indented lines with more about it.
fn judge(text: &str) -> Read {
    let mut read = Read { packets: 0, complaints: Vec::new() };
    let mut lines = text.lines().peekable();
    while let Some(first) = lines.next() {
        let mut packet = vec![first];
        while let Some(more) = lines.next_if(|line| line.starts_with([' ', '\t'])) {
            packet.push(more);
        }
        read.packets += 1;
        if let Some(line) = complaint(&packet) {
            read.complaints.push(format!("{}: {}", line.trim(), packet.join("\n")));
        }
    }
    read
}

/// The first line of a packet that complains, but for what tcpdump 4.99 does not know or understand.
fn complaint<'a>(packet: &[&'a str]) -> Option<&'a str> {
    let mut before = "";
    packet.iter().copied().find(|line| {
        // In the header of a protocol that it does not know, as those for experiments, which says nothing about the rest.
        let small = line.replace(", proto unknown (", ", proto (").to_lowercase();
        // Whole words: a checksum may be 0x1bad.
        let mut words = small.split(|c: char| !c.is_ascii_alphanumeric());
        let complains = line.contains("[|") || words.any(|word| COMPLAINTS.contains(&word));
        let excused = complains && is_excused(packet, before, line);
        before = line;
        complains && !excused
    })
}

fn is_excused(packet: &[&str], before: &str, line: &str) -> bool {
    // An LS-Ack does not say how many it acknowledges: tcpdump reads them until there is no more, and says so.
    let is_end_of_acknowledgements =
        line.ends_with(" [|ospf2]") && packet.iter().any(|line| line.contains(": OSPFv2, LS-Ack, "));
    // It takes whatever UDP port 49152 speaks for a protocol of one vendor's switches. FRR's BFD uses that port.
    let shim = "    BCM-LI-SHIM: ";
    let is_port_of_bfd = line.starts_with(shim) || before.starts_with(shim) && line.trim() == "(invalid)";
    // Capabilities and reasons that BGP got later: extended messages (6), host names (73); hard reset (9), BFD down (10).
    let is_new_in_bgp = ["\t      Unknown (6), length: 0", "\t      Unknown (73), length: "]
        .iter()
        .any(|known| line.starts_with(known))
        || [9, 10].iter().any(|code| line.ends_with(&format!(", Cease (6), subcode Unknown ({code})")));
    is_end_of_acknowledgements || is_port_of_bfd || is_new_in_bgp
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_is_wrong_in_any_line_of_a_packet() {
        let good = "IP (tos 0xc0, proto GRE (47), cksum 0x1bad, length 112)\n    198.18.0.1 > 198.18.3.1: GREv0, length 92\n\t\
                    IP (tos 0xc0, ttl 1, proto ICMP (1), length 84)\n";
        assert_eq!(judge(good).packets, 1);
        assert!(judge(good).complaints.is_empty());
        for bad in [
            "\tIP (tos 0x0, proto UDP (17), length 52, bad cksum 0 (->1f2e)!)\n",
            "    10.0.0.1.1 > 10.0.0.2.2: [bad udp cksum 0x1 -> 0x2!] UDP, length 24\n",
            "    10.0.0.1.1 > 10.0.0.2.2: Flags [.], cksum 0x461b (incorrect -> 0x1234), length 94\n",
            "    10.0.0.1 > 10.0.0.2: ICMP echo request, id 1, seq 2, length 64 (wrong icmp cksum 0 (->1)!)\n",
            "    truncated-ip - 20 bytes missing! 10.0.0.1 > 10.0.0.2: [|icmp]\n",
            "    Unknown (7), length: 0\n",
        ] {
            let read = judge(&format!("{good}{bad}{good}"));
            assert_eq!((read.packets, read.complaints.len()), (2, 1), "{bad}");
        }
    }

    #[test]
    fn excuses_only_what_it_does_not_know() {
        let acknowledgement = "IP (length 112)\n    10.0.0.1 > 10.0.0.2: OSPFv2, LS-Ack, length 64\n\t    \
                               Options: [External] [|ospf2]\n";
        assert!(judge(acknowledgement).complaints.is_empty());
        assert_eq!(judge(&acknowledgement.replace("LS-Ack", "Hello")).complaints.len(), 1);
        let bfd = "IP (length 52)\n    BCM-LI-SHIM: direction unused, pkt-type unknown, li-id 1304\n     (invalid)\n";
        assert!(judge(bfd).complaints.is_empty());
        assert_eq!(judge("IP (length 52)\n     (invalid)\n").complaints.len(), 1);
        let experiment = "IP (tos 0x0, ttl 1, proto unknown (253), length 24)\n";
        assert!(judge(experiment).complaints.is_empty());
        let bad = experiment.replace("24)", "24, bad cksum 0 (->1)!)");
        assert_eq!(judge(&bad).complaints.len(), 1);
    }
}
