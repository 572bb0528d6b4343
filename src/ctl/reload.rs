//! `aditctl reload`

use std::time::Duration;

use anyhow::{Result, bail};
use hyper::{Method, StatusCode};

use super::client::{Client, Role};
use super::output;
use super::paint::lines;

/// For the whole reload: names are resolved in it and commands run. The daemon gives it 600 s.
const RELOAD: Duration = Duration::from_secs(610);

/// Has the daemon read its file again, and tells what it changed.
///
/// # Errors
/// In words for the operator: what is wrong with the file, or why the daemon could not be asked.
pub(super) async fn run(client: &Client) -> Result<()> {
    let answer = client.ask(Role::Write, Method::POST, "/v1/reload", RELOAD).await?;
    if answer.status == StatusCode::CONFLICT {
        bail!("not reloaded, nothing was changed:\n{}", lines(&answer.complaint()));
    }
    if !answer.status.is_success() {
        bail!("{}", lines(&answer.complaint()));
    }
    output::write(format!("{}\n", lines(&answer.text("changed"))).as_bytes())?;
    let faults = answer.list("faults");
    if !faults.is_empty() {
        bail!(
            "not all of it was done; the rest is tried again at the next reload:\n{}",
            lines(&faults.join("\n"))
        );
    }
    Ok(())
}
