//! Where TLS ends.

use std::fmt;

use super::Metrics;
use super::exposition::{Exposition, Labels, Value};
use crate::status::Tls;
use crate::status::tls::{Backend, Checks, Http};
use crate::tls::counters::FAILURES;
use crate::tls::http::counters::{CLASSES, MILLISECONDS};

impl Metrics {
    pub(super) fn terminators(&self, out: &mut Exposition<'_>) -> fmt::Result {
        let each = |of: fn(&Tls) -> u64| {
            self.status.tls.iter().map(move |(name, tls)| (labels(name, &[]), Value::Whole(of(tls))))
        };
        out.gauge("adit_tls_connections_open", "Connections now", each(|tls| tls.open))?;
        out.counter("adit_tls_connections", "Connections that were accepted", each(|tls| tls.connections))?;
        out.counter(
            "adit_tls_turned_away",
            "Connections turned away since there were too many",
            each(|tls| tls.turned_away),
        )?;
        let handshakes = self.status.tls.iter().flat_map(|(name, tls)| {
            [
                ("full", tls.full_handshakes),
                ("resumed", tls.resumed_handshakes),
                ("passed", tls.passed_through),
            ]
            .map(|(kind, count)| (labels(name, &[("kind", kind)]), Value::Whole(count)))
        });
        out.counter(
            "adit_tls_handshakes",
            "Handshakes that were completed, in full or resumed by a ticket, and connections passed through",
            handshakes,
        )?;
        let failures = self.status.tls.iter().flat_map(|(name, tls)| {
            FAILURES.into_iter().map(move |reason| {
                let count = tls.failures.get(reason).copied().unwrap_or(0);
                (labels(name, &[("reason", reason)]), Value::Whole(count))
            })
        });
        out.counter("adit_tls_failures", "Connections that ended before their time, by reason", failures)?;
        let draining = each(|tls| u64::from(tls.draining));
        out.gauge("adit_tls_draining", "1 if nothing is accepted since the operator wants it so", draining)?;
        let logged = self.status.tls.iter().filter_map(|(name, tls)| Some((name, tls.access_log.as_ref()?)));
        let lines = logged.flat_map(|(name, log)| {
            [("written", log.written), ("lost", log.lost)]
                .map(|(result, count)| (labels(name, &[("result", result)]), Value::Whole(count)))
        });
        out.counter("adit_tls_access_log_lines", "Lines of the access log, by what became of them", lines)?;
        let bytes = self.status.tls.iter().flat_map(|(name, tls)| {
            [("received", tls.received_bytes), ("sent", tls.sent_bytes)]
                .map(|(direction, count)| (labels(name, &[("direction", direction)]), Value::Whole(count)))
        });
        out.counter("adit_tls_bytes", "Bytes from and to clients, without what TLS adds", bytes)?;
        self.certificates(out)?;
        self.requests(out)?;
        self.backends(out)
    }

    /// Routes in HTTP mode.
    fn http(&self) -> impl Iterator<Item = (Labels, &Http)> {
        self.status.tls.iter().flat_map(|(name, tls)| {
            let http = tls.routes.iter().filter_map(|(route, found)| Some((route, found.http.as_ref()?)));
            http.map(move |(route, http)| (labels(name, &[("route", route)]), http))
        })
    }

    fn requests(&self, out: &mut Exposition<'_>) -> fmt::Result {
        let requests = self.http().flat_map(|(labels, http)| {
            CLASSES.into_iter().map(move |class| {
                let count = http.requests.get(class).copied().unwrap_or(0);
                let class = ("status", class.to_owned());
                (labels.iter().cloned().chain([class]).collect(), Value::Whole(count))
            })
        });
        out.counter("adit_tls_http_requests", "Requests, by the class of their answer", requests)?;
        let each =
            |of: fn(&Http) -> u64| self.http().map(move |(labels, http)| (labels, Value::Whole(of(http))));
        out.counter(
            "adit_tls_http_left",
            "Requests that clients left before they were answered",
            each(|http| http.left),
        )?;
        out.counter(
            "adit_tls_http_retried",
            "Requests that were sent to a backend once more",
            each(|http| http.retried),
        )?;
        let seconds = self.http().map(|(labels, http)| {
            let ends = MILLISECONDS.into_iter().map(|end| end as f64 / 1e3).chain([f64::INFINITY]);
            let buckets: Vec<_> = ends.zip(http.buckets.iter().copied()).collect();
            (labels, (http.seconds, http.buckets.iter().sum(), buckets))
        });
        out.histograms(
            "adit_tls_http_request_seconds",
            "Seconds from the head of a request to the last byte of its answer",
            seconds,
        )
    }

    fn certificates(&self, out: &mut Exposition<'_>) -> fmt::Result {
        let certificates = self.status.tls.iter().flat_map(|(name, tls)| {
            tls.certificates
                .iter()
                .map(move |one| (labels(name, &[("file", &one.file)]), Value::Real(one.until)))
        });
        out.gauge(
            "adit_tls_certificate_not_after_timestamp_seconds",
            "When the certificate ends, or one of its chain: seconds since 1970",
            certificates,
        )
    }

    /// Backends that are checked.
    fn checked(&self) -> impl Iterator<Item = (Labels, &Checks)> {
        self.status.tls.iter().flat_map(|(name, tls)| {
            tls.routes.iter().flat_map(move |(route, found)| {
                found.backends.iter().filter_map(move |backend| {
                    let more = [("route", route.as_str()), ("backend", backend.address.as_str())];
                    Some((labels(name, &more), backend.checks.as_ref()?))
                })
            })
        })
    }

    fn backends(&self, out: &mut Exposition<'_>) -> fmt::Result {
        let each = |of: fn(&Backend) -> u64| {
            self.status.tls.iter().flat_map(move |(name, tls)| {
                tls.routes.iter().flat_map(move |(route, found)| {
                    found.backends.iter().map(move |backend| {
                        let more = [("route", route.as_str()), ("backend", backend.address.as_str())];
                        (labels(name, &more), Value::Whole(of(backend)))
                    })
                })
            })
        };
        out.gauge(
            "adit_tls_backend_up",
            "0 if checks say that the backend is down, or the last attempt to connect to it failed, else 1",
            each(|backend| {
                u64::from(!backend.failing && backend.checks.as_ref().is_none_or(|checks| checks.up))
            }),
        )?;
        out.gauge(
            "adit_tls_backend_connections_open",
            "Connections that the backend has",
            each(|backend| backend.open),
        )?;
        out.counter(
            "adit_tls_backend_connections",
            "Connections that the backend took",
            each(|backend| backend.connections),
        )?;
        out.counter(
            "adit_tls_backend_failures",
            "Attempts that the backend refused, or did not answer in time",
            each(|backend| backend.failures),
        )?;
        let checks = self.checked().flat_map(|(labels, checks)| {
            [("passed", checks.passed), ("failed", checks.failed)].map(|(result, count)| {
                let result = ("result", result.to_owned());
                (labels.iter().cloned().chain([result]).collect(), Value::Whole(count))
            })
        });
        out.counter("adit_tls_backend_checks", "Checks of the backend, by result", checks)?;
        out.counter(
            "adit_tls_backend_changes",
            "How often the backend came up or went down, by its checks",
            self.checked().map(|(labels, checks)| (labels, Value::Whole(checks.changes))),
        )
    }
}

fn labels(listener: &str, more: &[(&'static str, &str)]) -> Labels {
    let more = more.iter().map(|(label, value)| (*label, (*value).to_owned()));
    std::iter::once(("listener", listener.to_owned())).chain(more).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::render;
    use crate::status::{Status, sample};

    #[test]
    fn handshakes_failures_certificates_and_backends_are_told() {
        let text = render(&Arc::new(sample::full()));
        for line in [
            "adit_tls_connections_open{listener=\"web\"} 3",
            "adit_tls_connections_total{listener=\"web\"} 70",
            "adit_tls_handshakes_total{listener=\"web\",kind=\"full\"} 40",
            "adit_tls_handshakes_total{listener=\"web\",kind=\"resumed\"} 20",
            "adit_tls_handshakes_total{listener=\"web\",kind=\"passed\"} 5",
            "adit_tls_failures_total{listener=\"web\",reason=\"handshake\"} 4",
            "adit_tls_failures_total{listener=\"web\",reason=\"idle\"} 0",
            "adit_tls_bytes_total{listener=\"web\",direction=\"sent\"} 2048",
            "adit_tls_certificate_not_after_timestamp_seconds{listener=\"web\",file=\"/etc/adit/www.pem\"} 1796391000.0",
            "adit_tls_backend_up{listener=\"web\",route=\"app\",backend=\"127.0.0.1:8080\"} 0",
            "adit_tls_http_requests_total{listener=\"web\",route=\"app\",status=\"4xx\"} 6",
            "adit_tls_http_requests_total{listener=\"web\",route=\"app\",status=\"5xx\"} 0",
            "adit_tls_http_left_total{listener=\"web\",route=\"app\"} 8",
            "adit_tls_http_retried_total{listener=\"web\",route=\"app\"} 14",
            "adit_tls_http_request_seconds_sum{listener=\"web\",route=\"app\"} 0.75",
            "adit_tls_http_request_seconds_bucket{le=\"0.05\",listener=\"web\",route=\"app\"} 16",
            "adit_tls_http_request_seconds_bucket{le=\"+Inf\",listener=\"web\",route=\"app\"} 17",
            "adit_tls_backend_failures_total{listener=\"web\",route=\"app\",backend=\"127.0.0.1:8080\"} 7",
            "adit_tls_draining{listener=\"web\"} 0",
            "adit_tls_access_log_lines_total{listener=\"web\",result=\"lost\"} 2",
            "adit_tls_failures_total{listener=\"web\",reason=\"address_rate\"} 0",
            "adit_tls_backend_checks_total{listener=\"web\",route=\"app\",backend=\"127.0.0.1:8080\",result=\"failed\"} 5",
            "adit_tls_backend_changes_total{listener=\"web\",route=\"app\",backend=\"127.0.0.1:8080\"} 3",
            "adit_warnings{tunnel=\"web\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
        let none = render(&Arc::new(Status::default()));
        assert!(!none.lines().any(|line| line.starts_with("adit_tls")), "{none}");
    }
}
