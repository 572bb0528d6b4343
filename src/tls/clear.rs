//! A connection that comes in clear: whoever passes it on says for whom, and its client is told to come by HTTPS.

use tokio::time::{Instant, timeout_at};

use super::connection::{Shared, introduce};
use super::counters::Failure;
use super::guest::Guest;
use super::http;
use super::socket::Socket;
use super::visit::Visit;

/// Serves it to its end.
pub(super) async fn serve_clear(mut client: Socket, guest: &mut Guest, shared: &Shared) {
    let log = shared.choose.access_log();
    let mut visit = log.map(|log| Visit::new(log, guest.address(), client.local()));
    let until = Instant::now() + shared.patience();
    let mut received = Vec::new();
    if guest.is_passed_on() {
        let introduced = introduce(&mut client, guest, &mut visit, &mut received, shared);
        let introduced = timeout_at(until, introduced).await;
        if let Err(failure) = introduced.map_err(|_| Failure::HandshakeTime).flatten() {
            visit.iter_mut().for_each(|visit| visit.ended(failure.name()));
            return shared.counters.fail(&failure);
        }
    }
    let requests = visit.as_mut().map(Visit::requests);
    let parts = (shared.pool.clone(), shared.counters.clone());
    let ended = http::redirect((client, received), &shared.choose, parts, until, requests).await;
    if let Some(visit) = &mut visit {
        visit.moved(ended.received, ended.sent);
        visit.ended(ended.end);
    }
}
