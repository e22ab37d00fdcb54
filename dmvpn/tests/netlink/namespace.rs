//! Network namespaces that live as long as a thread.

use std::{
    fs,
    future::Future,
    panic::resume_unwind,
    process::Command,
    sync::mpsc::{Sender, channel},
    thread,
    time::{Duration, Instant},
};

use dmvpn::netlink::{
    Netlink,
    links::{self, TunnelLink, TunnelSpec},
};
use ipnet::IpNet;
use nix::{
    sched::{CloneFlags, unshare},
    unistd::{getpid, gettid},
};

/// Longest wait for something that is about to happen.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs `test` in a new network namespace with nothing but a loopback interface that is up.
pub(crate) fn in_namespace<F: Future<Output = ()>>(test: impl FnOnce(Netlink) -> F + Send + 'static) {
    let thread = thread::spawn(move || {
        enter_new_namespace();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { test(Netlink::open().unwrap()).await });
    });
    if let Err(panic) = thread.join() {
        resume_unwind(panic);
    }
}

fn enter_new_namespace() {
    unshare(CloneFlags::CLONE_NEWNET).expect("a new network namespace (run these tests as root)");
    ip("link set lo up");
}

/// A second namespace.
pub(crate) struct Elsewhere {
    path: String,
    work: Sender<Box<dyn FnOnce() + Send>>,
}

impl Elsewhere {
    pub(crate) fn new() -> Self {
        let (work, jobs) = channel::<Box<dyn FnOnce() + Send>>();
        let (started, path) = channel();
        thread::spawn(move || {
            enter_new_namespace();
            started.send(format!("/proc/{}/task/{}/ns/net", getpid(), gettid())).unwrap();
            for job in jobs {
                job();
            }
        });
        Self { path: path.recv().unwrap(), work }
    }

    /// For `ip link set ... netns`.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Runs `ip` there.
    pub(crate) fn ip(&self, arguments: &str) -> String {
        let arguments = arguments.to_owned();
        self.run(move || ip(&arguments))
    }

    /// Runs `job` there.
    pub(crate) fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (done, result) = channel();
        self.work.send(Box::new(move || drop(done.send(job())))).unwrap();
        result.recv().expect("the job in the other namespace does not panic")
    }
}

/// Runs a program in the calling thread's namespace; what it prints.
pub(crate) fn run(program: &str, arguments: &str) -> String {
    let output = Command::new(program).args(arguments.split_whitespace()).output().expect(program);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments}: {errors}");
    // iproute2 leaves two blanks where an empty field is.
    String::from_utf8(output.stdout).unwrap().replace("  ", " ")
}

/// Runs `ip` in the calling thread's namespace; what it prints.
pub(crate) fn ip(arguments: &str) -> String {
    run("ip", arguments)
}

/// Runs many `ip` commands, one a line.
pub(crate) fn ip_batch(commands: &str) {
    use std::{io::Write, process::Stdio};
    let mut child = Command::new("ip").args(["-batch", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(commands.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "ip -batch");
}

/// A setting below /proc/sys/net.
pub(crate) fn setting(path: &str) -> String {
    fs::read_to_string(format!("/proc/sys/net/{path}")).unwrap().trim().to_owned()
}

pub(crate) fn write_setting(path: &str, value: &str) {
    fs::write(format!("/proc/sys/net/{path}"), value).unwrap();
}

/// Interface index of `name`.
pub(crate) fn index_of(name: &str) -> u32 {
    nix::net::if_::if_nametoindex(name).unwrap()
}

/// Waits until `condition` holds.
pub(crate) async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "still not: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Creates the tunnel interface dmvpn0.
pub(crate) async fn tunnel(netlink: &Netlink, address: &str) -> TunnelLink {
    links::create_or_adopt(netlink, &spec(address)).await.unwrap()
}

pub(crate) fn spec(address: &str) -> TunnelSpec {
    let address: IpNet = address.parse().unwrap();
    let link_local = address.addr().is_ipv6().then(|| "fe80::7".parse().unwrap());
    TunnelSpec { name: "dmvpn0".to_owned(), address, link_local, mtu: 1472 }
}
