//! A backend of HTTP/2 that does as it is told, frame by frame.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::http2::{DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, RST_STREAM, SETTINGS, frame};

const WINDOW_UPDATE: u8 = 8;
const ACK: u8 = 1;

/// What becomes of a request.
pub(super) enum Reply {
    /// 200, and `ok`.
    Ok,
    /// 200, and so many bytes.
    Long(usize),
    /// 200, and `o`, and nothing more.
    Begin,
    /// Nothing.
    Silent,
    /// 200, and `ok`, when all of the request is there.
    AtEnd,
    /// `REFUSED_STREAM`.
    Refuse,
    /// A graceful end of the connection, that leaves this request out.
    Leave,
}

/// Says what becomes of a request by the numbers of its connection and of itself there.
type Script = dyn Fn(usize, usize) -> Reply + Send + Sync;

/// The backend.
pub(super) struct Peer {
    pub(super) address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Peer {
    pub(super) fn start(script: impl Fn(usize, usize) -> Reply + Send + Sync + 'static) -> Self {
        Self::with_streams(1000, script)
    }

    /// One that takes so many requests at a time.
    pub(super) fn with_streams(
        most: u32,
        script: impl Fn(usize, usize) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, connections) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
        let (script, count): (Arc<Script>, _) = (Arc::new(script), connections.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (script, number) = (script.clone(), count.fetch_add(1, Ordering::Relaxed));
                std::thread::spawn(move || {
                    // It ends when the other side does.
                    let _ = Conversation::new(stream).hold(most, |request| script(number, request));
                });
            }
        });
        Self { address, connections }
    }

    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

struct Conversation {
    stream: TcpStream,
    /// What may be sent in all, and at the beginning of a stream.
    window: i64,
    initial: i64,
    /// By stream: what is left of its answer, and what may be sent of it.
    answers: BTreeMap<u32, (usize, i64)>,
}

impl Conversation {
    fn new(stream: TcpStream) -> Self {
        Self { stream, window: 65_535, initial: 65_535, answers: BTreeMap::new() }
    }

    fn hold(mut self, most: u32, script: impl Fn(usize) -> Reply) -> std::io::Result<()> {
        self.stream.read_exact(&mut [0; 24])?;
        let concurrent = [&[0, 3][..], &most.to_be_bytes()].concat();
        self.stream.write_all(&frame(SETTINGS, 0, 0, &concurrent))?;
        let (mut requests, mut last) = (0, 0_u32);
        loop {
            let mut head = [0; 9];
            self.stream.read_exact(&mut head)?;
            let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
            self.stream.read_exact(&mut payload)?;
            let id = u32::from_be_bytes(head[5..].try_into().unwrap());
            match (head[3], head[4] & ACK) {
                (SETTINGS, 0) => {
                    for setting in payload.chunks_exact(6).filter(|setting| setting[..2] == [0, 4]) {
                        self.initial = i64::from(u32::from_be_bytes(setting[2..].try_into().unwrap()));
                    }
                    self.stream.write_all(&frame(SETTINGS, ACK, 0, &[]))?;
                }
                (PING, 0) => self.stream.write_all(&frame(PING, ACK, 0, &payload))?,
                (WINDOW_UPDATE, _) => {
                    let more = i64::from(u32::from_be_bytes(payload.try_into().unwrap()));
                    match self.answers.get_mut(&id) {
                        Some((_, window)) => *window += more,
                        None if id == 0 => self.window += more,
                        None => {}
                    }
                }
                (DATA, END_STREAM) => self.begin(id, 2)?,
                (RST_STREAM, _) => drop(self.answers.remove(&id)),
                (HEADERS, _) => {
                    match script(requests) {
                        Reply::Silent | Reply::AtEnd => {}
                        Reply::Begin => {
                            self.stream.write_all(&frame(HEADERS, END_HEADERS, id, &[0x88]))?;
                            self.stream.write_all(&frame(DATA, 0, id, b"o"))?;
                        }
                        Reply::Ok => self.begin(id, 2)?,
                        Reply::Long(length) => self.begin(id, length)?,
                        Reply::Refuse => {
                            self.stream.write_all(&frame(RST_STREAM, 0, id, &7_u32.to_be_bytes()))?;
                        }
                        Reply::Leave => {
                            let end = [last.to_be_bytes(), 0_u32.to_be_bytes()].concat();
                            self.stream.write_all(&frame(GOAWAY, 0, 0, &end))?;
                        }
                    }
                    (requests, last) = (requests + 1, id);
                }
                _ => {}
            }
            self.send()?;
        }
    }

    fn begin(&mut self, id: u32, length: usize) -> std::io::Result<()> {
        self.answers.insert(id, (length, self.initial));
        // The entry of `:status 200` in the static table.
        self.stream.write_all(&frame(HEADERS, END_HEADERS, id, &[0x88]))
    }

    /// Sends what may be sent.
    fn send(&mut self) -> std::io::Result<()> {
        for (id, (left, window)) in &mut self.answers {
            while *left > 0 && *window > 0 && self.window > 0 {
                let now = (*left).min(16_384).min(*window as usize).min(self.window as usize);
                *left -= now;
                *window -= now as i64;
                self.window -= now as i64;
                let end = if *left == 0 { END_STREAM } else { 0 };
                self.stream.write_all(&frame(DATA, end, *id, &b"ok".repeat(now)[..now]))?;
            }
        }
        self.answers.retain(|_, (left, _)| *left > 0);
        Ok(())
    }
}
