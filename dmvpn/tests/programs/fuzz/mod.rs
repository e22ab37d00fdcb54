//! Frames by the hundred thousand: well-formed ones of every kind and what chance makes of them, through every program.
//! What becomes of each is compared with what the standards say and with what the box was told.
//!
//! The same seed makes the same frames. Settings, by the environment:
//!
//! | variable | meaning | default |
//! |---|---|---|
//! | `DMVPN_FUZZ_FRAMES` | how many frames in all | 100,000 |
//! | `DMVPN_FUZZ_SEED` | where chance begins | always the same |
//! | `DMVPN_FUZZ_AUDIT` | frames between two looks at all counters; 1 names the frame that was counted wrongly | 64 |
//! | `DMVPN_FUZZ_CAPTURES` | a directory with more capture files, whose frames are mutated, too | none |

mod books;
mod captures;
mod inside;
mod mutate;
mod oracle;
mod packet;
mod random;
mod run;
mod seeds;
mod underlay;
mod world;

use std::{env, path::Path, time::Instant};

use dmvpn_common::{FastPath, TunnelFlags};
use nix::{
    sched::{CpuSet, sched_getcpu, sched_setaffinity},
    unistd::Pid,
};
use run::Run;
use world::Plan;

use crate::namespace::in_namespace;

/// Runs a third of the frames in a world.
fn run(plan: Plan, reached: &[&str]) {
    let setting = |name: &str, default: u64| {
        env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|error| panic!("{name}: {error}")))
    };
    let frames = setting("DMVPN_FUZZ_FRAMES", 100_000).div_ceil(3);
    let seed = setting("DMVPN_FUZZ_SEED", 1);
    let audit = setting("DMVPN_FUZZ_AUDIT", 64);
    let mut captured = captures::frames(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data"));
    if let Some(more) = env::var_os("DMVPN_FUZZ_CAPTURES") {
        captured.extend(captures::frames(Path::new(&more)));
    }
    in_namespace(|| {
        // Each processor has a cache of its own.
        let mut processors = CpuSet::new();
        processors.set(sched_getcpu().unwrap()).unwrap();
        sched_setaffinity(Pid::from_raw(0), &processors).unwrap();
        let begin = Instant::now();
        let mut run = Run::new(seed, audit, plan, captured);
        for _ in 0..frames {
            run.step();
        }
        println!("{frames} frames in {:.1?}: {run}", begin.elapsed());
        run.assert_that_all_happened(&EVERYWHERE);
        run.assert_that_all_happened(reached);
    });
}

/// What every world has.
const EVERYWHERE: [&str; 14] = [
    "Xdp Pass  []",
    "Xdp Redirect  [ReceivedXdp]",
    "Xdp Redirect  [ReceivedXdp, TransitXdp]",
    "Xdp Redirect  [ReceivedXdp, SentXdp]",
    "Xdp Transmit  [ReceivedXdp, TransitXdp]",
    "Xdp Drop route-refused [ReceivedXdp]",
    "Xdp Drop inner-malformed [ReceivedXdp]",
    "Tc Pass  []",
    "Tc Redirect  [ReceivedTc]",
    "Tc Redirect  [ReceivedTc, TransitTc]",
    "Lan Pass  []",
    "Tunnel Redirect  [SentTc]",
    "Tunnel Leave  []",
    "Tunnel Leave too-long []",
];

#[test]
fn frames_of_any_kind_on_the_whole_fast_path() {
    let fast_path = FastPath::Full;
    run(
        Plan { fast_path, flags: TunnelFlags::REDIRECT, receiver: Some(2), nhrp_source_limit: 0 },
        &["Lan Redirect  [SentXdp]"],
    );
}

#[test]
fn frames_of_any_kind_where_sources_are_checked() {
    let fast_path = FastPath::Full;
    run(
        Plan { fast_path, flags: TunnelFlags::CHECK_SOURCE, receiver: None, nhrp_source_limit: 3 },
        &["Xdp Drop spoofed [ReceivedXdp]", "Xdp Drop nhrp-rate-limit", "Tunnel Drop no-multicast-receiver"],
    );
}

#[test]
fn frames_of_any_kind_where_the_lan_is_the_kernels() {
    run(Plan { fast_path: FastPath::Hairpin, flags: 0, receiver: Some(4), nhrp_source_limit: 0 }, &[]);
}
