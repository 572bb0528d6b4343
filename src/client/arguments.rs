//! The command line of `adit`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, Parser, Subcommand};
use clap_complete::Shell;
use tracing::level_filters::LevelFilter;

use crate::control::interface_name;
use crate::enrolment::Fingerprint;
use crate::log;

/// Reaches a site through its gateway: a WireGuard tunnel for this machine.
///
/// A profile says which gateway and what is reached through it. "adit import" makes one of a wg-quick file, "adit enroll"
/// gets one from the gateway. "adit status" tells whether the tunnel works, and what is wrong if it does not.
#[derive(Debug, Parser)]
#[command(name = "adit", version, after_help = AFTER, arg_required_else_help = true)]
pub struct Adit {
    /// Folder of the profiles
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "ADIT_PROFILES",
        default_value = "/etc/adit/client"
    )]
    pub profiles: PathBuf,
    /// Folder of the sockets of the tunnels that are up
    #[arg(long, global = true, value_name = "DIR", env = "ADIT_RUN", default_value = "/run/adit-client")]
    pub run: PathBuf,
    /// With "up": stay in the foreground
    #[arg(short, long, global = true)]
    pub foreground: bool,
    /// How much is logged: silent, error, info, or verbose
    #[arg(long, global = true, env = "LOG_LEVEL", default_value = "error", value_parser = log::level)]
    pub log_level: LevelFilter,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const AFTER: &str =
    "Exit codes: 0 done (status: connected), 1 failed (status: not connected), 2 wrong usage or profile.";

/// What `adit` can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a profile of a wg-quick file
    ///
    /// Commands in it (PostUp and the like) are left out, and that is told: adit runs none.
    Import(Import),
    /// Get a profile from a gateway, by an invitation or a certificate
    ///
    /// An invitation is the link that "aditctl client invite" shows. It is asked for, and not shown: on the command line others
    /// on this machine can see it while the command runs, and the shell keeps it. The private key is made here and stays here.
    /// While the tunnel is up its lease is renewed before it ends.
    ///
    /// Example: adit enroll && adit up
    Enroll(Enroll),
    /// Set the tunnel up
    ///
    /// It returns when the gateway has answered, or tells why it has not; the tunnel goes on trying then. Only what the
    /// profile names goes through the tunnel, unless --full-tunnel says otherwise.
    Up(Up),
    /// Take the tunnel away, and what a client that crashed has left: kill switch, rules, DNS
    Down(Down),
    /// Show whether the tunnel works, and what is wrong
    Status(Status),
    /// Show a profile as a QR code, for the app of a phone: with its private key
    Qr(Named),
    /// Do "up", "down" and "status" for the people of the group adit, who are not root
    ///
    /// It serves the socket "orders" beside those of the tunnels, or one that systemd gives it as standard input.
    Serve,
    /// Print a script that lets a shell complete adit's command line
    Completions {
        /// The shell: bash, zsh, fish, elvish or powershell
        #[arg(value_name = "SHELL", hide_possible_values = true)]
        shell: Shell,
    },
    /// Write the man pages of adit
    Man {
        /// The folder to write them to
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
    /// Waits for the end of standard input, and puts DNS back then
    #[command(hide = true)]
    Keep(Named),
}

/// `adit import`
#[derive(Debug, Args)]
pub struct Import {
    /// The wg-quick file
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// What the profile and its interface are called, if not as the file without .conf
    #[arg(long, value_name = "NAME", value_parser = interface_name)]
    pub name: Option<String>,
    /// Take the place of a profile of this name
    #[arg(long)]
    pub replace: bool,
}

/// `adit enroll`
#[derive(Debug, Args)]
pub struct Enroll {
    /// The gateway's address for this: https://HOST or https://HOST:PORT; with /#INVITATION behind it, a whole invitation.
    /// Without it, or with -, it is read from standard input
    #[arg(value_name = "URL")]
    pub url: Option<String>,
    /// What stands behind # in an invitation, if it is not in the URL; - for standard input. Others on this machine can see
    /// it: --token - or --token-file is better
    #[arg(long, value_name = "TOKEN", conflicts_with_all = ["token_file", "cert"])]
    pub token: Option<String>,
    /// A file with that; - for standard input
    #[arg(long, value_name = "FILE", conflicts_with = "cert")]
    pub token_file: Option<PathBuf>,
    /// The client's certificate: a file in PEM, or the PKCS#11 URI (RFC 7512) of one in a token
    #[arg(long, value_name = "FILE|URI", requires = "key")]
    pub cert: Option<String>,
    /// Its private key: a file in PEM, or the PKCS#11 URI of one in a smart card or HSM, such as
    /// "pkcs11:token=alice;object=vpn". The PIN is asked for; ?pin-source=file:/PATH behind it names a file with the PIN, so that
    /// the lease can be renewed
    #[arg(long, value_name = "FILE|URI", requires = "cert")]
    pub key: Option<String>,
    /// The library of the token's maker, if ?module-path=/PATH in the URI does not name it
    #[arg(long, value_name = "FILE", env = "ADIT_PKCS11_MODULE", default_value = "p11-kit-proxy.so")]
    pub pkcs11_module: PathBuf,
    /// Certificates in PEM to trust the gateway by, in place of the system's
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// The SHA-256 fingerprint of the one authority to trust the gateway by, which the gateway shows; an invitation has it
    #[arg(long, value_name = "FINGERPRINT", conflicts_with = "ca")]
    pub pin: Option<Fingerprint>,
    /// What the profile and its interface are called
    #[arg(long, value_name = "NAME", default_value = "adit0", value_parser = interface_name)]
    pub name: String,
    /// Take the place of a profile of this name
    #[arg(long)]
    pub replace: bool,
}

/// `adit up`
#[derive(Debug, Args)]
pub struct Up {
    /// The profile; not needed if there is only one
    #[arg(value_name = "PROFILE", value_parser = interface_name)]
    pub profile: Option<String>,
    /// Send everything through the tunnel
    #[arg(long)]
    pub full_tunnel: bool,
    /// Let nothing leave this machine but through the tunnel, also when adit is killed, until "adit down"; the default with
    /// --full-tunnel
    #[arg(long, action = ArgAction::SetTrue, conflicts_with = "no_kill_switch")]
    pub kill_switch: bool,
    /// No kill switch with --full-tunnel
    #[arg(long)]
    pub no_kill_switch: bool,
    /// Wait so many seconds for the gateway's answer
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    pub wait: Duration,
}

impl Up {
    /// Whether there is to be a kill switch.
    #[must_use]
    pub fn has_kill_switch(&self) -> bool {
        self.kill_switch || (self.full_tunnel && !self.no_kill_switch)
    }
}

/// `adit down`
#[derive(Debug, Args)]
pub struct Down {
    /// The profile; all that are up, or have left something, if none is named
    #[arg(value_name = "PROFILE", value_parser = interface_name)]
    pub profile: Option<String>,
}

/// `adit status`
#[derive(Debug, Args)]
pub struct Status {
    /// The profile; all if none is named
    #[arg(value_name = "PROFILE", value_parser = interface_name)]
    pub profile: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// A profile, by its name.
#[derive(Debug, Args)]
pub struct Named {
    /// The profile; not needed if there is only one
    #[arg(value_name = "PROFILE", value_parser = interface_name)]
    pub profile: Option<String>,
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.0..=3_600.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        Ok(_) | Err(_) => Err("expected seconds from 0 to 3600".into()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn up(words: &str) -> Result<Up, clap::Error> {
        let Command::Up(up) = Adit::try_parse_from(words.split(' '))?.command else { panic!("{words}") };
        Ok(up)
    }

    #[test]
    fn the_command_line_is_sound() {
        Adit::command().debug_assert();
    }

    #[test]
    fn a_full_tunnel_has_a_kill_switch_unless_told_otherwise() {
        assert!(!up("adit up").unwrap().has_kill_switch());
        assert!(up("adit up office --full-tunnel").unwrap().has_kill_switch());
        assert!(up("adit up --kill-switch").unwrap().has_kill_switch());
        assert!(!up("adit up --full-tunnel --no-kill-switch").unwrap().has_kill_switch());
        assert!(up("adit up --kill-switch --no-kill-switch").is_err());
    }

    #[test]
    fn wrong_usage_ends_with_2() {
        for words in ["adit", "adit up a/b", "adit enroll https://x --cert c", "adit up --wait=-1"] {
            let error = Adit::try_parse_from(words.split(' ')).expect_err(words);
            assert_eq!(error.exit_code(), 2, "{words}");
        }
    }

    #[test]
    fn the_background_process_gets_its_word_before_the_command() {
        assert!(Adit::try_parse_from(["adit", "--foreground", "up", "office"]).unwrap().foreground);
    }
}
