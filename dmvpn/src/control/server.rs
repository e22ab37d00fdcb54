//! The agent's side of the control socket.
//!
//! Knows nothing about the agent: every request goes to it as a [`Call`]. Whatever clients do, the number of
//! clients, the length of a request and the time for each step are bounded.

use std::{
    fs::{self, File, Permissions},
    io,
    os::unix::{
        fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt},
        net::UnixStream as StdUnixStream,
    },
    path::{Path, PathBuf},
    time::Duration,
};

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::{sleep, timeout},
};
use tracing::warn;

use super::protocol::{Answer, Request, Response};

#[cfg(test)]
mod tests;

/// Who may connect: the owner and the group of the agent.
const SOCKET_MODE: u32 = 0o660;

/// A request on its way to the agent.
#[derive(Debug)]
pub struct Call {
    /// What is asked for.
    pub request: Request,
    reply: oneshot::Sender<Answer>,
}

impl Call {
    /// Answers. It does not matter whether the client still waits.
    pub fn answer(self, answer: Answer) {
        // An error means that the client went away or its time was up.
        let _ = self.reply.send(answer);
    }
}

/// What clients can use up.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// Clients at a time.
    clients: usize,
    /// Bytes of a request with its newline.
    request: usize,
    /// Time for each of: sending a request, answering it, reading the answer.
    step: Duration,
}

const LIMITS: Limits = Limits { clients: 32, request: 4096, step: Duration::from_secs(10) };

/// Why the control socket could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// A live agent holds the lock.
    #[error(
        "another dmvpn is running and holds {}: stop it, or give this one its own control-socket and pin-directory",
        .0.display()
    )]
    AnotherAgent(PathBuf),
    /// Something that is not an agent of ours listens on it.
    #[error("another program listens on {}: choose another control-socket", .0.display())]
    InUse(PathBuf),
    /// There is a file of another kind, which is not ours to remove.
    #[error("{} exists and is not a socket: remove it or choose another control-socket", .0.display())]
    NotASocket(PathBuf),
    /// A system call failed.
    #[error("cannot {what} {}", path.display())]
    Io {
        /// What was to be done.
        what: &'static str,
        /// To which file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

/// The listening socket. Its file is removed when this is dropped.
#[derive(Debug)]
pub struct ControlServer {
    listener: UnixListener,
    limits: Limits,
    path: PathBuf,
    /// Device and inode of the socket's file: a file that replaced it is not ours to remove.
    identity: (u64, u64),
    /// Locked as long as the agent lives, however it ends.
    _lock: File,
}

impl ControlServer {
    /// Opens the socket at `path`, making its directory. Replaces what a dead agent left, refuses to replace
    /// anything else. Needs a tokio runtime.
    pub fn bind(path: &Path) -> Result<Self, BindError> {
        Self::bind_with(path, LIMITS)
    }

    fn bind_with(path: &Path, limits: Limits) -> Result<Self, BindError> {
        let failed = |what| move |source| BindError::Io { what, path: path.to_owned(), source };

        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory).map_err(failed("create the directory of"))?;
        }
        let lock = lock(path)?;
        remove_stale(path)?;

        let socket = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(failed("open a socket for"))?;
        let address = SockAddr::unix(path).map_err(failed("use"))?;
        socket.bind(&address).map_err(failed("create"))?;
        // Nobody can connect before `listen`, so there is no moment with other permissions.
        fs::set_permissions(path, Permissions::from_mode(SOCKET_MODE)).map_err(failed("set the mode of"))?;
        let metadata = fs::symlink_metadata(path).map_err(failed("look at"))?;
        let backlog = i32::try_from(limits.clients).unwrap_or(i32::MAX);
        socket.listen(backlog).map_err(failed("listen on"))?;
        socket.set_nonblocking(true).map_err(failed("listen on"))?;
        let listener = UnixListener::from_std(socket.into()).map_err(failed("listen on"))?;

        let identity = (metadata.dev(), metadata.ino());
        Ok(Self { listener, limits, path: path.to_owned(), identity, _lock: lock })
    }

    /// Serves clients until the receiver of `agent` is gone. May be dropped at any time.
    pub async fn serve(self, agent: mpsc::Sender<Call>) {
        let mut clients = JoinSet::new();
        loop {
            tokio::select! {
                () = agent.closed() => return,
                Some(_) = clients.join_next() => {}
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) if clients.len() < self.limits.clients => {
                        clients.spawn(serve_client(stream, agent.clone(), self.limits));
                    }
                    Ok((stream, _)) => refuse(&stream),
                    Err(error) => {
                        warn!(%error, "cannot accept a control client");
                        // Out of file descriptors, most likely: do not spin.
                        sleep(Duration::from_millis(100)).await;
                    }
                },
            }
        }
    }
}

impl Drop for ControlServer {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|metadata| (metadata.dev(), metadata.ino()) == self.identity);
        if ours && let Err(error) = fs::remove_file(&self.path) {
            warn!(path = %self.path.display(), %error, "cannot remove the control socket");
        }
    }
}

/// Takes the lock beside the socket: of several agents that start together, one gets it. It is never removed;
/// removing it would let two agents lock two files of one name.
fn lock(socket: &Path) -> Result<File, BindError> {
    let mut path = socket.as_os_str().to_owned();
    path.push(".lock");
    let path = PathBuf::from(path);
    let failed = |what| {
        let path = path.clone();
        move |source| BindError::Io { what, path, source }
    };

    let file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(failed("open"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(BindError::AnotherAgent(socket.to_owned())),
        Err(fs::TryLockError::Error(source)) => Err(failed("lock")(source)),
    }
}

/// Removes the socket of a dead agent. The caller holds the lock.
fn remove_stale(path: &Path) -> Result<(), BindError> {
    let failed = |what| move |source| BindError::Io { what, path: path.to_owned(), source };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("look at")(error)),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(BindError::NotASocket(path.to_owned()));
        }
        Ok(_) => {}
    }
    match StdUnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(failed("remove the stale"))
        }
        Err(error) => Err(failed("connect to the old")(error)),
        Ok(_) => Err(BindError::InUse(path.to_owned())),
    }
}

async fn serve_client(mut stream: UnixStream, agent: mpsc::Sender<Call>, limits: Limits) {
    let answer = match timeout(limits.step, read_request(&mut stream, limits.request)).await {
        Ok(Ok(Some(request))) => match timeout(limits.step, ask(&agent, request)).await {
            Ok(answer) => answer,
            Err(_) => Answer::Error("the agent is too busy to answer".into()),
        },
        Ok(Ok(None)) => return,
        Ok(Err(error)) => Answer::Error(error),
        Err(_) => Answer::Error(format!("no request within {} s", limits.step.as_secs_f32())),
    };
    // A client that does not read its answer, or went away, loses it.
    let _ = timeout(limits.step, stream.write_all(&encode(answer))).await;
}

/// The request; `None` when the client closed without one.
async fn read_request(stream: &mut UnixStream, limit: usize) -> Result<Option<Request>, String> {
    let mut line = Vec::new();
    let mut reader = BufReader::new(stream).take(limit as u64);
    reader.read_until(b'\n', &mut line).await.map_err(|error| format!("cannot read the request: {error}"))?;
    if line.is_empty() {
        return Ok(None);
    }
    if line.len() == limit && line.last() != Some(&b'\n') {
        return Err(format!("the request is longer than {limit} bytes"));
    }
    serde_json::from_slice(&line).map(Some).map_err(|error| format!("not a request: {error}"))
}

async fn ask(agent: &mpsc::Sender<Call>, request: Request) -> Answer {
    let (reply, answer) = oneshot::channel();
    let stopping = || Answer::Error("the agent is stopping".into());
    if agent.send(Call { request, reply }).await.is_err() {
        return stopping();
    }
    answer.await.unwrap_or_else(|_| stopping())
}

fn encode(answer: Answer) -> Vec<u8> {
    let mut line = serde_json::to_vec(&Response::from(answer)).unwrap_or_else(|error| {
        // Cannot happen with these types; a client sees a reason rather than nothing.
        warn!(%error, "cannot encode a control answer");
        b"{\"version\":1,\"error\":\"cannot encode the answer\"}".to_vec()
    });
    line.push(b'\n');
    line
}

/// Tells a client why it is not served; without waiting, as it is one too many.
fn refuse(stream: &UnixStream) {
    // The buffer of a new socket takes this line whole; if not, the client sees a closed connection.
    let _ = stream.try_write(&encode(Answer::Error("too many control clients, try again".into())));
}
