//! The `dmvpn` program as an operator runs it.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    thread,
};

use dmvpn::{
    config::HIDDEN_SECRET,
    control::{
        protocol::{Answer, DropRow, Response},
        server::{Call, ControlServer},
    },
};
use tempfile::TempDir;
use tokio::sync::{mpsc, oneshot};

fn dmvpn(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dmvpn"));
    command.args(arguments).env_remove("RUST_LOG").stdin(Stdio::null());
    command
}

/// Exit status, standard output and standard error.
fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = dmvpn(arguments).output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

fn example(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name).to_str().unwrap().to_owned()
}

/// A control socket whose agent answers everything with `rows` of drops, until it is dropped.
struct Agent {
    socket: PathBuf,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
    _directory: TempDir,
}

impl Agent {
    fn start(rows: Vec<DropRow>) -> Self {
        let directory = TempDir::new().unwrap();
        let socket = directory.path().join("control.sock");
        let (stop, stopped) = oneshot::channel();
        let (started, ready) = std::sync::mpsc::channel();
        let path = socket.clone();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let server = ControlServer::bind(&path).unwrap();
                started.send(()).unwrap();
                let (sender, mut calls) = mpsc::channel::<Call>(1);
                let answer = async {
                    while let Some(call) = calls.recv().await {
                        call.answer(Answer::Drops(rows.clone()));
                    }
                };
                tokio::select! {
                    () = server.serve(sender) => {}
                    () = answer => {}
                    _ = stopped => {}
                }
            });
        });
        ready.recv().unwrap();
        Self { socket, stop: Some(stop), thread: Some(thread), _directory: directory }
    }

    fn socket(&self) -> &str {
        self.socket.to_str().unwrap()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

fn drop_row(reason: &str, packets: u64) -> DropRow {
    DropRow { reason: reason.into(), packets, bytes: packets * 100, explanation: "what it means".into() }
}

#[test]
fn the_examples_are_right() {
    for name in ["hub.yaml", "spoke.yaml"] {
        let file = example(name);
        assert_eq!(
            run(&["check", &file]),
            (Some(0), format!("{file}: ok (1 tunnel: dmvpn0)\n"), String::new())
        );
    }
    let checked = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples")).unwrap().count();
    assert_eq!(checked, 2, "an example that is not checked here");
}

#[test]
fn check_says_everything_that_is_wrong() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("bad.yaml");
    fs::write(&file, "tunnels:\n  - name: dmvpn0\n    adress: 10.0.0.1/24\n    source: eth0\n    ttl: 0\n")
        .unwrap();
    let file = file.to_str().unwrap();
    let (status, output, errors) = run(&["check", file]);
    assert_eq!((status, output.as_str()), (Some(1), ""));
    let lines: Vec<&str> = errors.lines().collect();
    assert_eq!(lines.len(), 3, "{errors}");
    assert!(lines[0].starts_with(&format!("{file}:2:5: missing key `address`: ")), "{errors}");
    assert!(
        lines[1]
            .starts_with(&format!("{file}:3:5: unknown key `adress`, did you mean `address`? (accepted: ")),
        "{errors}"
    );
    assert_eq!(lines[2], format!("{file}:5:10: `ttl`: `0` is not accepted: expected a number from 1 to 255"));
}

#[test]
fn check_says_why_a_file_cannot_be_read() {
    let expected =
        "error: cannot read /nonexistent.yaml\n  because: No such file or directory (os error 2)\n";
    assert_eq!(run(&["check", "/nonexistent.yaml"]), (Some(1), String::new(), expected.into()));
}

#[test]
fn the_effective_configuration_is_one_itself_but_for_the_secret() {
    for name in ["hub.yaml", "spoke.yaml"] {
        let (status, output, _) = run(&["check", "--effective", &example(name)]);
        assert_eq!(status, Some(0));
        assert!(!output.contains("change-m"), "{output}");
        assert!(output.contains("registration-interval: 200\n"), "{output}");

        let directory = TempDir::new().unwrap();
        let file = directory.path().join(name);
        fs::write(&file, &output).unwrap();
        let (status, _, errors) = run(&["check", file.to_str().unwrap()]);
        assert_eq!(status, Some(1), "{output}");
        let [problem] = errors.lines().collect::<Vec<_>>()[..] else { panic!("one problem: {errors}") };
        assert!(problem.ends_with("`authentication`: this value is not accepted: expected 1 to 8 bytes"));

        let completed = output.replace(HIDDEN_SECRET, "change-m");
        fs::write(&file, &completed).unwrap();
        assert_eq!(run(&["check", "--effective", file.to_str().unwrap()]), (Some(0), output, String::new()));
    }
}

#[test]
fn run_does_not_start_with_a_wrong_configuration() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("bad.yaml");
    fs::write(&file, "tunnels: []\n").unwrap();
    let file = file.to_str().unwrap();
    let expected = format!("{file}:1:1: no `tunnels`: expected a list with at least one tunnel\n");
    assert_eq!(run(&["run", "--config", file]), (Some(1), String::new(), expected));
}

#[test]
fn run_does_not_start_with_a_wrong_log_level() {
    let (status, output, errors) = run(&["run", "--config", &example("hub.yaml"), "--log", "dmvpn=loud"]);
    assert_eq!((status, output.as_str()), (Some(1), ""));
    assert!(errors.starts_with("error: `dmvpn=loud` is no log level: expected "), "{errors}");
}

#[test]
fn wrong_usage_exits_with_two_and_help_with_zero() {
    assert_eq!(run(&["walk"]).0, Some(2));
    assert_eq!(run(&[]).0, Some(2));
    let (status, output, _) = run(&["--help"]);
    assert_eq!(status, Some(0));
    assert!(output.contains("Exit status: 0 success, 1 failure, 2 wrong usage."), "{output}");
}

#[test]
fn show_says_what_to_do_without_an_agent() {
    let expected = "error: no agent listens on /nonexistent/control.sock: start one with `dmvpn run`, or give the \
                    control-socket of its configuration with --socket\n";
    let result = run(&["show", "peers", "--socket", "/nonexistent/control.sock"]);
    assert_eq!(result, (Some(1), String::new(), expected.into()));
}

#[test]
fn show_prints_a_table_or_json() {
    let agent = Agent::start(vec![drop_row("truncated", 3), drop_row("wrong-key", 0)]);
    let table = "Reason     Packets  Bytes  Explanation\ntruncated        3    300  what it means\n";
    assert_eq!(run(&["show", "drops", "--socket", agent.socket()]), (Some(0), table.into(), String::new()));
    let all = table.to_owned() + "wrong-key        0      0  what it means\n";
    assert_eq!(run(&["show", "drops", "--all", "--socket", agent.socket()]), (Some(0), all, String::new()));

    let (status, output, errors) = run(&["show", "--json", "drops", "--socket", agent.socket()]);
    assert_eq!((status, errors.as_str()), (Some(0), ""));
    let response: Response = serde_json::from_str(&output).unwrap();
    assert_eq!(response.version, 1);
    assert_eq!(response.answer, Answer::Drops(vec![drop_row("truncated", 3), drop_row("wrong-key", 0)]));
}

#[test]
fn show_is_quiet_when_its_reader_has_seen_enough() {
    // Much more than a pipe holds.
    let agent = Agent::start(vec![drop_row("truncated", 1); 20_000]);
    let mut child = dmvpn(&["show", "drops", "--socket", agent.socket()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0; 10];
    let mut output = child.stdout.take().unwrap();
    output.read_exact(&mut first).unwrap();
    drop(output);
    let rest = child.wait_with_output().unwrap();
    assert_eq!((rest.status.code(), String::from_utf8(rest.stderr).unwrap().as_str()), (Some(0), ""));
}
