//! Packets as the scripts write them: see `README.md`.

use std::{collections::HashSet, net::IpAddr};

use anyhow::{Context, Result, anyhow, bail, ensure};
use dmvpn::nhrp::wire::{
    Authentication, Body, Cie, CieCode, Clients, End, ErrorCode, ErrorIndication, Extension, ExtensionKind,
    Extensions, Flags, IpFamily, Opaque, Packet, PacketKind, ProtocolType, TrafficIndication, Value,
};

use super::{
    data_packet,
    script::Line,
    words::{Words, hex, number},
};

/// Packets that later ones refer to.
#[derive(Debug, Default)]
pub(super) struct History {
    /// What the engine sent, and to whom.
    pub(super) sent: Vec<(IpAddr, Vec<u8>)>,
    /// What it received last.
    pub(super) received: Vec<u8>,
}

impl History {
    /// The last packet of a kind that the engine sent, to `to` if that is given.
    fn last(&self, kind: PacketKind, to: Option<IpAddr>) -> Result<Packet> {
        let found = self.sent.iter().rev().filter(|(receiver, _)| to.is_none_or(|to| to == *receiver));
        let mut packets = found.filter_map(|(_, bytes)| Packet::decode(bytes).ok());
        packets.find(|packet| packet.kind() == kind).ok_or_else(|| anyhow!("no {kind} was sent"))
    }
}

/// The bytes of a packet that is written out.
pub(super) fn packet(lines: &[Line], history: &History) -> Result<Vec<u8>> {
    let (first, fields) = lines.split_first().context("a packet has to be written below")?;
    let mut words = Words::of(&first.text)?;
    let mut draft = head(&mut words, history).with_context(|| format!("line {}", first.number))?;
    draft.read(fields, history)?;
    draft.bytes()
}

/// The bytes of the reply to the last request that the engine sent to `to`, with changes.
pub(super) fn answer(kind: PacketKind, to: IpAddr, fields: &[Line], history: &History) -> Result<Vec<u8>> {
    let request = history.last(kind, Some(to))?;
    let reply = request.into_reply().with_context(|| format!("a {kind} is not answered"))?;
    let mut draft = Draft::of(reply);
    draft.read(fields, history)?;
    draft.bytes()
}

/// A packet kind by the name it has in metrics.
pub(super) fn kind(words: &mut Words) -> Result<PacketKind> {
    let name = words.word("a kind of packet")?;
    let mut kinds = (1..=8).filter_map(PacketKind::from_number);
    kinds.find(|kind| kind.name() == name).ok_or_else(|| anyhow!("`{name}` is no kind of packet"))
}

/// The first line: `registration-request id 7 flags unique nat hops 255`.
fn head(words: &mut Words, history: &History) -> Result<Draft> {
    let kind = kind(words)?;
    let mut clients = Clients::default();
    let (mut code, mut offset, mut hops, mut flags) = (0, 0, Packet::HOP_COUNT, Flags::default());
    while words.peek().is_some() {
        match words.word("a field")?.as_str() {
            "id" if words.take("of") => {
                let sent = history.last(self::kind(words)?, None)?;
                clients.request_id = sent.body.clients().map_or(0, |clients| clients.request_id);
            }
            "id" => clients.request_id = number(&words.word("an id")?)?,
            "code" => code = words.value("a code")?,
            "offset" => offset = words.value("an offset")?,
            "hops" => hops = words.value("a hop count")?,
            "flags" => {
                while let Some(flag) = words.peek().and_then(|word| flag(kind, word)) {
                    words.word("a flag")?;
                    flags = flags | flag;
                }
            }
            other => bail!("`{other}` is no field of a packet's first line"),
        }
    }
    let body = match kind {
        PacketKind::ResolutionRequest => Body::ResolutionRequest(clients),
        PacketKind::ResolutionReply => Body::ResolutionReply(clients),
        PacketKind::RegistrationRequest => Body::RegistrationRequest(clients),
        PacketKind::RegistrationReply => Body::RegistrationReply(clients),
        PacketKind::PurgeRequest => Body::PurgeRequest(clients),
        PacketKind::PurgeReply => Body::PurgeReply(clients),
        PacketKind::ErrorIndication => Body::ErrorIndication(ErrorIndication {
            code: ErrorCode(code),
            offset,
            packet: Opaque::default(),
        }),
        PacketKind::TrafficIndication => {
            Body::TrafficIndication(TrafficIndication { code, ..TrafficIndication::default() })
        }
    };
    Ok(Draft::of(Packet {
        nbma_family: IpFamily::V4,
        protocol: ProtocolType::IPV4,
        hop_count: hops,
        flags,
        source_nbma: None,
        source_subaddress: Opaque::default(),
        source_protocol: None,
        destination_protocol: None,
        body,
        extensions: None,
    }))
}

fn flag(kind: PacketKind, word: &str) -> Option<Flags> {
    use PacketKind::{PurgeReply, PurgeRequest, ResolutionReply, ResolutionRequest};

    let resolution = matches!(kind, ResolutionRequest | ResolutionReply);
    let purge = matches!(kind, PurgeRequest | PurgeReply);
    Some(match word {
        "router" if resolution => Flags::RESOLUTION_ROUTER,
        "authoritative" if resolution => Flags::RESOLUTION_AUTHORITATIVE,
        "destination-stable" if resolution => Flags::RESOLUTION_DESTINATION_STABLE,
        "source-stable" if resolution => Flags::RESOLUTION_SOURCE_STABLE,
        "unique" if resolution => Flags::RESOLUTION_UNIQUE,
        "unique" if !purge => Flags::REGISTRATION_UNIQUE,
        "nat" if !purge => Flags::NAT,
        "no-reply" if purge => Flags::PURGE_NO_REPLY,
        _ => Flags(number(word).ok().filter(|_| word.starts_with("0x"))?),
    })
}

/// A packet in the making.
struct Draft {
    packet: Packet,
    /// Extensions that were mentioned: the first mention replaces what there was.
    mentioned: HashSet<u16>,
    /// Bytes to put into the encoded packet, the checksum made right again.
    patches: Vec<(usize, Vec<u8>)>,
    wrong_checksum: bool,
    /// Bytes of Ethernet padding behind it.
    padding: usize,
}

impl Draft {
    fn of(packet: Packet) -> Self {
        Self { packet, mentioned: HashSet::new(), patches: Vec::new(), wrong_checksum: false, padding: 0 }
    }

    fn read(&mut self, fields: &[Line], history: &History) -> Result<()> {
        let mut entries_mentioned = false;
        for line in fields {
            let mut words = Words::of(&line.text)?;
            self.field(&mut words, history, &mut entries_mentioned)
                .and_then(|()| words.end())
                .with_context(|| format!("line {}: {}", line.number, line.text))?;
        }
        Ok(())
    }

    fn field(&mut self, words: &mut Words, history: &History, entries_mentioned: &mut bool) -> Result<()> {
        match words.word("a field")?.as_str() {
            "source" => {
                self.packet.source_protocol = optional_address(words)?;
                if words.take("at") {
                    self.packet.source_nbma = optional_address(words)?;
                }
                let protocol = self.packet.source_protocol.map(IpFamily::of);
                let nbma = self.packet.source_nbma.map(IpFamily::of);
                self.packet.protocol = ProtocolType::of(protocol.unwrap_or_default());
                self.packet.nbma_family = nbma.unwrap_or_default();
            }
            "destination" => self.packet.destination_protocol = optional_address(words)?,
            "hops" => self.packet.hop_count = words.value("a hop count")?,
            "flags" => {
                let kind = self.packet.kind();
                self.packet.flags = Flags::default();
                for word in words.rest() {
                    let flag = flag(kind, word).ok_or_else(|| anyhow!("a {kind} has no flag `{word}`"))?;
                    self.packet.flags = self.packet.flags | flag;
                }
            }
            "id" => {
                let id = number(&words.word("an id")?)?;
                self.clients()?.request_id = id;
            }
            "code" => {
                let code = CieCode(words.value("a code")?);
                for cie in &mut self.clients()?.cies {
                    cie.code = code;
                    if code != CieCode::SUCCESS {
                        cie.holding_time = 0;
                    }
                }
            }
            "entry" => {
                let entry = self.entry(words)?;
                let cies = &mut self.clients()?.cies;
                if !std::mem::replace(entries_mentioned, true) {
                    cies.clear();
                }
                cies.push(entry);
            }
            "quote" => {
                let bytes = Self::quote(words, history)?;
                let Body::ErrorIndication(error) = &mut self.packet.body else {
                    bail!("only an error quotes a packet");
                };
                error.packet = bytes.into();
            }
            "data" => {
                let bytes = data_packet::read(words)?;
                let bytes =
                    if words.take("cut") { bytes[..words.value("a length")?].to_vec() } else { bytes };
                let Body::TrafficIndication(indication) = &mut self.packet.body else {
                    bail!("only a traffic indication has a data packet");
                };
                indication.head = bytes.into();
            }
            "patch" => {
                let offset = words.value("an offset")?;
                self.patches.push((offset, hex(words.rest())?));
            }
            "wrong-checksum" => self.wrong_checksum = true,
            "padding" => self.padding = words.value("a number of bytes")?,
            keyword => self.extension(keyword, words)?,
        }
        Ok(())
    }

    fn extension(&mut self, keyword: &str, words: &mut Words) -> Result<()> {
        match keyword {
            "extensions" => {
                for name in words.rest().to_vec() {
                    self.records(&name)?;
                }
            }
            "responder" | "forward" | "reverse" | "nat" => {
                let entry = words.peek().is_some().then(|| self.entry(words)).transpose()?;
                self.records(keyword)?.extend(entry);
            }
            "authentication" if words.take("raw") => {
                let value = hex(words.rest())?;
                self.push(Value::Authentication(value.as_slice().into()).into());
            }
            "authentication" => {
                let password = words.word("a password")?;
                self.set(Value::Authentication(Authentication::clear_text(password.as_bytes())));
            }
            "capabilities" => {
                let masks = hex(words.rest())?.try_into().map_err(|_| anyhow!("expected 8 bytes"))?;
                self.push(Value::DeviceCapabilities(masks).into());
            }
            "vendor" => {
                let value = hex(words.rest())?;
                let (oui, data) =
                    value.split_first_chunk().context("expected the 3 bytes of an OUI first")?;
                self.push(Value::VendorPrivate { oui: *oui, data: data.into() }.into());
            }
            "extension" => {
                let kind = ExtensionKind(number(&words.word("a number")?)?);
                let compulsory = words.take("compulsory");
                let value =
                    if words.take("text") { words.word("a text")?.into_bytes() } else { hex(words.rest())? };
                self.push(Extension { compulsory, value: Value::Other { kind, value: value.into() } });
            }
            "no" => {
                let kind = records_kind(&words.word("an extension")?)?;
                self.list().remove(kind);
            }
            "no-extensions" => self.packet.extensions = None,
            "end" => {
                self.list().end = match words.word("`missing`, `plain` or `then`")?.as_str() {
                    "missing" => End::Missing,
                    "plain" => End::Marked { compulsory: false, trailing: Opaque::default() },
                    "then" => {
                        let trailing = hex(words.rest())?.into();
                        End::Marked { compulsory: true, trailing }
                    }
                    other => bail!("an end is not `{other}`"),
                }
            }
            other => bail!("`{other}` is no field of a packet"),
        }
        Ok(())
    }

    fn clients(&mut self) -> Result<&mut Clients> {
        self.packet.body.clients_mut().context("an indication has no id and no entries")
    }

    fn list(&mut self) -> &mut Extensions {
        self.packet.extensions.get_or_insert_default()
    }

    /// Adds an extension behind the others.
    fn push(&mut self, extension: Extension) {
        self.list().list.push(extension);
    }

    /// Puts an extension in the place of its like, or behind the others.
    fn set(&mut self, value: Value) {
        let like = |extension: &&mut Extension| extension.value.kind() == value.kind();
        match self.list().list.iter_mut().find(like) {
            Some(extension) => extension.value = value,
            None => self.push(value.into()),
        }
    }

    /// The entries of an extension, for more to come; none at its first mention.
    fn records(&mut self, name: &str) -> Result<&mut Vec<Cie>> {
        let kind = records_kind(name)?;
        if self.mentioned.insert(kind.0) {
            self.set(match kind {
                ExtensionKind::RESPONDER_ADDRESS => Value::ResponderAddress(Vec::new()),
                ExtensionKind::FORWARD_TRANSIT => Value::ForwardTransit(Vec::new()),
                ExtensionKind::REVERSE_TRANSIT => Value::ReverseTransit(Vec::new()),
                _ => Value::NatAddress(Vec::new()),
            });
        }
        self.packet.records_mut(kind).with_context(|| format!("{name} is gone"))
    }

    /// `10.0.0.1 at 192.0.2.1 prefix 32 mtu 1472 holding 7200 preference 0 code 0`, any of it absent.
    fn entry(&self, words: &mut Words) -> Result<Cie> {
        let mut cie = Cie {
            prefix_length: self.packet.protocol.family().host_prefix(),
            mtu: 1472,
            holding_time: 7200,
            ..Cie::default()
        };
        if let Some(protocol) = words.peek().and_then(|word| word.parse().ok()) {
            words.word("an address")?;
            cie.protocol = Some(protocol);
        }
        while words.peek().is_some() {
            match words.word("a field")?.as_str() {
                "at" => cie.nbma = Some(words.value("an NBMA address")?),
                "prefix" => cie.prefix_length = words.value("a prefix length")?,
                "mtu" => cie.mtu = words.value("an MTU")?,
                "holding" => cie.holding_time = words.value("a holding time")?,
                "preference" => cie.preference = words.value("a preference")?,
                "code" => cie.code = CieCode(words.value("a code")?),
                other => bail!("`{other}` is no field of an entry"),
            }
        }
        Ok(cie)
    }

    /// The packet that an error is about.
    fn quote(words: &mut Words, history: &History) -> Result<Vec<u8>> {
        match words.word("`sent`, `received` or `hex`")?.as_str() {
            "sent" => {
                let mut bytes = Vec::new();
                history.last(kind(words)?, None)?.encode(&mut bytes)?;
                Ok(bytes)
            }
            "received" => Ok(history.received.clone()),
            "hex" => hex(words.rest()),
            other => bail!("expected `sent`, `received` or `hex`, not `{other}`"),
        }
    }

    fn bytes(&self) -> Result<Vec<u8>> {
        /// Where the checksum is.
        const CHECKSUM: usize = 12;

        let mut bytes = Vec::new();
        self.packet.encode(&mut bytes)?;
        for (offset, patch) in &self.patches {
            let place = bytes.get_mut(*offset..offset + patch.len());
            place.context("a patch outside of the packet")?.copy_from_slice(patch);
        }
        if !self.patches.is_empty() {
            bytes[CHECKSUM..CHECKSUM + 2].fill(0);
            let checksum = checksum(&bytes);
            bytes[CHECKSUM..CHECKSUM + 2].copy_from_slice(&checksum.to_be_bytes());
        }
        if self.wrong_checksum {
            bytes[CHECKSUM] ^= 0x01;
        }
        ensure!(self.padding <= 64, "more padding than Ethernet has");
        bytes.resize(bytes.len() + self.padding, 0xA5);
        Ok(bytes)
    }
}

/// The Internet checksum (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let words =
        bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |&low| low.into()));
    let mut sum: u32 = words.sum();
    while sum > 0xFFFF {
        sum = (sum & 0xFFFF) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(u16::MAX)
}

fn records_kind(name: &str) -> Result<ExtensionKind> {
    Ok(match name {
        "responder" => ExtensionKind::RESPONDER_ADDRESS,
        "forward" => ExtensionKind::FORWARD_TRANSIT,
        "reverse" => ExtensionKind::REVERSE_TRANSIT,
        "nat" => ExtensionKind::NAT_ADDRESS,
        "authentication" => ExtensionKind::AUTHENTICATION,
        other => bail!("`{other}` is no extension"),
    })
}

fn optional_address(words: &mut Words) -> Result<Option<IpAddr>> {
    if words.take("none") { Ok(None) } else { words.value("an address or `none`").map(Some) }
}
