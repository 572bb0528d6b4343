//! All members of a crowd get a session.

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use adit_packet::Slot;
use adit_wireguard::Session;
use adit_wireguard::message::{DATA_MIN, Message};
use serde::Serialize;

use crate::crowd::Crowd;

/// An initiation that was not answered is sent again after this long. A device waits 5 s.
const PATIENCE: Duration = Duration::from_secs(1);

/// How it went.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Handshakes {
    /// Members that were to have a session.
    pub wanted: usize,
    /// Members that have one.
    pub completed: usize,
    /// Until the last of them had, in seconds.
    pub seconds: f64,
    /// Sessions a second.
    pub rate: f64,
    /// Initiations sent, those after a cookie or without an answer too.
    pub initiations: u64,
    /// Cookies that the gateway asked us to use.
    pub cookies: u64,
}

/// Who is to begin, and whose initiation is on its way since when.
struct Progress {
    waiting: VecDeque<u32>,
    asked: VecDeque<(u32, Instant)>,
    counts: Handshakes,
}

impl Crowd {
    /// Handshakes with the gateway, at most `window` at once, until all have a session or the time is up. Each session is
    /// confirmed by an empty packet.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn handshake(&mut self, window: usize, limit: Duration) -> io::Result<Handshakes> {
        let wanted = self.members.len();
        let counts = Handshakes { wanted, completed: 0, seconds: 0.0, rate: 0.0, initiations: 0, cookies: 0 };
        let mut progress = Progress { waiting: (0..wanted as u32).collect(), asked: VecDeque::new(), counts };
        let mut buffer = vec![0; 1 << 16];
        let start = Instant::now();
        while progress.counts.completed < wanted && start.elapsed() < limit {
            self.ask(window, &mut progress)?;
            if self.port.wait_input(Duration::from_millis(10))? {
                while let Some(received) = self.port.receive(&mut buffer)? {
                    for message in buffer[..received.len].chunks_mut(received.stride.max(1)) {
                        self.handle(message, &mut progress)?;
                    }
                }
            }
        }
        let mut counts = progress.counts;
        counts.seconds = start.elapsed().as_secs_f64();
        counts.rate = counts.completed as f64 / counts.seconds;
        Ok(counts)
    }

    /// Begins as many as the window has room for.
    fn ask(&mut self, window: usize, progress: &mut Progress) -> io::Result<()> {
        while let Some((number, _)) = progress.asked.pop_front_if(|(number, since)| {
            self.members[*number as usize].session.is_some() || since.elapsed() > PATIENCE
        }) {
            if self.members[number as usize].session.is_none() {
                progress.waiting.push_back(number);
            }
        }
        while progress.asked.len() < window.max(1) {
            let Some(number) = progress.waiting.pop_front() else { return Ok(()) };
            let now = self.now();
            let message = self.members[number as usize].initiate(&self.gateway, now)?;
            self.port.send(&self.path(number), &message, message.len())?;
            progress.asked.push_back((number, Instant::now()));
            progress.counts.initiations += 1;
        }
        Ok(())
    }

    fn handle(&mut self, message: &mut [u8], progress: &mut Progress) -> io::Result<()> {
        let now = self.now();
        let Some(number) = Self::receiver(message) else { return Ok(()) };
        let Some(member) = self.members.get_mut(number as usize) else { return Ok(()) };
        match Message::parse(message) {
            Some(Message::Response) => {
                let done =
                    message.first_chunk().is_some_and(|response| member.handle_response(response, now));
                if done && let Some(session) = &member.session {
                    let keepalive = keepalive(session)?;
                    self.port.send(&self.path(number), &keepalive, keepalive.len())?;
                    progress.counts.completed += 1;
                }
            }
            Some(Message::CookieReply) if member.handle_cookie_reply(message, now) => {
                progress.counts.cookies += 1;
                progress.asked.retain(|(asked, _)| *asked != number);
                progress.waiting.push_front(number);
            }
            Some(Message::CookieReply | Message::Data { .. } | Message::Initiation) | None => {}
        }
        Ok(())
    }
}

fn keepalive(session: &Session) -> io::Result<[u8; DATA_MIN]> {
    let mut datagram = [0; DATA_MIN];
    let mut slot = [Slot { start: Session::HEAD, ..Slot::default() }];
    session.seal(&mut datagram, &mut slot, 0).map_err(io::Error::other)?;
    Ok(datagram)
}
