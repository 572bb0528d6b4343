//! Where a connection goes, by the server's name in its first message.

use std::path::Path;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use super::names::{Names, Pattern};
use crate::config::EndpointName;

/// What happens to a connection of some names.
#[derive(Debug)]
pub struct Route {
    /// What the configuration calls it.
    pub name: String,
    /// What becomes of its TLS.
    pub treatment: Treatment,
    /// Where it may go; there is at least one.
    pub backends: Vec<Address>,
    /// The version of the PROXY header that backends get, if they get one.
    pub proxy_protocol: Option<ProxyProtocol>,
}

/// What becomes of a connection's TLS.
#[derive(Clone, Debug)]
pub enum Treatment {
    /// It ends here, and the backend gets plaintext.
    Terminate,
    /// It ends here, and another begins, in which the backend has to prove this name.
    Reencrypt {
        /// What is trusted and offered.
        config: Arc<ClientConfig>,
        /// The backend's name.
        name: ServerName<'static>,
    },
    /// The backend gets it as it came: we have no key for it.
    PassThrough,
}

/// Of a backend.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Address {
    /// By TCP, perhaps by a name that is resolved again.
    Tcp(EndpointName),
    /// A unix socket.
    Unix(Arc<Path>),
}

/// A version of the PROXY protocol.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ProxyProtocol {
    /// A line of text: addresses alone.
    V1,
    /// Binary, with what TLS tells of the client.
    V2,
}

/// All routes of a listener.
#[derive(Debug, Default)]
pub struct Routes(Names<Arc<Route>>);

/// Two routes for the same name, or two without any.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("another route has {0} already")]
pub struct Taken(pub String);

impl Routes {
    /// Adds a route for these names; without names it is the default.
    ///
    /// # Errors
    /// The first name that another route has.
    pub fn add(&mut self, patterns: &[Pattern], route: &Arc<Route>) -> Result<(), Taken> {
        if patterns.is_empty() && self.0.default_mut().replace(route.clone()).is_some() {
            return Err(Taken("every other name".to_owned()));
        }
        for pattern in patterns {
            match self.0.entry(pattern.clone()) {
                std::collections::hash_map::Entry::Occupied(_) => return Err(Taken(pattern.to_string())),
                std::collections::hash_map::Entry::Vacant(vacant) => vacant.insert(route.clone()),
            };
        }
        Ok(())
    }

    /// The route of a name: the exact name's, then a wildcard's, then the default; `None` if nobody wants it.
    #[must_use]
    pub fn find(&self, name: Option<&str>) -> Option<&Arc<Route>> {
        self.0.get(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(name: &str, treatment: Treatment) -> Arc<Route> {
        let backends = vec![Address::Unix(Path::new("/run/app.sock").into())];
        Arc::new(Route { name: name.to_owned(), treatment, backends, proxy_protocol: None })
    }

    fn patterns(names: &[&str]) -> Vec<Pattern> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    #[test]
    fn a_name_finds_its_route_and_without_a_default_a_stranger_finds_none() {
        let mut routes = Routes::default();
        let (web, mail) = (route("web", Treatment::Terminate), route("mail", Treatment::PassThrough));
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
        let route = route("web", Treatment::Terminate);
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
}
