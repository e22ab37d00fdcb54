//! One frame after the other, through the programs and past the oracle.

use std::{collections::BTreeMap, fmt};

use aya::programs::ProgramError;
use dmvpn_common::{DropReason, program_names};

use super::{
    books::Books,
    inside,
    mutate::mutate,
    oracle::{Expected, Hook, Verdict},
    packet::half,
    random::Random,
    seeds, underlay,
    world::{Plan, World},
};
use crate::{
    frames::WAN_MAC,
    programs::{Outcome, tc, xdp},
};

/// The kernel runs no TC program on a frame that is longer than about a page.
const LONGEST_TC: usize = 3000;

/// A run through a world.
pub(super) struct Run {
    seed: u64,
    random: Random,
    world: World,
    books: Books,
    captured: Vec<Vec<u8>>,
    /// Frames between two looks at all counters, which takes longer than a frame. In between only the reasons are looked
    /// at that a frame may be dropped for.
    audit: u64,
    /// Frames so far.
    number: u64,
    /// The frames since the last look at all counters.
    recent: Vec<(Hook, Vec<u8>)>,
    /// How often what happened.
    happened: BTreeMap<String, u64>,
}

impl Run {
    pub(super) fn new(seed: u64, audit: u64, plan: Plan, captured: Vec<Vec<u8>>) -> Self {
        let world = World::new(plan);
        let books = Books::open(world.programs());
        let random = Random::new(seed);
        let (recent, happened) = (Vec::new(), BTreeMap::new());
        Self { seed, random, world, books, captured, audit, number: 0, recent, happened }
    }

    /// One frame.
    pub(super) fn step(&mut self) {
        self.number += 1;
        if self.random.once_in(40) {
            self.world.change(&mut self.random);
        }
        match self.random.below(8) {
            0 => {
                let frame = self.frame(|random, _| seeds::from_lan(random));
                self.send(Hook::Lan, &frame, 0);
            }
            1 => {
                let frame = self.frame(|random, _| seeds::from_kernel(random));
                // Segmentation may be left to the device.
                let segment =
                    if self.random.once_in(8) { self.random.pick(&[1, 536, 1360, 1440]) } else { 0 };
                self.send(Hook::Tunnel, &frame, segment);
            }
            _ => {
                let frame = self.frame(seeds::from_underlay);
                // Who comes second may find what the first one remembered.
                let hooks =
                    if self.random.once_in(2) { [Hook::Xdp, Hook::Tc] } else { [Hook::Tc, Hook::Xdp] };
                let results = hooks.map(|hook| self.send(hook, &frame, 0));
                if let [Some(first), Some(second)] = results {
                    self.compare(&frame, &first, &second);
                }
            }
        }
        if self.number.is_multiple_of(self.audit) {
            self.audit();
        }
    }

    /// A frame of a kind, with mutations.
    fn frame(&mut self, seed: impl Fn(&mut Random, &World) -> Vec<u8>) -> Vec<u8> {
        let mut frame = seed(&mut self.random, &self.world);
        if !self.captured.is_empty() && self.random.once_in(8) {
            frame.clone_from(&self.captured[self.random.below(self.captured.len())]);
            frame.resize(frame.len().max(34), 0);
            // As if it were for us: to our address, from one that may be a peer's.
            frame[..6].copy_from_slice(&WAN_MAC);
            frame[26..30].copy_from_slice(&self.random.pick(&[[198, 51, 100, 1], [198, 51, 100, 2]]));
            frame[30..34].copy_from_slice(&[192, 0, 2, 1]);
        }
        let other = seed(&mut self.random, &self.world);
        mutate(&mut self.random, &mut frame, &other);
        frame
    }

    /// Sends a frame through a program, and says what happened if only that could. `None` also: the kernel does not run that
    /// program on such a frame. A `segment` that is not zero is how much of the payload goes into each packet.
    fn send(&mut self, hook: Hook, frame: &[u8], segment: u32) -> Option<Expected> {
        let tagged = half(frame, 12) == Some(0x8100);
        // The kernel takes a tag out of the frame before TC sees it.
        if matches!(hook, Hook::Tc | Hook::Tunnel) && (tagged || frame.len() > LONGEST_TC) {
            return None;
        }
        let outcome = match self.run(hook, frame, segment) {
            Ok(outcome) => outcome,
            // Headers that are announced by the Ethernet header have to be there.
            Err(_) if matches!(hook, Hook::Tc | Hook::Tunnel) && frame.len() < 54 => {
                self.happen(hook, "not run");
                return None;
            }
            Err(error) => panic!("{}: {error:?}", self.describe(hook, frame)),
        };
        let expected = match hook {
            Hook::Xdp | Hook::Tc => underlay::expected(&self.world, hook, self.world.hub.wan, frame),
            Hook::Lan => inside::from_lan(&self.world, frame),
            Hook::Tunnel => inside::from_kernel(&self.world, frame, segment as usize),
        };
        let (programs, books) = (self.world.programs(), &self.books);
        let happened = expected
            .iter()
            .find(|one| is_result(hook, one, &outcome) && books.agree(programs, frame.len(), one, &expected));
        let Some(happened) = happened.cloned() else {
            panic!(
                "{}\nbecame {outcome:02x?}\nallowed {expected:02x?}\ncounted {:#?}",
                self.describe(hook, frame),
                self.books.differences(self.world.programs())
            );
        };
        self.books.add(frame.len(), &happened);
        self.recent.push((hook, frame.to_vec()));
        let reason = happened.reason.map_or("", |reason| reason.name());
        let columns: Vec<_> = happened.counted.iter().map(|(_, column, _)| column).collect();
        self.happen(hook, &format!("{:?} {reason} {columns:?}", happened.verdict));
        // Where more than one thing is right, each hook may do another one: each remembers by itself.
        (expected.len() == 1).then_some(happened)
    }

    fn run(&self, hook: Hook, frame: &[u8], segment: u32) -> Result<Outcome, ProgramError> {
        let World { hub, lan, .. } = &self.world;
        match hook {
            Hook::Xdp => hub.programs.try_xdp(program_names::XDP_UNDERLAY, hub.wan, frame),
            Hook::Tc => hub.programs.try_tc(program_names::TC_UNDERLAY, hub.wan, frame, segment),
            Hook::Lan => hub.programs.try_xdp(program_names::XDP_LAN, *lan, frame),
            Hook::Tunnel => hub.programs.try_tc(program_names::TC_TUNNEL, hub.tunnel.ifindex, frame, segment),
        }
    }

    /// The two programs of the underlay do the same.
    fn compare(&self, frame: &[u8], first: &Expected, second: &Expected) {
        let kind = |of: &Expected| match of.verdict {
            Verdict::Transmit => Verdict::Redirect,
            other => other,
        };
        let packet = |of: &Expected| of.frame.as_ref().map(|frame| network_packet(frame).to_vec());
        // The second one may be one too many.
        let limited = [first, second].iter().any(|of| of.reason == Some(DropReason::NhrpRateLimit));
        assert!(
            limited
                || kind(first) == kind(second)
                    && first.reason == second.reason
                    && packet(first) == packet(second),
            "{}\nXDP and TC differ: {first:02x?}\n{second:02x?}",
            self.describe(Hook::Xdp, frame)
        );
    }

    /// Looks at all counters.
    fn audit(&mut self) {
        let differences = self.books.differences(self.world.programs());
        assert!(
            differences.is_empty(),
            "DMVPN_FUZZ_SEED={}, before frame {}: counted wrongly: {differences:#?}\nby one of these (DMVPN_FUZZ_AUDIT=1 tells \
             by which)\n{}",
            self.seed,
            self.number,
            self.recent
                .iter()
                .map(|(hook, frame)| format!("{hook:?} {}", hex(frame)))
                .collect::<Vec<_>>()
                .join("\n")
        );
        self.recent.clear();
        // A ring that is full would be counted.
        self.world.hub.programs.events();
    }

    fn happen(&mut self, hook: Hook, what: &str) {
        *self.happened.entry(format!("{hook:?} {what}")).or_default() += 1;
    }

    /// What to write down when something is wrong with a frame.
    fn describe(&self, hook: Hook, frame: &[u8]) -> String {
        format!(
            "DMVPN_FUZZ_SEED={}, frame {}, {hook:?}, {} bytes: {}",
            self.seed,
            self.number,
            frame.len(),
            hex(frame)
        )
    }

    /// Whether the frames came as far as they can.
    pub(super) fn assert_that_all_happened(&self, what: &[&str]) {
        for what in what {
            assert!(self.happened.keys().any(|key| key.starts_with(what)), "{what}: never. {self}");
        }
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, times) in &self.happened {
            write!(f, "\n{times:>9} {what}")?;
        }
        Ok(())
    }
}

/// Whether this is what came out of the program.
fn is_result(hook: Hook, expected: &Expected, outcome: &Outcome) -> bool {
    let action = match hook {
        Hook::Xdp | Hook::Lan => match expected.verdict {
            Verdict::Pass => xdp::PASS,
            Verdict::Drop => xdp::DROP,
            Verdict::Transmit => xdp::TX,
            Verdict::Redirect => xdp::REDIRECT,
            Verdict::Leave => return false,
        },
        Hook::Tc | Hook::Tunnel => match expected.verdict {
            Verdict::Pass => tc::UNSPEC,
            Verdict::Drop => tc::SHOT,
            Verdict::Redirect => tc::REDIRECT,
            Verdict::Leave => tc::OK,
            Verdict::Transmit => return false,
        },
    };
    let same = |frame: &Vec<u8>| {
        frame.len() == outcome.frame.len()
            && frame[expected.unwritten..] == outcome.frame[expected.unwritten..]
    };
    outcome.action == action && expected.frame.as_ref().is_none_or(same)
}

/// A frame without its link-layer header.
fn network_packet(frame: &[u8]) -> &[u8] {
    if half(frame, 12) == Some(0x8100) { frame.get(18..).unwrap_or_default() } else { &frame[14..] }
}

/// Bytes as a regression test takes them.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat()
}
