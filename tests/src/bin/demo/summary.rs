//! What the demo found out.

use std::fmt;

use serde::Serialize;

/// The result, for people and (as JSON) for machines. A field is never renamed; new ones may appear.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Summary {
    /// Both spokes registered with the hub.
    pub(crate) registered: bool,
    /// From the start of the last agent until the hub knew both spokes, in milliseconds.
    pub(crate) time_to_register_ms: Option<u64>,
    /// A shortcut is in the kernel's routing table of spoke-a.
    pub(crate) shortcut_established: bool,
    /// From the first packet between the LANs until then, in milliseconds.
    pub(crate) time_to_shortcut_ms: Option<u64>,
    /// Nodes on the way of the first packets, measured by TTL.
    pub(crate) first_path: Vec<String>,
    /// Nodes on the way of the last packets.
    pub(crate) final_path: Vec<String>,
    /// Numbered packets from LAN to LAN.
    pub(crate) packets_sent: u64,
    /// Of those, packets that never arrived.
    pub(crate) packets_lost: u64,
    /// Data packets that the hub forwarded before the shortcut was made.
    pub(crate) hub_packets_before_shortcut: u64,
    /// Data packets that the hub forwarded while the packets and the file went directly: 0 is right.
    pub(crate) hub_packets_after_shortcut: u64,
    /// Bytes of the file that arrived unchanged.
    pub(crate) file_bytes: u64,
    /// Megabits a second of that.
    pub(crate) file_mbit_per_second: Option<u64>,
    /// What was not as it should be; empty when all is well.
    pub(crate) failures: Vec<String>,
}

impl Summary {
    /// Notes a failure when `seen` is false.
    pub(crate) fn expect(&mut self, seen: bool, failure: impl FnOnce() -> String) {
        if !seen {
            self.failures.push(failure());
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let yes = |value: bool| if value { "yes" } else { "NO" };
        let after = |time: Option<u64>| time.map_or_else(String::new, |time| format!(", after {time} ms"));
        writeln!(f, "Summary")?;
        writeln!(f, "  spokes registered      {}{}", yes(self.registered), after(self.time_to_register_ms))?;
        writeln!(f, "  first packets          {}", self.first_path.join(" > "))?;
        writeln!(
            f,
            "  shortcut               {}{}",
            yes(self.shortcut_established),
            after(self.time_to_shortcut_ms)
        )?;
        writeln!(f, "  last packets           {}", self.final_path.join(" > "))?;
        writeln!(f, "  packets lost           {} of {}", self.packets_lost, self.packets_sent)?;
        writeln!(
            f,
            "  packets by the hub     {} before the shortcut, {} after it",
            self.hub_packets_before_shortcut, self.hub_packets_after_shortcut
        )?;
        if let Some(rate) = self.file_mbit_per_second {
            writeln!(f, "  file                   {} MiB unchanged, {rate} Mbit/s", self.file_bytes >> 20)?;
        }
        for failure in &self.failures {
            writeln!(f, "  FAILED                 {failure}")?;
        }
        if self.failures.is_empty() { writeln!(f, "  all is as it should be") } else { Ok(()) }
    }
}
