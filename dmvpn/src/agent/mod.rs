//! The agent: the one loop that does input and output.
//!
//! ```text
//!   NHRP sockets ---+                       +--> NHRP sockets
//!   ring buffer ----+--> Input -> engine -> Action --> data path (pinned maps)
//!   deadlines ------+                       +--> netlink (neighbours, routes)
//!   kernel changes -+--> ways to peers
//!   path MTUs ------+
//!   too long -----------> sender, or in pieces to the peer
//!   odd GRE packets ----> out of the tunnel, to the tunnel interface
//!   host names ------> servers
//!   control socket ----> report
//!   registrations -----> state file
//! ```
//!
//! Everything happens in one task, in order; only reading NHRP sockets and control clients have tasks of their own.

mod actions;
mod adopt;
mod environment;
mod find_source;
mod fragment;
mod groups;
mod lans;
mod link_address;
mod link_local;
mod names;
mod path_mtu;
mod path_mtu_socket;
mod plan;
mod receiver;
mod recursion;
mod report;
mod save;
mod selection;
mod settings;
mod signals;
mod slow_path;
mod socket;
mod source;
mod startup;
mod stations;
mod too_long;
mod tunnel_link;
mod tunnels;
mod underlay;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    future,
    net::IpAddr,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use tokio::{sync::mpsc, time};
use tracing::{info, warn};

use self::{
    environment::Kernel,
    names::Names,
    path_mtu::PathMtus,
    path_mtu_socket::{PacketTooBig, PathMtuReceiver},
    receiver::Received,
    save::Saver,
    selection::Selection,
    signals::{End, Signals},
    slow_path::{Delivery, SlowPacket, SlowPath},
    too_long::{Reporter, TooLong},
    tunnels::{Tunnel, Tunnels},
};
use crate::{
    config::{BpfLog, Config, RunOptions},
    control::server::ControlServer,
    datapath::{DataPath, DataPathEvent, DataPathEvents},
    netlink::{
        Netlink,
        lookup::Lookup,
        monitor::Monitor,
        underlay::{POKE_INTERVAL, Underlay},
    },
    nhrp::engine::{Action, Engine, Input, Time},
    state::State,
};

pub use settings::engine as engine_config;

/// NHRP packets read but not handled yet. The socket's buffer holds what is above.
const PACKET_QUEUE: usize = 256;
/// Packets that are too long, and messages about such, that wait.
const TOO_LONG_QUEUE: usize = 64;
/// Packets of the slow path that wait. The sockets' buffers hold what is above.
const SLOW_QUEUE: usize = 64;
/// Control requests that wait.
const CALL_QUEUE: usize = 32;
/// How long routes must be quiet before the way to every peer is looked up anew.
const SETTLE_TIME: Duration = Duration::from_millis(100);

/// A running agent.
struct Agent {
    started: Instant,
    engine: Engine,
    tunnels: Tunnels,
    /// By the address that packets come to.
    slow_paths: BTreeMap<IpAddr, SlowPath>,
    /// Hands packets of the slow path to tunnel interfaces.
    delivery: Delivery,
    /// What routes depend on beside the destination.
    selection: Selection,
    names: Names,
    data_path: DataPath,
    netlink: Netlink,
    lookup: Lookup,
    /// Ways to NBMA addresses, kept fresh.
    ways: Underlay,
    /// Which group a peer is in, by its index: the number of the group among those of all tunnels, from 1.
    group_of: HashMap<u32, u32>,
    /// Indexes of the peers whose way is to be found anew.
    to_reconnect: VecDeque<u32>,
    pin_directory: PathBuf,
    /// Largest packets on the ways to NBMA addresses.
    path_mtus: PathMtus,
    /// Tells senders that a packet was too long.
    reporter: Reporter,
    /// Where the tasks of sockets leave what they read.
    queues: Queues,
    /// Hear about path MTUs.
    _path_mtu_receivers: Vec<PathMtuReceiver>,
    /// Empty between two inputs; kept for its memory.
    actions: Vec<Action>,
}

/// Where the tasks that read sockets leave what they read.
struct Queues {
    packets: mpsc::Sender<Received>,
    too_long: mpsc::Sender<TooLong>,
    slow: mpsc::Sender<SlowPacket>,
    too_big: mpsc::Sender<PacketTooBig>,
}

/// Everything the agent waits for, but its own timers.
struct Inputs {
    control: ControlServer,
    events: DataPathEvents,
    names: mpsc::Receiver<names::Answer>,
    packets: mpsc::Receiver<Received>,
    too_long: mpsc::Receiver<TooLong>,
    slow: mpsc::Receiver<SlowPacket>,
    too_big: mpsc::Receiver<PacketTooBig>,
    monitor: Monitor,
    signals: Signals,
}

/// Runs the agent until SIGTERM or SIGINT, then takes everything down; or until SIGUSR1, and leaves everything as it is.
/// Needs a tokio runtime of one thread.
///
/// What an earlier agent left is adopted. A failure at start leaves nothing behind that was not there before.
pub async fn run(config: Config, options: RunOptions) -> Result<()> {
    let signals = Signals::handle()?;
    // Before anything is read from the kernel, so that no change falls between.
    let mut monitor = Monitor::open()?;
    let netlink = Netlink::open()?;
    let plans = plan::plan(&netlink, &config).await?;
    let control = ControlServer::bind(&config.control_socket)?;
    let (mut saver, state) = save::open(&config.state_directory);
    let (packets, received) = mpsc::channel(PACKET_QUEUE);
    let (too_long, long_frames) = mpsc::channel(TOO_LONG_QUEUE);
    let (too_big, path_mtus) = mpsc::channel(TOO_LONG_QUEUE);
    let (slow, slow_packets) = mpsc::channel(SLOW_QUEUE);
    let queues = Queues { packets, too_long, slow, too_big };
    let (mut agent, before) = Agent::start(&config, plans, options, netlink, queues, state.as_ref()).await?;
    let events = match agent.begin(&mut monitor, options, state).await {
        Ok(events) => events,
        Err(error) => {
            agent.take_back(before).await;
            return Err(error);
        }
    };
    saver.begin(agent.state(), agent.revision()).await;
    let names = names::look_up(&config);
    let inputs = Inputs {
        control,
        events,
        names,
        packets: received,
        too_long: long_frames,
        slow: slow_packets,
        too_big: path_mtus,
        monitor,
        signals,
    };
    let result = agent.serve(inputs, &mut saver).await;
    saver.finish(agent.state(), agent.revision()).await;
    if result? == End::Leave {
        info!("leaving everything to the next agent");
        return Ok(());
    }
    info!("saying good-bye and removing everything");
    agent.input(Input::Shutdown).await;
    agent.dismantle().await;
    Ok(())
}

impl Agent {
    /// Handles what comes, until a signal says to end. An error leaves everything in the kernel: a successor adopts it.
    async fn serve(&mut self, inputs: Inputs, saver: &mut Saver) -> Result<End> {
        let Inputs {
            control,
            mut events,
            mut names,
            mut packets,
            mut too_long,
            mut slow,
            mut too_big,
            mut monitor,
            mut signals,
        } = inputs;
        let (call, mut calls) = mpsc::channel(CALL_QUEUE);
        let control = control.serve(call);
        tokio::pin!(control);
        let mut pokes = time::interval(POKE_INTERVAL);
        let mut seconds = time::interval(Duration::from_secs(1));
        let mut reconnect_at: Option<time::Instant> = None;

        info!("ready");
        loop {
            saver.note(self.revision());
            let deadline = self
                .engine
                .next_deadline()
                .map(|at| time::Instant::from_std(self.started + at.since_start()));
            tokio::select! {
                end = signals.end() => return Ok(end),
                () = &mut control => bail!("the control socket stopped"),
                Some(Received { tunnel, source, bytes }) = packets.recv() => {
                    self.input(Input::Packet { tunnel, source, bytes: &bytes }).await;
                }
                Some(frame) = too_long.recv() => self.take_in_too_long(frame),
                Some(packet) = slow.recv() => self.take_in_slow(packet).await,
                Some(message) = too_big.recv() => self.take_in_path_mtu(message).await,
                event = next_event(&mut events) => self.take_in_event(event?).await,
                changes = monitor.next() => {
                    let changes = changes?;
                    // Whatever it was, a cached route may be wrong by now.
                    self.data_path.control.forget_routes()?;
                    if self.take_in(changes).await {
                        self.input(Input::RoutesChanged).await;
                        reconnect_at.get_or_insert(time::Instant::now() + SETTLE_TIME);
                    }
                }
                Some(answer) = names.recv() => self.take_in_answer(answer).await,
                Some(call) = calls.recv() => {
                    self.count_excess();
                    self.report(call);
                }
                () = at(deadline) => self.input(Input::Timer).await,
                () = at(reconnect_at) => {
                    reconnect_at = None;
                    self.reconnect_all();
                }
                () = future::ready(()), if !self.to_reconnect.is_empty() => self.reconnect_some().await,
                () = at(saver.due()) => saver.save(self.state(), self.revision()),
                () = saver.written() => {}
                _ = seconds.tick() => {
                    self.data_path.control.tick()?;
                    self.count_excess();
                    self.expire_path_mtus().await;
                }
                _ = pokes.tick(), if self.ways.needs_pokes() => {
                    if let Err(error) = self.ways.poke().await {
                        warn!("{error}");
                    }
                }
            }
        }
    }

    /// Starts the engine on top of what is in the kernel already and what the last agent saved. Returns the data
    /// path's events.
    async fn begin(
        &mut self,
        monitor: &mut Monitor,
        options: RunOptions,
        state: Option<State>,
    ) -> Result<DataPathEvents> {
        for tunnel in self.tunnels.iter() {
            monitor.ignore_neighbours_of(tunnel.link.ifindex);
        }
        if options.bpf_log != BpfLog::Off {
            let mut log = self.data_path.log()?;
            tokio::spawn(async move {
                let error = log.pass_on().await;
                warn!(%error, "cannot read the log of the eBPF programs any more");
            });
        }
        let events = self.data_path.events()?;
        let left = self.find_left().await?;
        let now = self.now();
        self.set_up_groups()?;
        let kernel = Kernel { lookup: &self.lookup, peers: &self.data_path.peers, tunnels: &self.tunnels };
        self.engine.start(now, &kernel, &mut self.actions);
        self.flush().await;
        if let Some(state) = state {
            self.restore(&state).await;
        }
        self.adopt(left).await?;
        Ok(events)
    }

    /// Hands one input to the engine and carries out what it wants done.
    async fn input(&mut self, input: Input<'_>) {
        let now = self.now();
        let kernel = Kernel { lookup: &self.lookup, peers: &self.data_path.peers, tunnels: &self.tunnels };
        self.engine.handle(now, input, &kernel, &mut self.actions);
        self.flush().await;
    }

    async fn flush(&mut self) {
        let mut actions = std::mem::take(&mut self.actions);
        self.carry_out(&mut actions).await;
        self.actions = actions;
    }

    async fn take_in_event(&mut self, event: DataPathEvent) {
        let (DataPathEvent::Resolve { ifindex, .. }
        | DataPathEvent::Redirect { ifindex, .. }
        | DataPathEvent::LinkLocal { ifindex, .. }) = event;
        let Some(tunnel) = self.tunnels.by_ifindex(ifindex).map(|tunnel| tunnel.id) else { return };
        match event {
            DataPathEvent::Resolve { next_hop, .. } => self.input(Input::Resolve { tunnel, next_hop }).await,
            DataPathEvent::Redirect { source, head, .. } => {
                self.input(Input::Redirect { tunnel, source, head: &head }).await;
            }
            DataPathEvent::LinkLocal { source, address, .. } => {
                self.input(Input::LinkLocalSeen { tunnel, nbma: source, address }).await;
            }
        }
    }

    /// Engine time.
    fn now(&self) -> Time {
        Time::new(self.started.elapsed())
    }
}

async fn next_event(events: &mut DataPathEvents) -> Result<DataPathEvent> {
    events.next().await.context("cannot read the data path's events")
}

/// Waits until `deadline`, for ever without one.
async fn at(deadline: Option<time::Instant>) {
    match deadline {
        Some(deadline) => time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
