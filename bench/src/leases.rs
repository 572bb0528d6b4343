//! What leases of clients cost.

mod api;
mod threads;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant, SystemTime};

use adit::store::{Change, Done, Embedded, Enrol, Error, Pool, Proof, Range, Settings, Store, Token, Wall};
use adit_noise::{PresharedKey, PublicKey};
use adit_wireguard::{AllowedIps, PeerId, Prefix};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

pub use api::api;

/// Memory for pages of the store, as the daemon has it.
const CACHE: usize = 16 << 20;
const DAY: Wall = 86_400;

type Answered = Result<Done, Error>;

fn now() -> Wall {
    SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs())
}

fn open(path: &Path, (first, last): (Ipv4Addr, Ipv4Addr)) -> Result<Arc<Embedded>> {
    ensure!(!path.exists(), "{} is there already", path.display());
    let settings = Settings { pool: Pool { v4: Some(Range { first, last }), v6: None }, cache: CACHE };
    Ok(Arc::new(Embedded::open(path, &settings, now())?))
}

/// The whole of 10/8.
fn large() -> (Ipv4Addr, Ipv4Addr) {
    (Ipv4Addr::new(10, 0, 0, 2), Ipv4Addr::new(10, 255, 255, 254))
}

/// A client of a number, with a key that nobody has.
fn enrol(number: u32, proof: Proof, until: Wall) -> Change {
    let mut key = [0x55; 32];
    key[..4].copy_from_slice(&number.to_le_bytes());
    let renewal = Token::random().map(|token| token.digest());
    Change::Enrol(Enrol {
        proof,
        key: PublicKey::from_bytes(key),
        reserved: false,
        preshared: PresharedKey::from_bytes(key),
        until,
        renewal: renewal.expect("the system has random bytes"),
    })
}

fn by_certificate(number: u32) -> Proof {
    let identity = format!("client-{number}").parse().expect("a name that clients can have");
    Proof::Certificate { identity, marks: vec![7; 32] }
}

/// Makes `count` changes, `abreast` of them under way at a time.
fn make(store: &Embedded, count: u32, abreast: u32, change: impl Fn(u32) -> Change) -> Result<Duration> {
    let (done, answers): (Sender<Answered>, Receiver<Answered>) = channel();
    let begun = Instant::now();
    for number in 0..count + abreast.min(count) {
        if number >= abreast.min(count) {
            answers.recv().context("the store ended")??;
        }
        if number < count {
            let done = done.clone();
            store.submit(change(number), now(), Box::new(move |answer| drop(done.send(answer))));
        }
    }
    Ok(begun.elapsed())
}

/// Writes a store of `count` leases, of which the first of `soon` end at its second.
///
/// # Errors
/// The store failed.
pub fn fill(path: &Path, count: u32, soon: (u32, Wall), pool: (Ipv4Addr, Ipv4Addr)) -> Result<Value> {
    let (store, later) = (open(path, pool)?, now() + DAY);
    let until = |number| if number < soon.0 { soon.1 } else { later };
    let took = make(&store, count, 1_024, |number| enrol(number, by_certificate(number), until(number)))?;
    Ok(json!({ "leases": count, "seconds": took.as_secs_f64() }))
}

/// Enrolments a second of the store alone.
///
/// # Errors
/// The store failed.
pub fn store(folder: &Path, count: u32, abreast: u32) -> Result<Value> {
    let path = folder.join(format!("leases-{}.redb", std::process::id()));
    let opened = open(&path, large())?;
    let later = now() + DAY;
    let took = make(&opened, count, abreast, |number| enrol(number, by_certificate(number), later));
    drop(opened);
    std::fs::remove_file(&path)?;
    let seconds = took?.as_secs_f64();
    Ok(json!({ "figure": "store", "abreast": abreast, "count": count, "rate": f64::from(count) / seconds }))
}

/// What it costs to copy the table of whose each address is, and to drop the copy of before: once for each change.
///
/// # Errors
/// None.
pub fn routes(count: u32) -> Result<Value> {
    let mut table = AllowedIps::new();
    for number in 0..count {
        let v4 = IpAddr::from(Ipv4Addr::from_bits(0x0a00_0000 + number));
        let v6 = IpAddr::from(Ipv6Addr::from_bits((0xfd09_u128 << 112) + u128::from(number)));
        let peer = PeerId::new(number);
        table.insert(Prefix::from(v4), peer);
        table.insert(Prefix::from(v6), peer);
    }
    let mut published = Arc::new(table.clone());
    let mut times: Vec<_> = (0..101)
        .map(|_| {
            let begun = Instant::now();
            published = Arc::new(table.clone());
            begun.elapsed()
        })
        .collect();
    times.sort_unstable();
    ensure!(published.lookup(IpAddr::from(Ipv4Addr::new(10, 0, 0, 0))).is_some(), "the copy is empty");
    let micros = |time: &Duration| time.as_secs_f64() * 1e6;
    let (median, most) = (times.get(50).map(micros), times.last().map(micros));
    Ok(json!({ "figure": "routes", "leases": count, "median_us": median, "most_us": most }))
}
