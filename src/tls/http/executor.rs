//! Where the tasks of HTTP/2 connections run: on the thread of their connection.

use hyper::rt::Executor;
use tokio::task::spawn_local;

/// This thread.
#[derive(Clone, Copy, Debug)]
pub(super) struct Local;

impl<F: Future + 'static> Executor<F> for Local {
    fn execute(&self, future: F) {
        spawn_local(async move {
            future.await;
        });
    }
}
