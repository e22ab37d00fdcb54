//! A bulk TCP transfer whose content is checked byte by byte.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail};
use socket2::{Domain, Socket, Type};

use crate::namespace::Namespace;

/// Longest silence of either side. TCP repeats a lost segment after 0.2, 0.4, 0.8 ... seconds: the eighth time after 51 s.
const PATIENCE: Duration = Duration::from_mins(1);
const CHUNK: usize = 64 * 1024;

/// A finished transfer. Every byte arrived as it was sent.
#[derive(Clone, Copy, Debug)]
pub struct Transfer {
    /// Size in bytes.
    pub bytes: u64,
    /// From the first byte sent to the last one received.
    pub time: Duration,
}

/// Sends `bytes` bytes from one namespace to `address`, which is in the other one; fails when they do not all
/// arrive unchanged. `progress` is told the number of bytes received, some times a second.
pub fn transfer(
    from: &Namespace,
    to: &Namespace,
    address: impl Into<IpAddr>,
    bytes: u64,
    mut progress: impl FnMut(u64) + Send,
) -> Result<Transfer> {
    let address = address.into();
    let listener =
        to.run(|| TcpListener::bind((address, 0)).with_context(|| format!("binding to {address}")))?;
    let target = listener.local_addr().context("asking for the port")?;
    let sender = from.spawn(move || send(target, bytes));
    let start = Instant::now();
    // Nobody comes when there is no way: the sender gives up first and says why.
    let received = accept(&listener).and_then(|stream| receive(stream, bytes, &mut progress));
    let sent = sender.join().map_err(|_| anyhow!("the sender panicked"))?;
    sent?;
    received?;
    Ok(Transfer { bytes, time: start.elapsed() })
}

/// Waits for the connection, but not for ever.
fn accept(listener: &TcpListener) -> Result<TcpStream> {
    let socket = Socket::from(listener.try_clone().context("sharing the listener")?);
    socket.set_read_timeout(Some(PATIENCE + Duration::from_secs(5))).context("setting a timeout")?;
    let (stream, _) = socket.accept().context("waiting for the connection")?;
    Ok(stream.into())
}

fn send(target: SocketAddr, bytes: u64) -> Result<()> {
    let socket = Socket::new(Domain::for_address(target), Type::STREAM, None).context("opening a socket")?;
    socket.connect_timeout(&target.into(), PATIENCE).with_context(|| format!("connecting to {target}"))?;
    let mut stream = TcpStream::from(socket);
    stream.set_write_timeout(Some(PATIENCE)).context("setting a timeout")?;
    let mut content = Content::new();
    let mut left = bytes;
    let mut chunk = vec![0; CHUNK];
    while left > 0 {
        let size = usize::try_from(left).map_or(CHUNK, |left| left.min(CHUNK));
        content.fill(&mut chunk[..size]);
        stream.write_all(&chunk[..size]).with_context(|| format!("sending, {left} bytes before the end"))?;
        left -= size as u64;
    }
    Ok(())
}

fn receive(mut stream: TcpStream, bytes: u64, progress: &mut impl FnMut(u64)) -> Result<()> {
    stream.set_read_timeout(Some(PATIENCE)).context("setting a timeout")?;
    let mut content = Content::new();
    let mut received = 0_u64;
    let (mut chunk, mut expected) = (vec![0; CHUNK], vec![0; CHUNK]);
    let mut told = Instant::now();
    loop {
        let size = stream.read(&mut chunk).with_context(|| format!("receiving, after {received} bytes"))?;
        if size == 0 {
            break;
        }
        content.fill(&mut expected[..size]);
        if let Some(place) = chunk[..size].iter().zip(&expected[..size]).position(|(a, b)| a != b) {
            bail!("byte {} arrived changed", received + place as u64);
        }
        received += size as u64;
        if told.elapsed() >= Duration::from_millis(200) {
            told = Instant::now();
            progress(received);
        }
    }
    if received != bytes {
        bail!("{received} of {bytes} bytes arrived");
    }
    progress(received);
    Ok(())
}

/// Bytes that look random and are the same on both sides (xorshift64), so that an exchanged, repeated or missing
/// piece is noticed.
struct Content {
    state: u64,
    word: [u8; 8],
    used: usize,
}

impl Content {
    fn new() -> Self {
        Self { state: 0x9e37_79b9_7f4a_7c15, word: [0; 8], used: 8 }
    }

    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            if self.used == self.word.len() {
                self.state ^= self.state << 13;
                self.state ^= self.state >> 7;
                self.state ^= self.state << 17;
                self.word = self.state.to_be_bytes();
                self.used = 0;
            }
            *byte = self.word[self.used];
            self.used += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_does_not_depend_on_how_it_is_cut() {
        let (mut whole, mut cut) = (vec![0; 1000], vec![0; 1000]);
        Content::new().fill(&mut whole);
        let mut content = Content::new();
        for piece in cut.chunks_mut(7) {
            content.fill(piece);
        }
        assert_eq!(whole, cut);
        assert_ne!(whole[..8], whole[8..16]);
    }
}
