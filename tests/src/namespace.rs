//! Named network namespaces.

use std::{
    fs::{self, File},
    panic,
    path::{Path, PathBuf},
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context as _, Result};
use nix::{
    errno::Errno,
    sched::{CloneFlags, setns},
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{command, poll};

/// Where `ip netns` keeps the names.
pub(crate) const DIRECTORY: &str = "/run/netns";

/// A network namespace that `ip netns` knows by name. Removing it is the lab's business, by [`remove`].
#[derive(Clone, Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes a namespace with its loopback interface up.
    pub fn create(name: &str) -> Result<Self> {
        command::run(&format!("ip netns add {name}"))
            .with_context(|| format!("cannot make the network namespace {name}: is this root?"))?;
        command::run(&format!("ip -n {name} link set lo up"))?;
        Ok(Self { name: name.to_owned() })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Does `work` inside, on a thread of its own, and waits for it.
    ///
    /// Only the network namespace changes: the BPF file system and all other files stay visible. (`ip netns exec`
    /// mounts another `/sys` and hides them.) A process that `work` starts is inside, too.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        thread::scope(|scope| {
            let thread = scope.spawn(|| {
                self.enter()?;
                work()
            });
            thread.join().unwrap_or_else(|panic| panic::resume_unwind(panic))
        })
    }

    /// Like [`run`](Self::run), without waiting.
    pub fn spawn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> JoinHandle<Result<T>> {
        let namespace = self.clone();
        thread::spawn(move || {
            namespace.enter()?;
            work()
        })
    }

    /// Runs a command line inside, see [`command::run`].
    pub fn command(&self, line: &str) -> Result<String> {
        self.run(|| command::run(line)).with_context(|| format!("in {}", self.name))
    }

    /// Writes a setting below `/proc/sys/net`, for example `ipv4/ip_forward`.
    pub fn set(&self, setting: &str, value: &str) -> Result<()> {
        let path = Path::new("/proc/sys/net").join(setting);
        self.run(|| fs::write(&path, value).with_context(|| format!("writing {value} to {}", path.display())))
    }

    /// Moves the calling thread into it.
    fn enter(&self) -> Result<()> {
        let path = path_of(&self.name);
        let file = File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
        setns(file, CloneFlags::CLONE_NEWNET)
            .with_context(|| format!("cannot enter the network namespace {}", self.name))
    }
}

fn path_of(name: &str) -> PathBuf {
    Path::new(DIRECTORY).join(name)
}

/// Names of all namespaces that begin with `prefix`.
pub fn names_with(prefix: &str) -> Vec<String> {
    // No such directory: nobody has made a namespace since the machine started.
    let Ok(entries) = fs::read_dir(DIRECTORY) else { return Vec::new() };
    entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with(prefix))
        .collect()
}

/// Kills the processes inside the namespace `name`, waits until they are gone, and removes it.
pub fn remove(name: &str) -> Result<()> {
    let inside = || -> Result<Vec<i32>> {
        let pids = command::run(&format!("ip netns pids {name}"))?;
        Ok(pids.split_whitespace().filter_map(|pid| pid.parse().ok()).collect())
    };
    for pid in inside()? {
        match kill(Pid::from_raw(pid), Signal::SIGKILL) {
            // Gone by itself in the meantime.
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(error) => return Err(error).with_context(|| format!("cannot kill process {pid} in {name}")),
        }
    }
    poll::until(&format!("the end of the processes in {name}"), Duration::from_secs(10), || {
        Ok(inside()?.is_empty().then_some(()))
    })?;
    command::run(&format!("ip netns del {name}")).map(drop)
}
