//! Which clients may come in.

use std::fmt;
use std::str::FromStr;

use super::Identity;
use crate::tls::names::Pattern;

/// A rule; one that admits a client is enough.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Allow {
    /// `spiffe://domain/path`: this ID; `spiffe://domain/path/*`: all below it; `spiffe://domain/*`: all of the trust domain.
    Spiffe {
        /// The trust domain.
        domain: String,
        /// The segments of the path.
        path: Vec<String>,
        /// Whether all below it are meant.
        below: bool,
    },
    /// `dns:name`: a name in the certificate, exactly; `dns:*.example.com` for one more label.
    Dns(Pattern),
}

/// A text is no rule.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("expected spiffe://DOMAIN/PATH, spiffe://DOMAIN/* or dns:NAME")]
pub struct NoAllow;

impl FromStr for Allow {
    type Err = NoAllow;

    fn from_str(text: &str) -> Result<Self, NoAllow> {
        if let Some(name) = text.strip_prefix("dns:") {
            return name.parse().map(Self::Dns).map_err(|_| NoAllow);
        }
        let (text, below) = text.strip_suffix("/*").map_or((text, false), |text| (text, true));
        let (domain, path) = spiffe(text).ok_or(NoAllow)?;
        // A trust domain alone is nobody's ID.
        if path.is_empty() && !below {
            return Err(NoAllow);
        }
        let path = path.into_iter().map(str::to_owned).collect();
        Ok(Self::Spiffe { domain: domain.to_owned(), path, below })
    }
}

impl fmt::Display for Allow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(pattern) => write!(f, "dns:{pattern}"),
            Self::Spiffe { domain, path, below } => {
                write!(f, "spiffe://{domain}")?;
                path.iter().try_for_each(|segment| write!(f, "/{segment}"))?;
                if *below { f.write_str("/*") } else { Ok(()) }
            }
        }
    }
}

impl Allow {
    /// Whether a client may come in by this rule.
    #[must_use]
    pub fn admits(&self, identity: &Identity) -> bool {
        match self {
            // A wildcard in a client's certificate is no name of a client.
            Self::Dns(pattern) => {
                identity.dns.iter().any(|name| !name.starts_with('*') && pattern.matches(name))
            }
            Self::Spiffe { domain, path, below } => {
                let Some((theirs, segments)) = identity.spiffe_id().and_then(spiffe) else { return false };
                let same = if *below {
                    segments.len() > path.len()
                        && path.iter().zip(&segments).all(|(ours, theirs)| ours == theirs)
                } else {
                    segments == *path
                };
                theirs == domain && same
            }
        }
    }
}

/// The trust domain and the segments of the path of a SPIFFE ID (SPIFFE-ID, section 2).
fn spiffe(text: &str) -> Option<(&str, Vec<&str>)> {
    let rest = text.strip_prefix("spiffe://")?;
    let (domain, path) = rest.split_once('/').map_or((rest, None), |(domain, path)| (domain, Some(path)));
    let in_domain =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'_');
    let in_segment = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let segments: Vec<_> = path.map_or_else(Vec::new, |path| path.split('/').collect());
    let sound = |segment: &&str| !matches!(*segment, "" | "." | "..") && segment.bytes().all(in_segment);
    let right = !domain.is_empty()
        && domain.len() <= 255
        && text.len() <= 2_048
        && domain.bytes().all(in_domain)
        && segments.iter().all(sound);
    right.then_some((domain, segments))
}
