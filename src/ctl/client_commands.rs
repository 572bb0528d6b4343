//! `aditctl client`: it asks the daemon, which has the store.

use std::io::IsTerminal;
use std::time::Duration;

use adit_noise::PrivateKey;
use anyhow::{Context, Result, bail};
use hyper::Method;
use serde::Deserialize;
use time::OffsetDateTime;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::client::{ANSWER, Answer, Client, Role};
use super::client_arguments::{ClientCommand, Invite, List, Profile, Remove, Tunnel};
use super::client_profile::Lease;
use super::client_qr;
use super::output;
use super::paint::{escape, lines};
use crate::enrolment;
use crate::pki::moment;
use crate::store::Token;

/// Does what the operator asked for.
///
/// # Errors
/// In words for the operator.
pub(super) async fn run(client: &Client, command: &ClientCommand) -> Result<()> {
    match command {
        ClientCommand::Invite(invite) => self::invite(client, invite).await,
        ClientCommand::List(list) => self::list(client, list).await,
        ClientCommand::Remove(remove) => self::remove(client, remove).await,
        ClientCommand::Profile(profile) => self::profile(client, profile).await,
    }
}

async fn ask(client: &Client, role: Role, method: Method, path: &str) -> Result<Answer> {
    let answer = client.ask(role, method, path, ANSWER).await?;
    if !answer.status.is_success() {
        bail!("{}", lines(&answer.complaint()));
    }
    Ok(answer)
}

/// A path with what stands behind `?`.
fn path(path: &str, name: Option<&str>, time: Option<Duration>, tunnel: &Tunnel) -> String {
    let name = name.map(|name| format!("name={name}"));
    let time = time.map(|time| format!("seconds={}", time.as_secs()));
    let tunnel = tunnel.tunnel.as_ref().map(|tunnel| format!("tunnel={tunnel}"));
    let parts: Vec<_> = [name, time, tunnel].into_iter().flatten().collect();
    if parts.is_empty() { path.to_owned() } else { format!("{path}?{}", parts.join("&")) }
}

/// What is told of an invitation.
#[derive(Deserialize, Zeroize, ZeroizeOnDrop)]
struct Invitation {
    tunnel: String,
    token: String,
    url: String,
    authority: Option<String>,
    until: u64,
}

async fn invite(client: &Client, invite: &Invite) -> Result<()> {
    let path = path("/v1/clients/invite", Some(invite.name.as_str()), Some(invite.expires), &invite.tunnel);
    let answer = ask(client, Role::Write, Method::POST, &path).await?;
    if invite.json {
        output::write(&answer.body)?;
        return output::write(b"\n");
    }
    let invitation: Invitation =
        serde_json::from_slice(&answer.body).context("the daemon's answer is no invitation")?;
    let link = invitation.link()?;
    let mut text = Zeroizing::new(format!(
        "{}\n\nIt lets {} enrol for {} once, until {}, and is not shown again. This asks for it:\n\n    adit enroll\n",
        *link,
        invite.name,
        escape(&invitation.tunnel),
        when(invitation.until),
    ));
    if invitation.authority.is_none() {
        text.push_str("\nThe gateway is to be known by a public authority; if it is not, also give its own by --ca FILE.\n");
    }
    if std::io::stdout().is_terminal()
        && let Some(code) = client_qr::code(&link).map(Zeroizing::new)
    {
        text.push('\n');
        text.push_str(&code);
    }
    output::write(text.as_bytes())
}

impl Invitation {
    /// All that a client needs, in one word.
    fn link(&self) -> Result<Zeroizing<String>> {
        let wrong = || "the daemon's answer is no invitation";
        let token = Token::from_text(&self.token).with_context(wrong)?;
        let authority = self.authority.as_deref().map(str::parse).transpose();
        let authority = authority.map_err(anyhow::Error::msg).with_context(wrong)?;
        let text = enrolment::Invitation { token, authority }.to_text();
        Ok(Zeroizing::new(format!("{}/#{}", escape(&self.url), *text)))
    }
}

/// A lease in the list.
#[derive(Deserialize)]
struct Listed {
    name: String,
    public_key: String,
    addresses: Vec<String>,
    until: u64,
    certificate: bool,
}

/// A tunnel in the list.
#[derive(Deserialize)]
struct Leases {
    capacity: u64,
    leases: Vec<Listed>,
}

async fn list(client: &Client, list: &List) -> Result<()> {
    let answer = ask(client, Role::Read, Method::GET, &path("/v1/clients", None, None, &list.tunnel)).await?;
    if list.json {
        output::write(&answer.body)?;
        return output::write(b"\n");
    }
    let tunnels: std::collections::BTreeMap<String, Leases> =
        serde_json::from_slice(&answer.body).context("the daemon's answer is no list of clients")?;
    output::write(shown(&tunnels).as_bytes())
}

fn shown(tunnels: &std::collections::BTreeMap<String, Leases>) -> String {
    let mut text = String::new();
    for (tunnel, Leases { capacity, leases }) in tunnels {
        text += &format!("{}: {} of {capacity} leases\n", escape(tunnel), leases.len());
        let rows = leases.iter().map(|lease| {
            let by = if lease.certificate { "certificate" } else { "token" };
            let addresses =
                lease.addresses.iter().map(|address| escape(address)).collect::<Vec<_>>().join(" ");
            [
                escape(&lease.name).into_owned(),
                addresses,
                when(lease.until),
                by.to_owned(),
                escape(&lease.public_key).into_owned(),
            ]
        });
        let rows: Vec<_> = rows.collect();
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: [usize; 5] = std::array::from_fn(width);
        for row in &rows {
            let cells: Vec<_> =
                row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
            text += &format!("  {}\n", cells.join("  ").trim_end());
        }
    }
    if text.is_empty() { "no tunnel has clients\n".to_owned() } else { text }
}

async fn remove(client: &Client, remove: &Remove) -> Result<()> {
    let path = path("/v1/clients/remove", Some(remove.name.as_str()), None, &remove.tunnel);
    ask(client, Role::Write, Method::POST, &path).await?;
    output::write(format!("{} is forgotten and cut off\n", remove.name).as_bytes())
}

async fn profile(client: &Client, profile: &Profile) -> Result<()> {
    let private = profile.generate_key.then(PrivateKey::generate);
    let public = private.as_ref().map(PrivateKey::public).or(profile.public_key);
    let public = public.context("--public-key or --generate-key is needed")?;
    let path = path("/v1/clients/profile", Some(profile.name.as_str()), Some(profile.lease), &profile.tunnel);
    let path = format!("{path}&key={}", public.to_base64());
    let answer = ask(client, Role::Write, Method::POST, &path).await?;
    let lease: Lease = serde_json::from_slice(&answer.body).context("the daemon's answer is no lease")?;
    let text = lease.profile(private.as_ref());
    output::write(text.as_bytes())?;
    if std::io::stdout().is_terminal()
        && let Some(code) = client_qr::code(&text).map(Zeroizing::new)
    {
        output::write(b"\n")?;
        output::write(code.as_bytes())?;
    }
    eprintln!("its lease ends {}", when(lease.until));
    Ok(())
}

/// A time for people.
fn when(seconds: u64) -> String {
    let time =
        i64::try_from(seconds).ok().and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    time.map_or_else(|| "never".to_owned(), moment)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leases_are_listed_in_columns() {
        let tunnels = serde_json::from_value(serde_json::json!({
            "wg0": { "capacity": 253, "leases": [
                { "name": "alice", "public_key": "A=", "addresses": ["10.9.0.2", "fd09::2"], "since": 1, "until": 1_795_000_000, "certificate": false },
                { "name": "bob-phone", "public_key": "B=", "addresses": ["10.9.0.3", "fd09::3"], "since": 1, "until": 1_795_003_600, "certificate": true },
            ]},
        }));
        let expected = "wg0: 2 of 253 leases\n  \
            alice      10.9.0.2 fd09::2  2026-11-18T11:06:40Z  token        A=\n  \
            bob-phone  10.9.0.3 fd09::3  2026-11-18T12:06:40Z  certificate  B=\n";
        assert_eq!(shown(&tunnels.unwrap()), expected);
        assert_eq!(shown(&std::collections::BTreeMap::new()), "no tunnel has clients\n");
    }

    #[test]
    fn an_invitation_is_one_word_with_all_that_a_client_needs() {
        let token = Token::random().unwrap().to_text();
        let mut invitation = Invitation {
            tunnel: "wg0".into(),
            token: token.to_string(),
            url: "https://vpn.example:8443".into(),
            authority: None,
            until: 1,
        };
        assert_eq!(*invitation.link().unwrap(), format!("https://vpn.example:8443/#{}", *token));
        let authority = enrolment::Fingerprint::of(b"certificate").to_string();
        invitation.authority = Some(authority.clone());
        assert_eq!(*invitation.link().unwrap(), format!("https://vpn.example:8443/#{}.{authority}", *token));
        invitation.authority = Some("x".into());
        assert!(invitation.link().is_err());
    }

    #[test]
    fn what_is_asked_for_stands_behind_the_question_mark() {
        let tunnel = Tunnel { tunnel: Some("wg0".into()) };
        let asked = path("/v1/clients/invite", Some("a+b@c"), Some(Duration::from_secs(60)), &tunnel);
        assert_eq!(asked, "/v1/clients/invite?name=a+b@c&seconds=60&tunnel=wg0");
        assert_eq!(path("/v1/clients", None, None, &Tunnel { tunnel: None }), "/v1/clients");
    }
}
