//! What the listeners of one `[tls.NAME]` go by: all of it is replaced at once, and a connection gets all of the old or all of
//! the new.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use adit_wireguard::Prefix;
use arc_swap::ArcSwap;

use super::access_log::AccessLog;
use super::choice::{Alert, Choice, Choose};
use super::hello::ClientHello;
use super::limits::{self, Limit, Limits};
use super::policy::Server;
use super::routes::{Route, Routes};
use crate::clock;

/// Who gets a connection, and how TLS ends.
#[derive(Debug, Default)]
pub struct Rules {
    /// By which TLS ends; absent if every route passes it through.
    pub server: Option<Arc<Server>>,
    /// The same for routes in HTTP mode, which offer its versions.
    pub http: Option<Arc<Server>>,
    /// The port that clients who come in clear are sent to.
    pub https: u16,
    /// By names of servers.
    pub by_name: Routes,
    /// By their own names.
    pub routes: BTreeMap<String, Arc<Route>>,
    /// Who passes connections on, with a PROXY header ahead of each.
    pub accept_proxy: Vec<Prefix>,
    /// How many connections there may be.
    pub limits: limits::Settings,
    /// How long a handshake may take.
    pub handshake: Option<Duration>,
    /// Where connections are taken down.
    pub access_log: Option<Arc<AccessLog>>,
}

/// What listeners ask.
#[derive(Default)]
pub struct Front {
    rules: ArcSwap<Rules>,
    limits: Limits,
}

impl Front {
    /// A front with these rules.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self { rules: ArcSwap::from_pointee(rules), limits: Limits::default() }
    }

    /// Goes by others from now on. Connections that are there stay as they are, but that those in HTTP mode end once they may
    /// if their route is another.
    pub fn replace(&self, rules: Rules) {
        let before = self.rules.swap(Arc::new(rules));
        let now = self.rules.load();
        for (name, route) in &before.routes {
            if !now.routes.get(name).is_some_and(|kept| Arc::ptr_eq(kept, route)) {
                route.retire();
            }
        }
    }

    /// Those that it goes by.
    #[must_use]
    pub fn rules(&self) -> Arc<Rules> {
        self.rules.load_full()
    }
}

impl Choose for Front {
    fn arrives(&self) -> Result<(), Limit> {
        self.limits.arrives(&self.rules.load().limits)
    }

    fn expects_proxy(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.rules.load().accept_proxy.iter().any(|trusted| trusted.contains(peer))
    }

    fn introduce(&self, client: IpAddr) -> Result<bool, Limit> {
        let rules = self.rules.load();
        if rules.limits.is_by_address() {
            return self.limits.introduce(&rules.limits, client, clock::now().as_nanos());
        }
        Ok(false)
    }

    fn left(&self, counted: Option<IpAddr>) {
        self.limits.left();
        if let Some(client) = counted {
            self.limits.forget(client);
        }
    }

    fn handshake(&self) -> Option<Duration> {
        self.rules.load().handshake
    }

    fn access_log(&self) -> Option<Arc<AccessLog>> {
        self.rules.load().access_log.clone()
    }

    fn choose(&self, hello: &ClientHello<'_>, _: SocketAddr) -> Choice {
        let rules = self.rules.load();
        let Some(route) = rules.by_name.find(hello.server_name()).cloned() else {
            return Choice::Refuse(Alert::UnrecognisedName);
        };
        let server = if route.settings.http.is_some() { &rules.http } else { &rules.server };
        match server {
            _ if route.settings.pass_through => Choice::PassThrough { route },
            Some(server) => Choice::Terminate { server: server.clone(), route },
            // No configuration is like that.
            None => Choice::Refuse(Alert::InternalError),
        }
    }

    fn https(&self, host: &str) -> Option<u16> {
        let rules = self.rules.load();
        let route = rules.by_name.find(Some(host))?;
        route.settings.http.as_ref().map(|_| rules.https)
    }
}

impl fmt::Debug for Front {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Front").field(&self.rules.load()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::super::choice::Route as _;
    use super::super::routes::Settings;
    use super::*;

    #[test]
    fn connections_of_a_route_that_is_another_are_told_to_end_and_no_others() {
        let bell = Arc::default();
        let route = || Arc::new(Route::new("app", Settings::default(), &[], None, &bell));
        let rules = |route: &Arc<Route>| {
            let routes = BTreeMap::from([("app".to_owned(), route.clone())]);
            Rules { routes, ..Rules::default() }
        };
        let (first, second) = (route(), route());
        let front = Front::new(rules(&first));
        let replaced = || first.replaced().is_some_and(|replaced| *replaced.borrow());
        front.replace(rules(&first));
        assert!(!replaced());
        front.replace(rules(&second));
        assert!(replaced());
    }
}
