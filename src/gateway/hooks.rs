//! The commands that an operator wants run around a tunnel's life.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

/// How long a command may take. Others wait meanwhile.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often is looked whether it ended.
const GLANCE: Duration = Duration::from_millis(10);

/// Runs commands in their order by `/bin/sh -c`, with the rights and the log of the daemon; `%i` stands for the interface, as in
/// wg-quick, and `ADIT_INTERFACE` has its name too.
///
/// # Errors
/// The first command that fails or takes too long, in words; those after it are not run.
pub(super) fn run(kind: &str, interface: &str, commands: &[String]) -> Result<(), String> {
    commands.iter().try_for_each(|command| {
        let command = command.replace("%i", interface);
        tracing::info!("{interface}: {kind}: {command}");
        super::watchdog::alive();
        run_one(interface, &command, PATIENCE)
            .map_err(|error| format!("{interface}: {kind}: {command}: {error}"))
    })
}

fn run_one(interface: &str, command: &str, patience: Duration) -> Result<(), String> {
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", command]).env("ADIT_INTERFACE", interface);
    shell.stdin(Stdio::null());
    // A group of its own, so that what it started ends with it.
    std::os::unix::process::CommandExt::process_group(&mut shell, 0);
    let mut child = shell.spawn().map_err(|error| error.to_string())?;
    let ended = wait(&mut child, patience);
    if ended.is_none() {
        // The group may be gone this instant.
        let _ = Pid::from_raw(child.id().cast_signed()).map(|group| kill_process_group(group, Signal::KILL));
    }
    match ended.map_or_else(|| child.wait().map(|_| None), |status| Ok(Some(status))) {
        Ok(Some(status)) if status.success() => Ok(()),
        Ok(Some(status)) => Err(status.to_string()),
        Ok(None) => Err(format!("not done after {} s", patience.as_secs())),
        Err(error) => Err(error.to_string()),
    }
}

/// Waits for the end for at most so long.
fn wait(child: &mut Child, patience: Duration) -> Option<std::process::ExitStatus> {
    let begin = Instant::now();
    while begin.elapsed() < patience {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status);
        }
        std::thread::sleep(GLANCE);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_run_in_order_and_know_the_interface() {
        let file = std::env::temp_dir().join(format!("adit-hooks-{}", std::process::id()));
        let path = file.display();
        let commands = [format!("echo one %i > {path}"), format!("echo two $ADIT_INTERFACE >> {path}")];
        run("post_up", "wg7", &commands).unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "one wg7\ntwo wg7\n");
        std::fs::remove_file(&file).unwrap();
    }

    #[test]
    fn the_first_that_fails_is_named_and_the_last() {
        let file = std::env::temp_dir().join(format!("adit-hooks-not-{}", std::process::id()));
        let error =
            run("pre_up", "wg7", &["exit 3".into(), format!("touch {}", file.display())]).unwrap_err();
        assert_eq!(error, "wg7: pre_up: exit 3: exit status: 3");
        assert!(!file.exists());
    }

    #[test]
    fn one_that_hangs_is_ended_with_all_that_it_started() {
        let begin = Instant::now();
        let error = run_one("wg7", "sleep 60 & sleep 60", Duration::from_millis(100)).unwrap_err();
        assert!(error.starts_with("not done after"), "{error}");
        assert!(begin.elapsed() < Duration::from_secs(10));
    }
}
