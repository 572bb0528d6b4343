//! A status with everything in it, for tests.

use super::macsec::{Association, Channel, KeyAgreement, Link, Udp};
use super::tls::{Backend, Certificate, ClientCertificates, Route};
use super::{
    Batches, Clients, Configuration, Macsec, OtherCipher, Owner, Peer, Privileges, SCHEMA, State, Status,
    Tls, Wireguard, Worker,
};

/// Every field is set, and nothing twice.
pub(crate) fn full() -> Status {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let warnings = || words(&["something is weaker than it could be"]);
    let worker = |at: u64| Worker {
        outward: Batches { packets: 100 + at, sizes: vec![1, 0, 2] },
        inward: Batches { packets: 200 + at, sizes: vec![at] },
    };
    let branch = Peer {
        name: Some("branch".to_owned()),
        public_key: "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=".to_owned(),
        owner: Owner::File,
        preshared_key: true,
        endpoint: Some("198.51.100.7:51820".to_owned()),
        endpoint_name: Some("branch.example.net:51820".to_owned()),
        allowed_ips: words(&["10.30.0.0/16", "fd30::/64"]),
        latest_handshake: Some(1_795_311_000.25),
        handshake_age: Some(42.5),
        trying_for: Some(3.5),
        persistent_keepalive: 25,
        received_bytes: 1 << 40,
        sent_bytes: 7,
        received_rate: Some(1_234.5),
        sent_rate: Some(0.0),
        path_mtu: Some(1_420),
        warnings: warnings(),
    };
    let wireguard = Wireguard {
        state: State::Up,
        public_key: Some("TrMvSoP4jYQlY6RIzBgbssQqY3vxI2Pi+y71lOWWXX0=".to_owned()),
        listen_port: 51_820,
        fwmark: 1,
        cipher: Some("aes-256-gcm".to_owned()),
        other_cipher: Some(OtherCipher {
            endpoint: "192.0.2.9:4711".to_owned(),
            cipher: "chacha20-poly1305".to_owned(),
            age: 4.5,
        }),
        mtu: 1_420,
        addresses: words(&["10.20.0.1/24", "fd20::1/64"]),
        fail_closed: true,
        offloads: words(&["udp_gso", "udp_gro"]),
        workers: vec![worker(0), worker(3)],
        handshake_queue: 4,
        handshakes: 17,
        drops: [("no_route".to_owned(), 9), ("of_the_future".to_owned(), 2)].into(),
        peers: vec![branch],
        warnings: warnings(),
    };
    Status {
        schema: SCHEMA,
        version: "0.1.0".to_owned(),
        name: "hq".to_owned(),
        pid: 4_711,
        started: 1_795_310_000.5,
        now: 1_795_311_042.75,
        configuration: Configuration {
            file: "/etc/adit/adit.toml".to_owned(),
            loaded: 1_795_310_001.0,
            reloads: 3,
            reloads_refused: 2,
            error: Some("line 3, column 1: what is this".to_owned()),
        },
        privileges: Privileges { user: "adit".to_owned(), capabilities: words(&["CAP_NET_ADMIN"]) },
        warnings: warnings(),
        wireguard: [("wg0".to_owned(), wireguard)].into(),
        macsec: [("uplink".to_owned(), link(worker(7), warnings()))].into(),
        tls: [("web".to_owned(), tls(warnings()))].into(),
        clients: [("wg0".to_owned(), clients(warnings()))].into(),
    }
}

fn clients(warnings: Vec<String>) -> Clients {
    Clients {
        listen: vec!["[::]:8443".to_owned()],
        leases: 3,
        capacity: 253,
        granted: 9,
        refused: 4,
        refusals: [("used_token".to_owned(), 4)].into(),
        lost: [("handshake".to_owned(), 2)].into(),
        expired: 5,
        ended: 1,
        warnings,
    }
}

fn tls(warnings: Vec<String>) -> Tls {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let backend = Backend {
        address: "127.0.0.1:8080".to_owned(),
        name: Some("app.internal".to_owned()),
        open: 1,
        connections: 60,
        failures: 7,
        failing: true,
        error: Some("Connection refused (os error 111)".to_owned()),
        checks: Some(super::tls::Checks {
            up: false,
            passed: 90,
            failed: 5,
            changes: 3,
            error: Some("GET /health: 503 Service Unavailable".to_owned()),
        }),
        share: Some(0.25),
    };
    let name = super::tls::Name {
        name: "app.internal:8080".to_owned(),
        addresses: 1,
        error: Some("no such host".to_owned()),
    };
    let http = super::tls::Http {
        requests: [("2xx".to_owned(), 11), ("4xx".to_owned(), 6)].into(),
        left: 8,
        retried: 14,
        seconds: 0.75,
        buckets: vec![9, 0, 0, 7, 0, 0, 1, 0, 0, 0, 0],
    };
    let route = Route {
        proxy_protocol: Some("v2".to_owned()),
        backend_tls: true,
        names: vec![name],
        sni: words(&["www.example.com"]),
        pass_through: true,
        http: Some(http),
        backends: vec![backend],
    };
    Tls {
        listen: words(&["[::]:443", "0.0.0.0:443"]),
        policy: "intermediate".to_owned(),
        alpn: words(&["http/1.1"]),
        client_certificates: Some(ClientCertificates {
            mode: "required".to_owned(),
            allow: words(&["dns:a.example.net"]),
            lists_until: Some(1_795_400_000.0),
        }),
        tickets: Some("file".to_owned()),
        certificates: vec![Certificate {
            file: "/etc/adit/www.pem".to_owned(),
            names: words(&["www.example.com", "*.example.com"]),
            until: 1_796_391_000.0,
            days_left: 12.5,
            stapled: true,
        }],
        routes: [("app".to_owned(), route)].into(),
        open: 3,
        connections: 70,
        full_handshakes: 40,
        resumed_handshakes: 20,
        passed_through: 5,
        turned_away: 2,
        received_bytes: 1_024,
        sent_bytes: 2_048,
        failures: [("handshake".to_owned(), 4)].into(),
        draining: false,
        access_log: Some(super::tls::AccessLog {
            file: "/var/log/adit/web.log".to_owned(),
            written: 65,
            lost: 2,
            error: Some("No space left on device (os error 28)".to_owned()),
        }),
        warnings,
    }
}

/// A link with every field set, though no link has all of them.
fn link(worker: Worker, warnings: Vec<String>) -> Macsec {
    let counters =
        |names: &[(&str, u64)]| names.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
    let channel = |name: &str, port: u64, counter: &str| Channel {
        name: Some(name.to_owned()),
        sci: format!("02:00:5e:10:00:01/{port}"),
        associations: vec![Association {
            an: 2,
            in_use: true,
            next_pn: 4_294_967_300 + port,
            lowest_pn: Some(4_294_967_290 + port),
            key_id: format!("{:032x}", 0xfeed + port),
            ssci: Some(1),
            age: 61.5,
            counters: counters(&[(counter, 30 + port)]),
        }],
        counters: counters(&[(counter, 40 + port)]),
    };
    Macsec {
        state: State::Up,
        tap: "msec0".to_owned(),
        bridge: Some("br0".to_owned()),
        mtu: 1_422,
        link: Some(Link {
            name: "eth1".to_owned(),
            up: true,
            guarded: true,
            held_back_in: 3,
            held_back_out: 4,
        }),
        udp: Some(Udp {
            listen_port: 4_790,
            fwmark: 7,
            endpoint: Some("198.51.100.9:4790".to_owned()),
            endpoint_name: Some("south.example.net:4790".to_owned()),
            path_mtu: Some(1_500),
        }),
        sci: Some("02:00:5e:10:00:01/1".to_owned()),
        cipher: "gcm-aes-256".to_owned(),
        integrity_only: true,
        confidentiality_offset: 30,
        validate: "check".to_owned(),
        replay_window: Some(64),
        sci_encoding: "included".to_owned(),
        clear_tags: 1,
        key_agreement: Some(KeyAgreement {
            public_key: "Jvs4v5T9nUOL59DgLbtcBTvIBBzJt4NkVGqmvcTTXzQ=".to_owned(),
            peer_public_key: "NfgG6ADqGy9NRLJWOsVyf8zbkqlvGuFVjkvS9jPdXHw=".to_owned(),
            preshared_key: true,
            handshakes: 19,
            handshake_queue: 5,
            latest_handshake: Some(1_795_311_001.25),
            handshake_age: Some(41.5),
            trying_for: Some(1.5),
            heard: Some(0.25),
            disagreement: Some("the peer has another cipher".to_owned()),
        }),
        transmit: channel("us", 1, "OutPktsEncrypted"),
        receive: vec![channel("south", 2, "InPktsOK")],
        counters: counters(&[("InPktsNoTag", 6)]),
        offloads: vec!["tun_tso".to_owned()],
        workers: vec![worker],
        drops: [("late".to_owned(), 8)].into(),
        warnings,
    }
}
