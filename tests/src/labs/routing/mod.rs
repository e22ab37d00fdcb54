//! Routing daemons over the tunnel, with the configurations of `docs/routing`.

mod bfd;
mod network;
mod shortcuts;
mod software;
mod steps;

use anyhow::Result;
use network::Network;
use software::{Sessions, Software};

use super::{Entry, Report, Stage};
use crate::lab::Node;

/// The configurations of a lab.
#[derive(Clone, Copy, Debug)]
pub(super) struct Files {
    hub: &'static str,
    spoke: &'static str,
}

/// Those of this directory in `docs/routing`.
macro_rules! files {
    ($directory:literal) => {
        Files {
            hub: include_str!(concat!("../../../../docs/routing/", $directory, "/hub.conf")),
            spoke: include_str!(concat!("../../../../docs/routing/", $directory, "/spoke.conf")),
        }
    };
}

impl Files {
    /// That of a node. Where spokes are an AS each, the file has the first one's.
    fn of(&self, node: &Node) -> String {
        match node.name.strip_prefix("spoke-") {
            None => self.hub.to_owned(),
            Some("b") => self.spoke.replace("65001", "65002"),
            Some("c") => self.spoke.replace("65001", "65003"),
            Some(_) => self.spoke.to_owned(),
        }
    }
}

/// What is particular about a lab.
#[derive(Debug)]
pub(super) struct Spec {
    files: Files,
    software: Software,
    sessions: Sessions,
    /// Sessions that each hub has; a spoke has one with each hub.
    sessions_of_hub: usize,
    /// Cisco's phase, 2 or 3.
    phase: u8,
    /// Whether there is a designated router, which must be a hub.
    election: bool,
    /// Whether tunnel and LANs have IPv6.
    ipv6: bool,
    /// Whether spokes get one route for all LANs.
    summary: bool,
    /// What else is shown, when traffic goes directly and nothing was lost yet.
    also: fn(&mut Network, &mut Report) -> Result<()>,
}

impl Spec {
    const OSPF: Self = Self {
        files: files!("ospf-multipoint"),
        software: Software::Frr(&["ospfd"]),
        sessions: Sessions::Ospf,
        // The spokes and the other hub.
        sessions_of_hub: 4,
        phase: 3,
        election: false,
        ipv6: false,
        summary: false,
        also: |_, _| Ok(()),
    };
    const BGP: Self = Self {
        files: files!("ibgp-next-hop-self"),
        software: Software::Frr(&["bgpd"]),
        sessions: Sessions::Bgp,
        sessions_of_hub: 3,
        ..Self::OSPF
    };

    fn build(&'static self, name: &str, report: &mut Report) -> Result<Box<dyn Stage>> {
        Ok(Box::new(Network::build(self, name, report)?))
    }
}

impl Stage for Network {
    fn play(&mut self, report: &mut Report) -> Result<()> {
        steps::play(self, report)
    }

    fn keep(self: Box<Self>) -> String {
        (*self).keep()
    }
}

/// An entry of the list. Its configurations are in the directory of its name.
macro_rules! lab {
    ($name:literal, $what:literal, $spec:expr) => {
        Entry {
            name: $name,
            what: $what,
            needs_vm: false,
            build: |name, report| {
                static SPEC: Spec = Spec { files: files!($name), ..$spec };
                SPEC.build(name, report)
            },
        }
    };
}

pub(super) const LABS: &[Entry] = &[
    lab!(
        "ospf-broadcast",
        "FRR, OSPF broadcast, Phase 2: hubs are designated routers, spokes have priority 0",
        Spec { phase: 2, election: true, ..Spec::OSPF }
    ),
    lab!("ospf-multipoint", "FRR, OSPF point-to-multipoint, Phase 3", Spec::OSPF),
    lab!(
        "rip",
        "FRR, RIPv2 without split horizon on the hubs, Phase 2",
        Spec { software: Software::Frr(&["ripd"]), sessions: Sessions::None, phase: 2, ..Spec::OSPF }
    ),
    lab!("ibgp", "FRR, iBGP route reflectors that keep next hops, Phase 2", Spec { phase: 2, ..Spec::BGP }),
    lab!("ibgp-next-hop-self", "FRR, iBGP route reflectors that are next hop, Phase 3", Spec::BGP),
    lab!("ebgp", "FRR, eBGP, spokes are an AS each, Phase 2", Spec { phase: 2, ..Spec::BGP }),
    lab!(
        "bgp-listen",
        "FRR, BGP with dynamic neighbours and one summary, Phase 3",
        Spec { software: Software::Frr(&["staticd", "bgpd"]), summary: true, ..Spec::BGP }
    ),
    lab!(
        "ospf6",
        "FRR, OSPFv3 for IPv6 LANs, Phase 2: next hops are link-local addresses",
        Spec {
            software: Software::Frr(&["ospf6d"]),
            sessions: Sessions::Ospf6,
            phase: 2,
            election: true,
            ipv6: true,
            ..Spec::OSPF
        }
    ),
    lab!("bgp6", "FRR, BGP for IPv6 LANs, Phase 3", Spec { ipv6: true, ..Spec::BGP }),
    lab!(
        "bfd",
        "FRR, BGP with its usual timers, and BFD every 300 ms, Phase 3",
        Spec { software: Software::Frr(&["bfdd", "bgpd"]), also: bfd::sessions, ..Spec::BGP }
    ),
    lab!(
        "shortcuts",
        "FRR, shortcuts are kernel routes: announced to the LAN, kept from the hubs",
        Spec {
            software: Software::Frr(&["staticd", "ospfd", "bgpd"]),
            summary: true,
            also: shortcuts::seen_by_frr,
            ..Spec::BGP
        }
    ),
    lab!(
        "bird-ospf-broadcast",
        "BIRD, OSPF broadcast, Phase 2: hubs are designated routers, spokes have priority 0",
        Spec { software: Software::Bird, phase: 2, election: true, ..Spec::OSPF }
    ),
    lab!(
        "bird-ospf-multipoint",
        "BIRD, OSPF point-to-multipoint, Phase 3",
        Spec {
            software: Software::Bird,
            // Hubs are greeted, and greet nobody.
            sessions_of_hub: 3,
            ..Spec::OSPF
        }
    ),
    lab!(
        "bird-ibgp",
        "BIRD, iBGP route reflectors that are next hop, Phase 3",
        Spec { software: Software::Bird, ..Spec::BGP }
    ),
    lab!(
        "bird-ebgp",
        "BIRD, eBGP, spokes are an AS each, Phase 2",
        Spec { software: Software::Bird, phase: 2, ..Spec::BGP }
    ),
    lab!(
        "bird-shortcuts",
        "BIRD, shortcuts are known by their protocol number: announced to the LAN, kept from the hubs",
        Spec { software: Software::Bird, summary: true, also: shortcuts::seen_by_bird, ..Spec::BGP }
    ),
];

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::*;

    /// Lab and files of each row of the page's table.
    fn rows() -> Vec<(String, BTreeSet<String>)> {
        let row = |line: &str| {
            let name = line.strip_prefix("| `")?.split_once('`')?.0.to_owned();
            let files = line.split("](routing/").skip(1);
            Some((name, files.filter_map(|rest| Some(rest.split_once(')')?.0.to_owned())).collect()))
        };
        include_str!("../../../../docs/routing.md").lines().filter_map(row).collect()
    }

    #[test]
    fn the_page_lists_every_lab_and_the_files_it_runs() {
        let rows = rows();
        let names: BTreeSet<_> = rows.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, LABS.iter().map(|entry| entry.name).collect());
        // The macro gives every lab the directory of its name.
        for (name, files) in &rows {
            assert_eq!(*files, BTreeSet::from([format!("{name}/hub.conf"), format!("{name}/spoke.conf")]));
        }
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/routing");
        let kept: BTreeSet<_> = fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        assert_eq!(kept, names.iter().map(|name| (*name).to_owned()).collect());
    }

    #[test]
    fn the_page_says_the_phase_and_the_daemon_of_each_lab() {
        let page = include_str!("../../../../docs/routing.md");
        for entry in LABS {
            let row = page.lines().find(|line| line.starts_with(&format!("| `{}` |", entry.name))).unwrap();
            let cells: Vec<_> = row.split(" | ").collect();
            assert!(entry.what.starts_with(cells[1]), "{row}");
            let phase = if entry.what.contains("Phase 2") { "2" } else { "3" };
            assert_eq!(cells[3], phase, "{row}");
        }
    }
}
