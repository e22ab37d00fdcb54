//! Network namespaces that end with the test.

use std::{fs::File, os::fd::AsRawFd as _, process::Command, thread};

use nix::sched::{CloneFlags, setns, unshare};

/// A network namespace without a name: it lives as long as this value, or a thread or interface in it.
pub(crate) struct Namespace(File);

impl Namespace {
    pub(crate) fn new() -> Self {
        // A namespace belongs to a thread, so this takes one that ends at once.
        let create = || {
            unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace needs root");
            ip("link set lo up");
            File::open("/proc/thread-self/ns/net").unwrap()
        };
        Self(thread::spawn(create).join().unwrap())
    }

    /// Runs `body` on a thread in the namespace.
    pub(crate) fn run<T: Send>(&self, body: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let entered = || {
                setns(&self.0, CloneFlags::CLONE_NEWNET).unwrap();
                body()
            };
            scope.spawn(entered).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// A path by which `ip` finds the namespace.
    pub(crate) fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }
}

/// Runs `test` in a network namespace of its own.
pub(crate) fn in_namespace<T: Send>(test: impl FnOnce() -> T + Send) -> T {
    Namespace::new().run(test)
}

/// Runs `ip` in the namespace of the calling thread.
pub(crate) fn ip(arguments: &str) {
    run("ip", arguments);
}

/// Runs a program in the namespace of the calling thread.
pub(crate) fn run(program: &str, arguments: &str) {
    let output = Command::new(program)
        .args(arguments.split_whitespace())
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments}: {}", errors.trim_end());
}

/// The index of an interface in the namespace of the calling thread.
pub(crate) fn index_of(interface: &str) -> u32 {
    nix::net::if_::if_nametoindex(interface).unwrap_or_else(|error| panic!("{interface}: {error}"))
}

/// A link-layer address as `ip` takes it.
pub(crate) fn mac_text(address: [u8; 6]) -> String {
    address.map(|byte| format!("{byte:02x}")).join(":")
}
