//! Spokes on paper: registration requests as a hundred thousand spokes would send them, and what the hub answers.
//!
//! The crowd lives behind one wire. All of its NBMA addresses are local to one namespace, so that one raw socket gets
//! every answer; requests leave with the source address they would have.

use std::{
    collections::HashMap,
    io::{ErrorKind, Read as _},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use dmvpn::nhrp::wire::{Body, Cie, CieCode, Clients, Flags, Packet};
use dmvpn_common::{GRE_PROTOCOL_NHRP, IPPROTO_GRE};
use socket2::{Domain, Protocol, Socket, Type};

use crate::bench::{hosts::Hosts, statistics::as_f64};

/// Requests that wait for their answer: enough that the hub never waits for us, few enough for its socket's buffer.
const WINDOW: usize = 128;
/// After how long a request is sent again.
const PATIENCE: Duration = Duration::from_millis(500);
/// After how long without any answer the hub is taken for dead.
const SILENCE: Duration = Duration::from_secs(10);

const IP_LENGTH: usize = 20;
const GRE_LENGTH: usize = 8;
/// Largest answer.
const BUFFER: usize = 2048;

/// The crowd, in the place of host `b`; the hub is `a`.
#[derive(Debug)]
pub struct Crowd {
    sender: Socket,
    receiver: Socket,
    hub: Ipv4Addr,
    hub_nbma: Ipv4Addr,
    key: u32,
    next_id: u32,
    /// Requests that had to be sent again.
    pub repeated: usize,
}

/// Protocol address of a spoke.
pub fn address(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(Ipv4Addr::new(10, 0, 1, 0).to_bits() + number)
}

/// NBMA address of a spoke.
pub fn nbma(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(Ipv4Addr::new(100, 64, 0, 0).to_bits() + number)
}

impl Crowd {
    /// Opens the sockets, and makes the crowd's addresses reachable from the hub.
    pub fn gather(hosts: &Hosts, key: u32) -> Result<Self> {
        hosts.a.namespace.command(&format!("ip route add 100.64.0.0/10 via {}", hosts.b.nbma))?;
        hosts.b.namespace.command("ip route add local 100.64.0.0/10 dev lo")?;
        let raw = |protocol: i32| -> Result<Socket> {
            Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(protocol)))
                .context("opening a raw socket")
        };
        let (sender, receiver) = hosts.b.namespace.run(|| {
            let sender = raw(libc::IPPROTO_RAW)?;
            let receiver = raw(i32::from(IPPROTO_GRE))?;
            receiver.set_recv_buffer_size(8 << 20).context("asking for a larger buffer")?;
            receiver.set_read_timeout(Some(Duration::from_millis(100))).context("setting a timeout")?;
            Ok((sender, receiver))
        })?;
        let (hub, hub_nbma) = (hosts.a.address, hosts.a.nbma);
        Ok(Self { sender, receiver, hub, hub_nbma, key, next_id: 1, repeated: 0 })
    }

    /// Has every one of `spokes` register, and waits for every answer; registrations a second. Fails when the hub refuses
    /// one, or falls silent.
    pub fn register(&mut self, spokes: impl Iterator<Item = u32>) -> Result<f64> {
        let mut spokes = spokes.peekable();
        let mut waiting = HashMap::<u32, (u32, Instant)>::new();
        let mut buffer = [0; BUFFER];
        let (start, mut done) = (Instant::now(), 0_usize);
        let (mut heard, mut looked) = (start, start);
        while !waiting.is_empty() || spokes.peek().is_some() {
            while waiting.len() < WINDOW
                && let Some(spoke) = spokes.next()
            {
                let id = self.next_id;
                self.next_id = self.next_id.wrapping_add(1);
                self.send(spoke, id)?;
                waiting.insert(id, (spoke, Instant::now()));
            }
            match self.receiver.read(&mut buffer) {
                Ok(length) => {
                    if let Some(id) = answered(buffer.get(..length).unwrap_or_default())?
                        && waiting.remove(&id).is_some()
                    {
                        done += 1;
                        heard = Instant::now();
                    }
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) => return Err(error).context("receiving answers"),
            }
            let now = Instant::now();
            if now - looked > PATIENCE / 4 {
                looked = now;
                ensure!(
                    now - heard < SILENCE,
                    "the hub has not answered for {SILENCE:?}; {done} answers before"
                );
                for (id, (spoke, sent)) in &mut waiting {
                    if now - *sent > PATIENCE {
                        send(&self.sender, self.hub, self.hub_nbma, self.key, *spoke, *id)?;
                        *sent = now;
                        self.repeated += 1;
                    }
                }
            }
        }
        Ok(as_f64(done) / (heard - start).as_secs_f64())
    }

    fn send(&self, spoke: u32, id: u32) -> Result<()> {
        send(&self.sender, self.hub, self.hub_nbma, self.key, spoke, id)
    }
}

fn send(socket: &Socket, hub: Ipv4Addr, hub_nbma: Ipv4Addr, key: u32, spoke: u32, id: u32) -> Result<()> {
    let packet = request(hub, hub_nbma, key, spoke, id)?;
    let target = SocketAddr::from((hub_nbma, 0));
    socket.send_to(&packet, &target.into()).context("sending a request").map(drop)
}

/// An IPv4 packet with a registration request, as a spoke of ours or of Cisco's sends it. The kernel writes the checksum
/// and the length.
fn request(hub: Ipv4Addr, hub_nbma: Ipv4Addr, key: u32, spoke: u32, id: u32) -> Result<Vec<u8>> {
    let cie = Cie { prefix_length: 255, mtu: 1472, holding_time: 7200, ..Cie::default() };
    let body = Body::RegistrationRequest(Clients { request_id: id, cies: vec![cie] });
    let source = nbma(spoke);
    let packet = Packet::new(IpAddr::V4(source), IpAddr::V4(address(spoke)), IpAddr::V4(hub), body)
        .with_flags(Flags::REGISTRATION_UNIQUE);
    let mut nhrp = Vec::new();
    packet.encode(&mut nhrp).context("a registration request")?;
    let mut bytes = Vec::with_capacity(IP_LENGTH + GRE_LENGTH + nhrp.len());
    bytes.extend([0x45, 0xc0, 0, 0, 0, 0, 0x40, 0, 255, IPPROTO_GRE, 0, 0]);
    bytes.extend(source.octets());
    bytes.extend(hub_nbma.octets());
    let [high, low] = GRE_PROTOCOL_NHRP.to_be_bytes();
    bytes.extend([0x20, 0, high, low]);
    bytes.extend(key.to_be_bytes());
    bytes.extend(nhrp);
    Ok(bytes)
}

/// The request that a received packet answers; `None` when it is something else. Fails when it is a refusal.
fn answered(bytes: &[u8]) -> Result<Option<u32>> {
    let Some(nhrp) = bytes.get(IP_LENGTH + GRE_LENGTH..) else { return Ok(None) };
    let Ok(packet) = Packet::decode(nhrp) else { return Ok(None) };
    match packet.body {
        Body::RegistrationReply(Clients { request_id, cies }) => {
            if let Some(refused) = cies.iter().find(|cie| cie.code != CieCode::SUCCESS) {
                bail!("the hub refused {:?}: {:?}", packet.source_protocol, refused.code);
            }
            Ok(Some(request_id))
        }
        Body::ErrorIndication(error) => bail!("the hub answered with an error: {error:?}"),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_a_gre_packet_that_decodes_again() {
        let bytes = request(Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(198, 18, 0, 1), 42, 70_000, 7).unwrap();
        assert_eq!(bytes[12..16], Ipv4Addr::new(100, 65, 17, 112).octets());
        let packet = Packet::decode(&bytes[IP_LENGTH + GRE_LENGTH..]).unwrap();
        assert_eq!(packet.source_protocol, Some(IpAddr::V4(Ipv4Addr::new(10, 1, 18, 112))));
        assert_eq!(answered(&bytes).unwrap(), None, "a request is no answer");
    }

    #[test]
    fn an_answer_names_its_request_and_a_refusal_is_an_error() {
        let mut bytes = request(Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(198, 18, 0, 1), 42, 1, 77).unwrap();
        let nhrp = bytes.split_off(IP_LENGTH + GRE_LENGTH);
        let mut reply = Packet::decode(&nhrp).unwrap().into_reply().unwrap();
        let with = |reply: &Packet| {
            let mut nhrp = Vec::new();
            reply.encode(&mut nhrp).unwrap();
            [bytes.clone(), nhrp].concat()
        };
        assert_eq!(answered(&with(&reply)).unwrap(), Some(77));
        let Body::RegistrationReply(clients) = &mut reply.body else { panic!("{reply:?}") };
        clients.cies[0].code = CieCode::PROHIBITED;
        assert!(answered(&with(&reply)).is_err());
    }
}
