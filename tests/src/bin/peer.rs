//! A scripted NHRP peer, by hand: `cargo xtask peer`.

use std::{
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, bail};
use clap::{Parser, builder::PossibleValuesParser};
use dmvpn_tests::peer::{self, Evidence, Node, Role, Settings};
use ipnet::Ipv4Net;

/// Speaks NHRP as another make of router does, until Ctrl-C.
#[derive(Parser)]
struct Arguments {
    /// The make of router.
    #[arg(long, value_parser = PossibleValuesParser::new(peer::ALL.map(|profile| profile.name)))]
    like: String,

    /// Protocol address and the tunnel's network: 10.0.0.9/24.
    #[arg(long)]
    address: Ipv4Net,

    /// NBMA address: one of this machine's, or of the network namespace this runs in.
    #[arg(long)]
    nbma: Ipv4Addr,

    /// Register with the hub that has this protocol address; without it, be the hub.
    #[arg(long, requires = "nhs_nbma")]
    nhs: Option<Ipv4Addr>,

    /// NBMA address of that hub.
    #[arg(long, requires = "nhs")]
    nhs_nbma: Option<Ipv4Addr>,

    /// GRE key.
    #[arg(long)]
    key: Option<u32>,

    /// NHRP authentication, 1 to 8 characters.
    #[arg(long)]
    authentication: Option<String>,

    /// Seconds.
    #[arg(long, default_value_t = 600)]
    holding_time: u16,

    /// A network behind this peer: it answers for it, and answers pings there. May be repeated.
    #[arg(long, value_name = "PREFIX")]
    lan: Vec<Ipv4Net>,

    /// As a hub: a network behind a spoke, as PREFIX=ADDRESS. May be repeated.
    #[arg(long, value_name = "PREFIX=ADDRESS", value_parser = route)]
    route: Vec<(Ipv4Net, Ipv4Addr)>,

    /// As a spoke: ping this address ten times a second, and say which way the answers come.
    #[arg(long, value_name = "ADDRESS", requires = "nhs")]
    ping: Option<Ipv4Addr>,
}

fn route(text: &str) -> Result<(Ipv4Net, Ipv4Addr)> {
    let (network, next_hop) = text.split_once('=').context("not PREFIX=ADDRESS")?;
    Ok((network.parse().context("not a prefix")?, next_hop.parse().context("not an address")?))
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let profile = peer::find(&arguments.like).context("no such profile")?;
    if arguments.authentication.as_ref().is_some_and(|password| !(1..=8).contains(&password.len())) {
        bail!("--authentication: 1 to 8 characters");
    }
    let settings = Settings {
        profile,
        address: arguments.address.addr(),
        network: arguments.address.trunc(),
        nbma: arguments.nbma,
        password: arguments.authentication,
        holding_time: arguments.holding_time,
        lans: arguments.lan,
    };
    let role = match (arguments.nhs, arguments.nhs_nbma) {
        (Some(server), Some(nbma)) => Role::Spoke { server, nbma, ping: arguments.ping },
        _ => Role::Hub { routes: arguments.route },
    };
    println!("{}: {}", profile.name, profile.what);
    for (statement, evidence) in profile.evidence {
        let evidence = match evidence {
            Evidence::Seen => "seen",
            Evidence::Documented => "documented",
            Evidence::Inferred => "inferred",
        };
        println!("  {evidence:>10}: {statement}");
    }
    let ends = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&ends)).context("watching for signals")?;
    }
    let seed = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |now| u64::from(now.subsec_nanos()));
    let node = Node::new(settings, role, seed);
    peer::run(
        node,
        arguments.nbma,
        arguments.key,
        || ends.load(Ordering::Relaxed),
        |now, line| {
            println!("{now:9.3} {line}");
        },
    )
}
