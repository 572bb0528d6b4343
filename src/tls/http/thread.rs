//! What the connections of one thread share.

use std::cell::Cell;
use std::rc::Rc;

use hyper::header::HeaderValue;
use tokio::sync::watch;
use tokio::time::Instant;

use super::backend::Backends;
use crate::tls::buffers::Pool;

/// What they share.
pub(in crate::tls) struct Thread {
    /// Connections to backends.
    pub(super) backends: Rc<Backends>,
    /// When the listener began to end.
    pub(super) draining: watch::Receiver<Option<Instant>>,
    /// The first half of requests' ids: no other thread has it, on this machine or elsewhere.
    origin: u64,
    requests: Cell<u64>,
}

impl Thread {
    /// What nobody uses yet.
    pub(in crate::tls) fn new(pool: Rc<Pool>, draining: watch::Receiver<Option<Instant>>) -> Rc<Self> {
        let mut origin = [0; 8];
        // Without random numbers there is no TLS either.
        let _ = aws_lc_rs::rand::fill(&mut origin);
        let (backends, origin) = (Backends::new(pool), u64::from_be_bytes(origin));
        Rc::new(Self { backends, draining, origin, requests: Cell::new(0) })
    }

    /// An id that no other request has.
    pub(super) fn request_id(&self) -> HeaderValue {
        let number = self.requests.get();
        self.requests.set(number.wrapping_add(1));
        let mut text = [0; 32];
        for (at, byte) in text.iter_mut().enumerate() {
            let half = if at < 16 { self.origin } else { number };
            let digit = half >> (60 - at % 16 * 4) & 15;
            *byte = b"0123456789abcdef".get(digit as usize).copied().unwrap_or(b'0');
        }
        HeaderValue::from_bytes(&text).unwrap_or_else(|_| HeaderValue::from_static("0"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_numbers_of_a_thread_and_of_a_request() {
        let (_ends, draining) = watch::channel(None);
        let mut thread = Thread::new(Pool::new(0), draining);
        let known = Rc::get_mut(&mut thread).unwrap();
        (known.origin, known.requests) = (0x0123_4567_89ab_cdef, Cell::new(0xfedc_ba98_7654_320f));
        assert_eq!(thread.request_id(), "0123456789abcdeffedcba987654320f");
        assert_eq!(thread.request_id(), "0123456789abcdeffedcba9876543210");
    }
}
