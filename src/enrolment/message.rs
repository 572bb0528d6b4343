//! What goes over the wire: JSON, with the keys as `wg` prints them.

use std::net::IpAddr;

use adit_noise::PublicKey;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::Problem;
use crate::store::{Identity, Token, Wall};

/// The largest body that is looked at, in bytes: several times what a request takes.
pub const LARGEST: usize = 2_048;

/// What a client asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Call {
    /// A lease: `/v1/enrol`.
    Enrol,
    /// A lease for longer: `/v1/renew`.
    Renew,
}

/// A request that has the form it has to have.
#[derive(Debug)]
pub enum Request {
    /// A lease. The certificate stands for the token if there is none.
    Enrol {
        /// The public key of the tunnel.
        key: PublicKey,
        /// The invitation.
        token: Option<Token>,
    },
    /// A lease for longer. The certificate stands for the secret if there is none.
    Renew {
        /// The public key of the tunnel: the one of before, or a new one.
        key: PublicKey,
        /// The secret that came with the lease, and whose it is.
        secret: Option<(Identity, Token)>,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EnrolBody {
    public_key: String,
    token: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RenewBody {
    public_key: String,
    identity: Option<String>,
    secret: Option<String>,
}

impl Request {
    /// Reads the body of a request.
    ///
    /// # Errors
    /// [`Problem::TooLarge`], or [`Problem::Malformed`] with what is wrong.
    pub fn parse(call: Call, body: &[u8]) -> Result<Self, Problem> {
        if body.len() > LARGEST {
            return Err(Problem::TooLarge);
        }
        let malformed = |error: serde_json::Error| {
            // Words of the library repeat what was sent; only where it is wrong is told.
            Problem::Malformed(format!(
                "no such JSON as is expected, at line {} column {}",
                error.line(),
                error.column()
            ))
        };
        match call {
            Call::Enrol => {
                let body: EnrolBody = serde_json::from_slice(body).map_err(malformed)?;
                let text = body.token.map(Zeroizing::new);
                let token = text.map(|text| Token::from_text(&text)).map(|token| {
                    token.ok_or_else(|| {
                        Problem::Malformed("token: adit- and 64 hexadecimal digits are expected".into())
                    })
                });
                Ok(Self::Enrol { key: key(&body.public_key)?, token: token.transpose()? })
            }
            Call::Renew => {
                let body: RenewBody = serde_json::from_slice(body).map_err(malformed)?;
                let secret = match (body.identity, body.secret.map(Zeroizing::new)) {
                    (Some(identity), Some(secret)) => {
                        let identity =
                            identity.parse().map_err(|why| Problem::Malformed(format!("identity: {why}")))?;
                        let wrong = "secret: adit- and 64 hexadecimal digits are expected";
                        let secret =
                            Token::from_text(&secret).ok_or_else(|| Problem::Malformed(wrong.into()))?;
                        Some((identity, secret))
                    }
                    (None, None) => None,
                    (Some(_), None) | (None, Some(_)) => {
                        return Err(Problem::Malformed("identity and secret belong together".into()));
                    }
                };
                Ok(Self::Renew { key: key(&body.public_key)?, secret })
            }
        }
    }

    pub(super) fn key(&self) -> &PublicKey {
        match self {
            Self::Enrol { key, .. } | Self::Renew { key, .. } => key,
        }
    }
}

fn key(text: &str) -> Result<PublicKey, Problem> {
    let key = PublicKey::from_base64(text).ok().filter(|key| !key.is_zero());
    key.ok_or_else(|| {
        Problem::Malformed("public_key: the 44 characters that `wg pubkey` prints are expected".into())
    })
}

/// A lease, as its client is told. It holds secrets: the preshared key, and what the lease is renewed with.
#[derive(Serialize)]
pub struct Answer {
    /// The name under which the gateway knows the client.
    pub identity: String,
    /// The addresses of the tunnel's interface.
    pub addresses: Vec<IpAddr>,
    /// The networks that are reached through it.
    pub routes: Vec<String>,
    /// The site's name servers.
    pub dns: Vec<IpAddr>,
    /// The domains that are asked of them.
    pub search: Vec<String>,
    /// The other end.
    pub gateway: Gateway,
    /// The preshared key of the tunnel, new with each answer.
    #[serde(serialize_with = "secret")]
    pub preshared_key: Zeroizing<String>,
    /// What the lease is renewed with; none if it takes the certificate.
    #[serde(serialize_with = "perhaps_secret")]
    pub renewal: Option<Zeroizing<String>>,
    /// When the lease ends, in seconds since 1970.
    pub until: Wall,
    /// What the gateway's clock says: a client whose own says otherwise can tell so.
    pub now: Wall,
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Answer")
            .field("identity", &self.identity)
            .field("until", &self.until)
            .finish_non_exhaustive()
    }
}

/// The gateway, as its clients reach it.
#[derive(Clone, Debug, Serialize)]
pub struct Gateway {
    /// Its public key.
    pub public_key: String,
    /// Where it listens: addresses or names, with ports.
    pub endpoints: Vec<String>,
}

fn secret<S: serde::Serializer>(text: &Zeroizing<String>, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(text)
}

fn perhaps_secret<S: serde::Serializer>(text: &Option<Zeroizing<String>>, to: S) -> Result<S::Ok, S::Error> {
    match text {
        Some(text) => to.serialize_some(text.as_str()),
        None => to.serialize_none(),
    }
}
