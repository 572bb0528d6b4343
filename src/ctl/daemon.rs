//! The command lines of the two daemons.

use std::path::PathBuf;

use adit_wireguard::Cipher;
use clap::Parser;
use tracing::level_filters::LevelFilter;

use crate::log;
use crate::net::offload::Offloads;

/// Runs the gateway that a configuration file describes.
///
/// It stays in the foreground and logs to standard error. SIGHUP has it read the file again, as "aditctl reload" does;
/// SIGTERM and SIGINT end it in good order. While it is gone, traffic meant for its tunnels finds unreachable routes and
/// does not leave in clear.
///
/// Exit codes: 0 ended as it was told to, 1 failed at run time, 2 wrong usage or a wrong configuration file.
#[derive(Debug, Parser)]
#[command(name = "aditd", version)]
pub struct Aditd {
    /// The configuration file
    #[arg(long, value_name = "FILE", env = "ADIT_CONFIG", default_value = "/etc/adit/aditd.toml")]
    pub config: PathBuf,
    /// Tell everything that is wrong with the file and the key files it names, and end: nothing is changed
    #[arg(long)]
    pub check: bool,
    /// How much is logged, whatever the file says: silent, error, info or verbose
    #[arg(long, value_name = "LEVEL", value_parser = log::level)]
    pub log_level: Option<LevelFilter>,
}

/// Makes the WireGuard interface NAME and serves it to "wg" and "wg-quick".
///
/// It goes to the background when the interface is ready, and ends when the interface is deleted or its socket
/// /var/run/wireguard/NAME.sock is removed. SIGUSR1 writes the counters of dropped packets to the log.
#[derive(Debug, Parser)]
#[command(name = "adit-wireguard", version)]
pub struct AditWireguard {
    /// Stay in the foreground
    #[arg(short, long)]
    pub foreground: bool,
    /// Workers, each with a queue of the device, a UDP socket and a thread for each direction; by default one for every two
    /// processors, up to 4
    #[arg(long, env = "ADIT_WORKERS", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub workers: Option<u16>,
    /// Keep each of their threads on a processor of its own
    #[arg(long, env = "ADIT_PIN")]
    pub pin: bool,
    /// Offloads that may be used, of tun_tso, tun_uso, tun_steering, udp_gso, udp_gro, wide_cipher; or "none"
    #[arg(long, env = "ADIT_OFFLOADS", default_value_t)]
    pub offloads: Offloads,
    /// What the tunnel is secured with: chacha20-poly1305, which is WireGuard, or aes-256-gcm, which only another adit speaks
    #[arg(long, env = "ADIT_CIPHER", default_value_t)]
    pub cipher: Cipher,
    /// How much is logged: silent, error, info, or verbose
    #[arg(long, env = "LOG_LEVEL", default_value = "error", value_parser = log::level)]
    pub log_level: LevelFilter,
    /// The interface's name, of 1 to 15 bytes
    #[arg(value_parser = crate::control::interface_name)]
    pub name: String,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_lines_are_sound() {
        Aditd::command().debug_assert();
        AditWireguard::command().debug_assert();
    }

    #[test]
    fn an_interface_is_wireguards_unless_told_otherwise() {
        let parse =
            |words: &[&str]| AditWireguard::try_parse_from([&["adit-wireguard", "wg0"], words].concat());
        assert_eq!(parse(&[]).expect("a name is enough").cipher, Cipher::ChaCha20Poly1305);
        assert_eq!(parse(&["--cipher", "aes-256-gcm"]).expect("the other").cipher, Cipher::Aes256Gcm);
        let error = parse(&["--cipher", "aes-128-gcm"]).expect_err("no such cipher");
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("expected chacha20-poly1305 or aes-256-gcm"), "{error}");
    }

    #[test]
    fn the_daemon_reads_its_usual_file_and_logs_as_it_says_unless_told_otherwise() {
        let parsed = Aditd::try_parse_from(["aditd"]).expect("no argument is needed");
        assert_eq!(parsed.config, PathBuf::from("/etc/adit/aditd.toml"));
        assert!(!parsed.check && parsed.log_level.is_none());
        let parsed = Aditd::try_parse_from(["aditd", "--config", "x", "--check", "--log-level", "verbose"]);
        let parsed = parsed.expect("all that there is");
        assert!(parsed.check && parsed.log_level == Some(LevelFilter::DEBUG));
    }
}
