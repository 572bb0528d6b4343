//! What is over of a super-packet that is too long for one train.

use std::net::Ipv4Addr;

use super::*;

/// Receives, sorts and opens what its socket holds.
struct Receiver {
    side: Side,
    sender: UdpSocket,
    carrier: Carrier,
    port: u16,
}

impl Receiver {
    fn new(side: Side) -> Self {
        let mut sockets = (0..2).map(|_| UdpSocket::bind(0, 1, 0, &Offloads::default()).unwrap().remove(0));
        let (sender, socket) = (sockets.next().unwrap(), sockets.next().unwrap());
        let (port, carrier) = (socket.port(), Carrier::Udp(Arc::new(socket)));
        Self { side, sender, carrier, port }
    }

    fn send(&self, datagrams: &[Vec<u8>]) {
        let path = Udp { remote: (Ipv4Addr::LOCALHOST, self.port).into(), local: None };
        self.sender.send(&path, &datagrams.concat(), datagrams[0].len(), Ecn::NotEct).unwrap();
    }

    /// One look at the socket; whether there was anything.
    fn turn(&mut self, receive: fn(&mut Inward<Table>, &Carrier) -> bool) -> bool {
        let Self { side, carrier, .. } = self;
        let (inward, context) = (&mut side.inward, &mut context!(side.table, side.tally, side.inbox));
        let any = receive(inward, carrier);
        if any {
            inward.sort(context);
            inward.open(context);
        }
        any
    }

    fn packets(&mut self) -> Vec<usize> {
        self.side.inward.writes().map(|(_, pieces)| pieces.concat().len()).collect()
    }
}

#[test]
fn the_rest_of_a_super_packet_that_comes_behind_a_full_train_is_delivered_with_it() {
    let (mut a, b) = Side::pair();
    let sent = tcp(46 * 1_380 + 100, 1_380);
    let datagrams = a.seal(std::slice::from_ref(&sent));
    let mut receiver = Receiver::new(b);
    receiver.send(&datagrams[..45]);
    assert!(receiver.turn(Inward::receive));
    receiver.send(&datagrams[45..]);
    assert!(receiver.turn(Inward::receive_rest));
    assert_eq!(receiver.packets(), [sent.1.len()]);
    assert_eq!(receiver.side.dropped(), 0);
    assert!(!receiver.turn(Inward::receive_rest), "nothing is behind a train that could have been longer");
}

#[test]
fn behind_a_train_that_could_have_been_longer_nothing_is_looked_for() {
    let (mut a, b) = Side::pair();
    let datagrams = a.seal(&[tcp(46 * 1_380, 1_380)]);
    let mut receiver = Receiver::new(b);
    receiver.send(&datagrams[..44]);
    assert!(receiver.turn(Inward::receive));
    receiver.send(&datagrams[44..]);
    assert!(!receiver.turn(Inward::receive_rest));
    assert!(receiver.turn(Inward::receive), "it is still there");
}
