//! `dmvpn doctor`: what stands in the way of this node, or slows it down, and what to do about it.

use std::{fs, net::IpAddr, path::PathBuf};

use anyhow::bail;
use clap::Args;
use dmvpn_common::DropReason;
use serde::Serialize;

use super::show;
use crate::{
    config::DEFAULT_CONTROL_SOCKET,
    control::{
        client,
        protocol::{Answer, DropRow, InterfaceRow, Request, TcHook, View, XdpHook},
    },
    datapath,
};

/// Say what keeps this node from working, or from working fast, and what to do about it.
///
/// Looks at this machine and asks the running agent; changes nothing. Run it as the user and in the network namespace that the
/// agent has. Exit status 1 when there is a problem; notes are none.
#[derive(Debug, Args)]
pub(super) struct DoctorArguments {
    /// Print JSON instead of lines.
    #[arg(long)]
    json: bool,
    /// The agent's control socket (`control-socket` in its configuration).
    #[arg(long, value_name = "PATH", default_value = DEFAULT_CONTROL_SOCKET)]
    socket: PathBuf,
}

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Verdict {
    /// As it should be.
    Ok,
    /// Works, but not as well as it could; or may be meant so.
    Note,
    /// Does not work.
    Problem,
}

/// What one check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Finding {
    /// What was looked at.
    check: String,
    verdict: Verdict,
    /// What was found.
    detail: String,
    /// What to do; absent where there is nothing to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<&'static str>,
}

/// What the machine itself shows.
struct Machine {
    /// As `uname -r` prints it.
    kernel: String,
    /// Why the process may not load programs.
    capabilities: Result<(), String>,
    bpf_file_system: bool,
    /// Whether IPv4 and IPv6 are forwarded; `None`: unknown.
    forwards: [Option<bool>; 2],
}

/// What the agent says of its tunnels and its drops; or why it says nothing.
type Agent = Result<(Vec<InterfaceRow>, Vec<DropRow>), String>;

/// Oldest kernel the programs are tried on, and the first one with TCX.
const OLDEST_KERNEL: (u32, u32) = (6, 1);
const TCX_KERNEL: (u32, u32) = (6, 6);

/// Where maps and links are pinned, unless configured otherwise.
const BPF_FILE_SYSTEM: &str = "/sys/fs/bpf";

pub(super) fn doctor(arguments: &DoctorArguments) -> anyhow::Result<()> {
    let found = findings(&Machine::look(), &ask(&arguments.socket));
    if arguments.json {
        show::print(&(serde_json::to_string_pretty(&found)? + "\n"))?;
    } else {
        show::print(&found.iter().map(line).collect::<String>())?;
    }
    match found.iter().filter(|finding| finding.verdict == Verdict::Problem).count() {
        0 => Ok(()),
        1 => bail!("1 problem"),
        problems => bail!("{problems} problems"),
    }
}

fn ask(socket: &std::path::Path) -> Agent {
    let answer = |view| {
        let response = client::ask(socket, Request::Show(view)).map_err(|error| error.to_string())?;
        Ok::<_, String>(response.answer)
    };
    match (answer(View::Interfaces)?, answer(View::Drops)?) {
        (Answer::Interfaces(interfaces), Answer::Drops(drops)) => Ok((interfaces, drops)),
        _ => Err("the agent answers something else than was asked: is it of another version?".to_owned()),
    }
}

impl Machine {
    fn look() -> Self {
        let switch = |path: &str| match fs::read_to_string(path).ok()?.trim() {
            "0" => Some(false),
            _ => Some(true),
        };
        Self {
            kernel: nix::sys::utsname::uname()
                .map(|name| name.release().to_string_lossy().into_owned())
                .unwrap_or_default(),
            capabilities: datapath::check_capabilities().map_err(|error| error.to_string()),
            bpf_file_system: nix::sys::statfs::statfs(BPF_FILE_SYSTEM)
                .is_ok_and(|found| found.filesystem_type() == nix::sys::statfs::BPF_FS_MAGIC),
            forwards: [
                switch("/proc/sys/net/ipv4/ip_forward"),
                switch("/proc/sys/net/ipv6/conf/all/forwarding"),
            ],
        }
    }
}

/// Everything that was looked at, in the order in which one would mend it.
fn findings(machine: &Machine, agent: &Agent) -> Vec<Finding> {
    let mut found = vec![kernel(&machine.kernel), capabilities(&machine.capabilities)];
    found.push(if machine.bpf_file_system {
        ok("BPF file system", format!("mounted at {BPF_FILE_SYSTEM}"))
    } else {
        problem(
            "BPF file system",
            format!("not mounted at {BPF_FILE_SYSTEM}"),
            "mount -t bpf bpf /sys/fs/bpf",
        )
    });
    match agent {
        Err(error) => found.push(problem(
            "agent",
            error.clone(),
            "start it (`dmvpn run`), or name its socket (`--socket`); what only it knows was not looked at",
        )),
        Ok((interfaces, drops)) => {
            found.push(ok("agent", format!("runs {} tunnels", interfaces.len())));
            for interface in interfaces {
                found.extend(tunnel(interface, machine));
            }
            found.extend(internal_drops(drops));
        }
    }
    found
}

fn kernel(release: &str) -> Finding {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse::<u32>().ok());
    let version = numbers.next().flatten().zip(numbers.next().flatten());
    match version {
        None => note("kernel", format!("`{release}` is no version that could be compared"), None),
        Some(version) if version < OLDEST_KERNEL => {
            problem("kernel", format!("Linux {release} is older than 6.1"), "use Linux 6.1 or newer")
        }
        Some(version) if version < TCX_KERNEL => note(
            "kernel",
            format!("Linux {release} has no TCX: programs at TC are filters of a clsact queueing discipline"),
            Some("do not delete that queueing discipline; Linux 6.6 has TCX"),
        ),
        Some(_) => ok("kernel", format!("Linux {release}")),
    }
}

fn capabilities(result: &Result<(), String>) -> Finding {
    match result {
        Ok(()) => ok("capabilities", "this user may load programs and make interfaces".to_owned()),
        Err(error) => problem(
            "capabilities",
            error.clone(),
            "run doctor as the user that runs the agent; if this is that user, grant what is missing",
        ),
    }
}

/// How a tunnel's interfaces are served.
fn tunnel(row: &InterfaceRow, machine: &Machine) -> Vec<Finding> {
    let check = |what: &str| format!("{}: {what}", row.name);
    let mut found = Vec::new();
    found.push(match row.source {
        Some(source) => ok(&check("source"), source.to_string()),
        None => problem(
            &check("source"),
            "no NBMA address".to_owned(),
            "give the interface named in `source` an address of the servers' family",
        ),
    });
    if row.xdp.is_empty() {
        found.push(problem(
            &check("underlay"),
            "no interface has the program that receives".to_owned(),
            "look into the agent's log; a route to the peers must lead by an interface that is up",
        ));
    }
    found.extend(row.xdp.iter().map(|underlay| {
        let check = check(&format!("underlay {}", underlay.interface));
        match underlay.mode {
            XdpHook::Native => ok(&check, "XDP in the driver".to_owned()),
            XdpHook::Offloaded => ok(&check, "XDP in the network card".to_owned()),
            XdpHook::Generic => note(
                &check,
                "XDP in the kernel's generic hook, which is slower than TC".to_owned(),
                Some("leave `xdp: generic` out of the configuration"),
            ),
            XdpHook::Tc => note(
                &check,
                "at TC, for the driver refuses native XDP; the agent's log has its reason".to_owned(),
                Some("a driver with native XDP; an MTU below 3,500; no LRO; as many queues as CPUs"),
            ),
        }
    }));
    found.push(match row.tc {
        TcHook::Tcx => ok(&check("egress"), "TCX".to_owned()),
        TcHook::Clsact => note(&check("egress"), "clsact filter, which any tool may delete".to_owned(), None),
    });
    let [ipv4, ipv6] = machine.forwards;
    let (forwards, family, remedy) = match row.address.addr() {
        IpAddr::V4(_) => (ipv4, "IPv4", "where LANs are behind this node: sysctl -w net.ipv4.ip_forward=1"),
        IpAddr::V6(_) => {
            (ipv6, "IPv6", "where LANs are behind this node: sysctl -w net.ipv6.conf.all.forwarding=1")
        }
    };
    if forwards == Some(false) {
        found.push(note(
            &check("forwarding"),
            format!("the kernel does not forward {family}: only this box itself uses the tunnel"),
            Some(remedy),
        ));
    }
    found
}

/// Drops that no traffic from outside explains.
fn internal_drops(drops: &[DropRow]) -> Vec<Finding> {
    const INTERNAL: [(DropReason, &str); 4] = [
        (
            DropReason::NoHeadroom,
            "the driver leaves no room for the outer header: use `xdp: generic`; or another tunnel inside this one hands \
             over large buffers: `ethtool -K` its device `tso off gso off`",
        ),
        (DropReason::EventLost, "the agent was stopped or too slow; lost events come again with the traffic"),
        (DropReason::MapInconsistent, "restart the agent; if it comes back, this is a defect of dmvpn"),
        (DropReason::NotCopied, "memory was short while multicast was copied"),
    ];
    let found = INTERNAL.into_iter().filter_map(|(reason, remedy)| {
        let row = drops.iter().find(|row| row.reason == reason.name() && row.packets > 0)?;
        Some(problem(
            &format!("drops: {}", row.reason),
            format!("{} packets: {}", row.packets, row.explanation),
            remedy,
        ))
    });
    let mut found: Vec<_> = found.collect();
    if found.is_empty() {
        found.push(ok("drops", "none for a reason inside this box".to_owned()));
    }
    found
}

fn line(finding: &Finding) -> String {
    let verdict = match finding.verdict {
        Verdict::Ok => "ok",
        Verdict::Note => "note",
        Verdict::Problem => "PROBLEM",
    };
    let remedy = finding.remedy.map_or_else(String::new, |remedy| format!("{:9}{remedy}\n", ""));
    format!("{verdict:<7}  {}: {}\n{remedy}", finding.check, finding.detail)
}

fn ok(check: &str, detail: String) -> Finding {
    Finding { check: check.to_owned(), verdict: Verdict::Ok, detail, remedy: None }
}

fn note(check: &str, detail: String, remedy: Option<&'static str>) -> Finding {
    Finding { check: check.to_owned(), verdict: Verdict::Note, detail, remedy }
}

fn problem(check: &str, detail: String, remedy: &'static str) -> Finding {
    Finding { check: check.to_owned(), verdict: Verdict::Problem, detail, remedy: Some(remedy) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::protocol::XdpRow;

    fn machine() -> Machine {
        Machine {
            kernel: "6.18.44".to_owned(),
            capabilities: Ok(()),
            bpf_file_system: true,
            forwards: [Some(true), Some(true)],
        }
    }

    fn interface() -> InterfaceRow {
        InterfaceRow {
            name: "dmvpn0".to_owned(),
            ifindex: 7,
            address: "10.0.0.1/24".parse().unwrap(),
            phase: 3,
            network_id: 1,
            source: Some("192.0.2.1".parse().unwrap()),
            key: None,
            mtu: 1476,
            xdp: vec![XdpRow { interface: "eth0".to_owned(), mode: XdpHook::Native, spread: Vec::new() }],
            tc: TcHook::Tcx,
            peers: 0,
            pin_directory: "/sys/fs/bpf/dmvpn/v4".into(),
        }
    }

    fn drop_of(reason: DropReason, packets: u64) -> DropRow {
        DropRow {
            reason: reason.name().to_owned(),
            packets,
            bytes: 0,
            explanation: reason.explanation().to_owned(),
        }
    }

    /// What is not ok.
    fn wrong(machine: &Machine, agent: &Agent) -> Vec<(String, Verdict)> {
        let found = findings(machine, agent).into_iter().filter(|finding| finding.verdict != Verdict::Ok);
        found.map(|finding| (finding.check, finding.verdict)).collect()
    }

    #[test]
    fn a_healthy_node_has_nothing_wrong() {
        let agent = Ok((vec![interface()], vec![drop_of(DropReason::UnknownPeer, 9)]));
        assert_eq!(wrong(&machine(), &agent), []);
    }

    #[test]
    fn every_fault_is_named_with_a_remedy() {
        let sick = Machine {
            kernel: "5.10.0-8-amd64".to_owned(),
            capabilities: Err("missing CAP_BPF".to_owned()),
            bpf_file_system: false,
            forwards: [Some(true), None],
        };
        let agent = Err("nobody answers".to_owned());
        let names = ["kernel", "capabilities", "BPF file system", "agent"];
        assert_eq!(wrong(&sick, &agent), names.map(|name| (name.to_owned(), Verdict::Problem)));
        let text: String = findings(&sick, &agent).iter().map(line).collect();
        assert!(text.contains("PROBLEM  BPF file system: not mounted"), "{text}");
        assert!(text.contains("         mount -t bpf bpf /sys/fs/bpf\n"), "{text}");
    }

    #[test]
    fn the_way_programs_are_attached_is_reported() {
        let with = |mode| {
            let mut row = interface();
            row.xdp[0].mode = mode;
            wrong(&machine(), &Ok((vec![row], Vec::new())))
        };
        let slow = [("dmvpn0: underlay eth0".to_owned(), Verdict::Note)];
        assert_eq!(with(XdpHook::Tc), slow);
        assert_eq!(with(XdpHook::Generic), slow);
        let bare = InterfaceRow { xdp: Vec::new(), source: None, tc: TcHook::Clsact, ..interface() };
        let expected = [
            ("dmvpn0: source".to_owned(), Verdict::Problem),
            ("dmvpn0: underlay".to_owned(), Verdict::Problem),
            ("dmvpn0: egress".to_owned(), Verdict::Note),
        ];
        assert_eq!(wrong(&machine(), &Ok((vec![bare], Vec::new()))), expected);
    }

    #[test]
    fn drops_inside_the_box_are_problems() {
        let drops = vec![drop_of(DropReason::MapInconsistent, 1), drop_of(DropReason::NoHeadroom, 0)];
        let expected = [("drops: map-inconsistent".to_owned(), Verdict::Problem)];
        assert_eq!(wrong(&machine(), &Ok((vec![interface()], drops))), expected);
    }

    #[test]
    fn forwarding_is_asked_of_the_tunnels_family() {
        let off = Machine { forwards: [Some(true), Some(false)], ..machine() };
        assert_eq!(wrong(&off, &Ok((vec![interface()], Vec::new()))), []);
        let ipv6 = InterfaceRow { address: "2001:db8::1/64".parse().unwrap(), ..interface() };
        let expected = [("dmvpn0: forwarding".to_owned(), Verdict::Note)];
        assert_eq!(wrong(&off, &Ok((vec![ipv6], Vec::new()))), expected);
    }

    #[test]
    fn kernels_are_compared_by_number() {
        assert_eq!(kernel("6.10.3").verdict, Verdict::Ok);
        assert_eq!(kernel("6.1.0-56-amd64").verdict, Verdict::Note);
        assert_eq!(kernel("5.15.1").verdict, Verdict::Problem);
        assert_eq!(kernel("strange").verdict, Verdict::Note);
    }
}
