//! On what it was measured.

use std::{fs, time::SystemTime};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

/// What a figure depends on beside the program.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// Model of the processor.
    pub processor: String,
    /// How many there are.
    pub processors: usize,
    /// Whether it is a virtual one.
    pub virtual_machine: bool,
    /// Memory, in whole GB.
    pub memory_gb: u64,
    /// Release of the kernel.
    pub kernel: String,
    /// Setting of the kernel's compiler of eBPF programs (`net.core.bpf_jit_enable`).
    pub jit: String,
    /// Processes that wanted to run in the last minute, on average, when the measurement began: what is above zero is
    /// others' work, which disturbs.
    pub load: f64,
    /// Day and time (UTC).
    pub time: String,
}

impl Machine {
    /// Asks the kernel.
    pub fn ask() -> Result<Self> {
        let cpuinfo = read("/proc/cpuinfo")?;
        let flags = field(&cpuinfo, "flags").unwrap_or_default();
        let memory = read("/proc/meminfo")?;
        let kb: u64 = field(&memory, "MemTotal")
            .and_then(|text| text.split_whitespace().next()?.parse().ok())
            .context("/proc/meminfo has no MemTotal")?;
        Ok(Self {
            processor: field(&cpuinfo, "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
            processors: std::thread::available_parallelism().context("counting processors")?.get(),
            virtual_machine: flags.split_whitespace().any(|flag| flag == "hypervisor"),
            memory_gb: (kb + 500_000) / 1_000_000,
            kernel: read("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            jit: read("/proc/sys/net/core/bpf_jit_enable").map_or_else(
                |_| "always on".to_owned(),
                |text| if text.trim() == "0" { "off".to_owned() } else { "on".to_owned() },
            ),
            load: read("/proc/loadavg")?
                .split_whitespace()
                .next()
                .and_then(|load| load.parse().ok())
                .context("/proc/loadavg begins with no number")?,
            time: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
        })
    }

    /// In one line.
    pub fn describe(&self) -> String {
        let kind = if self.virtual_machine { "virtual " } else { "" };
        format!(
            "{} {kind}CPUs ({}), {} GB, Linux {}, BPF JIT {}; {}, load of others {:.1}",
            self.processors, self.processor, self.memory_gb, self.kernel, self.jit, self.time, self.load
        )
    }
}

fn read(path: &str) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("reading {path}"))
}

/// The value behind `name` and a colon, where it is first.
fn field(text: &str, name: &str) -> Option<String> {
    let value = text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then_some(value)
    })?;
    Some(value.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn describes_this_machine() {
        let machine = Machine::ask().unwrap();
        let text = machine.describe();
        assert!(machine.processors > 0 && text.contains(&machine.kernel), "{text}");
    }

    #[test]
    fn finds_a_field_whatever_blanks_there_are() {
        let text = "processor\t: 0\nmodel name\t: A: B\nMemTotal:       12 kB\n";
        assert_eq!(field(text, "model name").as_deref(), Some("A: B"));
        assert_eq!(field(text, "MemTotal").as_deref(), Some("12 kB"));
        assert_eq!(field(text, "no such"), None);
    }
}
