//! Authentication between our nodes and those of a newer FRR: the same at both sides, different, and at one side only.

use anyhow::{Result, anyhow, bail, ensure};
use dmvpn::control::protocol::NhsState;

use super::{
    super::{Entry, Report, Stage},
    cloud::{Cloud, Extra, Kind, PATIENCE, Password, Peer, capture, plan},
    frr_hub, said,
};
use crate::{
    agent::Agent,
    lab::{Lab, Plan},
    poll,
};

const HOLDING_TIME: u16 = 10;
const SECRET: &str = "secret";
/// Of the same length: of a packet whose length is odd our errors quote all but the last byte, which tshark calls malformed.
const OTHER: &str = "public";
/// RFC 2332 5.2.7.
const AUTHENTICATION_FAILURE: u64 = 11;

pub(super) const SPOKES: Entry = Entry {
    name: "vm-frr10-spokes",
    what: "our hub, spokes of FRR 10.3: authentication right, wrong, and at one side only",
    needs_vm: false,
    build: |_name, _report| Ok(Box::new(Authentication { hub: Kind::Ours, spokes: Kind::Frr10 })),
};

pub(super) const HUB: Entry = Entry {
    name: "vm-frr10-hub",
    what: "a hub of FRR 10.3, our spokes: authentication right, wrong, and at one side only",
    needs_vm: false,
    build: |_name, _report| Ok(Box::new(Authentication { hub: Kind::Frr10, spokes: Kind::Ours })),
};

struct Authentication {
    hub: Kind,
    spokes: Kind,
}

/// Passwords that do not fit.
struct Unfit {
    title: &'static str,
    ours: Option<&'static str>,
    theirs: Password,
    /// Whether we are the first to refuse what the other sends.
    we_refuse: bool,
}

impl Stage for Authentication {
    fn play(&mut self, report: &mut Report) -> Result<()> {
        let title = "the same password";
        let plan = Plan {
            holding_time: HOLDING_TIME,
            registration_interval: 3,
            authentication: Some(SECRET),
            ..plan()
        };
        let spokes = [self.spokes; 2];
        let cloud = Cloud::start(report, title, &plan, self.hub, &spokes, &Extra::default())?;
        cloud.shortcut(report, title, 0, 1)?;
        report.step(format!("{title}: registrations are renewed"), || cloud.stay_registered(HOLDING_TIME))?;
        drop(cloud);

        let we_are_hub = self.hub == Kind::Ours;
        self.refuse(
            report,
            &Unfit {
                title: "different passwords",
                ours: Some(SECRET),
                theirs: Password::Other(OTHER),
                // The hub is the first to hear something.
                we_refuse: we_are_hub,
            },
        )?;
        self.refuse(
            report,
            &Unfit {
                title: "a password at FRR's side only",
                ours: None,
                theirs: Password::Other(SECRET),
                we_refuse: false,
            },
        )?;
        if we_are_hub {
            self.refuse(
                report,
                &Unfit {
                    title: "a password at our side only",
                    ours: Some(SECRET),
                    theirs: Password::None,
                    we_refuse: true,
                },
            )
        } else {
            frr_hub::authentication(report, Kind::Frr10)
        }
    }

    fn keep(self: Box<Self>) -> String {
        String::new()
    }
}

impl Authentication {
    /// Nobody learns anything, one side says why and the other hears it; both is counted at ours.
    fn refuse(&self, report: &mut Report, unfit: &Unfit) -> Result<()> {
        let lab = Lab::new(Plan { spokes: 1, authentication: unfit.ours, ..plan() })?;
        capture(report, unfit.title, &lab, [self.hub, self.spokes])?;
        let wire = said::hub_wire(report)?;
        let extra = Extra { password_of_frr: unfit.theirs, ..Extra::default() };
        report.step(format!("{}: refused", unfit.title), || {
            let hub = Peer::start(&lab, &lab.hub, self.hub, &extra)?;
            let spoke = Peer::start(&lab, &lab.spokes[0], self.spokes, &extra)?;
            let (ours, theirs) = if self.hub == Kind::Ours { (&hub, &spoke) } else { (&spoke, &hub) };
            let (Peer::Ours(agent), [us, them]) = (ours, [ours.node(), theirs.node()]) else {
                bail!("one of them is ours")
            };
            let (cause, from, to) = if unfit.we_refuse {
                ("authentication-failed", us.nbma, them.nbma)
            } else {
                ("error-received", them.nbma, us.nbma)
            };
            poll::until_matches(
                &format!("{cause} three times"),
                PATIENCE,
                || count(agent, cause),
                |seen| *seen >= 3,
            )
            .map_err(|error| anyhow!("{error:#}\n{}\n{}", ours.log(), theirs.log()))?;
            ensure!(!theirs.has_cached(us.address, us.nbma)?, "FRR knows us");
            let we_are_hub = self.hub == Kind::Ours;
            // A hub that wants no password takes the registration, whatever the other thinks of the answer.
            let takes_all = we_are_hub && unfit.ours.is_none();
            ensure!(
                !we_are_hub || ours.has_cached(them.address, them.nbma)? == takes_all,
                "what we know: {:?}",
                agent.cache()?
            );
            ensure!(agent.nhs()?.iter().all(|row| row.state != NhsState::Responding), "the server answers");
            let errors = said::between(&wire, "error-indication", from, to)?;
            let codes: Vec<_> =
                errors.iter().map(|packet| packet["packet"]["error"]["code"].as_u64()).collect();
            ensure!(
                codes.len() >= 3 && codes.iter().all(|code| *code == Some(AUTHENTICATION_FAILURE)),
                "errors from {from}: {codes:?}"
            );
            Ok(format!(
                "{} errors with code 11 from {}",
                codes.len(),
                if unfit.we_refuse { us } else { them }.name
            ))
        })
    }
}

/// How often our node counted this.
fn count(agent: &Agent, cause: &str) -> Result<u64> {
    let counters = agent.counters()?;
    let errors = counters.iter().flat_map(|row| &row.errors);
    Ok(errors.filter(|row| row.cause == cause).map(|row| row.count).sum())
}
