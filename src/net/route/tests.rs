//! Routes in the kernel.

use super::*;
use crate::config::InterfaceAddress;
use crate::net::isolated::{isolated, make_link, remove_link};
use crate::net::link::{self, Settings};
use crate::net::{address, path};

const RANGES: [&str; 4] = ["10.30.0.0/16", "fd30::/48", "0.0.0.0/0", "::/0"];

fn prefix(text: &str) -> Prefix {
    text.parse().unwrap()
}

/// An address in each of [`RANGES`].
fn inside(range: &str) -> std::net::SocketAddr {
    let address = if range.contains(':') { "[fd30::1]:1" } else { "10.30.0.1:1" };
    address.parse().unwrap()
}

/// Adds a route that somebody else made.
fn add_foreign(route: Route) {
    let mut message = message(route);
    message.header.protocol = RouteProtocol::Static;
    netlink::change(RouteNetlinkMessage::NewRoute(message), NLM_F_CREATE | NLM_F_EXCL).unwrap();
}

#[test]
fn routes_come_are_listed_and_go() {
    isolated(|| {
        let index = make_link("wg0");
        for range in RANGES.map(prefix) {
            for table in [MAIN, 51_820] {
                for route in [Route::link(range, table, index), Route::guard(range, table)] {
                    assert!(add(route).unwrap(), "{route:?}");
                    assert!(!add(route).unwrap(), "{route:?} was there");
                    assert_eq!(list(PROTOCOL).unwrap(), [route]);
                    assert!(remove(route).unwrap());
                    assert!(!remove(route).unwrap(), "{route:?} is gone");
                    assert_eq!(list(PROTOCOL).unwrap(), []);
                }
            }
        }
    });
}

#[test]
fn a_metric_of_zero_is_that_of_the_kernel() {
    isolated(|| {
        let index = make_link("wg0");
        for (range, metric) in [("10.30.0.0/16", 0), ("fd30::/48", 1024)] {
            let route = Route { destination: prefix(range), table: MAIN, metric: 0, to: Target::Link(index) };
            assert!(add(route).unwrap());
            assert!(!add(route).unwrap());
            assert_eq!(list(PROTOCOL).unwrap(), [Route { metric, ..route }]);
            assert!(remove(route).unwrap());
        }
    });
}

#[test]
fn a_guard_takes_over_when_the_link_goes() {
    isolated(|| {
        let other = make_link("eth0");
        for range in RANGES {
            // Where packets would leak to if there were no guard.
            for any in ["0.0.0.0/0", "::/0"] {
                add_foreign(Route { metric: 5_000, ..Route::link(prefix(any), MAIN, other) });
            }
            link::set(other, &Settings { mtu: Some(1500), ..Settings::default() }).unwrap();
            let index = make_link("wg0");
            link::set(index, &Settings { mtu: Some(1420), ..Settings::default() }).unwrap();
            let guard = Route::guard(prefix(range), MAIN);
            add(guard).unwrap();
            add(Route::link(prefix(range), MAIN, index)).unwrap();
            assert_eq!(path::mtu(inside(range), 0).unwrap(), 1420, "the link goes first: {range}");
            remove_link(index);
            assert_eq!(list(PROTOCOL).unwrap(), [guard]);
            let default = range.ends_with("/0");
            let leak = path::mtu(inside(range), 0).map_err(|error| error.raw_os_error());
            // Beside a default route of another's in the same table it comes too late: that has to be in another table.
            assert_eq!(leak, if default { Ok(1500) } else { Err(Some(libc::EHOSTUNREACH)) }, "{range}");
            for any in ["0.0.0.0/0", "::/0"] {
                let mut foreign = message(Route { metric: 5_000, ..Route::link(prefix(any), MAIN, other) });
                foreign.header.protocol = RouteProtocol::Static;
                netlink::change(RouteNetlinkMessage::DelRoute(foreign), 0).unwrap();
            }
            let closed = path::mtu(inside(range), 0).unwrap_err();
            assert_eq!(closed.raw_os_error(), Some(libc::EHOSTUNREACH), "{range}");
            remove(guard).unwrap();
        }
    });
}

#[test]
fn a_guard_is_taken_away_without_the_route_before_it() {
    isolated(|| {
        let index = make_link("wg0");
        for range in RANGES.map(prefix) {
            let same = Route { to: Target::Link(index), ..Route::guard(range, MAIN) };
            for route in [Route::link(range, MAIN, index), same] {
                add(route).unwrap();
                assert!(!remove(Route::guard(range, MAIN)).unwrap(), "there is none");
                assert_eq!(list(PROTOCOL).unwrap(), [route]);
                remove(route).unwrap();
            }
        }
    });
}

#[test]
fn another_route_with_the_same_metric_is_an_error() {
    isolated(|| {
        let [ours, other] = ["wg0", "wg1"].map(make_link);
        for range in RANGES.map(prefix) {
            add(Route::link(range, MAIN, other)).unwrap();
            let error = add(Route::link(range, MAIN, ours)).unwrap_err();
            assert_eq!(netlink::errno(&error), Some(libc::EEXIST));
            remove(Route::link(range, MAIN, other)).unwrap();
        }
    });
}

#[test]
fn routes_of_others_are_used_but_never_taken_away() {
    isolated(|| {
        let index = make_link("wg0");
        for range in RANGES.map(prefix) {
            for route in [Route::link(range, MAIN, index), Route::guard(range, MAIN)] {
                add_foreign(route);
                assert!(!add(route).unwrap(), "{route:?} was there");
                assert!(!remove(route).unwrap(), "{route:?} is not ours");
                assert!(exists(route).unwrap());
            }
        }
        assert_eq!(list(PROTOCOL).unwrap(), []);
    });
}

#[test]
fn the_kernels_own_route_to_the_network_of_an_interface_will_do() {
    isolated(|| {
        let index = make_link("wg0");
        let own = InterfaceAddress { address: "10.20.0.1".parse().unwrap(), prefix_len: 24 };
        address::add(index, own).unwrap();
        let route = Route::link(prefix("10.20.0.0/24"), MAIN, index);
        assert!(!add(route).unwrap());
        assert!(!remove(route).unwrap());
    });
}

#[test]
fn a_route_to_a_link_that_is_not_there_is_an_error() {
    isolated(|| {
        for range in RANGES.map(prefix) {
            let error = add(Route::link(range, MAIN, 99)).unwrap_err();
            assert_eq!(netlink::errno(&error), Some(libc::ENODEV));
            assert!(!remove(Route::link(range, MAIN, 99)).unwrap());
        }
    });
}
