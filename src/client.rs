//! `adit`: the client of a person or a machine that reaches a site through its gateway.
//!
//! ```text
//!   import, enroll ── profile ── up ── process of the tunnel ──┬── interface, routes, rules     (end with it or with `down`)
//!                     (0600)            │        │             ├── kill switch                  (stays until `down`)
//!                                     socket   renewal         └── name servers, and a process that puts them back
//!                                       │
//!                             status, down
//! ```
//!
//! What outlives the process of a tunnel is in a record before it is laid, so that `up` and `down` find it after a crash.

pub mod arguments;
mod daemon;
mod dns;
mod endpoints;
mod enroll;
mod facts;
mod grant;
mod holder;
mod https;
mod identity;
mod import;
mod laid;
mod lease;
mod nat64;
mod network;
mod order;
mod places;
mod probe;
mod profile;
mod qr;
mod renewal;
mod running;
mod serve;
mod show;
mod socket;
mod status;
mod term;
mod token;
mod trust;

use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::CommandFactory as _;

use crate::{background, clock, log};
use arguments::{Adit, Command, Import, Up};
use places::Places;
use running::Wishes;
use status::{State, Tunnel};

/// Wrong usage, or a wrong profile.
const WRONG: u8 = 2;
/// How often `up` looks whether the gateway has answered.
const GLANCE: Duration = Duration::from_millis(4);

/// Something that only whoever called can mend: it is wrong, and was before anything was done.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Wrong(String);

/// A status was told, and it is not "connected".
#[derive(Debug, thiserror::Error)]
#[error("not connected")]
struct Unconnected;

/// Does what a person asked for. Errors go to standard error.
#[must_use]
pub fn run(arguments: &Adit) -> ExitCode {
    log::start(arguments.log_level, false);
    let places = Places { profiles: arguments.profiles.clone(), run: arguments.run.clone() };
    let done = order::pass_on(&places, arguments).and_then(|done| match done {
        Some(code) => Ok(code),
        None => perform(&places, arguments).map(|()| ExitCode::SUCCESS),
    });
    done.unwrap_or_else(|error| {
        if error.is::<Unconnected>() {
            return ExitCode::FAILURE;
        }
        // It fails when nobody reads that either.
        let _ = writeln!(io::stderr(), "adit: {error:#}{}", advice(&error));
        if error.is::<Wrong>() { WRONG.into() } else { ExitCode::FAILURE }
    })
}

/// What else there is to say of an error.
fn advice(error: &anyhow::Error) -> &'static str {
    let denied = |cause: &io::Error| matches!(cause.kind(), io::ErrorKind::PermissionDenied);
    let denied = error.chain().any(|cause| cause.downcast_ref().is_some_and(denied));
    if denied && !rustix::process::geteuid().is_root() {
        "; it takes root, or the group adit where `adit serve` runs (adit-client.socket)"
    } else {
        ""
    }
}

fn perform(places: &Places, arguments: &Adit) -> Result<()> {
    match &arguments.command {
        Command::Import(import) => take_in(places, import),
        Command::Enroll(enroll) => say(&enroll::run(places, enroll)?),
        Command::Up(up) => set_up(places, up, arguments),
        Command::Down(down) => take_down(places, down.profile.as_deref()),
        Command::Status(status) => tell(places, status),
        Command::Qr(named) => {
            let profile = places.load(&places.pick(named.profile.as_deref())?)?;
            if io::stdout().is_terminal() {
                let _ =
                    writeln!(io::stderr(), "adit: this holds the private key; whoever sees it can use it");
            }
            write(&qr::code(&profile.to_quick()).map_err(anyhow::Error::msg)?)
        }
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Adit::command(), "adit", &mut script);
            write(&String::from_utf8_lossy(&script))
        }
        Command::Man { directory } => man(directory),
        Command::Serve => serve::run(places),
        Command::Keep(named) => daemon::watch(places, &places.pick(named.profile.as_deref())?),
    }
}

fn take_in(places: &Places, arguments: &Import) -> Result<()> {
    let stem = arguments.file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let name = arguments.name.clone().map_or_else(|| crate::control::interface_name(stem), Ok);
    let name = name.map_err(|error| Wrong(format!("{}: {error}; give --name", arguments.file.display())))?;
    let failed = || format!("cannot read {}", arguments.file.display());
    let file =
        std::fs::File::open(&arguments.file).map_err(|error| Wrong(format!("{}: {error}", failed())))?;
    let text = places::read(file).with_context(failed)?;
    let (profile, notes) = import::profile(&name, &text).map_err(Wrong)?;
    places.make_room(&name, arguments.replace)?;
    let path = places.save(&name, &profile, arguments.replace)?;
    for note in notes {
        let _ = writeln!(io::stderr(), "adit: {note}");
    }
    say(&format!("{}: written; `adit up {name}` sets it up", path.display()))
}

fn set_up(places: &Places, up: &Up, arguments: &Adit) -> Result<()> {
    let name = places.pick(up.profile.as_deref())?;
    // What is wrong with it is told here, where the exit code is.
    let mut profile = places.load(&name)?;
    let wishes = Wishes { full_tunnel: up.full_tunnel, kill_switch: up.has_kill_switch() };
    running::fit(&mut profile, wishes)?;
    drop(profile);
    if arguments.foreground {
        return daemon::run(places, &name, wishes, arguments.log_level);
    }
    if let Some(tunnel) = socket::status(&places.socket(&name))? {
        let less = |wish: bool, is: bool| wish && !is;
        if less(wishes.full_tunnel, tunnel.full_tunnel) || less(wishes.kill_switch, tunnel.kill_switch) {
            bail!("{name} is up with less than that: `adit down {name}` first");
        }
        return say(&format!("{name}: up already; `adit status` tells how it is"));
    }
    background::detach(&["--foreground"])?;
    let tunnel = wait(places, &name, up.wait)?;
    if tunnel.state == State::Connected {
        return say(&format!("{name}: connected"));
    }
    if up.wait.is_zero() {
        return say(&format!("{name}: up"));
    }
    bail!("{name} is up, but not connected: {}; it goes on trying", reason(&tunnel))
}

fn reason(tunnel: &Tunnel) -> &str {
    tunnel.problems.first().map_or("no answer from the gateway yet", String::as_str)
}

/// Waits until the gateway has answered, or it is known why it does not.
fn wait(places: &Places, name: &str, patience: Duration) -> Result<Tunnel> {
    let begin = Instant::now();
    loop {
        let tunnel = socket::status(&places.socket(name))?;
        let tunnel = tunnel.with_context(|| format!("{name}: its process has ended"))?;
        let settled = !matches!(tunnel.state, State::Connecting | State::NoAnswer | State::NoAddress);
        if settled || begin.elapsed() >= patience {
            return Ok(tunnel);
        }
        sleep(GLANCE);
    }
}

fn take_down(places: &Places, named: Option<&str>) -> Result<()> {
    let names = named.map_or_else(|| laid::all(places), |name| vec![name.to_owned()]);
    let mut nothing = true;
    for name in names {
        if let Some(last) = socket::stop(&places.socket(&name))? {
            if let Some(problem) = last.problems.first() {
                bail!("{name}: {problem}");
            }
            nothing = false;
            say(&format!("{name}: down"))?;
        } else if laid::take_away(places, &name)? {
            nothing = false;
            let _ = std::fs::remove_file(places.socket(&name));
            say(&format!("{name}: what a client that crashed had left is taken away"))?;
        }
    }
    match named {
        Some(name) if nothing && !places.names().iter().any(|known| known == name) => {
            places.look()?;
            Err(places.unknown(name))
        }
        Some(name) if nothing => say(&format!("{name}: down already")),
        None if nothing => say("nothing is up"),
        Some(_) | None => Ok(()),
    }
}

fn tell(places: &Places, arguments: &arguments::Status) -> Result<()> {
    let mut names = places.names();
    names.extend(laid::all(places));
    names.sort();
    names.dedup();
    if let Some(name) = &arguments.profile {
        if !names.contains(name) {
            places.look()?;
            return Err(places.unknown(name));
        }
        names.retain(|known| known == name);
    }
    let tunnels = names.iter().map(|name| one(places, name)).collect::<Result<Vec<_>>>()?;
    if arguments.json {
        write(&format!("{}\n", serde_json::to_string_pretty(&tunnels)?))?;
    } else if tunnels.is_empty() {
        places.look()?;
        say("there is no profile: `adit import FILE` or `adit enroll URL` makes one")?;
    } else {
        let wall = clock::both().wall.as_secs();
        let shown: Vec<_> = tunnels.iter().map(|tunnel| show::tunnel(tunnel, wall)).collect();
        write(&shown.join("\n"))?;
    }
    // Of several, those count that are meant to be up.
    let mut meant =
        tunnels.iter().filter(|tunnel| tunnel.state != State::Down || arguments.profile.is_some());
    let any = tunnels.iter().any(|tunnel| tunnel.state == State::Connected);
    if any && meant.all(|tunnel| tunnel.state == State::Connected) { Ok(()) } else { Err(Unconnected.into()) }
}

fn one(places: &Places, name: &str) -> Result<Tunnel> {
    if let Some(tunnel) = socket::status(&places.socket(name))? {
        return Ok(tunnel);
    }
    let problems = laid::left(places, name);
    let state = if problems.is_empty() { State::Down } else { State::Left };
    Ok(Tunnel { schema: status::SCHEMA, profile: name.to_owned(), state, problems, ..Tunnel::default() })
}

fn man(directory: &Path) -> Result<()> {
    let failed = || format!("cannot write to {}", directory.display());
    std::fs::create_dir_all(directory).with_context(failed)?;
    let mut adit = Adit::command().disable_help_subcommand(true);
    adit.build();
    let below: Vec<_> = adit.get_subcommands().filter(|command| !command.is_hide_set()).cloned().collect();
    for command in [adit].into_iter().chain(below) {
        clap_mangen::Man::new(command)
            .section("1")
            .manual("adit")
            .generate_to(directory)
            .with_context(failed)?;
    }
    Ok(())
}

fn say(words: &str) -> Result<()> {
    write(&format!("{words}\n"))
}

fn write(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // Whoever read it has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("cannot write to standard output"),
    }
}
