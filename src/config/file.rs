//! A whole file, and its tables that are no tunnels.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use toml::de::DeTable;
use tracing::level_filters::LevelFilter;

use super::across::Across;
use super::load::Secret;
use super::mistake::Errors;
use super::source::Source;
use super::table::{Table, Value};
use super::{Admin, Config, Gateway, Log, Metrics, clients, macsec, tunnel};
use crate::datapath::default_count;
use crate::net::offload::Offloads;

/// What a file refers to.
pub(super) struct System<'a> {
    /// Reads a key file, which has to be private to root, to this process' user or to the user that is named.
    pub(super) secret: &'a dyn Fn(&Path, &str) -> Secret,
    /// The same for larger ones.
    #[cfg(not(loom))]
    pub(super) private: &'a dyn Fn(&Path, &str) -> Secret,
    /// Reads a file that everybody may read.
    #[cfg(not(loom))]
    pub(super) public: &'a dyn Fn(&Path) -> Result<Vec<u8>, String>,
    /// Whether there is such a user.
    pub(super) user: &'a dyn Fn(&str) -> Result<bool, String>,
    /// Whether there is such a group.
    pub(super) group: &'a dyn Fn(&str) -> Result<bool, String>,
}

/// What reading a tunnel needs to know of the file around it.
pub(super) struct Context<'a> {
    /// The folder that relative paths are relative to.
    pub(super) folder: &'a Path,
    /// `gateway.user`
    pub(super) user: &'a str,
    /// What the file refers to.
    pub(super) system: &'a System<'a>,
    /// Key files that were named.
    pub(super) files: Vec<PathBuf>,
}

/// Reads the file `name` in `folder`, whose text this is.
pub(super) fn read(name: &str, folder: &Path, text: &str, system: &System<'_>) -> Result<Config, Errors> {
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut source = Source::new(name, text);
    source.syntax(&errors);
    let config = config(Table::root(&source, table.get_ref()), folder, system);
    source.end()?;
    Ok(config)
}

fn config(root: Table<'_>, folder: &Path, system: &System<'_>) -> Config {
    let mut root = root;
    let gateway = gateway(root.table("gateway"), folder, system);
    let log = log(root.table("log"));
    let admin = admin(root.table("admin"), folder, system);
    let metrics = root.optional_table("metrics").and_then(metrics);
    let mut context = Context { folder, user: &gateway.user, system, files: Vec::new() };
    let mut across = Across::default();
    let wireguard = tunnel::tunnels(&mut root, &mut context, &mut across);
    let macsec = macsec::links(&mut root, &mut context, &mut across);
    let clients = clients::clients(&mut root, &mut context, &across, &wireguard);
    #[cfg(not(loom))]
    let tls = super::tls::terminators(&mut root, &mut context, &mut across);
    across.end();
    root.end(&[]);
    let files = context.files;
    Config {
        gateway,
        log,
        admin,
        metrics,
        wireguard,
        macsec,
        clients,
        #[cfg(not(loom))]
        tls,
        files,
    }
}

fn gateway(mut table: Table<'_>, folder: &Path, system: &System<'_>) -> Gateway {
    let name = table.value("name").and_then(|value| name_of(&value));
    let state = table.value("state").and_then(|value| path(&value, folder));
    let user = user(&mut table, system);
    let workers = table.value("workers").and_then(|value| value.integer(1..=64));
    let pin = table.value("pin").and_then(|value| value.switch());
    let offloads = offloads(table.table("offload"));
    table.end(&[]);
    Gateway {
        name,
        state: state.unwrap_or_else(|| PathBuf::from("/var/lib/adit")),
        user,
        workers,
        pin: pin.unwrap_or(false),
        offloads,
    }
}

/// What depends on the machine as it is at the moment. It is no part of the configuration, or a reload would take a host
/// with another name or other processors for a changed file.
impl Gateway {
    /// What this gateway is called: as the file says, else as the host.
    pub fn name(&self) -> String {
        self.name.clone().unwrap_or_else(host_name)
    }

    /// How many workers a tunnel has: as the file says, else by the processors.
    pub fn workers(&self) -> usize {
        self.workers.unwrap_or_else(default_count)
    }
}

/// `gateway.user`, which has to exist.
fn user(table: &mut Table<'_>, system: &System<'_>) -> String {
    let make = |user: &str| {
        format!("a user of this system; make one with `useradd --system {user}`, or choose \"root\"")
    };
    let Some(value) = table.value("user") else {
        if let Err(found) = account(DEFAULT_USER, system.user) {
            table.refused(
                "user",
                format!("nothing, which means \"{DEFAULT_USER}\", {found}"),
                make(DEFAULT_USER),
            );
        }
        return DEFAULT_USER.to_owned();
    };
    let user = value.parsed(NAME, |text| Some(text).filter(|text| is_name(text)));
    if let Some(Err(found)) = user.map(|user| account(user, system.user)) {
        value.refused(format!("{}, {found}", value.found()), make(user.unwrap_or_default()));
    }
    user.unwrap_or(DEFAULT_USER).to_owned()
}

/// A group, which has to exist.
fn group(value: &Value<'_>, system: &System<'_>) -> Option<String> {
    let group = value.parsed(NAME, |text| Some(text).filter(|text| is_name(text)))?;
    if let Err(found) = account(group, system.group) {
        let allowed = format!("a group of this system; make one with `groupadd --system {group}`");
        value.refused(format!("{}, {found}", value.found()), allowed);
    }
    Some(group.to_owned())
}

/// What is wrong with a user or a group, if anything is.
fn account(name: &str, exists: &dyn Fn(&str) -> Result<bool, String>) -> Result<(), String> {
    match exists(name) {
        Ok(true) => Ok(()),
        Ok(false) => Err("which does not exist".to_owned()),
        Err(error) => Err(format!("which cannot be looked up: {error}")),
    }
}

fn offloads(mut table: Table<'_>) -> Offloads {
    let Offloads { tun_tso, tun_uso, tun_steering, udp_gso, udp_gro, wide_cipher, link_xdp } =
        Offloads::default();
    let mut switch = |key, default| table.value(key).and_then(|value| value.switch()).unwrap_or(default);
    let offloads = Offloads {
        tun_tso: switch("tun_tso", tun_tso),
        tun_uso: switch("tun_uso", tun_uso),
        tun_steering: switch("tun_steering", tun_steering),
        udp_gso: switch("udp_gso", udp_gso),
        udp_gro: switch("udp_gro", udp_gro),
        wide_cipher: switch("wide_cipher", wide_cipher),
        link_xdp: switch("link_xdp", link_xdp),
    };
    table.end(&[]);
    offloads
}

fn log(mut table: Table<'_>) -> Log {
    let level = table.value("level").and_then(|value| {
        value.parsed("\"error\", \"info\" or \"verbose\"", |text| match text {
            "error" => Some(LevelFilter::ERROR),
            "info" => Some(LevelFilter::INFO),
            "verbose" => Some(LevelFilter::DEBUG),
            _ => None,
        })
    });
    let json = table.value("format").and_then(|value| {
        value.parsed("\"text\" or \"json\"", |text| match text {
            "text" => Some(false),
            "json" => Some(true),
            _ => None,
        })
    });
    table.end(&[]);
    Log { level: level.unwrap_or(LevelFilter::INFO), json: json.unwrap_or(false) }
}

fn admin(mut table: Table<'_>, folder: &Path, system: &System<'_>) -> Admin {
    let directory = table.value("directory").and_then(|value| path(&value, folder));
    let read_group = table.value("read_group").and_then(|value| group(&value, system));
    let write_group = table.value("write_group").and_then(|value| group(&value, system));
    table.end(&[]);
    let directory = directory.unwrap_or_else(|| PathBuf::from("/run/adit"));
    Admin { directory, read_group, write_group }
}

fn metrics(mut table: Table<'_>) -> Option<Metrics> {
    let allowed = "an address and a port, as 127.0.0.1:9586 or [::1]:9586";
    let listen = table.value("listen");
    if listen.is_none() {
        table.missing("listen", allowed);
    }
    let address = |text: &str| text.parse::<SocketAddr>().ok().filter(|address| address.port() != 0);
    let listen = listen.and_then(|value| value.parsed(allowed, address));
    table.end(&[]);
    listen.map(|listen| Metrics { listen })
}

/// A path: as it is if it is absolute, else in `folder`, where the file is.
pub(super) fn path(value: &Value<'_>, folder: &Path) -> Option<PathBuf> {
    let allowed = "a path, absolute or from the folder of this file";
    value.parsed(allowed, |text| {
        let sound = !text.is_empty() && !text.chars().any(char::is_control);
        sound.then(|| folder.join(text))
    })
}

/// What the name of a gateway, a peer, a user or a group may be: it stands in logs and metrics, and peers' in file names.
pub(super) const NAME: &str =
    "a name of 1 to 64 letters, digits, '.', '-' and '_' that begins with a letter, a digit or '_'";

/// Whether a text is such a name.
pub(super) fn is_name(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    (1..=64).contains(&text.len()) && text.bytes().all(inner) && !text.starts_with(['.', '-'])
}

fn name_of(value: &Value<'_>) -> Option<String> {
    value.parsed(NAME, |text| is_name(text).then(|| text.to_owned()))
}

/// Whom the daemon becomes.
const DEFAULT_USER: &str = "adit";

/// This host's name, if it is a name.
fn host_name() -> String {
    let system = rustix::system::uname();
    let name = system.nodename().to_string_lossy();
    if is_name(&name) { name.into_owned() } else { "gateway".to_owned() }
}
