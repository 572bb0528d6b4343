//! Looks at a client's connection from time to time, and says when it is to end.

use std::rc::Rc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::activity::{Activity, Limits, Overdue};
use super::client::Client;
use super::refusal::{CLIENT_TIME, IDLE, LEFT};

/// Looks in the time that something may take.
pub(super) const LOOKS: u32 = 4;

/// What a connection is told by its watch.
pub(super) enum Order {
    /// It may end what it has, and take nothing more.
    End,
    /// The same, but a request may be on its way on HTTP/1.1: the next answer is the last.
    Last,
    /// It is over.
    Break,
}

/// Looks at a connection from time to time, and ends it with its listener.
pub(super) struct Watch {
    activity: Rc<Activity>,
    limits: Limits,
    draining: watch::Receiver<Option<Instant>>,
    /// Turns true when the route is another's by now.
    replaced: Option<watch::Receiver<bool>>,
    told: bool,
}

/// Waits until a listener ends, or a route is replaced: which of them.
async fn ends(
    draining: &mut watch::Receiver<Option<Instant>>,
    replaced: Option<&mut watch::Receiver<bool>>,
) -> Order {
    let replaced = async {
        match replaced {
            Some(replaced) => drop(replaced.wait_for(|over| *over).await),
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        _ = draining.wait_for(Option::is_some) => Order::End,
        () = replaced => Order::Last,
    }
}

impl Watch {
    /// Of this client's connection.
    pub(super) fn new(client: &Client) -> Self {
        let settings = &client.rules.settings;
        let limits = Limits {
            head: settings.header_timeout,
            idle: settings.idle_timeout,
            stalled: settings.body_timeout,
            silent: client.route.timeouts().idle,
        };
        let (activity, draining) = (client.activity.clone(), client.thread.draining.clone());
        Self { activity, limits, draining, replaced: client.route.replaced(), told: false }
    }

    /// Until then nothing can take too long by more than a look. Who rests is looked at less often: what begins meanwhile has its
    /// time before it.
    fn next_look(&self) -> Duration {
        let Limits { head, idle, stalled, .. } = self.limits;
        let often = head / LOOKS;
        if self.activity.is_idle() { head.min(stalled).min(idle / LOOKS).max(often) } else { often }
    }

    /// Waits for what it is told next.
    pub(super) async fn next(&mut self) -> Order {
        loop {
            let look = self.next_look();
            tokio::select! {
                biased;
                order = ends(&mut self.draining, self.replaced.as_mut()), if !self.told => {
                    // What follows a replaced route may still be that the listener ends.
                    self.told = matches!(order, Order::End);
                    self.replaced = None;
                    return order;
                }
                () = self.activity.abuse.notified() => {
                    self.activity.give_up(LEFT);
                    return Order::Break;
                }
                () = sleep(look) => match self.activity.overdue(&self.limits, Instant::now()) {
                    None => {}
                    Some(Overdue::Idle) => return Order::End,
                    Some(Overdue::Held) => {
                        self.activity.give_up(if self.activity.is_stalled() { CLIENT_TIME } else { IDLE });
                        return Order::Break;
                    }
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_rests_is_looked_at_less_often_but_as_soon_as_anything_could_take_too_long() {
        let (_ends, draining) = watch::channel(None);
        let seconds = Duration::from_secs;
        for (head, idle, stalled, busy, rests) in [
            (12, 75, 30, 3, 12),
            (12, 8, 30, 3, 3),
            (12, 40, 30, 3, 10),
            (12, 75, 4, 3, 4),
            (120, 600, 60, 30, 60),
        ] {
            let (head, idle, stalled) = (seconds(head), seconds(idle), seconds(stalled));
            let limits = Limits { head, idle, stalled, silent: seconds(600) };
            let activity = Rc::new(Activity::new());
            let watch = Watch { activity, limits, draining: draining.clone(), replaced: None, told: false };
            assert_eq!(watch.next_look(), seconds(rests), "{limits:?}");
            watch.activity.receive(1);
            assert_eq!(watch.next_look(), seconds(busy), "{limits:?}, a head that began");
            watch.activity.begin();
            assert_eq!(watch.next_look(), seconds(busy), "{limits:?}, a request");
        }
    }
}
