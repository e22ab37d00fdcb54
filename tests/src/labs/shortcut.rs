//! The smallest lab: static routes, and nobody but our own nodes.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::{Entry, Report, Stage, captures::Sender};
use crate::{
    agent::Agent,
    lab::{Lab, Plan},
    traffic::ping,
};

const ANSWER: Duration = Duration::from_secs(5);

pub(super) const LABS: &[Entry] = &[Entry {
    name: "shortcut",
    what: "static routes, Phase 3: two LANs reach each other by the hub, then directly",
    needs_vm: false,
    build: |name, report| {
        let lab = Lab::named(name, Plan::default())?;
        for node in lab.nodes() {
            report.capture(&lab.underlay, &node.name, &node.name, Sender::Ours)?;
        }
        let (hub, spokes) = lab.start_all()?;
        Ok(Box::new(Network { hub, spokes, lab }))
    },
}];

struct Network {
    hub: Agent,
    spokes: Vec<Agent>,
    /// Last, so that the agents end before their network.
    lab: Lab,
}

impl Stage for Network {
    fn play(&mut self, report: &mut Report) -> Result<()> {
        let (a, b) = (self.lab.spoke_lan(0)?, self.lab.spoke_lan(1)?);
        report.step("the LANs reach each other", || {
            let reply = ping(&a.host, b.address, 1, ANSWER)?;
            let reply = reply.with_context(|| format!("{} does not answer {}", b.name, a.name))?;
            ensure!(self.hub.packets_sent()? > 0, "the hub has not seen the first packet");
            Ok(format!("{} answered after {:.1} ms", b.name, reply.time.as_secs_f64() * 1000.0))
        })?;
        report.step("a shortcut is made", || {
            let row = self.spokes[0].wait_shortcut(b.prefix)?;
            ensure!(row.nbma == Some(self.lab.spokes[1].nbma.into()), "it leads elsewhere: {row:?}");
            Ok(format!("{} at {}", row.prefix, self.lab.spokes[1].nbma))
        })?;
        report.step("traffic goes directly", || {
            let path = self.lab.path(0, 1)?;
            ensure!(path == ["lan-a", "spoke-a", "spoke-b", "lan-b"], "{path:?}");
            Ok(path.join(" > "))
        })
    }

    fn keep(self: Box<Self>) -> String {
        let text = format!(
            "  {dmvpn} show shortcuts --socket {socket}\n  ip -n {spoke} route show proto 54",
            dmvpn = self.hub.program().display(),
            socket = self.spokes[0].config().control_socket.display(),
            spoke = self.lab.spokes[0].namespace.name(),
        );
        self.hub.keep();
        self.spokes.into_iter().for_each(Agent::keep);
        self.lab.keep();
        text
    }
}
