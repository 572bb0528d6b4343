//! Which backend gets a connection.

use super::*;

use choice::Route as _;

/// A route to unix sockets of these names.
fn to(names: &[&str], settings: Settings) -> Arc<Route> {
    let target = |name: &&str| Target::Address(BackendAddress::Unix(std::path::Path::new(name).into()));
    let targets: Vec<_> = names.iter().map(target).collect();
    Arc::new(Route::new("web", settings, &targets, None, &Arc::default()))
}

fn route(name: &str) -> Arc<Route> {
    let target = Target::Address(BackendAddress::Unix(std::path::Path::new("/run/app.sock").into()));
    Arc::new(Route::new(name, Settings::default(), &[target], None, &Arc::default()))
}

fn checked() -> Settings {
    let seconds = Duration::from_secs;
    let check = Check { every: seconds(2), timeout: seconds(1), rise: 1, fall: 1, http: None };
    Settings { check: Some(check), ..Settings::default() }
}

/// Has a check of one of its backends fail, or succeed.
fn note(route: &Route, at: usize, outcome: Result<(), String>, now: u64) {
    let check = route.settings.check.as_ref().unwrap();
    route.backends()[at].health.note(check, outcome, now, now);
}

/// The backends that a connection is offered while each refuses it.
fn refused_by_all(route: &Route) -> Vec<usize> {
    (0..)
        .map_while(|tried| route.backend(tried))
        .inspect(|backend| route.note(backend, BackendEvent::Refused))
        .map(|backend| backend.id)
        .collect()
}

fn patterns(names: &[&str]) -> Vec<Pattern> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

#[test]
fn a_name_finds_its_route_and_without_a_default_a_stranger_finds_none() {
    let mut routes = Routes::default();
    let (web, mail) = (route("web"), route("mail"));
    routes.add(&patterns(&["www.example.com", "example.com"]), &web).unwrap();
    routes.add(&patterns(&["*.example.com"]), &mail).unwrap();
    let found = |routes: &Routes, name| routes.find(name).map(|route| route.name.clone());
    assert_eq!(found(&routes, Some("WWW.example.com")).as_deref(), Some("web"));
    assert_eq!(found(&routes, Some("mail.example.com")).as_deref(), Some("mail"));
    assert_eq!((found(&routes, Some("example.org")), found(&routes, None)), (None, None));
    routes.add(&[], &web).unwrap();
    assert_eq!(found(&routes, None).as_deref(), Some("web"));
}

#[test]
fn two_routes_for_one_name_are_refused() {
    let mut routes = Routes::default();
    let route = route("web");
    routes.add(&patterns(&["a.example", "*.a.example"]), &route).unwrap();
    routes.add(&[], &route).unwrap();
    for (names, taken) in [
        (&["b.example", "A.example"][..], "a.example"),
        (&["*.a.example"], "*.a.example"),
        (&[], "every other name"),
    ] {
        assert_eq!(routes.add(&patterns(names), &route), Err(Taken(taken.to_owned())));
    }
}

#[test]
fn the_backend_with_the_fewest_connections_gets_the_next() {
    let route = to(&["/a", "/b", "/c"], Settings::default());
    let backends = route.backends();
    let mut given: Vec<_> = (0..6)
        .map(|_| route.backend(0).unwrap())
        .inspect(|backend| {
            route.note(backend, BackendEvent::Connected);
        })
        .collect();
    for upstream in &backends {
        assert_eq!(upstream.open(), 2);
    }
    let one = given.pop().unwrap();
    for _ in 0..2 {
        route.note(&one, BackendEvent::Closed { upward: 0, downward: 0, failure: None });
    }
    let next = [(); 2].map(|()| {
        let next = route.backend(0).unwrap();
        route.note(&next, BackendEvent::Connected);
        next.id
    });
    assert_eq!(next, [one.id; 2]);
    assert_eq!(backends.iter().map(|one| one.taken()).sum::<u64>(), 8);
}

#[test]
fn each_backend_is_tried_once_and_who_failed_is_avoided() {
    let route = to(&["/a", "/b", "/c"], Settings::default());
    let backends = route.backends();
    let all: Vec<_> = backends.iter().map(|backend| backend.id()).collect();
    for _ in 0..3 {
        let mut tried = refused_by_all(&route);
        tried.sort_unstable();
        assert_eq!(tried, all);
    }
    let back = Backend { address: backends[1].address.clone(), id: all[1] };
    route.note(&back, BackendEvent::Connected);
    assert!(!backends[1].is_failing() && backends[0].is_failing());
    for _ in 0..5 {
        assert_eq!(route.backend(0).unwrap().id, all[1], "with a connection more, but it works");
    }
    let later = clock::now().as_nanos() + crate::tls::upstream::REST.as_nanos() as u64;
    assert_ne!(route.best(&backends, later).unwrap().id(), all[1], "the others are tried again");
}

#[test]
fn who_is_down_gets_nothing_unless_all_are() {
    let route = to(&["/a", "/b", "/c"], checked());
    let ids: Vec<_> = route.backends().iter().map(|backend| backend.id()).collect();
    note(&route, 1, Err("no".into()), 1);
    let mut tried = refused_by_all(&route);
    tried.sort_unstable();
    assert_eq!(tried, [ids[0], ids[2]]);
    for at in [0, 2] {
        note(&route, at, Err("no".into()), 1);
    }
    let mut tried = refused_by_all(&route);
    tried.sort_unstable();
    assert_eq!(tried, ids, "all are down");
    note(&route, 1, Ok(()), 1);
    assert_eq!(refused_by_all(&route), [ids[1]], "though it has refused");
}

#[test]
fn without_checks_nobody_stays_down() {
    let old = to(&["/a", "/b"], checked());
    note(&old, 0, Err("no".into()), 1);
    let targets =
        ["/a", "/b"].map(|name| Target::Address(BackendAddress::Unix(std::path::Path::new(name).into())));
    let new = Route::new("web", Settings::default(), &targets, Some(&old), &Arc::default());
    assert!(Arc::ptr_eq(&new.backends()[0], &old.backends()[0]) && new.backends()[0].health.is_down());
    assert_eq!(refused_by_all(&new).len(), 2);
}

#[test]
fn who_has_just_come_up_gets_a_share_that_grows() {
    const SECOND: u64 = 1_000_000_000;
    let route = to(&["/a", "/b"], Settings { slow_start: Some(Duration::from_secs(10)), ..checked() });
    let backends = route.backends();
    note(&route, 0, Err("no".into()), SECOND);
    note(&route, 0, Ok(()), 100 * SECOND);
    let share = |second: u64| {
        let best = |_| route.best(&backends, second * SECOND).unwrap().id() == backends[0].id();
        (0..1000).filter(|turn| best(*turn)).count()
    };
    // Both are idle all the time, so half is a whole share.
    for (second, expected) in [(100, 25), (102, 100), (105, 250), (110, 500)] {
        assert!(share(second).abs_diff(expected) <= 20, "{} at {second}", share(second));
    }
}

#[test]
fn a_name_leads_to_all_of_its_addresses_and_what_is_known_of_them_is_kept() {
    let targets = [
        Target::Address(BackendAddress::Tcp("192.0.2.1:80".parse().unwrap())),
        Target::Name { host: "app.internal".into(), port: 80 },
    ];
    let route = Route::new("web", Settings::default(), &targets, None, &Arc::default());
    let addresses =
        |route: &Route| route.backends().iter().map(|one| one.address.to_string()).collect::<Vec<_>>();
    assert_eq!(addresses(&route), ["192.0.2.1:80"]);
    let name = route.names().next().unwrap().clone();
    let lead = |to: &[&str]| {
        name.note(Ok(to.iter().map(|text| text.parse().unwrap()).collect()), 1);
        route.refresh();
    };
    // One that is there by itself is not there twice.
    lead(&["192.0.2.1:80", "192.0.2.2:80", "192.0.2.3:80"]);
    assert_eq!(addresses(&route), ["192.0.2.1:80", "192.0.2.2:80", "192.0.2.3:80"]);
    let second = route.backends()[1].clone();
    let backend = Backend { address: second.address.clone(), id: second.id() };
    route.note(&backend, BackendEvent::Connected);
    lead(&["192.0.2.3:80"]);
    assert_eq!(addresses(&route), ["192.0.2.1:80", "192.0.2.3:80"]);
    lead(&["192.0.2.2:80"]);
    assert!(Arc::ptr_eq(&route.backends()[1], &second), "it had a connection all the time");
    lead(&["192.0.2.3:80"]);
    route.note(&backend, BackendEvent::Closed { upward: 0, downward: 0, failure: None });
    assert_eq!(second.open(), 0);
    lead(&["192.0.2.2:80"]);
    let again = Route::new("web", Settings::default(), &targets, Some(&route), &Arc::default());
    assert!(Arc::ptr_eq(again.names().next().unwrap(), &name));
    assert_eq!(addresses(&again), addresses(&route));
}
