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
    build: |_name, _report| Ok(Box::new(Mixed { key: Some(42), theirs: Kind::Frr })),
};

pub(super) const WITHOUT_KEY: Entry = Entry {
    name: "vm-frr-no-key",
    what: "the same as vm-frr-mixed without a GRE key",
    needs_vm: false,
    build: |_name, _report| Ok(Box::new(Mixed { key: None, theirs: Kind::Frr })),
};

pub(super) const NEWER: Entry = Entry {
    name: "vm-frr10-mixed",
    what: "the same as vm-frr-mixed with FRR 10.3, and authentication",
    needs_vm: false,
    build: |_name, _report| Ok(Box::new(Mixed { key: Some(42), theirs: Kind::Frr10 })),
};

struct Mixed {
    key: Option<u32>,
    /// Which FRR.
    theirs: Kind,
}

impl Stage for Mixed {
    fn play(&mut self, report: &mut Report) -> Result<()> {
        for (title, hub) in [("our hub", Kind::Ours), ("FRR's hub", self.theirs)] {
            let authentication = (self.theirs == Kind::Frr10).then_some("secret");
            let plan = Plan { key: self.key, authentication, ..plan() };
            let spokes = [Kind::Ours, self.theirs];
            let cloud = Cloud::start(report, title, &plan, hub, &spokes, &Extra::default())?;
            cloud.shortcut(report, title, 0, 1)?;
        }
        Ok(())
    }

    fn keep(self: Box<Self>) -> String {
        String::new()
    }
}
