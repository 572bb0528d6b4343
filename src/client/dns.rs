//! The site's name servers: told to whoever keeps this machine's, and taken back.
//!
//! 1. systemd-resolved, if `/etc/resolv.conf` leads to it and it is on the system's bus: it asks each link's servers for that
//!    link's domains. It forgets a link's servers with the link.
//! 2. resolvconf, as wg-quick does.
//! 3. `/etc/resolv.conf` itself. What was there is kept beside the profiles, on the disk: after a crash it is put back by the
//!    process that watches, or by the next `adit up` or `adit down`, even after a reboot. What somebody else has written
//!    meanwhile is left.

use std::fs;
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use super::places;
use crate::net::link;
use resolved::Resolved;

mod resolved;

/// The first line of a resolv.conf of ours.
const OURS: &str = "# made by adit; `adit down` puts back what was here";
/// Where the servers of systemd-resolved listen (systemd-resolved.service(8)).
const STUBS: [&str; 2] = ["127.0.0.53", "127.0.0.54"];

/// Who was told of the servers.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Keeper {
    /// systemd-resolved
    Resolved,
    /// resolvconf
    Resolvconf,
    /// `/etc/resolv.conf` itself
    File,
}

/// What a tunnel asks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    /// The servers.
    pub(super) servers: &'a [IpAddr],
    /// The domains that are asked of them.
    pub(super) search: &'a [String],
    /// Whether they are asked for everything.
    pub(super) all: bool,
}

/// This machine's names.
#[derive(Clone, Debug)]
pub(super) struct System {
    /// `/etc/resolv.conf`
    pub(super) file: PathBuf,
    /// What was in that file.
    pub(super) saved: PathBuf,
    /// Folders of programs.
    pub(super) programs: Vec<PathBuf>,
    /// The address of the bus; the system's if there is none.
    pub(super) bus: Option<String>,
}

/// What was in the file.
#[derive(Debug, Deserialize, Serialize)]
struct Saved {
    /// Whose tunnel has taken its place.
    tunnel: String,
    /// Where it led, if it was a link.
    link: Option<PathBuf>,
    /// What it held.
    text: Option<String>,
}

impl System {
    /// That of this machine; `saved` is the place for what was in its file.
    #[must_use]
    pub(super) fn new(saved: PathBuf) -> Self {
        let path = std::env::var_os("PATH").unwrap_or_default();
        // A user's path may lack those of root.
        let programs =
            std::env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(PathBuf::from)).collect();
        Self { file: "/etc/resolv.conf".into(), saved, programs, bus: None }
    }

    /// Tells this machine's keeper of names the servers of a tunnel.
    ///
    /// # Errors
    /// In words; then nothing was changed.
    pub(super) fn lay(&self, tunnel: &str, wanted: Wanted<'_>) -> Result<Keeper> {
        if let Some(resolved) = self.is_resolved().then(|| self.resolved()).flatten() {
            let link = link::find(tunnel).with_context(|| format!("cannot find {tunnel}"))?;
            return resolved.tell(link.index, wanted).map(|()| Keeper::Resolved);
        }
        if self.program("resolvconf").is_some() {
            let text = text(wanted);
            let record = self.record(tunnel);
            return self
                .call("resolvconf", &["-a", &record, "-m", "0", "-x"], &text)
                .map(|()| Keeper::Resolvconf);
        }
        self.write(tunnel, wanted).map(|()| Keeper::File)
    }

    /// Takes back what [`Self::lay`] did, whoever has done it.
    ///
    /// # Errors
    /// In words.
    pub(super) fn take_back(&self, tunnel: &str, keeper: Keeper) -> Result<()> {
        match keeper {
            // It has forgotten a link that is gone.
            Keeper::Resolved => {
                if let (Ok(link), Some(resolved)) = (link::find(tunnel), self.resolved()) {
                    resolved.forget(link.index)?;
                }
            }
            Keeper::Resolvconf => self.call("resolvconf", &["-d", &self.record(tunnel), "-f"], "")?,
            Keeper::File => drop(self.restore(Some(tunnel))?),
        }
        Ok(())
    }

    /// Puts back what was in `/etc/resolv.conf` if a tunnel has taken its place: this one, or any. The tunnel that was.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn restore(&self, tunnel: Option<&str>) -> Result<Option<String>> {
        let Some(saved) = places::read_record::<Saved>(&self.saved) else { return Ok(None) };
        if tunnel.is_some_and(|tunnel| tunnel != saved.tunnel) {
            return Ok(None);
        }
        // What somebody else has written meanwhile is newer.
        let now = fs::read_to_string(&self.file).unwrap_or_default();
        if now.starts_with(OURS) {
            match (&saved.link, &saved.text) {
                (Some(link), _) => {
                    fs::remove_file(&self.file)?;
                    symlink(link, &self.file)?;
                }
                (None, Some(text)) => self.put(text)?,
                (None, None) => fs::remove_file(&self.file)?,
            }
        }
        fs::remove_file(&self.saved)?;
        Ok(Some(saved.tunnel))
    }

    /// The tunnel that has taken the file's place, if one has.
    #[must_use]
    pub(super) fn taken_by(&self) -> Option<String> {
        places::read_record::<Saved>(&self.saved).map(|saved| saved.tunnel)
    }

    /// Whether names are resolved by systemd-resolved.
    fn is_resolved(&self) -> bool {
        let text = fs::read_to_string(&self.file).unwrap_or_default();
        let mut servers =
            text.lines().filter_map(|line| line.trim().strip_prefix("nameserver")).map(str::trim);
        servers.any(|server| STUBS.contains(&server))
    }

    fn resolved(&self) -> Option<Resolved> {
        Resolved::find(self.bus.as_deref())
    }

    fn write(&self, tunnel: &str, wanted: Wanted<'_>) -> Result<()> {
        if let Some(other) = self.taken_by().filter(|other| other != tunnel) {
            bail!("{} is in use by the tunnel {other}", self.file.display());
        }
        if self.taken_by().is_none() {
            let saved = Saved {
                tunnel: tunnel.to_owned(),
                link: fs::read_link(&self.file).ok(),
                text: fs::read_to_string(&self.file).ok(),
            };
            places::write_record(&self.saved, &saved)?;
        }
        let text = format!("{OURS}\n{}", text(wanted));
        if let Err(error) = self.put(&text) {
            let _ = self.restore(Some(tunnel));
            return Err(error).with_context(|| format!("cannot write {}", self.file.display()));
        }
        Ok(())
    }

    /// Writes the file anew, not into what a link leads to. Where it is a mount of its own it can only be overwritten.
    fn put(&self, text: &str) -> io::Result<()> {
        let new = self.file.with_extension("conf.adit");
        fs::write(&new, text)?;
        fs::set_permissions(&new, std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
        match fs::rename(&new, &self.file) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                fs::remove_file(&new)?;
                fs::write(&self.file, text)
            }
            renamed => renamed,
        }
    }

    /// What resolvconf is told the servers are of. Debian's own sorts by a list of names, in which ours is not, but `tun` is.
    fn record(&self, tunnel: &str) -> String {
        if Path::new("/etc/resolvconf/interface-order").exists() {
            format!("tun.{tunnel}")
        } else {
            tunnel.to_owned()
        }
    }

    fn program(&self, name: &str) -> Option<PathBuf> {
        self.programs.iter().map(|folder| folder.join(name)).find(|path| path.is_file())
    }

    fn call(&self, name: &str, words: &[&str], input: &str) -> Result<()> {
        let path = self.program(name).with_context(|| format!("there is no {name}"))?;
        let mut child = Command::new(path)
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        if let Some(mut stdin) = child.stdin.take() {
            // Who reads nothing needs nothing.
            let _ = stdin.write_all(input.as_bytes());
        }
        let ended = child.wait_with_output()?;
        if !ended.status.success() {
            let told = String::from_utf8_lossy(&ended.stderr);
            bail!("{name} {}: {}: {}", words.join(" "), ended.status, told.trim());
        }
        Ok(())
    }
}

/// The lines of a resolv.conf.
fn text(wanted: Wanted<'_>) -> String {
    let mut text: String = wanted.servers.iter().map(|server| format!("nameserver {server}\n")).collect();
    if !wanted.search.is_empty() {
        text += &format!("search {}\n", wanted.search.join(" "));
    }
    text
}

#[cfg(test)]
mod tests;
