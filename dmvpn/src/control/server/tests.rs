//! The server with real sockets and the worst clients.

use std::{future::Future, net::Shutdown, os::unix::net::UnixStream as StdUnixStream};

use tempfile::TempDir;
use tokio::{task::JoinHandle, time::Instant};

use super::*;
use crate::control::{
    client::{self, ClientError},
    protocol::{DropRow, View},
};

const SHOW_DROPS: &[u8] = b"{\"show\":\"drops\"}\n";

/// Little time, for what is to run out of it.
const SHORT: Limits = Limits { clients: 4, request: 64, step: Duration::from_millis(300) };

fn path_in(directory: &TempDir) -> PathBuf {
    directory.path().join("run/control.sock")
}

fn drops() -> Answer {
    let (reason, explanation) = ("truncated".into(), "too short".into());
    Answer::Drops(vec![DropRow { reason, packets: 3, bytes: 180, explanation }])
}

/// Serves on a new socket with an agent that answers everything with [`drops`].
fn start(limits: Limits) -> (TempDir, PathBuf, JoinHandle<()>) {
    start_with(limits, |call| call.answer(drops()))
}

fn start_with(
    limits: Limits,
    mut agent: impl FnMut(Call) + Send + 'static,
) -> (TempDir, PathBuf, JoinHandle<()>) {
    let directory = TempDir::new().unwrap();
    let path = path_in(&directory);
    let server = ControlServer::bind_with(&path, limits).unwrap();
    let (sender, mut calls) = mpsc::channel::<Call>(4);
    tokio::spawn(async move {
        while let Some(call) = calls.recv().await {
            agent(call);
        }
    });
    (directory, path, tokio::spawn(server.serve(sender)))
}

/// Everything the server says until it closes.
async fn read_all(stream: &mut UnixStream) -> String {
    let mut text = Vec::new();
    // The server may close with bytes of ours unread, which resets the connection after its answer.
    let mut chunk = [0; 256];
    while let Ok(length @ 1..) = stream.read(&mut chunk).await {
        text.extend_from_slice(&chunk[..length]);
    }
    String::from_utf8(text).unwrap()
}

async fn exchange(path: &Path, request: &[u8]) -> String {
    let mut stream = UnixStream::connect(path).await.unwrap();
    // The server may refuse before it has read everything.
    let _ = stream.write_all(request).await;
    read_all(&mut stream).await
}

async fn poll_until<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition().await {
        assert!(Instant::now() < deadline, "{what}");
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn answers_one_line_with_one_line() {
    let (_directory, path, _server) = start(LIMITS);
    assert_eq!(
        exchange(&path, SHOW_DROPS).await,
        "{\"version\":1,\"drops\":[{\"reason\":\"truncated\",\"packets\":3,\"bytes\":180,\
         \"explanation\":\"too short\"}]}\n"
    );
}

#[tokio::test]
async fn hands_the_request_to_the_agent() {
    let (_directory, path, _server) = start_with(LIMITS, |call| {
        let request = format!("{:?}", call.request);
        call.answer(Answer::Error(request));
    });
    let answer = exchange(&path, b"{\"show\":\"shortcuts\"}\n").await;
    assert_eq!(answer, "{\"version\":1,\"error\":\"Show(Shortcuts)\"}\n");
}

#[tokio::test]
async fn says_what_is_wrong_with_a_request() {
    let (_directory, path, _server) = start(LIMITS);
    for (request, error) in [
        ("hello", "not a request: expected value at line 1 column 1"),
        (
            "{\"show\":\"pears\"}",
            "not a request: unknown variant `pears`, expected one of `peers`, `cache`, `nhs`, `shortcuts`, \
             `interfaces`, `drops`, `groups`, `counters` at line 1 column 15",
        ),
        (
            "{\"clear\":\"peers\"}",
            "not a request: unknown variant `clear`, expected `show` at line 1 column 8",
        ),
    ] {
        let response: Response =
            serde_json::from_str(&exchange(&path, format!("{request}\n").as_bytes()).await).unwrap();
        assert_eq!(response.answer, Answer::Error(error.into()), "{request}");
    }
}

#[tokio::test]
async fn refuses_too_long_a_line() {
    let (_directory, path, _server) = start(Limits { step: LIMITS.step, ..SHORT });
    let error = "{\"version\":1,\"error\":\"the request is longer than 64 bytes\"}\n";
    assert_eq!(exchange(&path, &[b' '; 64]).await, error);
    assert_eq!(exchange(&path, &vec![b' '; 1 << 20]).await, error);
    let mut longest = vec![b' '; 64 - SHOW_DROPS.len()];
    longest.extend_from_slice(SHOW_DROPS);
    assert!(exchange(&path, &longest).await.contains("truncated"));
}

#[tokio::test]
async fn does_not_wait_for_a_slow_client() {
    let (_directory, path, _server) = start(SHORT);
    let mut stream = UnixStream::connect(&path).await.unwrap();
    stream.write_all(b"{\"show\"").await.unwrap();
    let answer = timeout(Duration::from_secs(10), read_all(&mut stream)).await.unwrap();
    assert_eq!(answer, "{\"version\":1,\"error\":\"no request within 0.3 s\"}\n");
}

#[tokio::test]
async fn serves_others_while_a_client_does_not_read_its_answer() {
    let large = Answer::Error("x".repeat(8 << 20));
    let (_directory, path, _server) = start_with(SHORT, move |call| call.answer(large.clone()));
    let mut idle = Vec::new();
    for _ in 0..SHORT.clients {
        let mut stream = UnixStream::connect(&path).await.unwrap();
        stream.write_all(SHOW_DROPS).await.unwrap();
        idle.push(stream);
    }
    // They are dropped after their time, and there is room again.
    poll_until("an answer to the next client", || async {
        exchange(&path, SHOW_DROPS).await.len() > 8 << 20
    })
    .await;
}

#[tokio::test]
async fn turns_away_one_client_too_many_and_recovers() {
    let (_directory, path, _server) = start(Limits { step: LIMITS.step, ..SHORT });
    let mut clients = Vec::new();
    for _ in 0..SHORT.clients {
        clients.push(UnixStream::connect(&path).await.unwrap());
    }
    let refused = "{\"version\":1,\"error\":\"too many control clients, try again\"}\n";
    assert_eq!(exchange(&path, b"").await, refused);
    for client in &mut clients {
        client.write_all(SHOW_DROPS).await.unwrap();
        assert!(read_all(client).await.contains("truncated"));
    }
    poll_until("room for a client", || async { exchange(&path, SHOW_DROPS).await.contains("truncated") })
        .await;
}

#[tokio::test]
async fn survives_a_client_that_goes_away() {
    let (_directory, path, _server) = start(LIMITS);
    for request in [&b""[..], b"{\"sh", SHOW_DROPS] {
        let mut stream = UnixStream::connect(&path).await.unwrap();
        stream.write_all(request).await.unwrap();
        drop(stream);
    }
    assert!(exchange(&path, SHOW_DROPS).await.contains("truncated"));
}

#[tokio::test]
async fn accepts_a_request_that_ends_with_the_connection() {
    let (_directory, path, _server) = start(LIMITS);
    let answer = tokio::task::spawn_blocking(move || {
        let mut stream = StdUnixStream::connect(path).unwrap();
        io::Write::write_all(&mut stream, b"{\"show\":\"drops\"}").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        io::read_to_string(stream).unwrap()
    });
    assert!(answer.await.unwrap().contains("truncated"));
}

#[tokio::test]
async fn says_that_the_agent_is_busy() {
    let mut kept = Vec::new();
    let (_directory, path, _server) = start_with(SHORT, move |call| kept.push(call));
    let answer = exchange(&path, SHOW_DROPS).await;
    assert_eq!(answer, "{\"version\":1,\"error\":\"the agent is too busy to answer\"}\n");
}

#[tokio::test]
async fn says_that_the_agent_is_stopping() {
    let (_directory, path, _server) = start_with(LIMITS, drop);
    let answer = exchange(&path, SHOW_DROPS).await;
    assert_eq!(answer, "{\"version\":1,\"error\":\"the agent is stopping\"}\n");
}

#[tokio::test]
async fn ends_with_the_agent_and_removes_the_socket() {
    let directory = TempDir::new().unwrap();
    let path = path_in(&directory);
    let server = ControlServer::bind(&path).unwrap();
    assert!(path.exists());
    let (sender, calls) = mpsc::channel(1);
    drop(calls);
    timeout(Duration::from_secs(10), server.serve(sender)).await.unwrap();
    assert!(!path.exists());
}

#[tokio::test]
async fn removes_the_socket_when_it_is_cancelled() {
    let (_directory, path, server) = start(LIMITS);
    assert!(exchange(&path, SHOW_DROPS).await.contains("truncated"));
    server.abort();
    assert!(server.await.unwrap_err().is_cancelled());
    assert!(!path.exists());
}

#[tokio::test]
async fn leaves_a_socket_that_is_not_its_own() {
    let directory = TempDir::new().unwrap();
    let path = path_in(&directory);
    let server = ControlServer::bind(&path).unwrap();
    fs::remove_file(&path).unwrap();
    fs::write(&path, "other").unwrap();
    drop(server);
    assert_eq!(fs::read_to_string(&path).unwrap(), "other");
}

#[tokio::test]
async fn lets_owner_and_group_connect() {
    let directory = TempDir::new().unwrap();
    let path = path_in(&directory);
    let _server = ControlServer::bind(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o660);
}

#[tokio::test]
async fn replaces_the_socket_of_a_dead_agent() {
    let directory = TempDir::new().unwrap();
    let path = path_in(&directory);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    // Closing a listener leaves its file, as a killed agent does.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let _server = ControlServer::bind(&path).unwrap();
    StdUnixStream::connect(&path).unwrap();
}

#[tokio::test]
async fn refuses_the_socket_of_a_live_agent() {
    let (_directory, path, _server) = start(LIMITS);
    let error = ControlServer::bind(&path).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "another dmvpn is running and holds {}: stop it, or give this one its own control-socket and \
             pin-directory",
            path.display()
        )
    );
    assert!(exchange(&path, SHOW_DROPS).await.contains("truncated"));
}

#[tokio::test]
async fn one_of_many_agents_that_start_together_gets_the_socket() {
    let directory = TempDir::new().unwrap();
    let path = path_in(&directory);
    let servers: Vec<_> = (0..8)
        .map(|_| {
            let path = path.clone();
            tokio::task::spawn_blocking(move || ControlServer::bind(&path))
        })
        .collect();
    let mut bound = Vec::new();
    for server in servers {
        match server.await.unwrap() {
            Ok(server) => bound.push(server),
            Err(error) => assert!(matches!(error, BindError::AnotherAgent(_)), "{error}"),
        }
    }
    assert_eq!(bound.len(), 1);
    StdUnixStream::connect(&path).unwrap();
}

#[tokio::test]
async fn refuses_what_is_not_an_agents_socket() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("control.sock");

    fs::write(&path, "precious").unwrap();
    let error = ControlServer::bind(&path).unwrap_err();
    assert!(matches!(error, BindError::NotASocket(_)), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    fs::remove_file(&path).unwrap();

    let _other = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let error = ControlServer::bind(&path).unwrap_err();
    assert!(matches!(error, BindError::InUse(_)), "{error}");
}

#[tokio::test]
async fn says_what_it_could_not_do() {
    let error = ControlServer::bind(Path::new("/proc/no/control.sock")).unwrap_err();
    assert_eq!(error.to_string(), "cannot create the directory of /proc/no/control.sock");
    assert!(std::error::Error::source(&error).is_some());
}

#[tokio::test]
async fn client_and_server_understand_each_other() {
    let (_directory, path, _server) = start(LIMITS);
    let response = tokio::task::spawn_blocking(move || client::ask(&path, Request::Show(View::Drops)))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(response, Response::from(drops()));
}

#[tokio::test]
async fn client_passes_on_why_it_was_refused() {
    let (_directory, path, _server) = start_with(LIMITS, |call| call.answer(Answer::Error("not now".into())));
    let error = tokio::task::spawn_blocking(move || client::ask(&path, Request::Show(View::Drops)))
        .await
        .unwrap()
        .unwrap_err();
    assert!(matches!(error, ClientError::Refused(_)));
    assert_eq!(error.to_string(), "the agent refused: not now");
}
