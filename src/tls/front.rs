//! What the listeners of one `[tls.NAME]` go by: all of it is replaced at once, and a connection gets all of the old or all of
//! the new.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::choice::{Alert, Choice, Choose};
use super::hello::ClientHello;
use super::policy::Server;
use super::routes::{Route, Routes};

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
}

/// What listeners ask.
#[derive(Default)]
pub struct Front {
    rules: ArcSwap<Rules>,
}

impl Front {
    /// A front with these rules.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self { rules: ArcSwap::from_pointee(rules) }
    }

    /// Goes by others from now on. Connections that are there stay as they are.
    pub fn replace(&self, rules: Rules) {
        self.rules.store(Arc::new(rules));
    }

    /// Those that it goes by.
    #[must_use]
    pub fn rules(&self) -> Arc<Rules> {
        self.rules.load_full()
    }
}

impl Choose for Front {
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
