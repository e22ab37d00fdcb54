//! What happens in a case, as text.

use std::{
    collections::{HashMap, HashSet},
    fmt::Write,
    net::IpAddr,
};

use dmvpn::nhrp::{
    engine::{Action, Time, TunnelId},
    render,
    wire::Packet,
};

/// Moments in seconds, to the millisecond.
pub(super) fn moment(time: Time) -> String {
    let millis = time.since_start().as_millis();
    format!("{}.{:03}", millis / 1000, millis % 1000)
}

/// Writes actions and packets down. Remembers packets, so that a repetition is one line.
#[derive(Debug, Default)]
pub(super) struct Transcript {
    /// Names of the tunnels, if there are several.
    pub(super) names: HashMap<TunnelId, String>,
    /// Request ids of the script.
    given: HashSet<u32>,
    /// Request ids that the engine drew, in their order: they are written as `#1`, `#2`, so that it may draw others.
    drawn: Vec<u32>,
    /// When these bytes were sent to this address for the first time.
    sent: HashMap<(IpAddr, Vec<u8>), Time>,
}

impl Transcript {
    /// ` on dmvpn1`, where that is not obvious.
    fn on(&self, tunnel: TunnelId) -> String {
        self.names.get(&tunnel).map(|name| format!(" on {name}")).unwrap_or_default()
    }

    /// One action, with a line break at its end.
    pub(super) fn action(&mut self, now: Time, action: &Action) -> String {
        match action {
            Action::Send { tunnel, to, bytes } => {
                let first = *self.sent.entry((*to, bytes.clone())).or_insert(now);
                if let Some(id) =
                    request_id(bytes).filter(|id| !self.given.contains(id) && !self.drawn.contains(id))
                {
                    self.drawn.push(id);
                }
                let head = format!("> to {to}{}: ", self.on(*tunnel));
                if first == now { self.packet(&head, bytes) } else { self.repetition(&head, bytes, first) }
            }
            Action::AddPeer { tunnel, nbma } => format!("    + peer {nbma}{}\n", self.on(*tunnel)),
            Action::RemovePeer { tunnel, nbma } => format!("    - peer {nbma}{}\n", self.on(*tunnel)),
            Action::AddMulticast { tunnel, nbma } => {
                format!("    + multicast copies to {nbma}{}\n", self.on(*tunnel))
            }
            Action::RemoveMulticast { tunnel, nbma } => {
                format!("    - multicast copies to {nbma}{}\n", self.on(*tunnel))
            }
            Action::SetNeighbour { tunnel, protocol, nbma } => {
                format!("    + neighbour {protocol} at {nbma}{}\n", self.on(*tunnel))
            }
            Action::RemoveNeighbour { tunnel, protocol } => {
                format!("    - neighbour {protocol}{}\n", self.on(*tunnel))
            }
            Action::AddRoute { tunnel, prefix, via: Some(via) } => {
                format!("    + route {prefix} via {via}{}\n", self.on(*tunnel))
            }
            Action::AddRoute { tunnel, prefix, via: None } => {
                format!("    + host route {prefix}{}\n", self.on(*tunnel))
            }
            Action::RemoveRoute { tunnel, prefix, via: Some(via) } => {
                format!("    - route {prefix} via {via}{}\n", self.on(*tunnel))
            }
            Action::RemoveRoute { tunnel, prefix, via: None } => {
                format!("    - host route {prefix}{}\n", self.on(*tunnel))
            }
            Action::Log(event) => {
                let severity = format!("{:?}", event.kind.severity()).to_lowercase();
                format!("    ! {severity}{}: {}\n", self.on(event.tunnel), event.kind)
            }
        }
    }

    /// A packet that is received.
    pub(super) fn received(&mut self, bytes: &[u8]) -> String {
        if let Some(id) = request_id(bytes).filter(|id| !self.drawn.contains(id)) {
            self.given.insert(id);
        }
        self.packet("< ", bytes)
    }

    /// A packet in full behind `head`. A checksum is worth a line only if it is wrong.
    fn packet(&self, head: &str, bytes: &[u8]) -> String {
        let mut text = String::new();
        match Packet::inspect(bytes, bytes.len()) {
            Ok(inspection) => {
                line(&mut text, format_args!("    {head}{}", render::headline(&inspection)));
                for detail in render::details(&inspection).lines() {
                    let checksum = detail.trim_start().starts_with("checksum: ");
                    if !checksum || detail.contains("WRONG") {
                        line(&mut text, format_args!("    {detail}"));
                    }
                }
                let size = usize::from(inspection.size);
                if bytes.len() > size {
                    line(
                        &mut text,
                        format_args!("        behind it: {} bytes of padding", bytes.len() - size),
                    );
                }
            }
            Err(error) => line(&mut text, format_args!("    {head}{} bytes: {error}", bytes.len())),
        }
        self.number_ids(text)
    }

    /// A packet that was shown before.
    fn repetition(&self, head: &str, bytes: &[u8], first: Time) -> String {
        let headline = Packet::inspect(bytes, bytes.len()).map(|inspection| render::headline(&inspection));
        let headline = headline.unwrap_or_else(|error| error.to_string());
        self.number_ids(format!("    {head}{headline}: the same bytes as at {}\n", moment(first)))
    }

    fn number_ids(&self, text: String) -> String {
        (1..).zip(&self.drawn).fold(text, |text, (number, id)| {
            text.replace(&format!(", id {id},"), &format!(", id #{number},"))
        })
    }
}

/// The request id of a packet, if it has one.
fn request_id(bytes: &[u8]) -> Option<u32> {
    Some(Packet::decode(bytes).ok()?.body.clients()?.request_id)
}

/// Appends a line to a text.
pub(super) fn line(text: &mut String, words: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{words}");
}
