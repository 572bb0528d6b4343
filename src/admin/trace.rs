//! `GET /v1/trace`: dropped packets as they are dropped, one JSON object a line.

mod line;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use adit_noise::Now;
use hyper::body::{Body, Bytes, Frame};
use tokio::time::{Interval, MissedTickBehavior, interval};

pub use line::{Ip, Line, Missed, Packet};

use super::patience::Patience;
use crate::clock;
use crate::gateway::TraceSource;

/// Between two looks at what was dropped.
const INTERVAL: Duration = Duration::from_millis(100);

/// The dropped packets of some tunnels, for as long as they are watched. Dropping it ends that.
#[derive(Debug)]
pub(super) struct Watching {
    sources: Vec<Watched>,
}

/// A tunnel that is being watched by nobody else.
#[derive(Debug)]
struct Watched(TraceSource);

impl Drop for Watched {
    fn drop(&mut self) {
        self.0.tracer.end();
    }
}

impl Watching {
    /// Begins to watch.
    ///
    /// # Errors
    /// The name of the tunnel that somebody watches already; then none is watched.
    pub(super) fn begin(sources: Vec<TraceSource>) -> Result<Self, String> {
        let mut watched = Vec::with_capacity(sources.len());
        for source in sources {
            if !source.tracer.begin() {
                return Err(source.tunnel);
            }
            watched.push(Watched(source));
        }
        Ok(Self { sources: watched })
    }

    /// Whether no tunnel is left.
    fn is_over(&self) -> bool {
        self.sources.is_empty()
    }

    /// What was dropped since the last time, a piece for each tunnel that dropped something. Tunnels that are gone are left
    /// out from then on. One of the same name may have been made since: to watch that, one has to ask again.
    fn take(&mut self) -> Vec<Bytes> {
        let now = clock::both();
        let mut pieces = Vec::new();
        self.sources.retain(|watched| {
            // Before the last look, so that nothing comes after it.
            let gone = watched.is_gone();
            pieces.extend(watched.take(now));
            !gone
        });
        pieces
    }
}

impl Watched {
    /// A tunnel that is gone leaves nobody but us with its tracer.
    fn is_gone(&self) -> bool {
        Arc::strong_count(&self.0.tracer) == 1
    }

    fn take(&self, now: Now) -> Option<Bytes> {
        let source = &self.0;
        let (dropped, missed) = source.tracer.take();
        let mut text = Vec::new();
        for packet in &dropped {
            Line::Packet(Packet::new(source, packet, now)).append_to(&mut text);
        }
        if missed > 0 {
            Line::Missed(Missed { missed, tunnel: source.tunnel.clone() }).append_to(&mut text);
        }
        (!text.is_empty()).then(|| text.into())
    }
}

/// What a client is sent who watches. It is asked for more only while the client takes what it has.
#[derive(Debug)]
pub(super) struct Stream {
    watching: Watching,
    ticks: Interval,
    ready: VecDeque<Bytes>,
    patience: Arc<Patience>,
}

impl Stream {
    pub(super) fn new(watching: Watching, patience: Arc<Patience>) -> Self {
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { watching, ticks, ready: VecDeque::new(), patience }
    }
}

impl Body for Stream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        loop {
            self.patience.renew();
            if let Some(bytes) = self.ready.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            std::task::ready!(self.ticks.poll_tick(context));
            let taken = self.watching.take();
            self.ready.extend(taken);
            if self.ready.is_empty() && self.watching.is_over() {
                return Poll::Ready(None);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datapath::{Reason, Tracer};

    fn sources(names: &[&str]) -> Vec<TraceSource> {
        names
            .iter()
            .map(|name| TraceSource { tunnel: (*name).to_owned(), frames: false, tracer: Arc::default() })
            .collect()
    }

    #[test]
    fn a_tunnel_is_watched_by_one_at_a_time() {
        let sources = sources(&["wg0", "wg1"]);
        let first = Watching::begin(sources[1..].to_vec()).unwrap();
        assert_eq!(Watching::begin(sources.clone()).unwrap_err(), "wg1");
        let on = |at: usize| Tracer::is_on(&sources[at].tracer);
        assert_eq!((on(0), on(1)), (false, true));
        drop(first);
        assert_eq!((on(0), on(1)), (false, false));
        drop(Watching::begin(sources.clone()).unwrap());
        assert_eq!((on(0), on(1)), (false, false));
    }

    #[test]
    fn watching_is_over_when_no_tunnel_is_left() {
        let mut sources = sources(&["wg0", "wg1"]);
        let mut watching = Watching::begin(sources.clone()).unwrap();
        let note = |sources: &[TraceSource]| {
            sources.iter().for_each(|source| source.tracer.note(Reason::NoRoute, 1, &[], clock::now()));
        };
        note(&sources);
        sources.pop();
        assert_eq!(watching.take().len(), 2, "the last of a tunnel that is gone is told");
        assert!(!watching.is_over());
        note(&sources);
        assert_eq!(watching.take().len(), 1);
        sources.pop();
        assert!(watching.take().is_empty() && watching.is_over());
    }
}
