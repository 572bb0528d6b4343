//! One WireGuard interface, a drop-in for wireguard-go.

use std::io::Write;
use std::process::{Command, ExitCode, Stdio};

use adit::control::{Interface, Options};
use adit::net::offload::Offloads;
use anyhow::{Context, Result, bail};
use clap::Parser;
use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};
use tracing::level_filters::LevelFilter;

/// Set for the process in the background: say on standard output when the interface is ready.
const READY: &str = "ADIT_TELL_READY";

/// Makes the WireGuard interface NAME and serves it to `wg` and `wg-quick`.
///
/// It goes to the background when the interface is ready, and ends when the interface is deleted or its socket
/// /var/run/wireguard/NAME.sock is removed. SIGUSR1 writes the counters of dropped packets to the log.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Stay in the foreground.
    #[arg(short, long)]
    foreground: bool,
    /// Worker threads, each with a queue of the device and a UDP socket; by default as many as there are processors, up to 4.
    #[arg(long, env = "ADIT_WORKERS", value_parser = clap::value_parser!(u16).range(1..=64))]
    workers: Option<u16>,
    /// Offloads that may be used, of tun_tso, tun_uso, udp_gso, udp_gro; or "none".
    #[arg(long, env = "ADIT_OFFLOADS", default_value_t)]
    offloads: Offloads,
    /// How much is logged: silent, error, info, or verbose.
    #[arg(long, env = "LOG_LEVEL", default_value = "error", value_parser = level)]
    log_level: LevelFilter,
    /// The interface's name, of 1 to 15 bytes.
    #[arg(value_parser = name)]
    name: String,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt()
        .with_max_level(arguments.log_level)
        .with_target(false)
        .with_writer(std::io::stderr)
        .init();
    match if arguments.foreground { run(&arguments) } else { detach() } {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("adit-wireguard: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let workers = arguments
        .workers
        .map_or_else(|| std::thread::available_parallelism().map_or(1, usize::from).min(4), usize::from);
    let options = Options { name: arguments.name.clone(), workers, offloads: arguments.offloads };
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGUSR1])?;
    let interface = Interface::start(&options)?;
    let remote = interface.remote();
    std::thread::spawn(move || {
        signals
            .forever()
            .for_each(|signal| if signal == SIGUSR1 { remote.log_drops() } else { remote.stop() })
    });
    if std::env::var_os(READY).is_some() {
        // A session of its own: the terminal that started it takes nothing with it when it closes.
        let _ = rustix::process::setsid();
        println!("ready");
        std::io::stdout().flush()?;
        let null = std::fs::OpenOptions::new().write(true).open("/dev/null")?;
        rustix::stdio::dup2_stdout(&null)?;
        // Whoever reads our errors through a pipe would wait for its end. Who asked for a log keeps it.
        if arguments.log_level <= LevelFilter::ERROR {
            rustix::stdio::dup2_stderr(&null)?;
        }
    }
    tracing::info!("{}: ends: {:?}", arguments.name, interface.wait());
    Ok(())
}

/// Starts this program again in the background and returns when it is ready, or says what it said when it failed.
fn detach() -> Result<()> {
    let program = std::env::current_exe().context("cannot find this program")?;
    let mut child = Command::new(program);
    child
        .args(std::env::args_os().skip(1))
        .arg("--foreground")
        .env(READY, "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let mut child = child.spawn().context("cannot start the process in the background")?;
    let mut said = String::new();
    let stdout = child.stdout.take().context("no pipe to the process in the background")?;
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut said)?;
    if said != "ready\n" {
        child.wait()?;
        bail!("the interface was not made");
    }
    Ok(())
}

fn level(text: &str) -> Result<LevelFilter, String> {
    match text {
        "silent" => Ok(LevelFilter::OFF),
        "error" => Ok(LevelFilter::ERROR),
        "info" => Ok(LevelFilter::INFO),
        "verbose" | "debug" => Ok(LevelFilter::DEBUG),
        _ => Err("expected silent, error, info or verbose".into()),
    }
}

fn name(text: &str) -> Result<String, String> {
    let wrong = text.is_empty()
        || text.len() > 15
        || text == "."
        || text == ".."
        || text.contains(['/', ' ', '%', '\0']);
    if wrong {
        Err("an interface name has 1 to 15 bytes without slash, space or percent sign".into())
    } else {
        Ok(text.to_owned())
    }
}
