//! Ours and FRR's spokes with a direct way between them, by a hub of either kind.

use anyhow::Result;

use super::{
    super::{Entry, Report, Stage},
    cloud::{Cloud, Extra, Kind, plan},
};
use crate::lab::Plan;

pub(super) const WITH_KEY: Entry = Entry {
    name: "vm-frr-mixed",
    what: "our hub and FRR's, with one of our spokes and one of FRR's: shortcuts between them, both ways",
    needs_vm: false,
    build: |_name, _report| Ok(Box::new(Mixed { key: Some(42) })),
};

pub(super) const WITHOUT_KEY: Entry = Entry {
    name: "vm-frr-no-key",
    what: "the same as vm-frr-mixed without a GRE key",
    needs_vm: false,
    build: |_name, _report| Ok(Box::new(Mixed { key: None })),
};

struct Mixed {
    key: Option<u32>,
}

impl Stage for Mixed {
    fn play(&mut self, report: &mut Report) -> Result<()> {
        for (title, hub) in [("our hub", Kind::Ours), ("FRR's hub", Kind::Frr)] {
            let plan = Plan { key: self.key, ..plan() };
            let spokes = [Kind::Ours, Kind::Frr];
            let cloud = Cloud::start(report, title, &plan, hub, &spokes, &Extra::default())?;
            cloud.shortcut(report, title, 0, 1)?;
        }
        Ok(())
    }

    fn keep(self: Box<Self>) -> String {
        String::new()
    }
}
