//! The process of a tunnel: it serves the socket, looks after the tunnel, and ends in good order.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use sd_notify::NotifyState;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tracing::level_filters::LevelFilter;

use super::dns::Keeper;
use super::places::{self, Places};
use super::running::{Running, Wishes};
use super::socket::{self, Request};
use crate::background;

/// How often is looked after the tunnel.
const TICK: Duration = Duration::from_millis(250);

/// Runs a tunnel to its end.
///
/// # Errors
/// In words. A kill switch stays if the interface was taken away from outside.
pub(super) fn run(places: &Places, name: &str, wishes: Wishes, level: LevelFilter) -> Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM]).context("cannot listen to signals")?;
    places::make_folder(&places.run, 0o755)?;
    let (listener, file) = socket::bind(&places.socket(name)).with_context(|| name.to_owned())?;
    let mut running = Running::start(places, name, wishes)?;
    let _keeper = keep(places, name, &running)?;
    let (send, requests) = mpsc::channel();
    let signal = send.clone();
    thread::Builder::new().name("signals".into()).spawn(move || {
        // The loop may have ended.
        signals.forever().for_each(|_| drop(signal.send(Request::Stop(None))));
    })?;
    socket::serve(listener, send).context("cannot serve the socket")?;
    background::ready(level > LevelFilter::ERROR)?;
    tell(&[NotifyState::Ready]);
    let mut looked = Instant::now();
    loop {
        match requests.recv_timeout(TICK.saturating_sub(looked.elapsed())) {
            Ok(Request::Status(reply)) => {
                // Who asked may be gone.
                let _ = reply.send(running.status());
            }
            Ok(Request::Stop(reply)) => {
                tell(&[NotifyState::Stopping]);
                let mut last = running.status();
                let stopped = running.stop();
                last.problems =
                    stopped.as_ref().err().map(|error| format!("{error:#}")).into_iter().collect();
                // Whoever is answered may set it up again at once.
                drop(file);
                if let Some(reply) = reply {
                    let _ = reply.send(last);
                    // It is written by another thread.
                    thread::sleep(TICK / 10);
                }
                return stopped;
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
        }
        // Also while somebody asks all the time.
        if looked.elapsed() < TICK {
            continue;
        }
        looked = Instant::now();
        if running.interface.ended().is_some() {
            super::laid::take_dns_back(places, name)?;
            bail!("{name}: the interface was taken away; `adit up` makes it anew");
        }
        running.look_after();
    }
}

/// Starts the process that puts name servers back if this one is killed, where nobody else does.
fn keep(places: &Places, name: &str, running: &Running) -> Result<Option<Child>> {
    match running.laid.dns {
        None | Some(Keeper::Resolved) => return Ok(None),
        Some(Keeper::Resolvconf | Keeper::File) => {}
    }
    let program = std::env::current_exe().context("cannot find this program")?;
    let child = keeper(&program, places, name)
        // Our end of the pipe closes with this process, however that ends.
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    Ok(Some(child.context("cannot start the process that watches over DNS")?))
}

fn keeper(program: &Path, places: &Places, name: &str) -> Command {
    let mut command = Command::new(program);
    command.arg("--profiles").arg(&places.profiles).arg("--run").arg(&places.run);
    // A name may begin with a dash.
    command.args(["keep", "--", name]);
    command
}

/// Waits for the end of the process that holds the other end of standard input, then puts name servers back.
///
/// # Errors
/// In words.
pub(super) fn watch(places: &Places, name: &str) -> Result<()> {
    // Of a session of its own: what ends its parent by Ctrl-C or with a terminal does not end it.
    let _ = rustix::process::setsid();
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
    // A client that came back meanwhile has it in hand.
    if !matches!(socket::status(&places.socket(name)), Ok(Some(_))) {
        super::laid::take_dns_back(places, name)?;
    }
    Ok(())
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::error!("cannot tell systemd: {error}");
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::client::arguments::{self, Adit};

    #[test]
    fn whoever_puts_name_servers_back_is_told_of_any_profile() {
        let places = Places { profiles: "/profiles".into(), run: "/run".into() };
        for name in ["office", "-office", "--help"] {
            let command = keeper(Path::new("adit"), &places, name);
            let words = std::iter::once(command.get_program()).chain(command.get_args());
            let parsed = Adit::try_parse_from(words).unwrap();
            let arguments::Command::Keep(named) = parsed.command else { panic!("{command:?}") };
            assert_eq!((named.profile.as_deref(), parsed.run), (Some(name), places.run.clone()));
        }
    }
}
