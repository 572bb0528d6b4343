//! Asks the daemon: HTTP over one of its two sockets.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::refusal;

/// For connecting.
const CONNECT: Duration = Duration::from_secs(2);
/// For an answer.
pub(super) const ANSWER: Duration = Duration::from_secs(10);
/// The longest answer, in bytes: the status of some 100,000 peers.
const LONGEST: usize = 64 << 20;

/// Which of the daemon's sockets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Role {
    /// `read.sock`, or the other if that one may not be opened.
    Read,
    /// `write.sock`
    Write,
}

/// What the daemon answers.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

/// Speaks to the daemon whose sockets are in a folder.
#[derive(Clone, Debug)]
pub(super) struct Client {
    sockets: PathBuf,
}

impl Client {
    pub(super) fn new(sockets: &Path) -> Self {
        Self { sockets: sockets.to_owned() }
    }

    /// A request and its whole answer, which has to come within `answer`.
    ///
    /// # Errors
    /// In words for the operator.
    pub(super) async fn ask(
        &self,
        role: Role,
        method: Method,
        path: &str,
        answer: Duration,
    ) -> Result<Answer> {
        let whole = async {
            let response = self.send(role, method, path).await?;
            let status = response.status();
            let body = Limited::new(response.into_body(), LONGEST).collect().await;
            let body = body.map_err(|error| anyhow!("the daemon's answer broke off: {error}"))?.to_bytes();
            Ok(Answer { status, body })
        };
        timeout(answer, whole).await.map_err(|_| late(answer))?
    }

    /// A request whose answer goes on for as long as somebody reads it.
    ///
    /// # Errors
    /// In words for the operator; also what the daemon says if it is not willing.
    pub(super) async fn stream(&self, role: Role, path: &str) -> Result<Incoming> {
        let begins = async {
            let response = self.send(role, Method::GET, path).await?;
            if response.status() == StatusCode::OK {
                return Ok(response.into_body());
            }
            let status = response.status();
            let body = Limited::new(response.into_body(), LONGEST).collect().await;
            let body = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
            bail!("{}", Answer { status, body }.complaint())
        };
        timeout(ANSWER, begins).await.map_err(|_| late(ANSWER))?
    }

    async fn send(&self, role: Role, method: Method, path: &str) -> Result<Response<Incoming>> {
        let stream = self.connect(role).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // It ends with the answer, or with the runtime.
        tokio::spawn(connection);
        // HTTP wants a host; a socket of the file system has none.
        let request = Request::builder().method(method).uri(path).header("host", "localhost");
        let request = request.body(Empty::<Bytes>::new()).context("cannot ask for that")?;
        sender.send_request(request).await.context("the daemon ended the connection")
    }

    async fn connect(&self, role: Role) -> Result<UnixStream> {
        let read = self.sockets.join("read.sock");
        let write = self.sockets.join("write.sock");
        let first = match role {
            Role::Read => &read,
            Role::Write => &write,
        };
        let error = match open(first).await {
            Ok(stream) => return Ok(stream),
            Err(error) => error,
        };
        if role == Role::Read
            && matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::NotFound)
            && let Ok(stream) = open(&write).await
        {
            return Ok(stream);
        }
        bail!("{}", refusal::describe(first, &error))
    }
}

impl Answer {
    /// What is wrong, in the daemon's words.
    pub(super) fn complaint(&self) -> String {
        match self.text("error") {
            text if text.is_empty() => format!("the daemon answered {}", self.status),
            text => text,
        }
    }

    /// The text under `key` if the body is a JSON object that has it, else the whole body.
    pub(super) fn text(&self, key: &str) -> String {
        let parsed = serde_json::from_slice::<serde_json::Value>(&self.body).ok();
        let text = parsed.as_ref().and_then(|value| value.get(key)?.as_str()).map(str::to_owned);
        text.unwrap_or_else(|| String::from_utf8_lossy(&self.body).trim_end().to_owned())
    }

    /// The texts in the list under `key` if the body is a JSON object that has it.
    pub(super) fn list(&self, key: &str) -> Vec<String> {
        let parsed = serde_json::from_slice::<serde_json::Value>(&self.body).ok();
        let list = parsed.as_ref().and_then(|value| value.get(key)?.as_array());
        list.into_iter().flatten().filter_map(|text| Some(text.as_str()?.to_owned())).collect()
    }
}

async fn open(path: &Path) -> io::Result<UnixStream> {
    // A full queue of connections makes it wait: a daemon that is stuck accepts none.
    let late = |_| io::Error::from(io::ErrorKind::TimedOut);
    timeout(CONNECT, UnixStream::connect(path)).await.map_err(late)?
}

fn late(answer: Duration) -> anyhow::Error {
    anyhow!("the daemon did not answer within {answer:?}; it may be stuck: see its log")
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_daemon_that_does_not_answer_is_not_waited_for_long() {
        let folder = std::env::temp_dir().join(format!("adit-client-{}", std::process::id()));
        std::fs::create_dir(&folder).expect("a new folder");
        let _listener =
            std::os::unix::net::UnixListener::bind(folder.join("write.sock")).expect("a new socket");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let client = Client::new(&folder);
        let begun = Instant::now();
        let asking = client.ask(Role::Write, Method::POST, "/v1/reload", Duration::from_millis(50));
        let error = runtime.block_on(asking).expect_err("nobody answers").to_string();
        std::fs::remove_dir_all(&folder).expect("ours");
        assert!(error.starts_with("the daemon did not answer within 50ms;"), "{error}");
        assert!(begun.elapsed() < Duration::from_secs(5));
    }
}
