//! Nothing more is accepted where TLS ends: before maintenance, say.

use std::sync::Arc;

use hyper::{Response, StatusCode};
use serde_json::json;

use super::{Api, Body, Client, Problem, json_answer};
use crate::admin::audit::{Outcome, What};
use crate::gateway::{Drain, Ending};
use crate::status::Status;

impl Api {
    /// What was asked for is carried out and audited, also if the client does not wait for it.
    pub(super) async fn drain(
        self: Arc<Self>,
        client: Arc<Client>,
        query: Option<&str>,
        undo: bool,
    ) -> Result<Response<Body>, Problem> {
        let name = match query {
            None | Some("") => None,
            Some(query) => {
                let name =
                    query.strip_prefix("tls=").filter(|name| !name.contains('&')).ok_or_else(|| {
                        Problem::new(StatusCode::BAD_REQUEST, format!("{query:?}: only tls=NAME is allowed"))
                    })?;
                Some(name.to_owned())
            }
        };
        let what = if undo { What::DrainUndo } else { What::Drain };
        let detail = name.clone().unwrap_or_default();
        let drain = async move {
            self.record(&client, what, Outcome::Attempt, detail).await?;
            let answer = self.handle.drain(Drain { name, undo }).await;
            self.latest.reloaded();
            let (result, detail) = match &answer {
                Ok(Ok(left)) => (Outcome::Ok, left.keys().cloned().collect::<Vec<_>>().join(", ")),
                Ok(Err(wrong)) => (Outcome::Refused, wrong.clone()),
                Err(ending) => (Outcome::Refused, ending.to_string()),
            };
            // It is done: all that is left is to say so, and the log has it already.
            let _ = self.record(&client, what, result, detail).await;
            Ok::<_, Problem>(answer?)
        };
        match tokio::spawn(drain).await.unwrap_or(Err(Ending.into()))? {
            Ok(left) => Ok(json_answer(StatusCode::OK, &json!({ "connections": left }))),
            Err(wrong) => Err(Problem::new(StatusCode::CONFLICT, wrong)),
        }
    }
}

/// What a gateway says of its health that drains: to whoever spreads connections over several, it is not to get any while
/// nothing is accepted; if only some of it drains the rest goes on.
pub(super) fn health(status: &Status) -> Option<Response<Body>> {
    let draining: Vec<_> = status.tls.iter().filter(|(_, tls)| tls.draining).collect();
    let left: u64 = draining.iter().map(|(_, tls)| tls.open).sum();
    let names: Vec<_> = draining.iter().map(|(name, _)| name.as_str()).collect();
    let (code, health) = match names.len() {
        0 => return None,
        some if some < status.tls.len() => (StatusCode::OK, "ok"),
        _ => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
    };
    Some(json_answer(code, &json!({ "health": health, "draining": names, "connections": left })))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(draining: &[bool]) -> Status {
        let table = |(at, draining): (usize, &bool)| {
            let tls = crate::status::Tls { draining: *draining, open: 3, ..crate::status::Tls::default() };
            (format!("web{at}"), tls)
        };
        Status { tls: draining.iter().enumerate().map(table).collect(), ..Status::default() }
    }

    #[test]
    fn who_drains_altogether_is_not_to_get_connections() {
        let code = |draining: &[bool]| health(&status(draining)).map(|answer| answer.status().as_u16());
        assert_eq!([code(&[]), code(&[false, false])], [None, None]);
        assert_eq!([code(&[true, false]), code(&[true, true])], [Some(200), Some(503)]);
    }
}
