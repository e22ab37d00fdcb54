//! What the tests of the data path stand on: a pin directory and a network namespace of their own.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use dmvpn::{
    config::{BpfLog, Spread},
    datapath::{DataPath, DataPathError, DontFragment, Options, OuterTos, Segments, TunnelParameters},
};
use dmvpn_common::FastPath;
use nix::sched::{CloneFlags, unshare};

/// A pin directory that goes away with the test, whatever the outcome.
pub(crate) struct Pins {
    pub(crate) path: PathBuf,
}

impl Pins {
    pub(crate) fn new(test: &str) -> Self {
        assert!(nix::unistd::geteuid().is_root(), "these tests load eBPF programs: run them as root");
        let path = Path::new("/sys/fs/bpf").join(format!("dmvpn-test-{}-{test}", std::process::id()));
        assert!(!path.exists(), "{} is there already", path.display());
        Self { path }
    }

    /// Options with small tables.
    pub(crate) fn options(&self) -> Options {
        Options {
            pin_directory: self.path.clone(),
            max_peers: 8,
            max_underlay: 4,
            log: BpfLog::Off,
            nhrp_source_limit: 200,
            redirect_interval: Duration::from_secs(8),
            route_cache: 4,
            spread: Spread::Off,
        }
    }

    pub(crate) fn open(&self) -> DataPath {
        self.try_open().unwrap_or_else(|error| panic!("{}", chain(&error)))
    }

    pub(crate) fn try_open(&self) -> Result<DataPath, DataPathError> {
        DataPath::open(&self.options())
    }

    /// The directory of the current layout.
    pub(crate) fn layout(&self) -> PathBuf {
        self.path.join(format!("v{}", dmvpn_common::LAYOUT_VERSION))
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        if self.path.exists()
            && let Err(error) = fs::remove_dir_all(&self.path)
        {
            eprintln!("{} stays: {error}", self.path.display());
        }
    }
}

/// An error with its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// The text of the error that opening must end in.
pub(crate) fn refusal(opened: Result<DataPath, DataPathError>) -> String {
    match opened {
        Ok(_) => panic!("opened what it should refuse"),
        Err(error) => chain(&error),
    }
}

/// Runs `test` in a network namespace that ends with it.
pub(crate) fn in_namespace<T: Send>(test: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let body = || {
            unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace needs root");
            ip("link set lo up");
            test()
        };
        match scope.spawn(body).join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// Runs `ip` in the namespace of the calling thread.
pub(crate) fn ip(arguments: &str) -> String {
    run("ip", arguments)
}

/// Runs a program in the namespace of the calling thread and returns what it prints.
pub(crate) fn run(program: &str, arguments: &str) -> String {
    let output = Command::new(program)
        .args(arguments.split_whitespace())
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(
        output.status.success(),
        "{program} {arguments}: {}",
        String::from_utf8_lossy(&output.stderr).trim_end()
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Waits until `condition` holds.
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}: not within 10 seconds");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A tunnel to add peers to.
pub(crate) fn tunnel() -> TunnelParameters {
    TunnelParameters {
        id: 1,
        ifindex: 11,
        far_ifindex: 12,
        network_id: 1,
        local: "192.0.2.10".parse().unwrap(),
        key: Some(42),
        ttl: 255,
        dont_fragment: DontFragment::Set,
        tos: OuterTos::Inherit,
        fast_path: FastPath::Full,
        redirect: true,
        accept_any: false,
        check_source: false,
        mtu: 1472,
        segments: Segments::ThatFit,
    }
}
