//! A backend that keeps every byte it got, and answers whole requests as a strict reader finds them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What it is asked to do, by the path of a request.
const CLOSING: &str = "/closing";
const SILENT: &str = "/silent";
const BROKEN: &str = "/broken";
const RESET: &str = "/once";
const SWITCH: &str = "/switch";
const SLOW: &str = "/slow";
const LONG: &str = "/long";

type Fields = Vec<(String, String)>;
/// A body, its trailers, and where all of it ends.
type Body = (Vec<u8>, Fields, usize);

/// A whole request, and nothing that anybody could read in another way.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Whole {
    pub(super) line: String,
    pub(super) headers: Fields,
    pub(super) body: Vec<u8>,
}

impl Whole {
    pub(super) fn header(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(found, _)| found == name).map(|(_, value)| value.as_str()).collect()
    }
}

/// Takes a request from the front; `None` if it is not whole yet.
///
/// # Errors
/// Why nobody should send it.
pub(super) fn parse(bytes: &mut Vec<u8>) -> Result<Option<Whole>, String> {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let head = String::from_utf8(bytes[..end].to_vec()).map_err(|_| "no UTF-8")?;
    if head.replace("\r\n", "").contains(['\r', '\n', '\0']) {
        return Err("a line that ends in another way".to_owned());
    }
    let mut lines = head.split("\r\n").map(str::to_owned);
    let line = lines.next().unwrap_or_default();
    let mut headers = Vec::new();
    for one in lines {
        headers.push(field(&one)?);
    }
    let mut whole = Whole { line, headers, body: Vec::new() };
    if whole.line.split(' ').count() != 3 || !whole.line.ends_with(" HTTP/1.1") {
        return Err(format!("the line {:?}", whole.line));
    }
    if whole.header("host").len() != 1 {
        return Err("not one Host".to_owned());
    }
    let Some((body, trailers, at)) = body(&whole, bytes, end + 4)? else { return Ok(None) };
    whole.body = body;
    // As some backends do.
    whole.headers.extend(trailers);
    bytes.drain(..at);
    Ok(Some(whole))
}

/// A name and a value.
fn field(line: &str) -> Result<(String, String), String> {
    let (name, value) = line.split_once(':').ok_or("a header without a colon")?;
    if name.is_empty() || name.chars().any(|c| !(c.is_ascii_alphanumeric() || "-_".contains(c))) {
        return Err(format!("a header named {name:?}"));
    }
    Ok((name.to_ascii_lowercase(), value.trim().to_owned()))
}

/// What is between the last chunk and the end, and where that is; `None` if it is not whole yet.
fn trailers(bytes: &[u8], mut at: usize) -> Result<Option<(Fields, usize)>, String> {
    let mut all = Vec::new();
    loop {
        let rest = &bytes[at..];
        let Some(eol) = rest.windows(2).position(|window| window == b"\r\n") else { return Ok(None) };
        at += eol + 2;
        if eol == 0 {
            return Ok(Some((all, at)));
        }
        all.push(field(str::from_utf8(&rest[..eol]).map_err(|_| "no UTF-8")?)?);
    }
}

/// A body that begins at `start`, and where it ends; `None` if it is not whole yet.
fn body(whole: &Whole, bytes: &[u8], start: usize) -> Result<Option<Body>, String> {
    let (lengths, codings) = (whole.header("content-length"), whole.header("transfer-encoding"));
    match (lengths.as_slice(), codings.as_slice()) {
        ([], []) => Ok(Some((Vec::new(), Vec::new(), start))),
        ([length], []) => {
            let end = start + length.parse::<usize>().map_err(|_| "a length that is none")?;
            Ok(bytes.get(start..end).map(|body| (body.to_vec(), Vec::new(), end)))
        }
        ([], ["chunked"]) => chunks(bytes, start),
        _ => Err(format!("{lengths:?} beside {codings:?}")),
    }
}

/// The same in chunks.
fn chunks(bytes: &[u8], start: usize) -> Result<Option<Body>, String> {
    let (mut body, mut at) = (Vec::new(), start);
    loop {
        let rest = &bytes[at..];
        let Some(eol) = rest.windows(2).position(|window| window == b"\r\n") else { return Ok(None) };
        let size = str::from_utf8(&rest[..eol]).unwrap_or("?");
        let size = usize::from_str_radix(size, 16).map_err(|_| format!("a chunk of {size:?}"))?;
        if size == 0 {
            return Ok(trailers(bytes, at + eol + 2)?.map(|(all, end)| (body, all, end)));
        }
        let Some(chunk) = rest.get(eol + 2..eol + 2 + size) else { return Ok(None) };
        let Some(behind) = rest.get(eol + 2 + size..eol + 4 + size) else { return Ok(None) };
        if behind != b"\r\n" {
            return Err("a chunk that does not end".to_owned());
        }
        body.extend_from_slice(chunk);
        at += eol + 4 + size;
    }
}

/// What it saw.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Connections.
    pub(super) connections: usize,
    /// Requests, in the order in which they came.
    pub(super) requests: Vec<Whole>,
    /// What no strict reader takes.
    pub(super) wrong: Vec<String>,
}

/// The backend.
pub(super) struct Recorder {
    pub(super) address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
}

impl Recorder {
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, seen) = (listener.local_addr().unwrap(), Arc::new(Mutex::<Seen>::default()));
        let shared = seen.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let seen = shared.clone();
                std::thread::spawn(move || serve(stream, &seen));
            }
        });
        Self { address, seen }
    }

    /// What was seen since this was asked last.
    pub(super) fn take(&self) -> Seen {
        std::mem::take(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn serve(mut stream: TcpStream, seen: &Mutex<Seen>) {
    seen.lock().unwrap().connections += 1;
    let (mut bytes, mut buffer, mut served) = (Vec::new(), vec![0; 65_536], 0);
    loop {
        match parse(&mut bytes) {
            Err(error) => return seen.lock().unwrap().wrong.push(error),
            Ok(Some(whole)) => {
                let path = whole.line.split(' ').nth(1).unwrap_or_default().to_owned();
                let body = whole.body.len();
                seen.lock().unwrap().requests.push(whole);
                served += 1;
                match path.as_str() {
                    CLOSING => {
                        let _ = stream.write_all(
                            b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok",
                        );
                        return;
                    }
                    // As a backend does that closed the connection while the request was under way.
                    RESET if served > 1 => return,
                    BROKEN => return,
                    LONG => {
                        let answer =
                            [&b"HTTP/1.1 200 OK\r\ncontent-length: 163840\r\n\r\n"[..], &[b'x'; 163_840]]
                                .concat();
                        let _ = stream.write_all(&answer);
                        continue;
                    }
                    SILENT => std::thread::sleep(Duration::from_secs(2)),
                    SWITCH => {
                        let _ = stream.write_all(
                            b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nhello",
                        );
                        let mut reader = stream.try_clone().unwrap();
                        let _ = std::io::copy(&mut reader, &mut stream);
                        return;
                    }
                    _ => {}
                }
                let answer = format!(
                    "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-body: {body}\r\nkeep-alive: timeout=5\r\nconnection: keep-alive, x-hop\r\nx-hop: 1\r\n\r\nok"
                );
                if stream.write_all(answer.as_bytes()).is_err() {
                    return;
                }
            }
            Ok(None) => {
                if bytes.windows(SLOW.len()).any(|window| window == SLOW.as_bytes()) {
                    std::thread::sleep(Duration::from_secs(2));
                }
                match stream.read(&mut buffer) {
                    Ok(0) | Err(_) => return,
                    Ok(count) => bytes.extend_from_slice(&buffer[..count]),
                }
            }
        }
    }
}
