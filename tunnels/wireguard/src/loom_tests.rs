//! What threads share, in every order that the memory model allows.

use std::sync::Arc as StdArc;

use adit_aead::{Algorithm, Secret};
use adit_noise::Time;
use loom::sync::Arc;
use loom::thread;

use crate::{Keys, PeerId, Published, Session, Traffic};

/// Two writers and a reader that keeps a view. What is read was published, and in the end it is the last.
#[test]
fn a_view_ends_up_with_what_was_published_last() {
    loom::model(|| {
        let published = Arc::new(Published::new(0_u32));
        let writer = |value| {
            let published = Arc::clone(&published);
            thread::spawn(move || published.set(value))
        };
        let mut view = published.view();
        let writers = [writer(1), writer(2)];
        let early = view.read(&published);
        assert!(early <= 2);
        for writer in writers {
            writer.join().unwrap();
        }
        let last = published.get();
        assert!(last == 1 || last == 2);
        assert_eq!(view.read(&published), last);
    });
}

/// One writer, whose values grow: a reader never sees a smaller one again.
#[test]
fn a_view_never_goes_back() {
    loom::model(|| {
        let published = Arc::new(Published::new(0_u32));
        let mut view = published.view();
        let writer = thread::spawn({
            let published = Arc::clone(&published);
            move || {
                published.set(1);
                published.set(2);
            }
        });
        let first = view.read(&published);
        let second = view.read(&published);
        assert!(first <= second);
        writer.join().unwrap();
        assert_eq!(view.read(&published), 2);
    });
}

/// The control half changes part of an endpoint while a worker sees the peer roam: the roaming is not undone.
#[test]
fn a_change_does_not_undo_what_another_published() {
    loom::model(|| {
        let published = Arc::new(Published::new(1_u32));
        let roaming = thread::spawn({
            let published = Arc::clone(&published);
            move || published.set(5)
        });
        published.update(|value| value + 1);
        roaming.join().unwrap();
        assert!([5, 6].contains(&published.get()));
    });
}

fn traffic() -> Traffic {
    Traffic::new(PeerId::new(0), None)
}

/// Two workers open the first packets of a session at once: one of them tells the control half.
#[test]
fn a_session_is_confirmed_once() {
    loom::model(|| {
        let keys = Keys {
            send: Secret::from([1; 32]),
            receive: Secret::from([2; 32]),
            algorithm: Algorithm::ChaCha20Poly1305,
        };
        let born = Time::from_secs(1);
        let session = Arc::new(Session::new(StdArc::new(traffic()), &keys, 1, 2, false, born));
        let other = thread::spawn({
            let session = Arc::clone(&session);
            move || session.confirm()
        });
        let mine = session.confirm();
        let theirs = other.join().unwrap();
        assert!(mine ^ theirs);
        assert!(!session.confirm());
    });
}

/// Two workers find a session stale at once: one of them tells the control half.
#[test]
fn a_handshake_is_wanted_once() {
    loom::model(|| {
        let traffic = Arc::new(traffic());
        let other = thread::spawn({
            let traffic = Arc::clone(&traffic);
            move || traffic.want_handshake()
        });
        let mine = traffic.want_handshake();
        let theirs = other.join().unwrap();
        assert!(mine ^ theirs);
        traffic.clear_want();
        assert!(traffic.want_handshake(), "a later wish is heard again");
    });
}

/// The wish is met while a worker wishes again. Whoever comes too early to be heard leaves the way free for the next.
#[test]
fn no_wish_is_lost_for_good() {
    loom::model(|| {
        let traffic = Arc::new(traffic());
        assert!(traffic.want_handshake());
        let control = thread::spawn({
            let traffic = Arc::clone(&traffic);
            move || traffic.clear_want()
        });
        let heard = traffic.want_handshake();
        control.join().unwrap();
        assert_eq!(traffic.want_handshake(), !heard);
    });
}
