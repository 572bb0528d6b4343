//! The listener in clear: it tells clients to come by HTTPS, and nothing else.

use std::cell::Cell;
use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue, LOCATION};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use tokio::time::timeout;

use super::activity::Activity;
use super::body::ResponseBody;
use super::client::PARTING;
use super::forward::refusal;
use super::request::{authority, judge, target};
use super::stream::Stream;
use crate::tls::buffers::Pool;
use crate::tls::choice::Choose;
use crate::tls::counters::{Counters, Failure};
use crate::tls::socket::Socket;

/// Of a request's head, in bytes and in headers.
const HEAD: (usize, usize) = (8192, 100);

/// Answers one request. `patience` is for all of it.
pub(in crate::tls) async fn redirect(
    socket: Socket,
    choose: &Arc<dyn Choose>,
    (pool, counters): (Rc<Pool>, Arc<Counters>),
    patience: Duration,
) {
    let activity = Rc::new(Activity::new());
    let Ok(stream) = Stream::of_client(socket, None, Vec::new(), (pool, activity, counters.clone())) else {
        return;
    };
    let said = Cell::new(false);
    let service = service_fn(|request| {
        said.set(true);
        let response = location(&**choose, request);
        std::future::ready(Ok::<_, Infallible>(response))
    });
    let mut connection = http1::Builder::new()
        .header_read_timeout(None)
        .keep_alive(false)
        .max_headers(HEAD.1)
        .max_header_size(HEAD.0)
        .max_buf_size(HEAD.0)
        .serve_connection(stream, service);
    let served = timeout(patience, std::future::poll_fn(|cx| connection.poll_without_shutdown(cx))).await;
    match served {
        Ok(_) => connection.into_parts().io.finish(PARTING).await,
        Err(_) => counters.fail(&if said.get() { Failure::Idle } else { Failure::HandshakeTime }),
    }
}

/// Where a request is to come.
fn location(choose: &dyn Choose, request: Request<Incoming>) -> Response<ResponseBody> {
    let (parts, _) = request.into_parts();
    let found = authority(&parts).and_then(|authority| {
        judge(&parts, None)?;
        let port = choose.https(authority.host()).ok_or(StatusCode::MISDIRECTED_REQUEST)?;
        let port = if port == 443 { String::new() } else { format!(":{port}") };
        let path = target(&parts.uri);
        let path = if path == "*" { "/" } else { &*path };
        let target = format!("https://{}{port}{path}", authority.host());
        HeaderValue::try_from(target).map_err(|_| StatusCode::BAD_REQUEST)
    });
    match found {
        Err(status) => refusal(status, parts.version),
        Ok(target) => {
            let mut response = refusal(StatusCode::PERMANENT_REDIRECT, parts.version);
            response.headers_mut().insert(LOCATION, target);
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            response
        }
    }
}
