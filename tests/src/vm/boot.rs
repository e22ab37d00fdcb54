//! Starting the guest.

use std::{
    fmt::Write as _,
    fs::{self, File},
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail};

use super::{Image, packages};

/// Memory of the guest in MiB. Its root file system is in memory, too.
const MEMORY: u32 = 1536;

/// Arguments of the kernel. Emulation is slow enough without what protects against programs nobody runs here. The
/// processor's own counter is no clock: the kernel measures how fast it runs at the start, which goes wrong on a busy
/// machine, and a minute in the guest was seen to take 20 seconds. For the same reason it must not insist on seeing ten ticks
/// of the timer in as many milliseconds.
const KERNEL_ARGUMENTS: &str = "console=ttyS0 quiet panic=-1 rdinit=/init nokaslr mitigations=off audit=0 selinux=0 \
     apparmor=0 init_on_alloc=0 hardened_usercopy=off nosmap nosmep clocksource=hpet no_timer_check nowatchdog";

/// A directory of this machine that the guest sees.
#[derive(Clone, Debug)]
pub struct Share {
    /// The directory here.
    pub host: PathBuf,
    /// Where it is in the guest.
    pub guest: &'static str,
    /// Whether the guest may write to it.
    pub writable: bool,
}

/// Starts a guest, runs `command` (a shell's) in it, hands each line that it writes to `line`, and returns its exit
/// status. Fails when the guest ends without a status, or has none after `limit`.
pub fn run(
    image: &Image,
    command: &str,
    shares: &[Share],
    limit: Duration,
    mut line: impl FnMut(&str) + Send,
) -> Result<i32> {
    let job = Job::create(image, command, shares)?;
    let mut emulator = Emulator { child: job.start(image, shares)? };
    let output = emulator.child.stdout.take().context("the emulator has no output")?;
    let start = Instant::now();
    thread::scope(|scope| {
        let reader = scope.spawn(move || -> Result<()> {
            for text in BufReader::new(output).split(b'\n') {
                let text = text.context("reading what the guest writes")?;
                line(String::from_utf8_lossy(&text).trim_end_matches('\r'));
            }
            Ok(())
        });
        let ended = loop {
            if emulator.child.try_wait().context("looking after the emulator")?.is_some() {
                break true;
            }
            if start.elapsed() >= limit {
                break false;
            }
            thread::sleep(Duration::from_millis(50));
        };
        emulator.stop();
        reader.join().map_err(|_| anyhow!("the reader of the guest's output panicked"))??;
        if !ended {
            bail!("the guest was not ready after {limit:?}; its console:\n{}", job.console());
        }
        job.status()
    })
}

/// A running emulator; dropping it ends it.
struct Emulator {
    child: Child,
}

impl Emulator {
    fn stop(&mut self) {
        // Both fail only when it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The directory by which host and guest talk about one run.
struct Job {
    directory: PathBuf,
}

impl Job {
    fn create(image: &Image, command: &str, shares: &[Share]) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let directory = image.directory().join(format!("run-{}-{number}", std::process::id()));
        fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
        let job = Self { directory };
        job.write("command", command)?;
        let mut lines = String::new();
        for (number, share) in shares.iter().enumerate() {
            // A directory that only we read from may be kept in the guest's memory.
            let options = if share.writable { "cache=none" } else { "cache=loose,ro" };
            writeln!(lines, "share{number} {} {options}", share.guest)?;
        }
        job.write("shares", &lines)?;
        Ok(job)
    }

    fn write(&self, name: &str, contents: &str) -> Result<()> {
        let path = self.directory.join(name);
        fs::write(&path, contents).with_context(|| format!("cannot write {}", path.display()))
    }

    fn start(&self, image: &Image, shares: &[Share]) -> Result<Child> {
        let tools = image.tools();
        let mut qemu = packages::program(&tools, "usr/bin/qemu-system-x86_64", "qemu-system-x86_64");
        qemu.env("QEMU_MODULE_DIR", tools.join("usr/lib/x86_64-linux-gnu/qemu"));
        for firmware in ["usr/share/qemu", "usr/share/seabios"] {
            qemu.arg("-L").arg(tools.join(firmware));
        }
        // `la57` would make the kernel use page tables of five levels: one more to walk for nothing.
        qemu.args([
            "-machine",
            "pc,vmport=off",
            "-accel",
            "tcg,thread=multi,tb-size=512",
            "-cpu",
            "max,-la57",
        ]);
        qemu.args(["-smp", "2", "-m", &MEMORY.to_string()]);
        qemu.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
        qemu.args(["-rtc", "clock=vm,base=utc", "-device", "virtio-rng-pci"]);
        qemu.arg("-kernel").arg(image.kernel()).arg("-initrd").arg(image.initramfs());
        qemu.args(["-append", KERNEL_ARGUMENTS]);
        // The kernel's console goes to a file, what the command writes to our pipe.
        qemu.arg("-serial").arg(format!("file:{}", self.directory.join("console").display()));
        qemu.args(["-device", "virtio-serial-pci", "-chardev", "stdio,id=output,signal=off"]);
        qemu.args(["-device", "virtserialport,chardev=output"]);
        share_directory(&mut qemu, "job", &self.directory, true);
        for (number, share) in shares.iter().enumerate() {
            share_directory(&mut qemu, &format!("share{number}"), &share.host, share.writable);
        }
        let errors = self.directory.join("emulator");
        let errors = File::create(&errors).with_context(|| format!("cannot write {}", errors.display()))?;
        // An input that ends counts as a host that hung up, and the guest would wait for it to come back.
        qemu.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(errors);
        qemu.spawn().context("cannot start the emulator")
    }

    /// How the command ended.
    fn status(&self) -> Result<i32> {
        let status = fs::read_to_string(self.directory.join("status"));
        let Ok(status) = status else { bail!("the guest died; its console:\n{}", self.console()) };
        status.trim().parse().with_context(|| format!("the guest's status is {status:?}"))
    }

    /// The end of what the kernel and the emulator said.
    fn console(&self) -> String {
        const LINES: usize = 40;
        ["console", "emulator"]
            .map(|name| {
                let text = fs::read(self.directory.join(name)).unwrap_or_default();
                let text = String::from_utf8_lossy(&text);
                let lines: Vec<&str> = text.lines().collect();
                lines[lines.len().saturating_sub(LINES)..].join("\n")
            })
            .join("\n")
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.directory) {
            eprintln!("cannot remove {}: {error}", self.directory.display());
        }
    }
}

fn share_directory(qemu: &mut Command, name: &str, directory: &Path, writable: bool) {
    let read_only = if writable { "" } else { ",readonly=on" };
    qemu.arg("-virtfs").arg(format!(
        "local,path={},mount_tag={name},id={name},security_model=none,multidevs=remap{read_only}",
        // A comma ends a value unless it is doubled.
        directory.display().to_string().replace(',', ",,")
    ));
}
