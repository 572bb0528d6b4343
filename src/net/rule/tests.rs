//! Rules in the kernel.

use super::*;
use crate::net::isolated::{isolated, make_link};
use crate::net::link::{self, Settings};
use crate::net::path;
use crate::net::route::{self, Route};

const FAMILIES: [Family; 2] = [Family::V4, Family::V6];
const MARK: u32 = 51_820;

fn unmarked(table: u32) -> Kind {
    Kind::Unmarked { mark: MARK, table }
}

/// What the rules of a family say, in their order.
fn kinds(family: Family) -> Vec<Kind> {
    list().unwrap().into_iter().filter(|rule| rule.family == family).map(|rule| rule.kind).collect()
}

#[test]
fn rules_come_are_listed_and_go() {
    isolated(|| {
        for family in FAMILIES {
            for kind in [unmarked(7), unmarked(100_000), Kind::Specific] {
                let rule = Rule { family, kind };
                assert!(add(rule).unwrap(), "{rule:?}");
                assert!(!add(rule).unwrap(), "{rule:?} was there");
                assert_eq!(list().unwrap(), [rule]);
                assert!(remove(rule).unwrap());
                assert!(!remove(rule).unwrap(), "{rule:?} is gone");
                assert_eq!(list().unwrap(), []);
            }
        }
    });
}

#[test]
fn the_specific_routes_of_the_main_table_go_first_in_whatever_order_rules_come() {
    isolated(|| {
        for family in FAMILIES {
            for order in [[0, 1, 2], [0, 2, 1], [2, 0, 1]] {
                let rules = order.map(|at| [unmarked(7), unmarked(8), Kind::Specific][at]);
                for kind in rules {
                    add(Rule { family, kind }).unwrap();
                }
                assert_eq!(kinds(family).len(), 3);
                assert_eq!(kinds(family)[0], Kind::Specific, "{rules:?}");
                for kind in rules {
                    remove(Rule { family, kind }).unwrap();
                }
            }
        }
    });
}

#[test]
fn rules_of_others_do_not_count_and_stay() {
    isolated(|| {
        for family in FAMILIES {
            for kind in [unmarked(7), Kind::Specific] {
                let rule = Rule { family, kind };
                let mut foreign = message(rule, None);
                foreign.attributes.remove(0);
                netlink::change(RouteNetlinkMessage::NewRule(foreign.clone()), NLM_F_CREATE).unwrap();
                assert!(!remove(rule).unwrap());
                assert!(add(rule).unwrap());
                assert!(remove(rule).unwrap());
                netlink::change(RouteNetlinkMessage::DelRule(foreign), 0).unwrap();
            }
        }
    });
}

#[test]
fn a_default_route_into_a_tunnel_is_for_what_has_no_mark_and_no_other_route() {
    isolated(|| {
        let width = |name: &str, mtu: usize| {
            let index = make_link(name);
            link::set(index, &Settings { mtu: Some(mtu), ..Settings::default() }).unwrap();
            index
        };
        let [outside, inside] = [width("eth0", 1500), width("wg0", 1420)];
        for (any, near) in [("0.0.0.0/0", "192.0.2.0/24"), ("::/0", "2001:db8::/48")] {
            route::add(Route { metric: 10, ..Route::link(any.parse().unwrap(), MAIN, outside) }).unwrap();
            route::add(Route::link(near.parse().unwrap(), MAIN, outside)).unwrap();
            route::add(Route::link(any.parse().unwrap(), MARK, inside)).unwrap();
        }
        for family in FAMILIES {
            for kind in [unmarked(MARK), Kind::Specific] {
                add(Rule { family, kind }).unwrap();
            }
        }
        for (far, near) in [("198.51.100.1:1", "192.0.2.1:1"), ("[2001:db9::1]:1", "[2001:db8::1]:1")] {
            let path = |remote: &str, mark| path::mtu(remote.parse().unwrap(), mark).unwrap();
            assert_eq!(path(far, 0), 1420, "into the tunnel");
            assert_eq!(path(far, MARK), 1500, "of the tunnel");
            assert_eq!(path(near, 0), 1500, "near by");
        }
    });
}

#[test]
fn the_way_back_can_be_looked_up_by_mark() {
    isolated(|| {
        assert!(set_src_valid_mark().unwrap());
        assert!(!set_src_valid_mark().unwrap(), "it was on");
    });
}
