//! Where the tunnel's address, key and source are: ifcfg files of Red Hat and commands. Scripts are only looked at.

use ipnet::IpNet;

use super::{
    super::{
        line::{At, Line, LineId},
        model::{Model, Tunnel},
        prefix, settings,
        verdict::{Judgement, Verdict, converted, hinted, ignored, refused, unknown},
    },
    at,
    racoon::Racoon,
};

/// `KEY=VALUE` lines of one file.
#[derive(Debug, Default)]
pub(super) struct Ifcfg {
    device: Option<At<String>>,
    is_tunnel: bool,
    address: Option<At<String>>,
    netmask: Option<String>,
    source: Option<At<String>>,
    destination: Option<At<String>>,
    key: Option<At<String>>,
    ttl: Option<At<String>>,
    mtu: Option<At<String>>,
}

impl Ifcfg {
    /// What becomes of a line.
    pub(super) fn line(&mut self, id: LineId, text: &str) -> Judgement {
        let Some((name, value)) = text.split_once('=') else { return unknown("not understood") };
        let value = value.trim_matches(['"', '\'']);
        match name {
            "DEVICE" => {
                self.device = Some(at(id, value));
                converted("tunnel, or source")
            }
            "TYPE" => {
                self.is_tunnel = value == "GRE";
                converted("GRE")
            }
            "MY_INNER_IPADDR" | "IPADDR" => {
                self.is_tunnel |= name == "MY_INNER_IPADDR";
                self.address = Some(at(id, value));
                converted("address")
            }
            "NETMASK" | "PREFIX" => {
                self.netmask = Some(value.to_owned());
                converted("address")
            }
            "MY_OUTER_IPADDR" => {
                self.source = Some(at(id, value));
                converted("source")
            }
            "PEER_OUTER_IPADDR" if value == "0.0.0.0" || value.is_empty() => converted("multipoint GRE"),
            "PEER_OUTER_IPADDR" => {
                self.destination = Some(at(id, value));
                converted("phase: 1, and where the server is")
            }
            "KEY" => {
                self.key = Some(at(id, &prefix::key(value)));
                converted("key")
            }
            "TTL" if matches!(value, "0" | "inherit") => hinted("ttl: not copied from the inner packet"),
            "TTL" => {
                self.ttl = Some(at(id, value));
                converted("ttl")
            }
            "MTU" => {
                self.mtu = Some(at(id, value));
                converted("mtu")
            }
            "ONBOOT" | "BOOTPROTO" | "NM_CONTROLLED" | "USERCTL" | "IPV6INIT" | "PEERDNS" | "NAME"
            | "UUID" | "BROADCAST" | "NETWORK" | "HWADDR" | "DEFROUTE" | "PEER_INNER_IPADDR" | "ZONE" => {
                ignored("the agent makes and removes the interface")
            }
            "ripd" | "ospfd" | "bgpd" | "zebra" => hinted("FRR: /etc/frr/daemons"),
            _ => unknown("not understood"),
        }
    }

    /// At the end of a file: it was about one interface.
    pub(super) fn finish(self, model: &mut Model) {
        let Some(device) = self.device else { return };
        let address = self.address.and_then(|address| {
            let text = &address.value;
            let prefix = match (text.parse::<IpNet>(), self.netmask.as_deref()) {
                (Ok(prefix), _) => Some(prefix),
                (Err(_), Some(mask)) => {
                    prefix::with_mask(text, mask).or_else(|| format!("{text}/{mask}").parse().ok())
                }
                (Err(_), None) => format!("{text}/32").parse().ok(),
            };
            prefix.map(|prefix| At::new(address.at, prefix))
        });
        if !self.is_tunnel {
            let index = model.underlay(&device.value);
            if let Some(interface) = model.underlay.get_mut(index) {
                interface.address = address;
            }
            return;
        }
        let index = model.tunnel(&device.value, device.at);
        let Some(tunnel) = model.tunnels.get_mut(index) else { return };
        tunnel.address = address.or(tunnel.address.take());
        tunnel.source = self.source.or(tunnel.source.take());
        tunnel.destination = self.destination.or(tunnel.destination.take());
        tunnel.multipoint = tunnel.destination.is_none();
        tunnel.key = self.key.or(tunnel.key.take());
        tunnel.ttl = self.ttl.or(tunnel.ttl.take());
        tunnel.mtu = self.mtu.or(tunnel.mtu.take());
    }
}

/// A command at a prompt or in a file of commands.
pub(super) fn command(model: &mut Model, id: LineId, words: &[&str]) -> Judgement {
    match words {
        ["ip", "tunnel", "add" | "change", name, rest @ ..] => {
            let index = model.tunnel(name, id);
            match model.tunnels.get_mut(index) {
                Some(tunnel) => tunnel_add(tunnel, id, rest),
                None => unknown("not understood"),
            }
        }
        ["ip", "addr" | "address" | "a", "add" | "replace", address, "dev", name, ..] => {
            let prefix = address.parse().ok().or_else(|| format!("{address}/32").parse().ok());
            let Some(prefix) = prefix else { return unknown("not an address") };
            let Some(tunnel) = model.tunnels.iter_mut().find(|tunnel| tunnel.old_name == *name) else {
                let index = model.underlay(name);
                if let Some(interface) = model.underlay.get_mut(index) {
                    interface.address = Some(At::new(id, prefix));
                }
                return ignored("address of an interface that is no tunnel");
            };
            tunnel.address = Some(At::new(id, prefix));
            converted("address")
        }
        ["ip", "link", "set", .., "mtu", bytes] => {
            for tunnel in model.tunnels.iter_mut().filter(|tunnel| words.contains(&tunnel.old_name.as_str()))
            {
                tunnel.mtu = Some(at(id, bytes));
            }
            converted("mtu")
        }
        ["sysctl", ..] => hinted("also for dmvpn: net.ipv4.ip_forward=1"),
        ["ip", "link" | "tunnel" | "addr" | "address", ..]
        | ["ifconfig" | "modprobe" | "chmod" | "ifup" | "systemctl" | "service", ..] => {
            ignored("the agent makes the interface, with broadcast and multicast")
        }
        ["echo", ..] => ignored("a command, not configuration"),
        _ => unknown("not understood"),
    }
}

/// `ip tunnel add NAME mode gre ...`.
fn tunnel_add(tunnel: &mut Tunnel, id: LineId, words: &[&str]) -> Judgement {
    let mut rest = words;
    let mut judgement = converted("tunnel");
    tunnel.multipoint = true;
    loop {
        rest = match rest {
            [] => break,
            ["mode", "gre", rest @ ..]
            | ["local" | "remote", "any" | "0.0.0.0", rest @ ..]
            | ["tos" | "dsfield", "inherit", rest @ ..]
            | ["pmtudisc", rest @ ..] => rest,
            ["tos" | "dsfield", octet, rest @ ..] => {
                judgement = match settings::type_of_service_of_linux(tunnel, id, octet).verdict {
                    Verdict::Converted => judgement,
                    _ => hinted("all but tos: `tos` wants a number from 0 to 63"),
                };
                rest
            }
            ["nopmtudisc", rest @ ..] => {
                tunnel.df = Some(at(id, "copy"));
                rest
            }
            ["ignore-df", rest @ ..] => {
                tunnel.df = Some(at(id, "clear"));
                rest
            }
            ["mode", _, rest @ ..] => {
                judgement = refused("only GRE");
                rest
            }
            ["key" | "okey" | "ikey", key, rest @ ..] => {
                tunnel.key = Some(at(id, &prefix::key(key)));
                rest
            }
            ["ttl" | "hoplimit", ttl, rest @ ..] => {
                if *ttl != "inherit" {
                    tunnel.ttl = Some(at(id, ttl));
                }
                rest
            }
            ["local", source, rest @ ..] => {
                tunnel.source = Some(at(id, source));
                rest
            }
            ["dev", source, rest @ ..] => {
                tunnel.source.get_or_insert_with(|| At::new(id, (*source).to_owned()));
                rest
            }
            ["remote", far, rest @ ..] => {
                tunnel.destination = Some(at(id, far));
                tunnel.multipoint = false;
                rest
            }
            ["csum" | "icsum" | "ocsum" | "seq" | "iseq" | "oseq", rest @ ..] => {
                judgement = refused("GRE checksums and sequence numbers are not sent");
                rest
            }
            _ => {
                judgement = unknown("not understood");
                break;
            }
        };
    }
    judgement
}

/// A line of a script: nothing of it is run or taken over, but for policies of IPsec.
pub(super) fn script(model: &mut Model, racoon: &mut Racoon, line: &Line<'_>) -> Judgement {
    let words = line.words();
    match words.as_slice() {
        ["setkey", "-P", "-F", ..] | ["setkey", "-FP", ..] => hinted(
            "one peer's end removes everyone's policies, and traffic goes in clear: strongSwan's traps stay",
        ),
        ["setkey", ..] => hinted("strongSwan sets policies and associations itself"),
        ["spdadd", ..] => {
            model.ipsec_lines.insert(line.id);
            racoon.line(line.id, &words).unwrap_or_else(|| unknown("not understood"))
        }
        ["ip", "tunnel" | "addr" | "address", ..] if !line.text.contains('$') => {
            command(model, line.id, &words)
        }
        _ => ignored("of a script: not run any more"),
    }
}
