//! The command under test.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// Longest wait for something that is about to happen.
const PATIENCE: Duration = Duration::from_secs(20);

/// `dmvpn` with arguments.
pub(crate) fn dmvpn(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dmvpn"));
    command.args(arguments);
    command
}

/// A running `dmvpn capture`; killed when it is dropped.
pub(crate) struct Capture {
    child: Child,
    output: Lines,
    errors: Lines,
}

impl Capture {
    /// Starts it, and waits until it records.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut child = dmvpn(&["capture"])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let output = Lines::of(child.stdout.take().unwrap());
        let mut errors = Lines::of(child.stderr.take().unwrap());
        let first = errors.next();
        assert!(first.starts_with("recording NHRP on "), "{first}");
        Self { child, output, errors }
    }

    /// The next line of its output.
    pub(crate) fn line(&mut self) -> String {
        self.output.next()
    }

    /// Presses Ctrl-C.
    pub(crate) fn interrupt(&self) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), Signal::SIGINT).unwrap();
    }

    /// Waits for its end: status, all output, all errors.
    pub(crate) fn wait(mut self) -> (ExitStatus, String, String) {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return (status, self.output.rest(), self.errors.rest());
            }
            assert!(start.elapsed() < PATIENCE, "still running");
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Lines as they come, from a thread that waits for them.
struct Lines {
    coming: Receiver<String>,
    seen: String,
}

impl Lines {
    fn of(stream: impl Read + Send + 'static) -> Self {
        let (sender, coming) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stream).lines() {
                if sender.send(line.unwrap() + "\n").is_err() {
                    return;
                }
            }
        });
        Self { coming, seen: String::new() }
    }

    fn next(&mut self) -> String {
        let line = self.coming.recv_timeout(PATIENCE).expect("a line");
        self.seen.push_str(&line);
        line
    }

    /// Everything, when the writer has ended.
    fn rest(&mut self) -> String {
        self.seen.extend(self.coming.iter());
        std::mem::take(&mut self.seen)
    }
}
