//! A spoke behind NAT, which knows only an address that nobody else can reach: its server tells it and others where it is.

use std::{net::Ipv4Addr, process::Command};

use anyhow::{Context as _, Result, bail, ensure};

use super::{
    super::{Entry, Report, Stage},
    cloud::{Cloud, Extra, Kind, Peer, plan},
};
use crate::{command, lab::Lab};

/// Where the first spoke is for everybody else.
const PUBLIC: Ipv4Addr = Ipv4Addr::new(198, 18, 100, 1);

pub(super) const LAB: Entry = Entry {
    name: "vm-frr-nat",
    what: "a spoke behind NAT, ours and FRR's, at our hub and FRR's: it registers, and shortcuts lead to its public address",
    needs_vm: false,
    build: |_name, _report| Ok(Box::new(Nat)),
};

struct Nat;

impl Stage for Nat {
    fn play(&mut self, report: &mut Report) -> Result<()> {
        for (title, hub, spokes) in [
            ("our hub, FRR behind NAT", Kind::Ours, [Kind::Frr, Kind::Ours]),
            ("FRR's hub, we behind NAT", Kind::Frr, [Kind::Ours, Kind::Frr]),
            ("our hub, we behind NAT", Kind::Ours, [Kind::Ours, Kind::Frr]),
        ] {
            let lab = Lab::new(plan())?;
            translate(&lab)?;
            let extra = Extra::default();
            let cloud = Cloud::start_in(report, title, lab, hub, &spokes, &extra, Some(PUBLIC))?;
            claimed(report, title, &cloud)?;
            cloud.shortcut(report, title, 0, 1)?;
            report.step(format!("{title}: the other spoke sends to the public address"), || {
                cloud.spokes[1].wait_cached(cloud.lab.spokes[0].address, PUBLIC)?;
                Ok(PUBLIC.to_string())
            })?;
        }
        Ok(())
    }

    fn keep(self: Box<Self>) -> String {
        String::new()
    }
}

/// Gives the first spoke a public address, at the underlay's router, which hides the real one.
fn translate(lab: &Lab) -> Result<()> {
    let spoke = &lab.spokes[0];
    let private = spoke.nbma;
    let rules = format!(
        "table ip translation {{\nchain prerouting {{ type nat hook prerouting priority -100;\n\
         iifname != {name} ip daddr {PUBLIC} dnat to {private}\n}}\n\
         chain postrouting {{ type nat hook postrouting priority 100;\n\
         oifname != {name} ip saddr {private} snat to {PUBLIC}\n}}\n\
         chain forward {{ type filter hook forward priority 0;\n\
         iifname != {name} ct original ip daddr {private} drop\n}}\n}}\n",
        name = spoke.name
    );
    let file = spoke.files.join("translation.nft");
    std::fs::write(&file, rules).with_context(|| format!("cannot write {}", file.display()))?;
    lab.underlay.run(|| command::output(Command::new("nft").arg("-f").arg(&file)))?;
    Ok(())
}

/// Whether the hub knows both addresses of the spoke.
fn claimed(report: &mut Report, title: &str, cloud: &Cloud) -> Result<()> {
    let node = &cloud.lab.spokes[0];
    report.step(format!("{title}: the hub knows both addresses"), || {
        match &cloud.hub {
            Peer::Ours(agent) => {
                let rows = agent.cache()?;
                let row = rows.iter().find(|row| row.protocol.addr() == node.address);
                let row = row.context("the hub does not know the spoke")?;
                ensure!(
                    row.nbma == Some(PUBLIC.into()) && row.claimed_nbma == Some(node.nbma.into()),
                    "{row:?}"
                );
            }
            Peer::Frr(frr) => {
                let rows = frr.rows("cache")?;
                let address = node.address.to_string();
                let row = rows.iter().find(|row| row["protocol"] == address.as_str());
                let Some(row) = row else { bail!("the hub does not know the spoke: {rows:?}") };
                let (public, private) = (PUBLIC.to_string(), node.nbma.to_string());
                ensure!(row["nbma"] == public.as_str() && row["claimed_nbma"] == private.as_str(), "{row:?}");
            }
        }
        Ok(format!("{PUBLIC}, where it says {}", node.nbma))
    })
}
