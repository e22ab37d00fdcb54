//! Small runs: that nothing is violated, that a seed decides everything, and that each check can fail.

use std::time::Duration;

use super::{Invariant, Outcome, Sabotage, Settings, run};

fn settings(spokes: u32, duration: Duration) -> Settings {
    Settings { spokes, hubs: 2, seed: 1, duration, sabotage: None }
}

fn outcome(settings: Settings) -> Outcome {
    run(settings, |_| ()).unwrap()
}

#[test]
fn an_hour_of_four_hundred_spokes_violates_nothing() {
    let outcome = outcome(settings(400, Duration::from_hours(1)));
    assert_eq!(outcome.first_violations, []);
    assert_eq!(outcome.violations, 0);
    assert!(outcome.mass_registration_seconds.is_some_and(|seconds| seconds < 90.0), "{outcome:?}");
    // Each part of the scenario took place.
    assert!(
        outcome.spokes_left > 150 && outcome.spokes_moved > 3 && outcome.hub_failures == 1,
        "{outcome:?}"
    );
    assert!(outcome.packets_lost > outcome.packets_sent / 25, "{outcome:?}");
    assert!(outcome.packets_of_strangers > 50_000, "{outcome:?}");
    assert!(outcome.shortcuts > 1000 && outcome.data_direct > outcome.data_by_hub, "{outcome:?}");
}

#[test]
fn other_seeds_and_numbers_of_hubs_violate_nothing() {
    for (seed, hubs) in [(2, 1), (3, 2), (4, 3), (5, 2)] {
        // A hub failed and is back, and everyone renewed its registration.
        let outcome = outcome(Settings { hubs, seed, ..settings(80, Duration::from_mins(45)) });
        assert_eq!(outcome.first_violations, [], "seed {seed}, {hubs} hubs");
        assert!(outcome.hub_failures == 1 && outcome.registrations > 2 * u64::from(80 * hubs), "{outcome:?}");
    }
}

#[test]
fn one_seed_gives_one_run() {
    let of = |seed| outcome(Settings { seed, ..settings(50, Duration::from_mins(25)) });
    let [one, again, other] = [of(1), of(1), of(2)];
    assert_eq!(one.digest, again.digest);
    assert_eq!(
        (one.inputs, one.packets_sent, one.data_direct),
        (again.inputs, again.packets_sent, again.data_direct)
    );
    assert_ne!(one.digest, other.digest);
}

#[test]
fn one_hub_is_enough() {
    let outcome = outcome(Settings { hubs: 1, ..settings(100, Duration::from_mins(90)) });
    assert_eq!(outcome.first_violations, []);
    assert!(outcome.hub_failures == 1 && outcome.data_lost_failed_hub > 0, "{outcome:?}");
}

/// Whether a world in which something is wrong violates an invariant.
fn violates(sabotage: Sabotage, duration: Duration, invariant: Invariant) {
    let outcome = outcome(Settings { sabotage: Some(sabotage), ..settings(100, duration) });
    let seen = outcome.first_violations.iter().any(|violation| violation.invariant == invariant);
    assert!(seen, "{sabotage:?}: {:?}", outcome.first_violations);
}

#[test]
fn mappings_that_stay_are_seen() {
    violates(Sabotage::NothingIsRemoved, Duration::from_mins(150), Invariant::Mapping);
}

#[test]
fn mappings_to_somebody_else_are_seen() {
    violates(Sabotage::WrongMappings, Duration::from_mins(2), Invariant::Mapping);
}

#[test]
fn loops_are_seen() {
    violates(Sabotage::HubsPointAtEachOther, Duration::from_mins(5), Invariant::Loop);
}

#[test]
fn full_tables_are_seen() {
    violates(Sabotage::SmallTables, Duration::from_mins(5), Invariant::Tables);
}

#[test]
fn a_spoke_that_cannot_register_is_seen() {
    violates(Sabotage::SilentHub, Duration::from_mins(5), Invariant::Registration);
}

#[test]
fn lost_data_is_seen() {
    violates(Sabotage::DeafSpokes, Duration::from_hours(1), Invariant::Delivery);
}

#[test]
fn actions_that_cannot_be_carried_out_are_seen() {
    violates(Sabotage::NoPeers, Duration::from_mins(1), Invariant::Actions);
}
