//! What the programs have to have counted, so far.

use dmvpn_common::{DropReason, PeerCounters, Traffic};

use super::{
    oracle::{Column, Expected},
    world::PEERS,
};
use crate::programs::Programs;

/// All counters, as they have to stand.
pub(super) struct Books {
    drops: Vec<Traffic>,
    peers: Vec<PeerCounters>,
}

impl Books {
    /// As the counters stand now.
    pub(super) fn open(programs: &Programs) -> Self {
        let drops = DropReason::ALL.iter().map(|&reason| programs.dropped(reason)).collect();
        Self { drops, peers: programs.counters_up_to(PEERS) }
    }

    /// Whether the programs counted this for a frame of so many bytes, and no other reason that it could have been
    /// dropped for.
    pub(super) fn agree(&self, programs: &Programs, length: usize, one: &Expected, all: &[Expected]) -> bool {
        all.iter().filter_map(|expected| expected.reason).all(|reason| {
            let mut expected = self.drops[reason as usize];
            if one.reason == Some(reason) {
                add(&mut expected, length as u64);
            }
            programs.dropped(reason) == expected
        })
    }

    /// Books a frame of so many bytes.
    pub(super) fn add(&mut self, length: usize, one: &Expected) {
        if let Some(reason) = one.reason {
            add(&mut self.drops[reason as usize], length as u64);
        }
        for &(peer, column, bytes) in &one.counted {
            add(place(&mut self.peers[peer as usize], column), bytes);
        }
    }

    /// What does not balance, in words.
    pub(super) fn differences(&self, programs: &Programs) -> Vec<String> {
        let now = Self::open(programs);
        let drops = DropReason::ALL.into_iter().filter_map(|reason| {
            let (expected, counted) = (self.drops[reason as usize], now.drops[reason as usize]);
            (expected != counted).then(|| format!("{}: {counted:?} instead of {expected:?}", reason.name()))
        });
        // Strangers, which are nobody in particular, are not counted each time.
        let peers =
            (0..).zip(&self.peers).zip(&now.peers).skip(1).filter(|((_, expected), now)| expected != now);
        let peers =
            peers.map(|((peer, expected), now)| format!("peer {peer}: {now:?} instead of {expected:?}"));
        drops.chain(peers).collect()
    }
}

fn place(counters: &mut PeerCounters, column: Column) -> &mut Traffic {
    match column {
        Column::ReceivedXdp => &mut counters.received_xdp,
        Column::ReceivedTc => &mut counters.received_tc,
        Column::SentXdp => &mut counters.sent_xdp,
        Column::SentTc => &mut counters.sent_tc,
        Column::TransitXdp => &mut counters.transit_xdp,
        Column::TransitTc => &mut counters.transit_tc,
    }
}

fn add(traffic: &mut Traffic, bytes: u64) {
    *traffic = traffic.plus(Traffic { packets: 1, bytes });
}
