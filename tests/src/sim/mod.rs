//! The simulation: a whole network of real engines in one process and in virtual time.
//!
//! Hubs and spokes are [`Engine`](dmvpn::nhrp::engine::Engine)s, each with a model of the kernel that its agent would
//! fill. The network delays, reorders and loses their packets; the scenario cuts their power, moves them and
//! attacks them; traffic between their LANs makes them resolve and build shortcuts. At every step the world checks
//! what must hold ([`Invariant`]). The same settings give the same run, bit by bit.
//!
//! | file | what |
//! |---|---|
//! | `settings`, `address` | how many nodes, with which configuration and which addresses |
//! | `world`, `agent` | one step after the other; what engines want done |
//! | `checks`, `violations` | what must hold |
//! | `scenario`, `life` | what happens to nodes, how often; power, moves, routing protocol |
//! | `traffic` | data packets from table to table |
//! | `hostile` | strangers and what they send |
//! | `network`, `queue`, `clock`, `random` | packets on their way, virtual time, chance |
//! | `slab` | things by number |
//! | `kernel`, `routing`, `places`, `pairs` | tables and routes of each node; who is where; who has to register |
//! | `figures` | what it cost |

mod address;
mod agent;
mod checks;
mod clock;
mod figures;
mod hostile;
mod kernel;
mod life;
mod network;
mod pairs;
mod places;
mod queue;
mod random;
mod routing;
mod scenario;
mod settings;
mod slab;
mod traffic;
mod violations;
mod world;

#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use anyhow::Result;
use serde::Serialize;

pub use settings::{Sabotage, Settings};
pub use violations::{Invariant, Violation};

use clock::Moment;
use world::World;

/// How far a run is.
#[derive(Clone, Debug, Serialize)]
pub struct Progress {
    /// Virtual time, as hours:minutes:seconds.
    pub virtual_time: String,
    /// Of the virtual time that is to pass, so much has, in percent.
    pub percent: u64,
    /// Registrations that hubs hold now.
    pub registered: u32,
    /// Registrations when every spoke is registered with every hub.
    pub of: u32,
    /// NHRP packets that arrived so far.
    pub packets: u64,
    /// Shortcuts in the kernels now.
    pub shortcuts: usize,
    /// Violations so far.
    pub violations: u64,
    /// This process's memory, in megabytes.
    pub rss_mb: u64,
}

/// What came out of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// Spokes.
    pub spokes: u32,
    /// Hubs.
    pub hubs: u32,
    /// Seed.
    pub seed: u64,
    /// Registrations a second on one core, by the clock on the wall: time that the hubs' engines took from the bytes
    /// of a request to the bytes of its reply, during the mass registration at the start.
    pub registrations_per_s: f64,
    /// Resolutions a second on one core, in the same way: a hub sends the request on, and the reply back.
    pub resolutions_per_s: f64,
    /// NHRP packets of all kinds a second on one core, in the same way.
    pub packets_per_s: f64,
    /// The most memory that this process had, in megabytes (10^6 bytes).
    pub rss_mb: f64,
    /// How often an invariant did not hold.
    pub violations: u64,
    /// Virtual time that passed.
    pub virtual_seconds: f64,
    /// Time that passed on the wall.
    pub wall_seconds: f64,
    /// Virtual time until every spoke was registered with every hub; `None` if that never was.
    pub mass_registration_seconds: Option<f64>,
    /// Inputs to engines.
    pub inputs: u64,
    /// NHRP packets sent.
    pub packets_sent: u64,
    /// Of those, lost by the network.
    pub packets_lost: u64,
    /// Of those, sent by strangers.
    pub packets_of_strangers: u64,
    /// Registration Requests that arrived at hubs.
    pub registrations: u64,
    /// Resolution Requests that arrived at hubs.
    pub resolutions: u64,
    /// Shortcuts that were installed.
    pub shortcuts: u64,
    /// Spokes that left.
    pub spokes_left: u64,
    /// Spokes that moved to another underlay address.
    pub spokes_moved: u64,
    /// Hubs that failed.
    pub hub_failures: u64,
    /// Data packets that went from spoke to spoke.
    pub data_direct: u64,
    /// Data packets that went by a hub.
    pub data_by_hub: u64,
    /// Data packets to a place that its station left, or restarted at, within the bound of a mapping.
    pub data_lost_stale: u64,
    /// Data packets between a spoke and a hub, within the bound of registering.
    pub data_lost_unregistered: u64,
    /// Data packets to a hub that failed a moment ago.
    pub data_lost_failed_hub: u64,
    /// Two runs have the same number only if they sent the same packets in the same order.
    pub digest: String,
    /// The first violations of each invariant.
    pub first_violations: Vec<Violation>,
}

/// Steps between two looks at the clock on the wall.
const STEPS: u32 = 4096;

/// Runs a simulation. `progress` is called about every second.
pub fn run(settings: Settings, mut progress: impl FnMut(&Progress)) -> Result<Outcome> {
    settings.check()?;
    let started = Instant::now();
    let end = Moment(0) + settings.duration;
    let mut world = World::new(settings);
    let mut said = started;
    let mut steps = 0_u32;
    while world.step(end) {
        steps = steps.wrapping_add(1);
        if steps.is_multiple_of(STEPS) && said.elapsed() >= Duration::from_secs(1) {
            said = Instant::now();
            progress(&world.progress(end));
        }
    }
    world.now = end;
    world.final_check();
    Ok(world.outcome(started.elapsed()))
}

impl World {
    fn progress(&self, end: Moment) -> Progress {
        Progress {
            virtual_time: self.now.to_string(),
            percent: self.now.0.saturating_mul(100) / end.0.max(1),
            registered: self.registered,
            of: self.plan.hubs * self.plan.spokes,
            packets: self.tally.packets,
            shortcuts: self.kernels.route_count(),
            violations: self.violations.total(),
            rss_mb: figures::resident().0 / 1_000_000,
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "memory is far below 2^52 bytes")]
    fn outcome(self, wall: Duration) -> Outcome {
        let Self { settings, tally, network, traffic, figures, .. } = self;
        let seconds = |at: Moment| at.since(Moment(0)).as_secs_f64();
        Outcome {
            spokes: settings.spokes,
            hubs: settings.hubs,
            seed: settings.seed,
            registrations_per_s: figures.registrations_per_second().round(),
            resolutions_per_s: figures.resolutions_per_second().round(),
            packets_per_s: figures.packets_per_second().round(),
            rss_mb: (figures::resident().1 as f64 / 100_000.0).round() / 10.0,
            violations: self.violations.total(),
            virtual_seconds: seconds(self.now),
            wall_seconds: (wall.as_secs_f64() * 1000.0).round() / 1000.0,
            mass_registration_seconds: tally.mass_registration.map(seconds),
            inputs: tally.inputs,
            packets_sent: network.sent,
            packets_lost: network.lost,
            packets_of_strangers: self.strangers.sent,
            registrations: tally.registrations,
            resolutions: tally.resolutions,
            shortcuts: tally.shortcuts,
            spokes_left: tally.left,
            spokes_moved: tally.moved,
            hub_failures: tally.hub_failures,
            data_direct: traffic.direct,
            data_by_hub: traffic.by_hub,
            data_lost_stale: traffic.lost.stale,
            data_lost_unregistered: traffic.lost.unregistered,
            data_lost_failed_hub: traffic.lost.failed_hub,
            digest: format!("{:016x}", network.digest()),
            first_violations: self.violations.into_first(),
        }
    }
}
