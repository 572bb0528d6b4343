//! Two tunnels under any sequence of what their callers can do.

use std::net::SocketAddr;
use std::time::Duration;

use adit_noise::{PresharedKey, Time};
use adit_wireguard::{Cipher, PeerChange, PeerError, PeerId, Prefix};

use crate::damage::damage;
use crate::party::{Party, address, now};
use crate::{Input, keys};

/// Calls of one scenario at most.
const CALLS: usize = 100;
/// Datagrams on their way at most; the oldest are lost.
const WIRE: usize = 64;

/// Both parties know each other and where the other is; then the bytes decide. What must hold is said in
/// `party.rs` and looked at after every call.
pub fn wireguard_tunnel(data: &[u8]) {
    let mut input = Input::new(data);
    let mut world = World::new();
    for _ in 0..CALLS {
        if input.is_empty() {
            break;
        }
        world.call(&mut input);
    }
    world.end();
}

struct World {
    parties: [Party; 2],
    at: Time,
}

impl World {
    fn new() -> Self {
        let at = Time::from_secs(1_000);
        let mut parties = [(); 2].map(|()| Party::new(Cipher::default()));
        for (me, party) in parties.iter_mut().enumerate() {
            party.tunnel.set_private_key(Some(keys::private(me)), now(at));
            party.tunnel.set_up(true, now(at));
            party.up = true;
            let change = PeerChange { endpoint: Some(address(1 - me)), ..PeerChange::default() };
            let id = party.tunnel.change_peer(&keys::public(1 - me), change, now(at));
            assert_eq!(id, Ok(Some(PeerId::new(0))));
            party.settle();
        }
        Self { parties, at }
    }

    /// One call to one party.
    fn call(&mut self, input: &mut Input<'_>) {
        let operation = input.byte();
        let me = usize::from(operation >> 7);
        let (party, at) = (&mut self.parties[me], self.at);
        match operation & 15 {
            0 => self.pass(Duration::from_millis(u64::from(input.word()) * 4)),
            1 | 2 => {
                let (len, id) = (1 + input.below(64) * 32, peer(input));
                party.send(id, &vec![0x45; len], at);
            }
            3 => {
                let id = peer(input);
                party.tunnel.handle_want(id, now(at));
            }
            4..=7 => self.deliver(me, input),
            8 => configure(party, input, at),
            9 => {
                let key = input.one(&[Some(me), Some(me), Some(2), None]);
                party.tunnel.set_private_key(key.map(keys::private), now(at));
            }
            10 => {
                party.up = input.flag();
                party.tunnel.set_up(party.up, now(at));
            }
            11 => {
                let len = input.byte().into();
                let datagram = input.bytes(len);
                party.receive(address(2), datagram, false, at);
            }
            12 => {
                let index = party.sessions.keys().nth(input.below(4)).copied();
                let index = index.unwrap_or_else(|| input.long());
                // A note that comes late, or of a session that was sent with before.
                party.tunnel.handle_confirmed(index, now(at));
            }
            // Until the other does it too, neither takes the other's messages.
            13 if operation & 64 != 0 => party.tunnel.set_cipher(input.one(&Cipher::ALL), now(at)),
            13 => {
                party.mtu = input.word().into();
                party.tunnel.set_mtu(party.mtu);
            }
            14 => {
                let (len, id) = (1 + input.below(64) * 32, peer(input));
                for _ in 0..input.byte() {
                    party.unsent(id, &vec![0x60; len], at);
                }
            }
            _ => party.tunnel.handle_timeout(now(at)),
        }
        for party in &mut self.parties {
            party.settle();
            let lost = party.wire.len().saturating_sub(WIRE);
            party.wire.drain(..lost);
        }
    }

    /// Lets time pass, deadline by deadline.
    fn pass(&mut self, time: Duration) {
        let end = self.at + time;
        for _ in 0..1_000 {
            let due = self.parties.iter().filter_map(|party| party.tunnel.poll_timeout()).min();
            let Some(due) = due.filter(|due| *due <= end) else {
                self.at = end;
                return;
            };
            self.at = self.at.max(due);
            for party in &mut self.parties {
                party.tick(self.at);
            }
        }
        panic!("the parties never rest");
    }

    /// A datagram of the other arrives at `me`: lost, damaged, doubled, late or from elsewhere, as it comes.
    fn deliver(&mut self, me: usize, input: &mut Input<'_>) {
        let how = input.byte();
        let wire = &mut self.parties[1 - me].wire;
        let at = if how & 0x40 == 0 { 0 } else { input.below(wire.len().max(1)) };
        let Some((_, mut datagram)) = wire.remove(at) else { return };
        match how & 7 {
            0 => return,
            1 => damage(&mut datagram, input),
            2 => wire.push_back((address(me), datagram.clone())),
            _ => {}
        }
        let from: SocketAddr = if how & 8 == 0 { address(1 - me) } else { address(3) };
        self.parties[me].receive(from, &datagram, how & 0x30 == 0x30, self.at);
    }

    /// Everything taken away leaves nothing behind.
    fn end(&mut self) {
        for party in &mut self.parties {
            party.tunnel.remove_all_peers();
            party.settle();
            assert!(party.peers.is_empty() && party.sessions.is_empty() && party.current.is_empty());
            assert_eq!((party.waiting, party.tunnel.poll_timeout()), (0, None));
        }
    }
}

/// One of the first peers.
fn peer(input: &mut Input<'_>) -> PeerId {
    PeerId::new(input.below(4) as u32)
}

fn configure(party: &mut Party, input: &mut Input<'_>, at: Time) {
    let what = input.byte();
    let key = keys::public(input.below(keys::PARTIES));
    match what & 15 {
        0 => return party.tunnel.remove_all_peers(),
        1..=3 => return party.tunnel.remove_peer(&key),
        _ => {}
    }
    let change = PeerChange {
        update_only: what & 0x10 != 0,
        preshared_key: input.flag().then(|| PresharedKey::from_bytes([input.byte() & 1; 32])),
        endpoint: input.flag().then(|| address(input.below(4))),
        persistent_keepalive: input.flag().then(|| input.word()),
        replace_allowed_ips: what & 0x20 != 0,
        allowed_ips: (0..input.below(4))
            .filter_map(|_| {
                let (add, [a, b], length) = (input.flag(), input.array(), input.byte());
                Some((add, Prefix::new([10, a, b, 0].into(), length).ok()?))
            })
            .collect(),
    };
    let own = party.tunnel.private_key().map(adit_noise::PrivateKey::public);
    match party.tunnel.change_peer(&key, change, now(at)) {
        Ok(id) => assert!(id.is_some() || what & 0x10 != 0),
        Err(error) => assert!(error == PeerError::OwnKey && own == Some(key)),
    }
}
