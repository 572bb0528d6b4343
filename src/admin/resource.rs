//! What can be asked for, and by whom.

use std::fmt;

use hyper::StatusCode;

use super::sockets::{READ, WRITE};

/// Where somebody is asking, and so what they may.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Role {
    /// By `read.sock`.
    Read,
    /// By `write.sock`.
    Write,
    /// By the address for metrics.
    Metrics,
}

/// Something that can be asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Resource {
    Status,
    Health,
    Metrics,
    Reload,
    Trace,
    Drain,
    DrainUndo,
    Clients,
    ClientInvite,
    ClientRemove,
    ClientProfile,
}

/// Why somebody does not get what was asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Refusal {
    /// It does not exist; here is what the role may ask for.
    Unknown(Role),
    /// It is for another role.
    Elsewhere(Resource),
}

impl Resource {
    const ALL: [Self; 11] = [
        Self::Status,
        Self::Health,
        Self::Metrics,
        Self::Clients,
        Self::Reload,
        Self::Trace,
        Self::Drain,
        Self::DrainUndo,
        Self::ClientInvite,
        Self::ClientRemove,
        Self::ClientProfile,
    ];

    /// Finds a resource by its path.
    pub(super) fn find(path: &str, role: Role) -> Result<Self, Refusal> {
        let found = Self::ALL.into_iter().find(|resource| resource.path() == path);
        match found {
            Some(resource) if resource.is_for(role) => Ok(resource),
            // The address for metrics says nothing of the sockets: anybody may ask there.
            Some(resource) if role != Role::Metrics => Err(Refusal::Elsewhere(resource)),
            _ => Err(Refusal::Unknown(role)),
        }
    }

    pub(super) const fn path(self) -> &'static str {
        match self {
            Self::Status => "/v1/status",
            Self::Health => "/v1/health",
            Self::Metrics => "/metrics",
            Self::Reload => "/v1/reload",
            Self::Trace => "/v1/trace",
            Self::Drain => "/v1/drain",
            Self::DrainUndo => "/v1/drain/undo",
            Self::Clients => "/v1/clients",
            Self::ClientInvite => "/v1/clients/invite",
            Self::ClientRemove => "/v1/clients/remove",
            Self::ClientProfile => "/v1/clients/profile",
        }
    }

    pub(super) const fn method(self) -> &'static str {
        match self {
            Self::Reload
            | Self::Drain
            | Self::DrainUndo
            | Self::ClientInvite
            | Self::ClientRemove
            | Self::ClientProfile => "POST",
            Self::Status | Self::Health | Self::Metrics | Self::Trace | Self::Clients => "GET",
        }
    }

    const fn is_for(self, role: Role) -> bool {
        match role {
            Role::Read => matches!(self, Self::Status | Self::Health | Self::Metrics | Self::Clients),
            Role::Write => true,
            Role::Metrics => matches!(self, Self::Metrics),
        }
    }
}

impl Refusal {
    pub(super) const fn status(self) -> StatusCode {
        match self {
            Self::Unknown(_) => StatusCode::NOT_FOUND,
            Self::Elsewhere(_) => StatusCode::FORBIDDEN,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(role) => {
                let there = Resource::ALL.into_iter().filter(|resource| resource.is_for(*role));
                let there: Vec<_> = there.map(|it| format!("{} {}", it.method(), it.path())).collect();
                write!(f, "there is no such path here; there are: {}", there.join(", "))
            }
            Self::Elsewhere(resource) => {
                write!(f, "{} is answered on {WRITE}, not on {READ}", resource.path())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_differ_in_what_they_may_ask_for() {
        let may = |role| Resource::ALL.map(|resource| Resource::find(resource.path(), role).is_ok());
        assert_eq!(may(Role::Write), [true; 11]);
        assert_eq!(
            may(Role::Read),
            [true, true, true, true, false, false, false, false, false, false, false]
        );
        assert_eq!(
            may(Role::Metrics),
            [false, false, true, false, false, false, false, false, false, false, false]
        );
    }

    #[test]
    fn a_refusal_says_what_there_is_or_where() {
        let said = |path, role| Resource::find(path, role).unwrap_err().to_string();
        assert_eq!(
            said("/v2/status", Role::Read),
            "there is no such path here; there are: GET /v1/status, GET /v1/health, GET /metrics, GET /v1/clients"
        );
        assert_eq!(said("/v1/reload", Role::Read), "/v1/reload is answered on write.sock, not on read.sock");
        assert_eq!(said("/v1/reload", Role::Metrics), "there is no such path here; there are: GET /metrics");
    }
}
