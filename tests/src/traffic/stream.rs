//! A stream of numbered UDP packets at a steady rate.

use std::{
    io::ErrorKind,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use nix::sys::socket::{setsockopt, sockopt};

use crate::{namespace::Namespace, poll};

/// UDP payload in bytes; the first eight are the packet's number.
const SIZE: usize = 200;
/// Receive buffer in bytes: room for several seconds, so that a receiver that gets no processor time on a busy
/// machine is not taken for a network that loses packets.
const BUFFER: usize = 16 << 20;
/// How long a packet may be on its way after the last one was sent.
const STRAGGLERS: Duration = Duration::from_secs(3);

/// Longest wait for packets to arrive, however many.
const SILENCE: Duration = Duration::from_secs(30);

/// A running stream. [`finish`](Self::finish) stops it and gives the account; dropping it just stops it.
#[derive(Debug)]
pub struct Stream {
    shared: Running,
    sender: JoinHandle<Result<()>>,
    receiver: JoinHandle<Result<Receiver>>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    /// The last packet was sent: `sent` does not grow any more.
    finished: AtomicBool,
    sent: AtomicU64,
    received: AtomicU64,
}

/// Ends the sender when it is dropped, so that a failed test does not leave it running.
#[derive(Debug)]
struct Running(Arc<Shared>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::Relaxed);
    }
}

/// What became of the packets of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Packets sent.
    pub sent: u64,
    /// Different packets received.
    pub received: u64,
    /// Numbers of the packets that never arrived, from 0.
    pub lost: Vec<u64>,
    /// Packets received a second time.
    pub duplicates: u64,
    /// Packets received after one with a higher number.
    pub reordered: u64,
}

impl Stream {
    /// Starts sending `rate` packets a second from one namespace to `address`, which is in the other one.
    ///
    /// When this returns the receiver listens, so that no packet is lost before the network.
    pub fn start(from: &Namespace, to: &Namespace, address: Ipv4Addr, rate: u32) -> Result<Self> {
        let listen = to.run(|| {
            let socket = UdpSocket::bind((address, 0)).with_context(|| format!("binding to {address}"))?;
            setsockopt(&socket, sockopt::RcvBufForce, &BUFFER).context("setting the buffer's size")?;
            // Short, so that the receiver sees the end of the stream soon.
            socket.set_read_timeout(Some(Duration::from_millis(50))).context("setting a timeout")?;
            Ok(socket)
        })?;
        let target = listen.local_addr().context("asking for the port")?;
        let shared = Arc::new(Shared::default());

        let receiving = Arc::clone(&shared);
        let receiver = thread::spawn(move || receive(&listen, &receiving));
        let sending = Arc::clone(&shared);
        let sender = from.spawn(move || {
            let result = send(target, rate, &sending);
            sending.finished.store(true, Ordering::Release);
            result
        });
        Ok(Self { shared: Running(shared), sender, receiver })
    }

    /// Packets sent and received so far.
    pub fn progress(&self) -> (u64, u64) {
        // In this order: a packet is never received before it was sent.
        let received = self.shared.0.received.load(Ordering::Relaxed);
        (self.shared.0.sent.load(Ordering::Relaxed), received)
    }

    /// Waits until `count` more packets have arrived than had when this was called.
    pub fn wait_received(&self, count: u64) -> Result<()> {
        let target = self.progress().1 + count;
        poll::until(&format!("{count} more packets"), SILENCE, || {
            let arrived = self.progress().1 >= target;
            // Nothing will come any more; `finish` tells why.
            let ended = self.sender.is_finished() || self.receiver.is_finished();
            Ok((arrived || ended).then_some(arrived))
        })
        .and_then(|arrived| if arrived { Ok(()) } else { bail!("the sender or the receiver gave up") })
        .map_err(|error| error.context(format!("sent and received so far: {:?}", self.progress())))
    }

    /// Stops sending, waits for packets still on their way, and gives the account.
    pub fn finish(self) -> Result<Report> {
        self.shared.0.stop.store(true, Ordering::Relaxed);
        self.sender.join().map_err(|_| anyhow!("the sender panicked"))??;
        let receiver = self.receiver.join().map_err(|_| anyhow!("the receiver panicked"))??;
        let sent = self.shared.0.sent.load(Ordering::Relaxed);
        Ok(receiver.report(sent))
    }
}

/// Stops these streams; an error when one of them lost a packet.
pub fn finish_without_loss(streams: impl IntoIterator<Item = Stream>) -> Result<()> {
    for stream in streams {
        let report = stream.finish()?;
        ensure!(report.lost.is_empty(), "packets were lost: {report:?}");
    }
    Ok(())
}

/// Sends until told to stop. Packet `n` is due at `n / rate` seconds; a late one is sent at once.
fn send(target: SocketAddr, rate: u32, shared: &Shared) -> Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).context("opening the sender's socket")?;
    let interval = Duration::from_secs(1) / rate;
    let mut payload = [0; SIZE];
    let mut due = Instant::now();
    for number in 0_u64.. {
        if shared.stop.load(Ordering::Relaxed) {
            break;
        }
        thread::sleep(due.saturating_duration_since(Instant::now()));
        due += interval;
        payload[..8].copy_from_slice(&number.to_be_bytes());
        // Not connected: an ICMP error must not be taken for a failure to send.
        shared.sent.store(number + 1, Ordering::Relaxed);
        // A signal for the whole process may meet this thread.
        while let Err(error) = socket.send_to(&payload, target) {
            if error.kind() != ErrorKind::Interrupted {
                return Err(error).with_context(|| format!("sending packet {number} to {target}"));
            }
        }
    }
    Ok(())
}

#[derive(Debug, Default)]
struct Receiver {
    /// By number, whether it arrived.
    seen: Vec<bool>,
    received: u64,
    duplicates: u64,
    reordered: u64,
}

/// Receives until all that was sent is here, or nothing more can be expected.
fn receive(socket: &UdpSocket, shared: &Shared) -> Result<Receiver> {
    let mut receiver = Receiver::default();
    let mut buffer = [0; SIZE + 1];
    let mut finished_at = None;
    loop {
        if shared.finished.load(Ordering::Acquire) {
            let since = finished_at.get_or_insert_with(Instant::now).elapsed();
            if receiver.received == shared.sent.load(Ordering::Relaxed) || since >= STRAGGLERS {
                return Ok(receiver);
            }
        }
        match socket.recv(&mut buffer) {
            Ok(SIZE) => {
                let number = buffer.first_chunk().map_or(u64::MAX, |bytes| u64::from_be_bytes(*bytes));
                receiver.note(number)?;
                shared.received.store(receiver.received, Ordering::Relaxed);
            }
            Ok(size) => return Err(anyhow!("a packet of {size} bytes arrived, {SIZE} were sent")),
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                ) => {}
            Err(error) => return Err(error).context("receiving"),
        }
    }
}

impl Receiver {
    fn note(&mut self, number: u64) -> Result<()> {
        let place = usize::try_from(number).ok().filter(|place| *place < 1 << 32).context("absurd number")?;
        if place < self.seen.len() {
            self.reordered += 1;
        } else {
            self.seen.resize(place + 1, false);
        }
        if std::mem::replace(&mut self.seen[place], true) {
            self.duplicates += 1;
        } else {
            self.received += 1;
        }
        Ok(())
    }

    fn report(self, sent: u64) -> Report {
        let arrived = |number: u64| {
            usize::try_from(number).is_ok_and(|place| self.seen.get(place).copied().unwrap_or(false))
        };
        Report {
            sent,
            received: self.received,
            lost: (0..sent).filter(|number| !arrived(*number)).collect(),
            duplicates: self.duplicates,
            reordered: self.reordered,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_for_lost_doubled_and_overtaken_packets() {
        let mut receiver = Receiver::default();
        for number in [0, 1, 4, 3, 4] {
            receiver.note(number).unwrap();
        }
        let report = receiver.report(7);
        assert_eq!(report, Report { sent: 7, received: 4, lost: vec![2, 5, 6], duplicates: 1, reordered: 2 });
    }
}
