//! `aditctl status`

use std::io::IsTerminal;

use anyhow::{Context, Result, bail};
use hyper::body::Bytes;
use hyper::{Method, StatusCode};

use super::client::{ANSWER, Client, Role};
use super::command;
use super::output;
use super::paint::{Paint, escape};
use super::render::render;
use crate::status::{SCHEMA, Status};

/// Clears a terminal, what scrolled off it too, and goes to its upper left corner.
const CLEAR: &str = "\x1b[H\x1b[2J\x1b[3J";

/// Shows the status once, or again and again.
///
/// # Errors
/// In words for the operator.
pub(super) async fn run(client: &Client, arguments: &command::Status) -> Result<()> {
    let mut frame = look(client, arguments).await?;
    let Some(pause) = arguments.watch else {
        return output::write(frame.as_bytes());
    };
    let clear = std::io::stdout().is_terminal() && !arguments.json;
    let mut first = true;
    loop {
        output::write(between(&frame, clear, first, arguments.json).as_bytes())?;
        first = false;
        tokio::time::sleep(pause).await;
        frame = match look(client, arguments).await {
            Ok(frame) => frame,
            // Whoever reads JSON reads nothing else there.
            Err(error) if arguments.json => return Err(error),
            Err(error) => format!("aditctl: {error:#}\nIt is tried again; Ctrl-C ends this.\n"),
        };
    }
}

/// A frame with what separates it from the one before.
fn between(frame: &str, clear: bool, first: bool, json: bool) -> String {
    match (clear, first || json) {
        (true, _) => format!("{CLEAR}{frame}"),
        (false, true) => frame.to_owned(),
        (false, false) => format!("\n{frame}"),
    }
}

async fn look(client: &Client, arguments: &command::Status) -> Result<String> {
    let answer = client.ask(Role::Read, Method::GET, "/v1/status", ANSWER).await?;
    if answer.status != StatusCode::OK {
        bail!("{}", answer.complaint());
    }
    let tunnel = arguments.tunnel.as_deref();
    if arguments.json {
        return json(&answer.body, tunnel);
    }
    let status = parse(&answer.body)?;
    if let Some(tunnel) = tunnel
        && !status.wireguard.contains_key(tunnel)
        && !status.macsec.contains_key(tunnel)
        && !status.tls.contains_key(tunnel)
    {
        let names = status.wireguard.keys().chain(status.macsec.keys()).chain(status.tls.keys());
        bail!("{}", missing(tunnel, names));
    }
    Ok(render(&status, tunnel, Paint::stdout()))
}

fn parse(body: &Bytes) -> Result<Status> {
    let schema = |value: &serde_json::Value| value.get("schema").and_then(serde_json::Value::as_u64);
    serde_json::from_slice(body).or_else(|error| {
        let value: serde_json::Value = serde_json::from_slice(body).context("the daemon's answer is no JSON")?;
        match schema(&value) {
            Some(theirs) if theirs != u64::from(SCHEMA) => bail!(
                "the daemon's status has schema {theirs}, this aditctl knows {SCHEMA}; install the aditctl that came with the daemon, or use --json"
            ),
            Some(_) | None => {
                Err(error).context("the daemon's status is not as this aditctl knows it; use --json, or its own aditctl")
            }
        }
    })
}

fn json(body: &Bytes, tunnel: Option<&str>) -> Result<String> {
    let Some(tunnel) = tunnel else {
        return Ok(format!("{}\n", String::from_utf8_lossy(body).trim_end()));
    };
    let value: serde_json::Value = serde_json::from_slice(body).context("the daemon's answer is no JSON")?;
    let empty = serde_json::Map::new();
    // No two of them have the same name.
    let [tunnels, links, tls] = ["wireguard", "macsec", "tls"]
        .map(|kind| value.get(kind).and_then(serde_json::Value::as_object).unwrap_or(&empty));
    match tunnels.get(tunnel).or_else(|| links.get(tunnel)).or_else(|| tls.get(tunnel)) {
        Some(one) => Ok(format!("{}\n", serde_json::to_string_pretty(one)?)),
        None => bail!("{}", missing(tunnel, tunnels.keys().chain(links.keys()).chain(tls.keys()))),
    }
}

fn missing<'a>(wanted: &str, names: impl Iterator<Item = &'a String>) -> String {
    let names: Vec<_> = names.map(|name| escape(name)).collect();
    let there = if names.is_empty() { "none".into() } else { names.join(", ") };
    format!("there is no tunnel or link {}; there is {there}", escape(wanted))
}
