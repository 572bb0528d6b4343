//! The command line of `aditctl`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};
use clap_complete::Shell;

use super::client_arguments::ClientCommand;
use super::pki::arguments::Pki;

/// Where the daemon's sockets are unless somebody says otherwise.
pub const SOCKETS: &str = "/run/adit";
/// Where key files are unless somebody says otherwise.
const KEYS: &str = "/etc/adit/keys";
/// The system's roots, on Debian and on what comes from it.
const ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";
/// Seconds between two looks of `status --watch`.
const WATCH: &str = "2";

/// Watches and steers aditd, the gateway daemon, and makes keys.
///
/// Start with "aditctl status": it shows every tunnel, and first of all what is wrong, in words.
#[derive(Debug, Parser)]
#[command(name = "aditctl", version, after_help = AFTER)]
pub struct Aditctl {
    /// Folder of the daemon's sockets read.sock and write.sock
    #[arg(long, global = true, value_name = "DIR", env = "ADIT_SOCKET_DIR", default_value = SOCKETS)]
    pub socket: PathBuf,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const AFTER: &str = "Exit codes: 0 done, 1 failed, 2 wrong usage.";

/// What `aditctl` can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show every tunnel as "wg show" does, what is wrong with it, and what it drops and why
    ///
    /// Warnings come first. Sizes are bytes inside UDP payloads, as with wg(8). Colours are for terminals only;
    /// WG_COLOR_MODE=always or never, and NO_COLOR, are respected.
    Status(Status),
    /// Watch what happens inside the daemon
    #[command(subcommand)]
    Trace(Trace),
    /// Have the daemon read its configuration file again
    ///
    /// It prints what was changed. If anything in the file is wrong, nothing is changed, and all that is wrong is printed.
    /// What the file does not mention because "wg set" made it stays as it is.
    Reload,
    /// Accept no more connections where TLS ends, and let those that are there go on
    ///
    /// It tells how many are left; ask again, or look at the status, to see them go. With --undo connections are accepted
    /// again. A reload changes nothing about it, a restart of the daemon does.
    ///
    /// Example: aditctl drain && sleep 60 && systemctl stop aditd
    Drain(Drain),
    /// Make a new private key and print it, as "wg genkey" does
    ///
    /// Example: (umask 077; aditctl genkey > /etc/adit/keys/wg0.key)
    Genkey,
    /// Read a private key from standard input and print its public key, as "wg pubkey" does
    ///
    /// Example: aditctl pubkey < /etc/adit/keys/wg0.key
    Pubkey,
    /// Make a new preshared key and print it, as "wg genpsk" does
    Genpsk,
    /// Print the configuration that a wg-quick file stands for, to be added to aditd's file
    ///
    /// Its keys are written to files that only their owner may read; a file that holds another key is left alone, and then
    /// nothing is printed. What was written, and what could not be carried over, is told on standard error.
    ///
    /// Example: aditctl import /etc/wireguard/wg0.conf >> /etc/adit/aditd.toml && aditd --check
    Import(Import),
    /// Keep a certificate authority: issue certificates to clients, and revoke them
    ///
    /// It works on files in one folder, as root, and needs no daemon.
    Pki(Box<Pki>),
    /// Let people and machines in: invite them, list their leases, put them out
    #[command(subcommand)]
    Client(ClientCommand),
    /// Look at TLS servers and their certificates
    #[command(subcommand)]
    Tls(Tls),
    /// Print a script that lets a shell complete aditctl's command line
    ///
    /// Example for bash: aditctl completions bash > /etc/bash_completion.d/aditctl
    Completions {
        /// The shell: bash, zsh, fish, elvish or powershell
        #[arg(value_name = "SHELL", hide_possible_values = true)]
        shell: Shell,
    },
    /// Write the man pages of aditctl, aditd and adit-wireguard
    Man {
        /// The folder to write them to
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
}

/// `aditctl status`
#[derive(Debug, clap::Args)]
pub struct Status {
    /// Show this tunnel or link alone, by its name
    #[arg(value_name = "TUNNEL")]
    pub tunnel: Option<String>,
    /// Print JSON just as the daemon gives it; with TUNNEL, that tunnel's part of it
    #[arg(long)]
    pub json: bool,
    /// Show it again every so many seconds, until Ctrl-C; it waits for a daemon that went away
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true, default_missing_value = WATCH,
        value_parser = seconds)]
    pub watch: Option<Duration>,
}

/// `aditctl drain`
#[derive(Debug, clap::Args)]
pub struct Drain {
    /// The table [tls.NAME] alone, in place of all
    #[arg(value_name = "NAME", value_parser = table)]
    pub name: Option<String>,
    /// Accept connections again
    #[arg(long)]
    pub undo: bool,
}

/// `aditctl import`
#[derive(Debug, clap::Args)]
pub struct Import {
    /// The wg-quick file, named as its interface with .conf after it; or - for standard input, with --name
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Folder that the key files are written to, and where the configuration looks for them
    #[arg(long, value_name = "DIR", default_value = KEYS)]
    pub keys: PathBuf,
    /// The interface's name, if the file's is another
    #[arg(long, value_name = "NAME", required_if_eq("file", "-"), value_parser = crate::control::interface_name)]
    pub name: Option<String>,
}

/// What `aditctl tls` can do.
#[derive(Debug, Subcommand)]
pub enum Tls {
    /// Tell what a server offers, or what a file of certificates holds, and what is wrong with it
    ///
    /// A server is asked for each version, suite and group, also for those that nobody should have. It ends with 1 if
    /// anything is wrong; warnings and notes are none of that.
    ///
    /// Example: aditctl tls check www.example.com:443
    Check(TlsCheck),
}

/// `aditctl tls check`
#[derive(Debug, clap::Args)]
pub struct TlsCheck {
    /// The server, or a file with certificates in PEM
    #[arg(value_name = "HOST:PORT|FILE")]
    pub target: String,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Certificates in PEM of those whom a server's clients trust
    #[arg(long, value_name = "FILE", default_value = ROOTS)]
    pub ca: PathBuf,
}

/// What `aditctl trace` can watch.
#[derive(Debug, Subcommand)]
pub enum Trace {
    /// Print each packet that a tunnel drops: when, where, why, and what it was, until Ctrl-C
    ///
    /// Times are UTC, as in the daemon's log. A flood of drops is thinned out; how many were left out is told.
    /// It needs the right to write: headers of packets are nobody else's business.
    Drops(Drops),
}

/// `aditctl trace drops`
#[derive(Debug, clap::Args)]
pub struct Drops {
    /// Watch this tunnel or link alone, by its name
    #[arg(value_name = "TUNNEL")]
    pub tunnel: Option<String>,
    /// Print JSON just as the daemon gives it, one object a line
    #[arg(long)]
    pub json: bool,
    /// End after so many packets
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// End after so many seconds
    #[arg(long, value_name = "N", value_parser = seconds)]
    pub seconds: Option<Duration>,
}

/// Reads the name of a table, as the configuration may have it.
fn table(text: &str) -> Result<String, String> {
    let sound = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if !text.is_empty() && text.bytes().all(sound) {
        return Ok(text.to_owned());
    }
    Err("expected the name of a table: letters, digits, '-', '_' and '.'".into())
}

/// Reads a number of seconds, perhaps with a fraction.
fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.1..=86_400.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        Ok(_) | Err(_) => Err("expected seconds from 0.1 to 86400".into()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(words: &str) -> Result<Command, clap::Error> {
        Aditctl::try_parse_from(words.split(' ')).map(|parsed| parsed.command)
    }

    fn status(words: &str) -> Status {
        match parse(words) {
            Ok(Command::Status(status)) => status,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_command_line_is_sound() {
        Aditctl::command().debug_assert();
    }

    #[test]
    fn watch_takes_its_seconds_after_an_equals_sign_alone() {
        assert_eq!(status("aditctl status").watch, None);
        assert_eq!(status("aditctl status --watch").watch, Some(Duration::from_secs(2)));
        let both = status("aditctl status --watch wg0");
        assert_eq!((both.watch, both.tunnel.as_deref()), (Some(Duration::from_secs(2)), Some("wg0")));
        assert_eq!(status("aditctl status --watch=0.5").watch, Some(Duration::from_millis(500)));
    }

    #[test]
    fn wrong_usage_ends_with_2_and_tells_what_is_allowed() {
        for (words, says) in [
            ("aditctl status --watch=0", "expected seconds from 0.1 to 86400"),
            ("aditctl status --watch=NaN", "expected seconds from 0.1 to 86400"),
            ("aditctl trace drops --count 0", "0 is not in 1.."),
            ("aditctl completions tcsh", "possible values: bash"),
            ("aditctl status wg0 wg1", "unexpected argument 'wg1'"),
            ("aditctl import -", "--name <NAME>"),
            ("aditctl import x --name a/b", "15 visible bytes"),
            ("aditctl", "Usage: aditctl"),
        ] {
            let error = parse(words).expect_err(words);
            assert_eq!(error.exit_code(), 2, "{words}");
            assert!(error.to_string().contains(says), "{words}: {error}");
        }
    }

    #[test]
    fn the_sockets_folder_may_be_named_before_or_after_the_command() {
        for words in ["aditctl --socket /x status", "aditctl status --socket /x"] {
            let parsed = Aditctl::try_parse_from(words.split(' ')).expect(words);
            assert_eq!(parsed.socket, PathBuf::from("/x"));
        }
    }
}
