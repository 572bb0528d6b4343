//! `aditctl drain`

use anyhow::{Result, bail};
use hyper::Method;

use super::client::{ANSWER, Client, Role};
use super::command;
use super::output;
use super::paint::{escape, lines};

/// Has nothing more accepted where TLS ends, or again, and tells how many connections are left.
///
/// # Errors
/// In words for the operator.
pub(super) async fn run(client: &Client, drain: &command::Drain) -> Result<()> {
    let path = if drain.undo { "/v1/drain/undo" } else { "/v1/drain" };
    let query = drain.name.as_ref().map(|name| format!("?tls={name}")).unwrap_or_default();
    let answer = client.ask(Role::Write, Method::POST, &format!("{path}{query}"), ANSWER).await?;
    if !answer.status.is_success() {
        bail!("{}", lines(&answer.complaint()));
    }
    let value: serde_json::Value = serde_json::from_slice(&answer.body)?;
    let left = value.get("connections").and_then(serde_json::Value::as_object).into_iter().flatten();
    let said: String = left.map(|(name, count)| format!("{}\n", said(name, count, drain.undo))).collect();
    output::write(said.as_bytes())
}

fn said(name: &str, count: &serde_json::Value, undo: bool) -> String {
    let count = count.as_u64().unwrap_or_default();
    let connections = if count == 1 { "1 connection".to_owned() } else { format!("{count} connections") };
    match undo {
        true => format!("{}: accepts connections again; {connections} now", escape(name)),
        false => format!("{}: accepts nothing more; {connections} left", escape(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_said() {
        assert_eq!(said("web", &1.into(), false), "web: accepts nothing more; 1 connection left");
        assert_eq!(said("web", &0.into(), true), "web: accepts connections again; 0 connections now");
    }
}
