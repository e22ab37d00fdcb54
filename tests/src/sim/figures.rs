//! What a run cost, in wall-clock time and memory.

use std::{
    fs,
    time::{Duration, Instant},
};

use dmvpn::nhrp::wire::PacketKind;

/// Work of one kind.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Work {
    count: u64,
    time: Duration,
}

impl Work {
    fn add(&mut self, time: Duration) {
        self.count += 1;
        self.time += time;
    }

    /// How many a second, if it were the only work. Zero when there was none.
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    fn per_second(self, count: u64) -> f64 {
        if self.time.is_zero() { 0.0 } else { count as f64 / self.time.as_secs_f64() }
    }
}

/// Wall-clock time spent in the hubs' engines: from the bytes of a packet to the bytes of what follows from it. All of
/// it in one thread. Nothing else is in it: no network model, no spoke, no check.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Figures {
    registering: bool,
    /// Registration Requests until every spoke was registered for the first time.
    registrations: Work,
    resolution_requests: Work,
    resolution_replies: Work,
    /// Everything.
    all: Work,
}

impl Figures {
    pub(super) fn new() -> Self {
        Self { registering: true, ..Self::default() }
    }

    /// Adds what a hub did with a packet of `kind`.
    pub(super) fn add(&mut self, kind: u8, started: Instant) {
        let time = started.elapsed();
        self.all.add(time);
        if kind == PacketKind::RegistrationRequest as u8 && self.registering {
            self.registrations.add(time);
        } else if kind == PacketKind::ResolutionRequest as u8 {
            self.resolution_requests.add(time);
        } else if kind == PacketKind::ResolutionReply as u8 {
            self.resolution_replies.add(time);
        }
    }

    /// Every spoke is registered.
    pub(super) const fn mass_registration_is_over(&mut self) {
        self.registering = false;
    }

    pub(super) const fn registering(&self) -> bool {
        self.registering
    }

    /// Registrations a second during the mass registration.
    pub(super) fn registrations_per_second(&self) -> f64 {
        self.registrations.per_second(self.registrations.count)
    }

    /// Resolutions a second: a hub sends a request on, and the reply back.
    pub(super) fn resolutions_per_second(&self) -> f64 {
        let time = self.resolution_requests.time + self.resolution_replies.time;
        Work { count: 0, time }.per_second(self.resolution_requests.count)
    }

    /// Packets a second, of any kind.
    pub(super) fn packets_per_second(&self) -> f64 {
        self.all.per_second(self.all.count)
    }
}

/// This process's memory as the kernel counts it, in bytes: now, and at most since it started. Zero where there is
/// no `/proc`.
pub(super) fn resident() -> (u64, u64) {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    };
    let bytes = |name| field(name).unwrap_or(0) * 1024;
    (bytes("VmRSS:"), bytes("VmHWM:"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registrations_count_until_the_mass_registration_is_over() {
        let mut figures = Figures::new();
        let started = Instant::now();
        figures.add(PacketKind::RegistrationRequest as u8, started);
        figures.mass_registration_is_over();
        figures.add(PacketKind::RegistrationRequest as u8, started);
        assert_eq!(figures.registrations.count, 1);
        assert_eq!(figures.all.count, 2);
        assert!(figures.registrations_per_second() > 0.0);
        assert!(figures.resolutions_per_second() < f64::EPSILON);
    }

    #[test]
    fn the_kernel_tells_our_memory() {
        let (now, most) = resident();
        assert!(now > 0 && most >= now);
    }
}
