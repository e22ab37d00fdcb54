//! What the command line says about one run, as opposed to the file.

/// Options of `dmvpn run` that are not in the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunOptions {
    /// How much the eBPF programs log.
    pub bpf_log: BpfLog,
}

/// How much the eBPF programs log. Anything but `Off` costs packets per second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum BpfLog {
    /// Nothing.
    #[default]
    Off,
    /// What should never happen.
    Error,
    /// And what an operator should look at.
    Warn,
    /// And what happens seldom.
    Info,
    /// And why packets take the slow path.
    Debug,
    /// And every packet.
    Trace,
}
