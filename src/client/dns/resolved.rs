//! systemd-resolved, by its D-Bus interface (org.freedesktop.resolve1(5)).

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::Serialize;
use tokio::runtime::{Builder, Runtime};
use zbus::connection;
use zbus::wire::DynamicType;

use super::Wanted;

/// Its name on the system's bus, its object, and the interface of that.
const NAME: &str = "org.freedesktop.resolve1";
const OBJECT: &str = "/org/freedesktop/resolve1";
const INTERFACE: &str = "org.freedesktop.resolve1.Manager";
/// How long it may take for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// systemd-resolved, as long as it is asked.
pub(super) struct Resolved {
    runtime: Runtime,
    connection: zbus::Connection,
}

impl Resolved {
    /// Looks for it on the system's bus, or on that at `bus`. `None` if there is no bus, or it is not there.
    pub(super) fn find(bus: Option<&str>) -> Option<Self> {
        let runtime = Builder::new_current_thread().enable_all().build().ok()?;
        let builder = bus.map_or_else(connection::Builder::system, connection::Builder::address);
        let connection = runtime.block_on(async {
            let opened = builder.method_timeout(PATIENCE).build();
            let connection = tokio::time::timeout(PATIENCE, opened).await.ok()?.ok()?;
            let bus = Some("org.freedesktop.DBus");
            let asked = connection
                .call_method(bus, "/org/freedesktop/DBus", bus, "NameHasOwner", &NAME)
                .await
                .ok()?;
            asked.body().deserialize::<bool>().ok()?.then_some(connection)
        })?;
        Some(Self { runtime, connection })
    }

    /// Tells it the servers of a link and the domains that are asked of them.
    ///
    /// # Errors
    /// What it says. Then it has forgotten the rest.
    pub(super) fn tell(&self, link: u32, wanted: Wanted<'_>) -> Result<()> {
        let told = self.tell_all(link, wanted);
        if told.is_err() {
            let _ = self.forget(link);
        }
        told
    }

    fn tell_all(&self, link: u32, wanted: Wanted<'_>) -> Result<()> {
        let link = i32::try_from(link)?;
        let servers: Vec<_> = wanted.servers.iter().map(server).collect();
        self.call("SetLinkDNS", &(link, servers))?;
        // Whether a domain is one of routing alone, and not put behind short names.
        let mut domains: Vec<_> = wanted.search.iter().map(|domain| (domain.as_str(), false)).collect();
        if wanted.all {
            // The root: everything is asked of this link.
            domains.push((".", true));
        }
        if !domains.is_empty() {
            self.call("SetLinkDomains", &(link, domains))?;
        }
        // Without domains it is asked for what no other link claims.
        self.call("SetLinkDefaultRoute", &(link, wanted.all || wanted.search.is_empty()))
    }

    /// Has it forget what it was told of a link.
    ///
    /// # Errors
    /// What it says: there is no such link any more, for one.
    pub(super) fn forget(&self, link: u32) -> Result<()> {
        self.call("RevertLink", &i32::try_from(link)?)
    }

    fn call(&self, method: &'static str, body: &(impl Serialize + DynamicType)) -> Result<()> {
        let call = self.connection.call_method(Some(NAME), OBJECT, Some(INTERFACE), method, body);
        self.runtime.block_on(call).map(drop).with_context(|| format!("systemd-resolved: {method}"))
    }
}

/// A server as it is told: the number of its family, and its bytes.
fn server(server: &IpAddr) -> (i32, Vec<u8>) {
    match server {
        IpAddr::V4(address) => (libc::AF_INET, address.octets().to_vec()),
        IpAddr::V6(address) => (libc::AF_INET6, address.octets().to_vec()),
    }
}
