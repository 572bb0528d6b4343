//! The command line of `aditctl pki`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use crate::pki::{Algorithm, AltName, Name, Purpose, Reason, lifetime};

/// Where an authority is kept unless somebody says otherwise.
const FOLDER: &str = "/var/lib/adit/pki";

/// `aditctl pki`
#[derive(Debug, Args)]
pub struct Pki {
    /// Folder of the certificate authority
    #[arg(long, global = true, value_name = "DIR", env = "ADIT_PKI_DIR", default_value = FOLDER)]
    pub dir: PathBuf,
    /// What to do.
    #[command(subcommand)]
    pub command: PkiCommand,
}

/// What `aditctl pki` can do.
#[derive(Debug, Subcommand)]
pub enum PkiCommand {
    /// Make a certificate authority, or take over one that exists
    ///
    /// The private key of a new one goes into its folder under a passphrase, in the format of age(1); or, with --ca-key, into a
    /// file elsewhere, such as on a stick that is then taken away. With --ca-cert an authority that exists is taken over: to
    /// verify, and with its key to issue too.
    ///
    /// Example: aditctl pki init --name "Example site CA"
    Init(Init),
    /// Issue a certificate to a client or a server
    ///
    /// Writes NAME.pem (the certificate, and the authority's) and NAME.key to a folder, or NAME.p12 with both. The private key
    /// is kept nowhere else. With --csr it stays with whoever asked, and NAME.pem alone is written.
    ///
    /// Example: aditctl pki issue alice --email alice@example.org --p12
    Issue(Issue),
    /// Revoke certificates, and sign a new revocation list
    Revoke(Revoke),
    /// List the certificates that were issued, with what became of them
    List(List),
    /// Sign a new revocation list, or take one over that was signed elsewhere
    ///
    /// A list counts until its next update; have this run before, as by a timer. Numbers of lists never go back.
    Crl(CrlArguments),
    /// Print a certificate, the authority's certificate or the revocation list, or write a certificate with its key as PKCS#12
    ///
    /// Examples: aditctl pki export ca > ca.pem; aditctl pki export crl --out /etc/adit/crl.pem;
    /// aditctl pki export alice --p12 alice.p12 --key alice.key
    Export(Export),
}

/// Where the authority's private key is, and what it is encrypted with.
#[derive(Debug, Args)]
pub struct KeyArguments {
    /// File of the authority's private key, if it is not in its folder
    #[arg(long, value_name = "FILE", env = "ADIT_CA_KEY")]
    pub ca_key: Option<PathBuf>,
    /// File with the passphrase of the authority's key in its first line; without it, the terminal is asked
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
}

/// `aditctl pki init`
#[derive(Debug, Args)]
pub struct Init {
    /// Name of the new authority
    #[arg(long, value_name = "NAME", default_value = "adit CA", conflicts_with = "ca_cert", value_parser = common_name)]
    pub name: String,
    /// Kind of its key
    #[arg(long, value_enum, default_value_t, conflicts_with = "ca_cert")]
    pub algorithm: AlgorithmName,
    /// How long its certificate lasts
    #[arg(long, value_name = "TIME", default_value = "10y", conflicts_with = "ca_cert", value_parser = lifetime)]
    pub lifetime: Duration,
    /// Certificate of an authority that exists, in PEM, with those above it
    #[arg(long, value_name = "FILE")]
    pub ca_cert: Option<PathBuf>,
    /// Its last revocation list
    #[arg(long, value_name = "FILE", requires = "ca_cert")]
    pub crl: Option<PathBuf>,
    /// When the first revocation list runs out
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = lifetime)]
    pub next_update: Duration,
    /// Its key.
    #[command(flatten)]
    pub key: KeyArguments,
}

/// `aditctl pki issue`
#[derive(Debug, Args)]
pub struct Issue {
    /// Who it is for: up to 64 letters, digits, and . _ - + @
    #[arg(value_name = "NAME")]
    pub name: Name,
    /// A DNS name of it; can be given several times
    #[arg(long, value_name = "HOST", value_parser = AltName::dns)]
    pub dns: Vec<AltName>,
    /// A mail address of it; can be given several times
    #[arg(long, value_name = "ADDRESS", value_parser = AltName::mail)]
    pub email: Vec<AltName>,
    /// Its SPIFFE ID
    #[arg(long, value_name = "URI", value_parser = AltName::spiffe)]
    pub spiffe: Option<AltName>,
    /// What it is for
    #[arg(long = "for", value_enum, default_value_t)]
    pub purpose: PurposeName,
    /// How long it lasts; never longer than the authority
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = lifetime)]
    pub lifetime: Duration,
    /// Kind of the new key
    #[arg(long, value_enum, default_value_t, conflicts_with = "csr")]
    pub algorithm: AlgorithmName,
    /// Certify the key of this request in PEM; the names that it asks for do not count
    #[arg(long, value_name = "FILE", conflicts_with = "p12")]
    pub csr: Option<PathBuf>,
    /// Folder to write to
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub out: PathBuf,
    /// Write NAME.p12 under a password, in place of NAME.pem and NAME.key
    #[arg(long)]
    pub p12: bool,
    /// The password of NAME.p12.
    #[command(flatten)]
    pub password: PasswordArguments,
    /// Print what was issued as JSON
    #[arg(long)]
    pub json: bool,
    /// The authority's key.
    #[command(flatten)]
    pub key: KeyArguments,
}

/// Where the password of a PKCS#12 file comes from.
#[derive(Debug, Args)]
pub struct PasswordArguments {
    /// File with the password of the PKCS#12 file in its first line; without it, the terminal is asked
    #[arg(long, value_name = "FILE", requires = "p12")]
    pub password_file: Option<PathBuf>,
    /// Make a password for the PKCS#12 file, and tell it once, on standard error
    #[arg(long, requires = "p12", conflicts_with = "password_file")]
    pub generate_password: bool,
}

/// `aditctl pki revoke`
#[derive(Debug, Args)]
pub struct Revoke {
    /// A name, whose certificates are all revoked, or the serial number of a certificate
    #[arg(value_name = "NAME|SERIAL", required_unless_present = "cert")]
    pub target: Option<String>,
    /// The certificate itself, as when the record of it is lost
    #[arg(long, value_name = "FILE", conflicts_with = "target")]
    pub cert: Option<PathBuf>,
    /// Why
    #[arg(long, value_enum, default_value_t)]
    pub reason: ReasonName,
    /// When the revocation list runs out
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = lifetime)]
    pub next_update: Duration,
    /// The authority's key.
    #[command(flatten)]
    pub key: KeyArguments,
}

/// `aditctl pki list`
#[derive(Debug, Args)]
pub struct List {
    /// Those of this name or serial number alone
    #[arg(value_name = "NAME|SERIAL")]
    pub target: Option<String>,
    /// Those that have ended, too
    #[arg(long)]
    pub all: bool,
    /// Print JSON; those that have ended are in it
    #[arg(long)]
    pub json: bool,
}

/// `aditctl pki crl`
#[derive(Debug, Args)]
pub struct CrlArguments {
    /// When the list runs out
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = lifetime)]
    pub next_update: Duration,
    /// Take this list over, in PEM or DER; it has to be the authority's, and newer than the one that is here
    #[arg(long, value_name = "FILE", conflicts_with = "next_update")]
    pub import: Option<PathBuf>,
    /// The authority's key.
    #[command(flatten)]
    pub key: KeyArguments,
}

/// `aditctl pki export`
#[derive(Debug, Args)]
pub struct Export {
    /// "ca", "crl", a name, whose newest certificate is meant, or a serial number
    #[arg(value_name = "ca|crl|NAME|SERIAL")]
    pub what: String,
    /// DER in place of PEM
    #[arg(long, conflicts_with = "p12")]
    pub der: bool,
    /// Write to this file, whole or not at all, in the place of one that is there
    #[arg(long, value_name = "FILE", conflicts_with = "p12")]
    pub out: Option<PathBuf>,
    /// Write a certificate with its private key to this new file, as PKCS#12
    #[arg(long, value_name = "FILE", requires = "key")]
    pub p12: Option<PathBuf>,
    /// File of that private key
    #[arg(long, value_name = "FILE", requires = "p12")]
    pub key: Option<PathBuf>,
    /// The password of the PKCS#12 file.
    #[command(flatten)]
    pub password: PasswordArguments,
}

/// Kinds of keys by name.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
#[expect(missing_docs, reason = "their names are all there is to say")]
pub enum AlgorithmName {
    #[default]
    EcdsaP256,
    #[value(name = "rsa-3072")]
    Rsa3072,
    #[value(name = "rsa-4096")]
    Rsa4096,
}

impl From<AlgorithmName> for Algorithm {
    fn from(name: AlgorithmName) -> Self {
        match name {
            AlgorithmName::EcdsaP256 => Self::EcdsaP256,
            AlgorithmName::Rsa3072 => Self::Rsa3072,
            AlgorithmName::Rsa4096 => Self::Rsa4096,
        }
    }
}

/// What certificates are for, by name.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
#[expect(missing_docs, reason = "their names are all there is to say")]
pub enum PurposeName {
    #[default]
    Client,
    Server,
}

impl From<PurposeName> for Purpose {
    fn from(name: PurposeName) -> Self {
        match name {
            PurposeName::Client => Self::Client,
            PurposeName::Server => Self::Server,
        }
    }
}

/// Why certificates are revoked, by name.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
#[expect(missing_docs, reason = "their names are all there is to say")]
pub enum ReasonName {
    #[default]
    Unspecified,
    KeyCompromise,
    AffiliationChanged,
    Superseded,
    CessationOfOperation,
    PrivilegeWithdrawn,
}

impl From<ReasonName> for Reason {
    fn from(name: ReasonName) -> Self {
        match name {
            ReasonName::Unspecified => Self::Unspecified,
            ReasonName::KeyCompromise => Self::KeyCompromise,
            ReasonName::AffiliationChanged => Self::AffiliationChanged,
            ReasonName::Superseded => Self::Superseded,
            ReasonName::CessationOfOperation => Self::CessationOfOperation,
            ReasonName::PrivilegeWithdrawn => Self::PrivilegeWithdrawn,
        }
    }
}

fn common_name(text: &str) -> Result<String, String> {
    let length = text.chars().count();
    if !(1..=64).contains(&length) || text.trim() != text || text.chars().any(char::is_control) {
        return Err("expected 1 to 64 characters without controls, and no space around them".to_owned());
    }
    Ok(text.to_owned())
}
