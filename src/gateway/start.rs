//! From the command line to a gateway that runs, and to its end.
//!
//! The order matters: what takes privileges comes first (folders, sockets for other people, low ports, a program for the
//! kernel), then they are given up, and only then are there threads, tunnels, and input from anybody.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, anyhow};
use sd_notify::NotifyState;

use super::clients;
use super::guards::{self, Guards};
use super::lock;
use super::memory::Memory;
use super::network::Network;
use super::refusals::Refusals;
use super::resolver::Resolver;
use super::signals::{self, Signals};
use super::upkeep::{self, Upkeep};
use super::watchdog::{self, Watchdog};
use super::{Gateway, Handle, warnings};
use crate::admin::audit::{Entry, Outcome, Via, What, Who};
use crate::admin::{self, Audit, Sockets};
use crate::config::macsec::Carrier;
use crate::config::{self, Config};
use crate::control::SOCKETS;
use crate::ctl::Aditd;
use crate::net::steering;
use crate::privilege::{self, Capability, User};
use crate::{clock, log, status};

/// The TUN driver.
const TUN: &str = "/dev/net/tun";
/// Wrong usage, or a wrong configuration.
const WRONG: u8 = 2;
/// The ports that only the privileged may open.
const LOW_PORTS: std::ops::Range<u16> = 1..1024;

/// Runs the daemon to its end.
#[must_use]
pub fn run(arguments: &Aditd) -> ExitCode {
    let config = match config::load(&arguments.config) {
        Ok(config) => config,
        Err(errors) => {
            eprintln!("{errors}");
            return ExitCode::from(WRONG);
        }
    };
    if arguments.check {
        if let Err(wrong) = clients::check(&config) {
            eprintln!("{wrong}");
            return ExitCode::from(WRONG);
        }
        let now = clock::both().wall.as_secs() as i64;
        for (name, table) in &config.tls {
            let warnings = warnings::tls::of_certificates(table, now);
            warnings.iter().for_each(|warning| eprintln!("warning: tls.{name}: {warning}"));
        }
        println!("{}: all of it is right", arguments.config.display());
        return ExitCode::SUCCESS;
    }
    log::start(arguments.log_level.unwrap_or(config.log.level), config.log.json);
    // A daemon that is half alive would only puzzle: systemd starts a whole one, and guards hold back what is on its way.
    let told = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        told(panic);
        std::process::abort();
    }));
    match serve(arguments, config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// What was made while there were privileges.
struct Prepared {
    sockets: Sockets,
    metrics: Option<TcpListener>,
    findings: Vec<String>,
}

fn serve(arguments: &Aditd, config: Config) -> Result<()> {
    let signals = signals::catch()?;
    let _alone = lock::this_namespace()?;
    // Before anything can fail: a gateway that does not come up lets nothing out either.
    let wanted = Network::of(&config);
    upkeep::guard(&wanted).map_err(|error| anyhow!(error))?;
    let guards = Guards::default();
    guards.lay(&guards::wanted(&config)).map_err(|error| anyhow!(error))?;
    let served = serve_guarded(arguments, config, signals, guards);
    if served.is_err() {
        tracing::error!("what is meant for the tunnels is held back");
        upkeep::guard_default(&wanted).map_err(|error| anyhow!(error))?;
    }
    served
}

fn serve_guarded(arguments: &Aditd, config: Config, signals: Signals, guards: Guards) -> Result<()> {
    let Prepared { sockets, metrics, mut findings } = prepare(&config)?;
    if config.gateway.workers() > 1 && config.gateway.offloads.tun_steering {
        steering::load();
    }
    privilege::give_up(&config.gateway.user, &capabilities(&config))?;
    guards.watch().context("cannot follow links")?;
    let audit = Audit::open(&config.gateway.state)?;
    let (handle, requests) = Handle::new();
    let stopping = Arc::new(AtomicBool::new(false));
    signals::obey(signals, handle.clone(), audit.clone(), stopping.clone())?;

    // A disk that is full must not keep a healthy gateway from starting: nothing is changed that anybody asked for.
    findings.extend(note(&audit, What::Start, Outcome::Attempt).err().map(|error| format!("{error:#}")));
    let mut gateway = Gateway {
        file: arguments.config.clone(),
        config: nothing(&config),
        tunnels: BTreeMap::new(),
        links: BTreeMap::new(),
        clients: BTreeMap::new(),
        terminators: BTreeMap::new(),
        leaving: Vec::new(),
        guards,
        upkeep: Upkeep::default(),
        faults: BTreeMap::new(),
        refusals: Refusals::start(audit.clone())?,
        stopping: stopping.clone(),
        ended: BTreeMap::new(),
        lost: BTreeMap::new(),
        resolver: Resolver::new(Memory::load(&config.gateway.state)),
        doubted: clock::now(),
        watchdog: Watchdog::new(),
        started: clock::both().wall,
        level: arguments.log_level,
        history: status::Configuration {
            file: arguments.config.display().to_string(),
            ..status::Configuration::default()
        },
        findings,
    };
    let name = config.gateway.name();
    let reloaded = gateway.reload(config);
    let result = if reloaded.is_ok() { Outcome::Ok } else { Outcome::Refused };
    if let Err(error) = note(&audit, What::Start, result) {
        tracing::error!("{error:#}");
    }
    let changed = match reloaded {
        // Nothing is amiss: it was told to end before it was ready.
        Err(_) if stopping.load(Ordering::Relaxed) => return Ok(()),
        reloaded => reloaded.map_err(|error| anyhow!(error))?,
    };
    let server = sockets.serve(handle, audit.clone(), metrics).context("cannot serve the admin sockets")?;
    tracing::info!("{name}: ready; {changed}");
    watchdog::tell(&[NotifyState::Ready]);
    gateway.serve(&requests);
    watchdog::tell(&[NotifyState::Stopping]);
    tracing::info!("{name}: ends");
    drop(server);
    gateway.stop();
    note(&audit, What::Stop, Outcome::Ok)
}

/// A configuration with everything that stays for the life of the daemon, and neither tunnels nor links.
fn nothing(config: &Config) -> Config {
    Config {
        gateway: config.gateway.clone(),
        log: config.log,
        admin: config.admin.clone(),
        metrics: config.metrics.clone(),
        wireguard: BTreeMap::new(),
        macsec: BTreeMap::new(),
        clients: BTreeMap::new(),
        tls: BTreeMap::new(),
        files: Vec::new(),
    }
}

fn prepare(config: &Config) -> Result<Prepared> {
    let name = &config.gateway.user;
    let user = privilege::user(name)?.with_context(|| format!("there is no user {name:?}"))?;
    let directory = |path: &Path, mode| {
        privilege::prepare_directory(path, mode, &user).with_context(|| format!("{}", path.display()))
    };
    directory(&config.gateway.state, 0o700)?;
    directory(&config.admin.directory, 0o755)?;
    share_uapi_directory(&user, config).with_context(|| format!("cannot prepare {SOCKETS}"))?;
    open_tun_driver(&user).with_context(|| format!("cannot let user {name} use {TUN}"))?;
    let sockets = Sockets::bind(&config.admin)?;
    let metrics = config.metrics.as_ref().map(admin::metrics::bind).transpose()?;
    let unreadable = config.unreadable_by(name)?.into_iter().map(|file| {
        format!("{} cannot be read by user {name}: the configuration cannot be reloaded", file.display())
    });
    let mut findings: Vec<_> = unreadable.collect();
    if user.uid == 0 {
        findings.push("the daemon runs as root, with all its privileges (gateway.user)".into());
    }
    for finding in &findings {
        tracing::warn!("{finding}");
    }
    Ok(Prepared { sockets, metrics, findings })
}

/// Lets the daemon's user open the TUN driver, as udev lets everybody: to make a device takes `CAP_NET_ADMIN` all the same.
fn open_tun_driver(user: &User) -> io::Result<()> {
    let found = fs::metadata(TUN)?;
    if user.uid == 0 || found.mode() & 0o006 == 0o006 || found.uid() == user.uid {
        return Ok(());
    }
    tracing::info!("{TUN} has mode {:o}: it is given the usual 666", found.mode() & 0o777);
    fs::set_permissions(TUN, fs::Permissions::from_mode(0o666))
}

/// Lets the daemon's user have its UAPI sockets beside those of others: it may make files in their folder, and remove its
/// own. Sockets that nobody serves any more are taken away, whoever made them.
fn share_uapi_directory(user: &User, config: &Config) -> io::Result<()> {
    if user.uid == 0 {
        return Ok(());
    }
    let path = Path::new(SOCKETS);
    privilege::prepare_directory(path, 0o1770, user)?;
    if fs::metadata(path)?.uid() != user.uid {
        std::os::unix::fs::chown(path, None, Some(user.gid))?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o1770))?;
    }
    for name in config.wireguard.keys() {
        let socket = path.join(format!("{name}.sock"));
        if UnixStream::connect(&socket).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) {
            fs::remove_file(&socket)?;
        }
    }
    Ok(())
}

/// What the configuration needs, and no more: a reload cannot ask for another.
fn capabilities(config: &Config) -> Vec<Capability> {
    let tunnels = config.wireguard.values().map(|tunnel| tunnel.listen_port);
    let carriers = || config.macsec.values().map(|link| &link.carrier);
    let links = carriers().filter_map(|carrier| match carrier {
        Carrier::Udp(udp) => Some(udp.listen),
        Carrier::Link(_) => None,
    });
    let tls = config.tls.values().flat_map(|tls| tls.listen.iter().chain(&tls.plain));
    let tls = tls.map(std::net::SocketAddr::port);
    let clients = config.clients.values().flat_map(|clients| &clients.listen).map(|address| address.port());
    let low = tunnels.chain(links).chain(clients).chain(tls).any(|port| LOW_PORTS.contains(&port));
    let raw = carriers().any(|carrier| matches!(carrier, Carrier::Link(_)));
    let mut keep = vec![Capability::NetAdmin];
    keep.extend(low.then_some(Capability::NetBindService));
    keep.extend(raw.then_some(Capability::NetRaw));
    keep
}

/// The daemon's own entries in the audit trail.
fn note(audit: &Audit, what: What, result: Outcome) -> Result<()> {
    let (who, via) = (Who::this_process(), Via::Daemon);
    Ok(audit.record(&Entry { who, what, via, result, detail: String::new() })?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_capabilities_that_a_configuration_needs_are_kept() {
        let kept = |text: &str| {
            let key = |path: &Path| {
                let first = path.to_string_lossy().bytes().fold(1, u8::wrapping_add);
                let key = adit_noise::PrivateKey::from_bytes([first; 32]).to_base64();
                Ok(zeroize::Zeroizing::new(key.as_bytes().to_vec()))
            };
            let public = adit_noise::PublicKey::from_bytes([9; 32]);
            let text = format!("gateway.user = \"root\"\n{text}").replace("PEER", &public.to_base64());
            capabilities(&config::parse("test.toml", &text, &key).unwrap())
        };
        let link = |carrier: &str| {
            format!("[macsec.a]\n{carrier}\nprivate_key_file = \"/a\"\npeer_public_key = \"PEER\"\n")
        };
        assert_eq!(kept(""), [Capability::NetAdmin]);
        assert_eq!(kept(&link("udp.listen = 1024")), [Capability::NetAdmin]);
        assert_eq!(kept(&link("udp.listen = 1023")), [Capability::NetAdmin, Capability::NetBindService]);
        assert_eq!(kept(&link("link = \"eth1\"")), [Capability::NetAdmin, Capability::NetRaw]);
        let tunnel = "[wireguard.wg0]\nprivate_key_file = \"/k\"\nlisten_port = 1\n".to_owned();
        let all = [Capability::NetAdmin, Capability::NetBindService, Capability::NetRaw];
        assert_eq!(kept(&(tunnel + &link("link = \"eth1\""))), all);
    }
}
