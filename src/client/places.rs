//! Where things are: profiles and what has to survive a restart in one folder, sockets and records of what was laid in another.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use super::Wrong;
use super::profile::Profile;
use super::socket;
use crate::control::interface_name;

/// What a profile's file is called after its name.
const TOML: &str = "toml";
/// The longest file that is read, in bytes.
const LONGEST: u64 = 1 << 20;

/// The folders.
#[derive(Clone, Debug)]
pub(super) struct Places {
    /// Profiles, for root alone.
    pub(super) profiles: PathBuf,
    /// Sockets and records.
    pub(super) run: PathBuf,
}

impl Places {
    /// The names of all profiles, in order.
    #[must_use]
    pub(super) fn names(&self) -> Vec<String> {
        names(&self.profiles, TOML)
    }

    /// Makes sure that no names are none, and not such as one may not see.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn look(&self) -> Result<()> {
        match fs::read_dir(&self.profiles) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot read {}", self.profiles.display()))
            }
            _ => Ok(()),
        }
    }

    /// The names of tunnels that are up or have left a record.
    #[must_use]
    pub(super) fn laid(&self) -> Vec<String> {
        names(&self.run, "json")
    }

    /// The profile that is meant.
    ///
    /// # Errors
    /// None or several could be.
    pub(super) fn pick(&self, named: Option<&str>) -> Result<String> {
        if let Some(name) = named {
            return Ok(name.to_owned());
        }
        match self.names().as_slice() {
            [only] => Ok(only.clone()),
            [] => {
                self.look()?;
                Err(Wrong(format!(
                    "there is no profile in {}: `adit import FILE` or `adit enroll URL` makes one",
                    self.profiles.display()
                ))
                .into())
            }
            several => Err(Wrong(format!("which profile? There are {}", several.join(", "))).into()),
        }
    }

    /// Reads a profile. Nobody but its owner may be able to read it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn load(&self, name: &str) -> Result<Profile> {
        let path = self.profile(name);
        let shown = path.display();
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(self.unknown(name));
            }
            Err(error) => return Err(error).with_context(|| format!("cannot read {shown}")),
        };
        let mode = file.metadata()?.mode() & 0o777;
        if mode & 0o077 != 0 {
            let found = format!("{shown}: mode {mode:04o}, so others can read its keys: `chmod 600 {shown}`");
            return Err(Wrong(found).into());
        }
        let text = read(file).with_context(|| format!("cannot read {shown}"))?;
        Profile::parse(&text).map_err(|error| Wrong(format!("{shown}: {error}")).into())
    }

    /// Makes sure that a profile of this name can be written, before anybody is asked for it.
    ///
    /// # Errors
    /// What the system says; or that there is one, and it is not to be replaced, or it is in use.
    pub(super) fn make_room(&self, name: &str, replace: bool) -> Result<()> {
        let path = self.profile(name);
        if !replace && path.exists() {
            let found = format!(
                "there is a profile {name} already; --replace takes its place, --name gives another name"
            );
            return Err(Wrong(found).into());
        }
        if matches!(socket::status(&self.socket(name)), Ok(Some(_))) {
            return Err(Wrong(format!("{name} is up: `adit down {name}` first")).into());
        }
        make_folder(&self.profiles, 0o700)?;
        let trial = path.with_extension("trial");
        write(&trial, b"").with_context(|| format!("cannot write to {}", self.profiles.display()))?;
        fs::remove_file(&trial).with_context(|| format!("cannot remove {}", trial.display()))
    }

    /// That there is no profile of this name.
    #[must_use]
    pub(super) fn unknown(&self, name: &str) -> anyhow::Error {
        let known = match self.names() {
            names if names.is_empty() => "there is none at all".to_owned(),
            names => format!("there are: {}", names.join(", ")),
        };
        Wrong(format!("there is no profile {name}; {known}")).into()
    }

    /// Writes a profile: whole, or not at all.
    ///
    /// # Errors
    /// What the system says, or that there is one of this name and it is not to be replaced.
    pub(super) fn save(&self, name: &str, profile: &Profile, replace: bool) -> Result<PathBuf> {
        let path = self.profile(name);
        if !replace && path.exists() {
            bail!("there is a profile {name} already; --replace takes its place");
        }
        let text = profile.to_toml().map_err(anyhow::Error::msg)?;
        make_folder(&self.profiles, 0o700)?;
        write(&path, text.as_bytes()).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    /// A file of this kind beside the profile of this name, which survives a restart.
    #[must_use]
    pub(super) fn beside(&self, name: &str, kind: &str) -> PathBuf {
        self.profiles.join(format!("{name}.{kind}"))
    }

    /// The socket of a tunnel that is up.
    #[must_use]
    pub(super) fn socket(&self, name: &str) -> PathBuf {
        self.run.join(format!("{name}.sock"))
    }

    /// The socket of `adit serve`.
    #[must_use]
    pub(super) fn orders(&self) -> PathBuf {
        self.run.join("orders")
    }

    /// The record of what a tunnel has laid.
    #[must_use]
    pub(super) fn record(&self, name: &str) -> PathBuf {
        self.run.join(format!("{name}.json"))
    }

    fn profile(&self, name: &str) -> PathBuf {
        self.beside(name, TOML)
    }
}

fn names(folder: &Path, kind: &str) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let name = |entry: fs::DirEntry| {
        let path = entry.path();
        let name = path.file_stem()?.to_str()?;
        (path.extension()? == kind && interface_name(name).is_ok()).then(|| name.to_owned())
    };
    let mut names: Vec<_> = entries.filter_map(Result::ok).filter_map(name).collect();
    names.sort();
    names
}

/// Makes a folder, if it is missing.
///
/// # Errors
/// What the system says.
pub(super) fn make_folder(path: &Path, mode: u32) -> Result<()> {
    let made = DirBuilder::new().recursive(true).mode(mode).create(path);
    made.with_context(|| format!("cannot make {}", path.display()))
}

/// Reads a text.
///
/// # Errors
/// What the system says.
pub(super) fn read(file: File) -> io::Result<Zeroizing<String>> {
    let size = file.metadata()?.len().clamp(4_096, LONGEST);
    let mut text = Zeroizing::new(String::with_capacity(usize::try_from(size).unwrap_or(0) + 1));
    file.take(LONGEST).read_to_string(&mut text)?;
    Ok(text)
}

/// Writes a file of mode 0600, whole or not at all: what was there stays until the new one is on the disk.
///
/// # Errors
/// What the system says.
pub(super) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    let _ = fs::remove_file(&new);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)
}

/// Reads a record; nothing if there is none that can be read.
#[must_use]
pub(super) fn read_record<T: DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// Writes a record.
///
/// # Errors
/// What the system says.
pub(super) fn write_record(path: &Path, record: &impl Serialize) -> Result<()> {
    let bytes = serde_json::to_vec(record)?;
    write(path, &bytes).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::client::profile::tests::sample;
    use crate::test_folder::Folder;

    #[test]
    fn a_profile_is_kept_for_its_owner_alone_and_read_by_nobody_else() {
        let folder = Folder::new();
        let places = Places { profiles: folder.path().join("a/b"), run: folder.path().join("run") };
        assert!(places.pick(None).unwrap_err().to_string().contains("adit import"));
        let path = places.save("office", &sample(), false).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(&places.profiles).unwrap().mode() & 0o777, 0o700);
        assert!(places.save("office", &sample(), false).unwrap_err().to_string().contains("--replace"));
        places.save("office", &sample(), true).unwrap();
        assert_eq!(places.pick(None).unwrap(), "office");
        assert_eq!(places.load("office").unwrap().search, ["corp.example"]);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let error = places.load("office").unwrap_err();
        assert!(error.is::<Wrong>() && error.to_string().contains("chmod 600"), "{error}");
        places.save("home", &sample(), false).unwrap();
        assert!(places.pick(None).unwrap_err().to_string().contains("home, office"));
        assert_eq!(places.pick(Some("home")).unwrap(), "home");
        assert!(places.load("x").unwrap_err().to_string().contains("there is no profile x"));
    }
}
