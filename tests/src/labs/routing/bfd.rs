//! BFD beside BGP.

use std::time::Duration;

use anyhow::Result;

use super::network::Network;
use crate::{labs::Report, poll};

const CONVERGE: Duration = Duration::from_secs(30);

/// Every node has a BFD session, up, with each of its neighbours. That hubs and spokes are missed at all after they
/// lost their power shows the rest: BGP alone would wait for three minutes.
pub(super) fn sessions(network: &mut Network, report: &mut Report) -> Result<()> {
    report.step("BFD watches every BGP session", || {
        for member in network.members() {
            let is_hub = member.node.lan.is_none();
            let wanted = if is_hub { network.spokes.len() } else { network.hubs.len() };
            let what = format!("{wanted} BFD sessions of {} to be up", member.node.name);
            poll::until_matches(
                &what,
                CONVERGE,
                || member.daemons.ask_json("show bfd peers json"),
                |answer| {
                    let up = answer.as_array().into_iter().flatten().filter(|peer| {
                        peer["status"] == "up"
                            && peer["interface"] == crate::config::TUNNEL
                            && peer["receive-interval"] == 300
                            && peer["remote-transmit-interval"] == 300
                    });
                    up.count() == wanted
                },
            )?;
        }
        Ok("all up, every 300 ms".to_owned())
    })
}
