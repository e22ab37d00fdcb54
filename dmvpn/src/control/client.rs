//! The command's side of the control socket.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use super::protocol::{Answer, Request, Response, VERSION};

/// Longest time without a sign of the agent. Longer than the agent's own limit, so that its reason is seen.
const PATIENCE: Duration = Duration::from_secs(15);

/// Largest response in bytes; a million peers fit.
const MAX_RESPONSE: u64 = 1 << 30;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error(
        "no agent listens on {}: start one with `dmvpn run`, or give the control-socket of its configuration \
         with --socket",
        .0.display()
    )]
    NoAgent(PathBuf),
    /// The socket's mode forbids it.
    #[error("no permission to use {}: run as root, or as a member of the socket's group", .0.display())]
    Permission(PathBuf),
    /// The agent is stuck or stopped.
    #[error("the agent behind {} did not answer within {} s", path.display(), PATIENCE.as_secs())]
    Silent {
        /// The socket.
        path: PathBuf,
    },
    /// Another failure of the connection.
    #[error("cannot talk to the agent on {}", path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Not what an agent of this version says.
    #[error("the answer from {} is not understood: is the agent of another version? ({reason})", path.display())]
    NotUnderstood {
        /// The socket.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The agent said no.
    #[error("the agent refused: {0}")]
    Refused(String),
}

/// Sends one request to the agent that listens on `socket`, waits for the response. It never holds
/// [`Answer::Error`]: that becomes [`ClientError::Refused`].
pub fn ask(socket: &Path, request: Request) -> Result<Response, ClientError> {
    let line = exchange(socket, request).map_err(|error| explain(socket, error))?;
    let not_understood = |reason| ClientError::NotUnderstood { path: socket.to_owned(), reason };
    if line.is_empty() {
        return Err(not_understood("it closed the connection".into()));
    }
    let response: Response =
        serde_json::from_slice(&line).map_err(|error| not_understood(error.to_string()))?;
    if response.version != VERSION {
        return Err(not_understood(format!("version {}, expected {VERSION}", response.version)));
    }
    match response.answer {
        Answer::Error(reason) => Err(ClientError::Refused(reason)),
        _ => Ok(response),
    }
}

fn exchange(socket: &Path, request: Request) -> io::Result<Vec<u8>> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_vec(&request)?;
    line.push(b'\n');
    // An agent that refuses may close before it has read: its reason is still there to be read.
    match stream.write_all(&line) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        written => written?,
    }
    let mut answer = Vec::new();
    BufReader::new(stream.take(MAX_RESPONSE)).read_until(b'\n', &mut answer)?;
    Ok(answer)
}

fn explain(socket: &Path, error: io::Error) -> ClientError {
    let path = socket.to_owned();
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => ClientError::NoAgent(path),
        io::ErrorKind::PermissionDenied => ClientError::Permission(path),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => ClientError::Silent { path },
        _ => ClientError::Io { path, source: error },
    }
}

#[cfg(test)]
mod tests {
    use std::{os::unix::net::UnixListener, thread};

    use tempfile::TempDir;

    use super::*;
    use crate::control::protocol::View;

    const SHOW: Request = Request::Show(View::Drops);

    /// What a client makes of `answer`.
    fn ask_one_that_says(answer: &'static str) -> (PathBuf, Result<Response, ClientError>) {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("control.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let agent = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = String::new();
            BufReader::new(&stream).read_line(&mut request).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
            request
        });
        let result = ask(&path, SHOW);
        assert_eq!(agent.join().unwrap(), "{\"show\":\"drops\"}\n");
        (path, result)
    }

    #[test]
    fn says_what_to_do_without_an_agent() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("control.sock");
        let expected = format!(
            "no agent listens on {}: start one with `dmvpn run`, or give the control-socket of its configuration \
             with --socket",
            path.display()
        );
        assert_eq!(ask(&path, SHOW).unwrap_err().to_string(), expected);
        // What a killed agent leaves.
        drop(UnixListener::bind(&path).unwrap());
        assert_eq!(ask(&path, SHOW).unwrap_err().to_string(), expected);
    }

    #[test]
    fn says_what_to_do_without_permission() {
        let error = explain(Path::new("/run/x.sock"), io::ErrorKind::PermissionDenied.into());
        assert_eq!(
            error.to_string(),
            "no permission to use /run/x.sock: run as root, or as a member of the socket's group"
        );
    }

    #[test]
    fn says_that_the_agent_is_silent() {
        // What a read returns after its timeout.
        let error = explain(Path::new("/run/x.sock"), io::ErrorKind::WouldBlock.into());
        assert_eq!(error.to_string(), "the agent behind /run/x.sock did not answer within 15 s");
    }

    #[test]
    fn does_not_believe_everything() {
        for (answer, reason) in [
            ("", "it closed the connection"),
            ("hello\n", "expected value at line 1 column 1"),
            ("{\"version\":1}\n", "no variant of enum Answer found in flattened data at line 1 column 13"),
            ("{\"version\":2,\"drops\":[]}\n", "version 2, expected 1"),
            ("{\"version\":1,\"drops\":[", "EOF while parsing a list at line 1 column 22"),
        ] {
            let (path, result) = ask_one_that_says(answer);
            let path = path.display();
            assert_eq!(
                result.unwrap_err().to_string(),
                format!(
                    "the answer from {path} is not understood: is the agent of another version? ({reason})"
                )
            );
        }
    }
}
