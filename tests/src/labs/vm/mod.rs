//! Labs in a virtual machine. The lab on this side boots it and tells what comes out of it; the same program, started
//! in there with the name of the same lab, builds the network and goes through the steps.

mod authentication;
mod cloud;
pub(crate) mod frr;
mod frr_hub;
mod gre_data;
mod gso;
mod mixed;
mod nat;
mod oldest_kernel;
mod our_hub;
mod redundancy;
mod retries;
mod said;
mod segments;
mod vlan;

use std::{env, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};

use super::{Entry, Options, Output, Report, Stage, Step, captures::Wire};
use crate::vm::{Image, boot, newer_frr};

/// Longest time for one lab, boot included.
const LIMIT: Duration = Duration::from_mins(15);

/// Where the guest finds the programs under test, and where it puts captures.
const PROGRAMS: &str = "/programs";
const LABS_PROGRAM: &str = "/labs";
const CAPTURES: &str = "/captures";

/// What runs in the guest.
const IN_GUEST: [&Entry; 15] = [
    &oldest_kernel::LAB,
    &mixed::WITH_KEY,
    &mixed::WITHOUT_KEY,
    &our_hub::LAB,
    &frr_hub::LAB,
    &redundancy::LAB,
    &nat::LAB,
    &gre_data::LAB,
    &gso::LAB,
    &vlan::LAB,
    &mixed::NEWER,
    &authentication::SPOKES,
    &authentication::HUB,
    &redundancy::NEWER,
    &retries::LAB,
];

/// How the names of those begin that want a newer FRR.
const WITH_NEWER_FRR: &str = "vm-frr10-";

/// The labs as they are seen from outside: the same names.
pub(super) const LABS: &[Entry] = &{
    let mut labs = [boots(IN_GUEST[0]); IN_GUEST.len()];
    let mut number = 1;
    while number < labs.len() {
        labs[number] = boots(IN_GUEST[number]);
        number += 1;
    }
    labs
};

/// The lab that boots a guest for `inside`.
const fn boots(inside: &Entry) -> Entry {
    Entry { name: inside.name, what: inside.what, needs_vm: true, build: boot_for }
}

fn boot_for(_name: &str, report: &mut Report) -> Result<Box<dyn Stage>> {
    let image = Image::get(|text| report.tell(text))?;
    let newer_frr = if report.lab().starts_with(WITH_NEWER_FRR) {
        Some(newer_frr::get(|text| report.tell(text))?)
    } else {
        None
    };
    Ok(Box::new(Booting { image, newer_frr }))
}

/// Runs the lab of this name; to be called in the guest. Each step is a line of JSON on standard output.
pub fn run_in_guest(name: &str, pcap: Option<PathBuf>) -> Result<bool> {
    let entry = IN_GUEST.into_iter().find(|entry| entry.name == name);
    let entry = entry.with_context(|| format!("no lab {name} runs in a virtual machine"))?;
    let options = Options { keep: false, pcap, tshark: false, output: Output::Steps };
    Ok(super::run(entry, &options).ok)
}

/// A lab whose guest is about to be booted.
struct Booting {
    image: Image,
    /// The directory of a newer FRR, if it is to have one.
    newer_frr: Option<PathBuf>,
}

impl Stage for Booting {
    fn play(&mut self, report: &mut Report) -> Result<()> {
        let labs = env::current_exe().context("where am I?")?;
        let agent = crate::agent::binary()?;
        let [labs_directory, agent_directory] = [&labs, &agent].map(|program| program.parent());
        let mut shares = Vec::new();
        for (host, guest) in [(labs_directory, LABS_PROGRAM), (agent_directory, PROGRAMS)] {
            let host = host.context("a program without a directory")?.to_owned();
            shares.push(boot::Share { host, guest, writable: false });
        }
        if let Some(host) = &self.newer_frr {
            shares.push(boot::Share { host: host.clone(), guest: newer_frr::IN_GUEST, writable: false });
        }
        let captures = report.captures().directory()?.to_owned();
        shares.push(boot::Share { host: captures, guest: CAPTURES, writable: true });
        let file_name = |path: &PathBuf| path.file_name().map(|name| name.to_string_lossy().into_owned());
        let (Some(labs), Some(agent)) = (file_name(&labs), file_name(&agent)) else {
            bail!("a program without a name")
        };
        let command = format!(
            "DMVPN_BIN='{PROGRAMS}/{agent}' exec '{LABS_PROGRAM}/{labs}' --in-guest --pcap {CAPTURES} {}",
            report.lab()
        );
        let mut steps = 0;
        let status = boot::run(&self.image, &command, &shares, LIMIT, |line| {
            if let Ok(step) = serde_json::from_str::<Step>(line) {
                steps += 1;
                report.note(step);
            } else if let Ok(wire) = serde_json::from_str::<Wire>(line) {
                report.captures().note(wire);
            } else {
                // What else is said in the guest: panics, mostly.
                report.tell(line);
            }
        })?;
        ensure!(steps > 0, "the guest showed nothing; its command ended with {status}");
        if status != 0 && report.is_good() {
            bail!("every step in the guest was good, but its command ended with {status}");
        }
        Ok(())
    }

    fn keep(self: Box<Self>) -> String {
        "  nothing: the virtual machine is off. What was on its wires is in the files of --pcap.".to_owned()
    }
}
