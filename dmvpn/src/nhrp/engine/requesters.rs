//! Whom we told where something is. They may send to us for it, so they are peers; and they have to be told when it
//! is not true any more (RFC 2332 5.2.5).

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use ipnet::IpNet;

use super::{
    Table, Time,
    ordered_map::OrderedMap,
    peers::User,
    purge::Purges,
    rare::Empty,
    timers::Subject,
    tunnel::{Context, Tunnel},
};

/// What they may send after we stopped to vouch for it: packets on their way, and clocks that differ.
const GRACE: Duration = Duration::from_secs(5);

/// For how long they may go on to send after we began to tell them that it is not true any more.
const WITHDRAWAL: Duration = Purges::LAST_REPEAT.saturating_add(GRACE);

/// Who was told about what. Every answer has a number, which is what peers and timers know it by: a hub has many.
#[derive(Debug, Default)]
pub(super) struct Requesters {
    by_prefix: OrderedMap<(IpNet, IpAddr), Requester>,
    by_number: OrderedMap<u32, (IpNet, IpAddr)>,
    /// The last number.
    last: u32,
}

impl Empty for Requesters {
    const EMPTY: &'static Self =
        &Self { by_prefix: OrderedMap::new(), by_number: OrderedMap::new(), last: 0 };
}

#[derive(Debug)]
pub(super) struct Requester {
    number: u32,
    pub(super) nbma: IpAddr,
    pub(super) expires: Time,
    /// What it asked for the last time.
    destination: IpAddr,
    /// It was told that it is not true any more, but may not have heard it yet.
    withdrawn: bool,
}

impl Requesters {
    pub(super) fn len(&self) -> usize {
        self.by_prefix.len()
    }

    /// Those who were told about exactly this prefix, and not since that it is not true any more.
    pub(super) fn of(&self, prefix: IpNet) -> Vec<(IpAddr, IpAddr)> {
        let lowest = match prefix {
            IpNet::V4(_) => IpAddr::from([0; 4]),
            IpNet::V6(_) => IpAddr::from([0; 16]),
        };
        self.by_prefix
            .range((prefix, lowest)..)
            .take_while(|((told, _), _)| *told == prefix)
            .filter(|(_, record)| !record.withdrawn)
            .map(|(&(_, requester), record)| (requester, record.nbma))
            .collect()
    }

    /// The same with what they asked for.
    pub(super) fn asked_for(&self, prefix: IpNet) -> Vec<(IpAddr, IpAddr, IpAddr)> {
        let destination =
            |requester| self.by_prefix.get(&(prefix, requester)).map(|record| record.destination);
        let told = self.of(prefix).into_iter();
        told.filter_map(|(requester, nbma)| Some((requester, nbma, destination(requester)?))).collect()
    }

    /// All records: who was told about what.
    pub(super) fn all(&self) -> Vec<(IpNet, IpAddr)> {
        self.by_prefix.keys().copied().collect()
    }

    /// A number that no answer has.
    fn number(&mut self) -> u32 {
        self.last = self.last.wrapping_add(1);
        while self.by_number.contains_key(&self.last) {
            self.last = self.last.wrapping_add(1);
        }
        self.last
    }

    /// Every prefix that somebody believes to be here.
    pub(super) fn prefixes(&self) -> BTreeSet<IpNet> {
        let believed = self.by_prefix.iter().filter(|(_, record)| !record.withdrawn);
        believed.map(|(&(prefix, _), _)| prefix).collect()
    }
}

impl Tunnel {
    /// Remembers that `requester`, who asked for `destination`, was told about `prefix` for `holding`. False when
    /// there is no room: then it must not be told.
    pub(super) fn remember_requester(
        &mut self,
        cx: &mut Context<'_>,
        prefix: IpNet,
        requester: IpAddr,
        nbma: IpAddr,
        holding: Duration,
        destination: IpAddr,
    ) -> bool {
        let key = (prefix, requester);
        let expires = cx.now + holding + GRACE;
        let record = self.requesters.by_prefix.get(&key).map(|record| (record.number, record.nbma));
        let known = record.map(|(_, nbma)| nbma);
        if known.is_none() && self.requesters.by_prefix.len() >= self.config.limits.requesters {
            self.table_full(cx, Table::Requesters);
            return false;
        }
        let most = self.config.limits.requesters_per_nbma;
        if known != Some(nbma) && self.peers.get(nbma).is_some_and(|peer| peer.answers as usize >= most) {
            self.table_full(cx, Table::RequestersOf(nbma));
            return false;
        }
        if !self.has_room_for_peer(cx, nbma) {
            return false;
        }
        let number = record.map_or_else(|| self.requesters.number(), |(number, _)| number);
        let user = User::Requester(number);
        if known != Some(nbma) {
            self.peers.hold(nbma, user, cx.now, cx.out);
            if let Some(before) = known {
                self.leave_peer(cx, before, user);
            }
        }
        let record = Requester { number, nbma, expires, destination, withdrawn: false };
        self.requesters.by_prefix.insert(key, record);
        self.requesters.by_number.insert(number, key);
        self.timers.set(Subject::Requester(number), expires);
        true
    }

    /// Somebody is being told that it is not true any more. Until it heard of that, we take what it sends.
    pub(super) fn withdraw(&mut self, cx: &Context<'_>, prefix: IpNet, requester: IpAddr) {
        if let Some(record) = self.requesters.by_prefix.get_mut(&(prefix, requester)) {
            record.withdrawn = true;
            record.expires = record.expires.min(cx.now + WITHDRAWAL);
            self.timers.set(Subject::Requester(record.number), record.expires);
        }
    }

    /// Forgets that somebody was told.
    pub(super) fn forget_requester(&mut self, cx: &mut Context<'_>, prefix: IpNet, requester: IpAddr) {
        if let Some(record) = self.requesters.by_prefix.remove(&(prefix, requester)) {
            self.requesters.by_number.remove(&record.number);
            self.timers.clear(Subject::Requester(record.number));
            self.leave_peer(cx, record.nbma, User::Requester(record.number));
        }
    }

    /// The timer of an answer fired.
    pub(super) fn requester_due(&mut self, cx: &mut Context<'_>, number: u32) {
        let Some(&(prefix, requester)) = self.requesters.by_number.get(&number) else { return };
        let Some(record) = self.requesters.by_prefix.get(&(prefix, requester)) else { return };
        if record.expires <= cx.now {
            self.forget_requester(cx, prefix, requester);
        } else {
            self.timers.set(Subject::Requester(number), record.expires);
        }
    }
}
