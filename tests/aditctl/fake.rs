//! A daemon that gives every request the same answer.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::{Duration, Instant};

/// A folder of the test's own, removed at its end.
pub(crate) struct Folder {
    pub(crate) path: PathBuf,
}

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("aditctl-{name}-{}", std::process::id()));
        fs::create_dir(&path).expect("a new folder");
        Self { path }
    }

    pub(crate) fn socket(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Answers until it is dropped.
pub(crate) struct Daemon {
    path: PathBuf,
    asked: Arc<Mutex<Vec<String>>>,
    thread: Option<JoinHandle<()>>,
}

impl Daemon {
    /// Answers with a code and a body.
    pub(crate) fn start(path: &Path, code: u16, body: &str) -> Self {
        let length = body.len();
        Self::serve(path, format!("HTTP/1.1 {code} x\r\ncontent-length: {length}\r\n\r\n{body}"), false)
    }

    /// Answers with a body that does not end.
    pub(crate) fn hold(path: &Path, body: &str) -> Self {
        let chunk = format!("{:x}\r\n{body}\r\n", body.len());
        Self::serve(path, format!("HTTP/1.1 200 x\r\ntransfer-encoding: chunked\r\n\r\n{chunk}"), true)
    }

    /// The first lines of all requests so far.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn serve(path: &Path, answer: String, hold: bool) -> Self {
        let listener = UnixListener::bind(path).expect("a new socket");
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let log = Arc::clone(&asked);
        let thread = spawn(move || {
            let mut held = Vec::new();
            for stream in listener.incoming() {
                let mut stream = stream.expect("a client");
                let Some(first) = request(&stream) else { return };
                log.lock().unwrap_or_else(PoisonError::into_inner).push(first);
                // A client may have gone.
                let _ = stream.write_all(answer.as_bytes());
                held.extend(hold.then_some(stream));
            }
        });
        Self { path: path.to_owned(), asked, thread: Some(thread) }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // One that asks for nothing ends it.
        let ended = UnixStream::connect(&self.path).is_ok();
        let _ = fs::remove_file(&self.path);
        if let Some(thread) = self.thread.take().filter(|_| ended) {
            let _ = thread.join();
        }
    }
}

/// The first line of a request, once all of it is there.
fn request(stream: &UnixStream) -> Option<String> {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let first = lines.next()?;
    lines.find(String::is_empty)?;
    Some(first)
}

/// Waits until something is true, for 10 seconds at most.
pub(crate) fn until(mut it: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + Duration::from_secs(10);
    while !it() {
        if Instant::now() > end {
            return false;
        }
        sleep(Duration::from_millis(20));
    }
    true
}
