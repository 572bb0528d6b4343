//! Names of backends: each is looked up again and again, all of its addresses are used, and when it has none any more it
//! leads where it led last.

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

/// From one answer to the next question.
const EVERY: Duration = Duration::from_secs(30);
/// The same if there was no answer.
const AGAIN: Duration = Duration::from_secs(5);
/// A backend that cannot be connected to may be elsewhere by now: this long after the last answer it is looked for.
const DOUBT: Duration = Duration::from_secs(2);
/// Addresses of one name that are used.
const MOST: usize = 64;

/// A name, and where it leads.
#[derive(Debug)]
pub struct Name {
    /// The host's name.
    pub host: String,
    /// The port of all its addresses.
    pub port: u16,
    /// When it is looked up next: nanoseconds of the monotonic time. It is not due while it is being looked up.
    due: AtomicU64,
    /// When it was answered, as above.
    answered: AtomicU64,
    found: Mutex<Found>,
}

/// What is known of it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Found {
    /// Where it leads, or led last.
    pub addresses: Vec<SocketAddr>,
    /// What is wrong with the last answer.
    pub error: Option<String>,
}

/// What an answer changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Told {
    /// Nothing.
    Same,
    /// The addresses.
    Moved,
    /// It could be looked up until now.
    Failed,
    /// It can be looked up again, and leads where it led.
    Back,
}

impl Name {
    /// A name that nobody has looked up yet.
    #[must_use]
    pub fn new(host: &str, port: u16) -> Self {
        let (due, answered) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { host: host.to_owned(), port, due, answered, found: Mutex::default() }
    }

    /// What is known.
    #[must_use]
    pub fn found(&self) -> Found {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn due(&self) -> u64 {
        self.due.load(Ordering::Relaxed)
    }

    /// It is being looked up.
    pub(super) fn begin(&self) {
        self.due.store(u64::MAX, Ordering::Relaxed);
    }

    /// It does not lead where it should. Whether that is a reason to look it up at `now`.
    pub(super) fn doubt(&self, now: u64) -> bool {
        let due = self.due();
        let old = now.saturating_sub(self.answered.load(Ordering::Relaxed)) >= DOUBT.as_nanos() as u64;
        // A question under way must not be asked twice.
        old && due != u64::MAX
            && due > now
            && self.due.compare_exchange(due, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Takes an answer, that came at `now`.
    pub(super) fn note(&self, answer: Result<Vec<SocketAddr>, String>, now: u64) -> Told {
        let mut found = self.lock();
        self.answered.store(now, Ordering::Relaxed);
        let pause = if answer.is_ok() { EVERY } else { AGAIN };
        self.due.store(now + pause.as_nanos() as u64, Ordering::Relaxed);
        match answer {
            Ok(mut addresses) => {
                addresses.sort_unstable();
                addresses.dedup();
                addresses.truncate(MOST);
                let failed = found.error.take().is_some();
                if found.addresses != addresses {
                    found.addresses = addresses;
                    return Told::Moved;
                }
                if failed { Told::Back } else { Told::Same }
            }
            Err(error) => {
                if found.error.replace(error).is_none() {
                    Told::Failed
                } else {
                    Told::Same
                }
            }
        }
    }
}

/// Asks the system, which may take its time.
pub(super) fn ask(host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    let found: Vec<_> = (host, port).to_socket_addrs().map_err(|error| error.to_string())?.collect();
    if found.is_empty() { Err("the name has no address".to_owned()) } else { Ok(found) }
}

/// Looks up those that were never looked up, for at most `patience`, so that what begins with them has backends.
pub(super) fn first(names: impl Iterator<Item = Arc<Name>>, patience: Duration, now: u64) {
    let until = Instant::now() + patience;
    let (answers, come) = mpsc::channel();
    let mut asked = 0;
    for name in names.filter(|name| name.due() == 0) {
        let answers = answers.clone();
        let question = move || {
            let answer = ask(&name.host, name.port);
            let _ = answers.send((name, answer));
        };
        // Without a thread it is looked up later.
        asked += usize::from(std::thread::Builder::new().name("tls-lookup".into()).spawn(question).is_ok());
    }
    for _ in 0..asked {
        let Ok((name, answer)) = come.recv_timeout(until.saturating_duration_since(Instant::now())) else {
            return;
        };
        name.note(answer, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn addresses(all: &[&str]) -> Vec<SocketAddr> {
        all.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn a_name_without_an_answer_leads_where_it_led_last() {
        let name = Name::new("app.internal", 80);
        let both = addresses(&["192.0.2.2:80", "192.0.2.1:80", "192.0.2.1:80"]);
        assert_eq!(name.note(Ok(both.clone()), SECOND), Told::Moved);
        assert_eq!(name.found().addresses, addresses(&["192.0.2.1:80", "192.0.2.2:80"]));
        assert_eq!(name.note(Err("no".into()), 2 * SECOND), Told::Failed);
        assert_eq!(name.note(Err("no".into()), 3 * SECOND), Told::Same);
        assert_eq!((name.found().addresses.len(), name.found().error.as_deref()), (2, Some("no")));
        assert_eq!(name.note(Ok(both), 4 * SECOND), Told::Back);
        assert_eq!(name.found().error, None);
        assert_eq!(name.note(Ok(addresses(&["192.0.2.3:80"])), 5 * SECOND), Told::Moved);
    }

    #[test]
    fn it_is_looked_up_again_after_30_seconds_and_sooner_without_an_answer() {
        let name = Name::new("app.internal", 80);
        assert_eq!(name.due(), 0);
        name.note(Ok(addresses(&["192.0.2.1:80"])), SECOND);
        assert_eq!(name.due(), 31 * SECOND);
        name.note(Err("no".into()), 2 * SECOND);
        assert_eq!(name.due(), 7 * SECOND);
    }

    #[test]
    fn a_backend_that_refuses_is_looked_for_elsewhere_but_not_without_end() {
        let name = Name::new("app.internal", 80);
        name.note(Ok(addresses(&["192.0.2.1:80"])), SECOND);
        assert!(!name.doubt(2 * SECOND), "it was answered just now");
        assert!(name.doubt(4 * SECOND));
        assert_eq!(name.due(), 4 * SECOND);
        assert!(!name.doubt(4 * SECOND), "it is due already");
        name.begin();
        assert!(!name.doubt(9 * SECOND), "it is being looked up");
    }

    #[test]
    fn the_system_is_asked_and_those_that_are_known_are_not_asked_for() {
        let (new, known) = (Arc::new(Name::new("localhost", 80)), Arc::new(Name::new("localhost", 81)));
        known.note(Err("no".into()), SECOND);
        first([new.clone(), known.clone()].into_iter(), Duration::from_secs(10), 2 * SECOND);
        assert!(!new.found().addresses.is_empty());
        assert!(new.found().addresses.iter().all(|found| found.ip().is_loopback() && found.port() == 80));
        assert_eq!(known.due(), 6 * SECOND);
    }
}
