//! Which connections are kept, how many, and for how long.

use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::UnixStream;
use tokio::task::{LocalSet, yield_now};

use super::*;
use crate::tls::http::counters::Counters;
use crate::tls::http::settings::Settings;
use crate::tls::socket::Socket;

const KEY: Key = (1, 1);
/// In a moment, however much else goes on.
const SOON: Duration = Duration::from_secs(10);

fn local<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, work)
}

fn backends(every: Duration) -> Rc<Backends> {
    let (kept, sweeping) = (RefCell::default(), Cell::new(false));
    Rc::new(Backends { kept, sweeping, every, pool: Pool::new(1) })
}

/// Rules by which so many are kept.
fn rules(backend_idle: usize) -> Arc<Rules> {
    let settings = Settings { backend_idle, ..Settings::default() };
    Arc::new(Rules { settings, counters: Arc::new(Counters::default()), others: Vec::new() })
}

/// A connection that is free, and its backend's end.
fn single() -> (Box<Single>, UnixStream) {
    let (near, far) = UnixStream::pair().unwrap();
    let (pool, activity) = (Pool::new(1), Rc::new(Activity::new()));
    let stream = Stream::new(Socket::unix(near), None, pool, activity);
    (Box::new(Single::new(stream)), far)
}

/// The same that many requests share.
async fn shared() -> (Shared, DuplexStream) {
    let (near, far) = duplex(4096);
    (Shared::begin(TokioIo::new(near), Rc::new(Activity::new()), SOON).await.unwrap(), far)
}

/// Whether a connection is closed; what is not closed by then will not be.
async fn is_closed(far: &mut (impl AsyncRead + Unpin), by: Duration) -> bool {
    timeout(by, far.read_to_end(&mut Vec::new())).await.is_ok()
}

async fn until(done: impl Fn() -> bool) {
    let waited = timeout(SOON, async {
        while !done() {
            sleep(Duration::from_millis(1)).await;
        }
    });
    waited.await.expect("it does not happen");
}

const MOMENT: Duration = Duration::from_millis(20);

#[test]
fn what_is_kept_is_closed_when_its_time_is_over() {
    local(async {
        let (backends, rules, begun) = (backends(SWEEP), rules(9), Instant::now());
        let (single, mut far) = single();
        backends.keep(KEY, &rules, single);
        assert!(backends.let_go(begun + KEPT - Duration::from_millis(1)));
        assert!(!is_closed(&mut far, MOMENT).await);
        assert!(!backends.let_go(Instant::now() + KEPT));
        assert!(is_closed(&mut far, SOON).await && backends.kept(KEY).is_none());
    });
}

#[test]
fn what_is_shared_is_closed_when_its_time_without_a_request_is_over() {
    local(async {
        let (backends, rules) = (backends(SWEEP), rules(9));
        let (shared, mut far) = shared().await;
        let slot = shared.slot();
        backends.share(KEY, &rules, shared);
        assert!(backends.let_go(Instant::now() + KEPT * 9), "it has a request");
        let rested = Instant::now();
        drop(slot);
        assert!(backends.let_go(rested + KEPT - Duration::from_millis(1)));
        assert!(!is_closed(&mut far, MOMENT).await);
        assert!(!backends.let_go(Instant::now() + KEPT));
        assert!(is_closed(&mut far, SOON).await && backends.kept(KEY).is_none());
    });
}

#[test]
fn what_is_shared_by_rules_that_are_gone_or_was_given_up_is_closed_at_once() {
    local(async {
        let (backends, old, new) = (backends(SWEEP), rules(9), rules(9));
        let (unwanted, mut far) = shared().await;
        backends.share(KEY, &old, unwanted);
        drop(old);
        let (failed, mut other) = shared().await;
        failed.slot().unwrap().load().fail();
        backends.share((1, 2), &new, failed);
        let (sound, _peer) = shared().await;
        backends.share((1, 3), &new, sound);
        assert!(backends.let_go(Instant::now()));
        assert!(is_closed(&mut far, SOON).await && is_closed(&mut other, SOON).await);
        assert!([(1, 1), (1, 2)].iter().all(|key| backends.kept(*key).is_none()));
        assert!(backends.kept((1, 3)).is_some());
    });
}

#[test]
fn a_connection_that_its_backend_ended_or_speaks_on_is_not_used_again_nor_kept() {
    local(async {
        let (backends, rules) = (backends(SWEEP), rules(9));
        let count = || backends.kept.borrow().get(&KEY).map_or(0, |kept| kept.single.len());
        let (there, mut far) = single();
        backends.keep(KEY, &rules, there);
        for speaks in [false, true] {
            for sweeps in [true, false] {
                let (ended, mut gone) = single();
                backends.keep(KEY, &rules, ended);
                assert_eq!(count(), 2);
                if speaks {
                    gone.write_all(b"HTTP/1.1 200 OK\r\n").await.unwrap();
                }
                let gone = Some(gone).filter(|_| speaks);
                sleep(MOMENT).await;
                if sweeps {
                    assert!(backends.let_go(Instant::now()));
                } else {
                    // The last that was kept would be the first, but for its end.
                    let Some(Connection::Single(used)) = backends.kept(KEY) else { panic!("there is one") };
                    assert_eq!(count(), 0);
                    backends.keep(KEY, &rules, used);
                }
                assert_eq!(count(), 1);
                if let Some(mut gone) = gone {
                    assert!(is_closed(&mut gone, SOON).await);
                }
            }
        }
        assert!(!is_closed(&mut far, MOMENT).await);
    });
}

#[test]
fn no_more_are_kept_than_may_be_and_the_oldest_has_to_go() {
    local(async {
        let (backends, two, none) = (backends(SWEEP), rules(2), rules(0));
        let mut ends = Vec::new();
        for _ in 0..3 {
            let (single, far) = single();
            backends.keep(KEY, &two, single);
            ends.push(far);
        }
        assert!(is_closed(&mut ends[0], SOON).await);
        assert!(!is_closed(&mut ends[1], MOMENT).await && !is_closed(&mut ends[2], MOMENT).await);
        let (single, mut far) = single();
        backends.keep((1, 2), &none, single);
        assert!(is_closed(&mut far, SOON).await && backends.kept((1, 2)).is_none());
    });
}

#[test]
fn it_is_looked_as_long_as_anything_is_kept_and_again_when_something_is() {
    local(async {
        let (backends, rules) = (backends(Duration::from_millis(2)), rules(9));
        for many in [false, true, false] {
            assert!(!backends.sweeping.get() && backends.kept.borrow().is_empty());
            let ends: (Option<DuplexStream>, Option<UnixStream>) = if many {
                let (shared, far) = shared().await;
                backends.share(KEY, &rules, shared);
                (Some(far), None)
            } else {
                let (single, far) = single();
                backends.keep(KEY, &rules, single);
                (None, Some(far))
            };
            sleep(MOMENT).await;
            assert!(backends.sweeping.get() && !backends.kept.borrow().is_empty());
            drop(ends);
            until(|| !backends.sweeping.get()).await;
        }
    });
}

#[test]
fn a_connection_may_come_back_while_its_thread_ends() {
    let backends = backends(SWEEP);
    let (kept, rules) = (backends.clone(), rules(9));
    let far = local(async {
        let (single, far) = single();
        let lease = Lease { single: Some(single), key: KEY, rules, backends: kept };
        spawn_local(async move {
            let _lease = lease;
            std::future::pending::<()>().await;
        });
        yield_now().await;
        assert!(!backends.sweeping.get());
        far
    });
    assert!(backends.sweeping.get() && backends.kept.borrow()[&KEY].single.len() == 1);
    drop(far);
}

#[test]
fn what_came_unasked_is_seen_however_much_was_read_and_done_before() {
    local(async {
        for exhausted in [false, true] {
            let (near, mut far) = UnixStream::pair().unwrap();
            let mut stream = Stream::new(Socket::unix(near), None, Pool::new(1), Rc::new(Activity::new()));
            // As many reads as may follow each other.
            for _ in 0..if exhausted { 3 } else { 16 } {
                far.write_all(b"x").await.unwrap();
                std::future::poll_fn(|cx| stream.poll_fill(cx)).await.unwrap();
                stream.consume(1);
            }
            let mut single = Single::new(stream);
            far.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
            sleep(MOMENT).await;
            let spend = || {
                let spent = std::pin::pin!(tokio::task::consume_budget());
                spent.poll(&mut Context::from_waker(std::task::Waker::noop()))
            };
            while exhausted && spend().is_ready() {}
            assert!(!single.is_free(), "{exhausted}");
        }
    });
}

#[test]
fn an_answer_is_heard_of_a_backend_that_hears_no_more() {
    local(async {
        let (mut single, mut far) = single();
        far.write_all(b"HTTP/1.1 413 Too Long\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        drop(far);
        let mut request = Request::new(RequestBody::none());
        let head = timeout(SOON, single.ask(&mut request)).await.unwrap();
        assert_eq!(
            head.map(|head| head.status.as_u16()).map_err(|unheard| unheard.mistake.to_string()),
            Ok(413)
        );
    });
}

#[test]
fn a_request_that_was_answered_early_is_sent_to_its_end_before_the_connection_is_free() {
    // What is left waits to be written, or was written and waits for room.
    for length in [250_000, 1_000_000] {
        local(async {
            let (mut single, mut far) = single();
            far.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\no").await.unwrap();
            let mut request = Request::new(RequestBody::none());
            let long = hyper::header::HeaderValue::from_str(&"x".repeat(length)).unwrap();
            request.headers_mut().insert("x", long);
            assert!(single.ask(&mut request).await.is_ok_and(|head| head.status == 200));
            single.goes_on(request.body_mut());
            let reading = tokio::task::spawn_local(async move {
                let mut came = Vec::new();
                while !came.ends_with(b"\r\n\r\n") {
                    assert!(far.read_buf(&mut came).await.unwrap() > 0);
                }
                far.write_all(b"k").await.unwrap();
                (came.len(), far)
            });
            for expected in ["o", "k"] {
                let next = timeout(SOON, next(&mut single)).await.unwrap();
                assert_eq!(next.unwrap().unwrap().into_data().unwrap(), expected);
                assert_eq!(single.is_free(), expected == "k");
            }
            assert!(reading.await.unwrap().0 > length);
        });
    }
}

/// The next of an answer's content, while the rest of its request is sent.
async fn next(single: &mut Single) -> Option<Result<Frame<Bytes>, Mistake>> {
    let next = std::future::poll_fn(|cx| {
        let _ = single.poll_rest(cx);
        single.poll_frame(cx)
    });
    next.await
}
