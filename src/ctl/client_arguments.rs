//! The command line of `aditctl client`.

use std::time::Duration;

use adit_noise::PublicKey;
use clap::{Args, Subcommand};

use crate::pki::lifetime;
use crate::store::Identity;

/// What `aditctl client` can do.
#[derive(Debug, Subcommand)]
pub enum ClientCommand {
    /// Make a token that lets somebody enrol once, and show it
    ///
    /// It is not kept anywhere and cannot be shown again. In a terminal it is also shown as a QR code.
    ///
    /// Example: aditctl client invite alice-laptop --expires 1h
    Invite(Invite),
    /// List who has a lease, on what addresses, and until when
    List(List),
    /// Forget a client: its lease, its key and its invitations; it is cut off at once
    ///
    /// Whoever has a certificate can enrol again: revoke that as well, with "aditctl pki revoke".
    Remove(Remove),
    /// Print a wg-quick profile, for what cannot renew a lease: a phone
    ///
    /// Its lease lasts long, and is ended by "aditctl client remove". In a terminal it is also shown as a QR code, which the
    /// WireGuard app scans.
    ///
    /// Example: aditctl client profile alice-phone --generate-key
    Profile(Profile),
}

/// Which tunnel's clients.
#[derive(Args, Debug)]
pub struct Tunnel {
    /// The tunnel; it need not be named if only one has clients
    #[arg(long, value_name = "TUNNEL")]
    pub tunnel: Option<String>,
}

/// `aditctl client invite`
#[derive(Args, Debug)]
pub struct Invite {
    /// Who it is for: a name of up to 64 letters, digits, and . _ - + @
    #[arg(value_name = "NAME")]
    pub name: Identity,
    /// How long the token counts: a number with s, m, h, d, w or y
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = lifetime)]
    pub expires: Duration,
    /// Which tunnel.
    #[command(flatten)]
    pub tunnel: Tunnel,
    /// Print JSON, without a QR code
    #[arg(long)]
    pub json: bool,
}

/// `aditctl client list`
#[derive(Args, Debug)]
pub struct List {
    /// Which tunnel.
    #[command(flatten)]
    pub tunnel: Tunnel,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `aditctl client remove`
#[derive(Args, Debug)]
pub struct Remove {
    /// Whom to forget
    #[arg(value_name = "NAME")]
    pub name: Identity,
    /// Which tunnel.
    #[command(flatten)]
    pub tunnel: Tunnel,
}

/// `aditctl client profile`
#[derive(Args, Debug)]
pub struct Profile {
    /// Who it is for
    #[arg(value_name = "NAME")]
    pub name: Identity,
    /// The device's own public key: its private key never leaves it, and the profile has a place for it
    #[arg(long, value_name = "KEY", value_parser = key, required_unless_present = "generate_key")]
    pub public_key: Option<PublicKey>,
    /// Make the private key here, and put it into the profile: whoever sees that is the device
    #[arg(long, conflicts_with = "public_key")]
    pub generate_key: bool,
    /// How long its lease lasts
    #[arg(long, value_name = "TIME", default_value = "90d", value_parser = lifetime)]
    pub lease: Duration,
    /// Which tunnel.
    #[command(flatten)]
    pub tunnel: Tunnel,
}

fn key(text: &str) -> Result<PublicKey, String> {
    let key = PublicKey::from_base64(text).ok().filter(|key| !key.is_zero());
    key.ok_or_else(|| "expected the 44 characters that `wg pubkey` prints".to_owned())
}
