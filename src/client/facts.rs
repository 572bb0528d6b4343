//! What is known of a tunnel, and how it comes to say that it works or does not.

use super::status::{ALIVE, SILENCE, State, span};

/// The clock may be behind its last known time by so much: what people correct by hand.
const BEHIND: f64 = 5.0;

/// What the network says of datagrams to the gateway.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Verdict {
    /// Nothing.
    #[default]
    Silence,
    /// No program listens on that port (ICMP port unreachable).
    Refused,
    /// A router, or nobody on the link, says that it cannot be reached.
    Unreachable,
    /// This machine's own firewall.
    HeldBack,
}

/// What is known of a tunnel.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    /// Whether the interface is set up.
    pub(super) up: bool,
    /// The gateway as the profile has it.
    pub(super) gateway: String,
    /// Where it is.
    pub(super) endpoint: Option<String>,
    /// How long ago the last handshake was, in seconds.
    pub(super) handshake_age: Option<f64>,
    /// For how many seconds one has been tried.
    pub(super) trying_for: Option<f64>,
    /// Why the gateway's name has no address.
    pub(super) name_error: Option<String>,
    /// Why there is no route, in the kernel's words.
    pub(super) route_error: Option<String>,
    /// What the network says.
    pub(super) verdict: Verdict,
    /// This machine's clock, in seconds since 1970.
    pub(super) wall: f64,
    /// The latest time at which there was a handshake by this clock, also in an earlier life.
    pub(super) wall_of_handshake: Option<f64>,
    /// By how many seconds the clock was ahead of the gateway's when a lease was got last.
    pub(super) skew: Option<f64>,
    /// How much of the lease is left, in seconds; negative once it is over.
    pub(super) lease_left: Option<f64>,
    /// What the gateway said when the lease was to be prolonged, if it did not.
    pub(super) renewal_error: Option<String>,
    /// Whether it has forgotten us.
    pub(super) removed: bool,
    /// Whether it answers by HTTPS, while it does not by UDP.
    pub(super) answers_https: bool,
}

/// How a tunnel is, and why.
#[must_use]
pub(super) fn judge(facts: &Facts) -> (State, Vec<String>) {
    let mut problems = Vec::new();
    let state = state(facts, &mut problems);
    if let Some(error) =
        facts.renewal_error.as_ref().filter(|_| !matches!(state, State::Expired | State::Removed))
    {
        problems.push(format!("the lease could not be prolonged: {error}"));
    }
    (state, problems)
}

fn state(facts: &Facts, problems: &mut Vec<String>) -> State {
    let mut tell = |state, words: String| {
        problems.push(words);
        state
    };
    if !facts.up {
        return tell(State::Broken, "the interface was set down or taken away".into());
    }
    let why = facts.renewal_error.as_deref();
    if let Some(left) = facts.lease_left.filter(|left| *left <= 0.0) {
        let why = why.unwrap_or("it could not be prolonged");
        return tell(State::Expired, format!("the lease expired {} ago: {why}", span(-left)));
    }
    if facts.removed {
        let why = why.unwrap_or("it does not say why");
        return tell(State::Removed, format!("this client was removed from the gateway: {why}"));
    }
    let age = facts.handshake_age.filter(|age| *age <= ALIVE.as_secs_f64());
    let trying = facts.trying_for.unwrap_or(0.0);
    if age.is_some() && trying < SILENCE.as_secs_f64() {
        return State::Connected;
    }
    let to = facts.endpoint.as_deref().unwrap_or(&facts.gateway);
    if let Some(error) = facts.name_error.as_ref().filter(|_| facts.endpoint.is_none()) {
        return tell(State::NoAddress, format!("the gateway {} cannot be looked up: {error}", facts.gateway));
    }
    if let Some(error) = &facts.route_error {
        return tell(State::NoRoute, format!("no route to the gateway {to}: {error}; is there a network?"));
    }
    match facts.verdict {
        Verdict::HeldBack => {
            return tell(
                State::HeldBack,
                format!("a firewall of this machine holds back what is sent to {to}"),
            );
        }
        Verdict::Refused => {
            let words =
                format!("refused: {to} says that nothing listens on this UDP port; is the gateway running?");
            return tell(State::Refused, words);
        }
        Verdict::Unreachable => {
            return tell(
                State::NoRoute,
                format!("no route to the gateway {to}: the network says that it cannot be reached"),
            );
        }
        Verdict::Silence => {}
    }
    if let Some(behind) =
        facts.wall_of_handshake.map(|then| then - facts.wall).filter(|behind| *behind > BEHIND)
    {
        let words = format!(
            "the clock of this machine is wrong: it is {} behind what it was at the last handshake, and the gateway takes \
             none from the past",
            span(behind)
        );
        return tell(State::Clock, words);
    }
    if trying < SILENCE.as_secs_f64() {
        let Some(age) = facts.handshake_age else { return State::Connecting };
        let words = format!(
            "the last handshake was {} ago, and the gateway has not been asked since, or this moment: whether it answers shows \
             with the next packet",
            span(age)
        );
        return tell(State::Idle, words);
    }
    let for_so_long = if trying >= 1.0 { format!(" for {}", span(trying)) } else { String::new() };
    let guess = if facts.answers_https {
        "but the gateway answers by HTTPS, so this network blocks UDP"
    } else {
        "this network may block UDP, the gateway may be down, or it does not know our key"
    };
    let mut words = format!("no answer from {to}{for_so_long}: {guess}");
    if let Some(skew) = facts.skew.filter(|skew| skew.abs() > 60.0) {
        let which = if skew > 0.0 { "ahead of" } else { "behind" };
        words += &format!("; the clock of this machine is {} {which} the gateway's", span(skew.abs()));
    }
    tell(State::NoAnswer, words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts {
            up: true,
            gateway: "gate.example:51820".into(),
            endpoint: Some("192.0.2.1:51820".into()),
            handshake_age: Some(10.0),
            wall: 1_000_000.0,
            ..Facts::default()
        }
    }

    fn judged(change: impl FnOnce(&mut Facts)) -> (State, String) {
        let mut facts = facts();
        change(&mut facts);
        let (state, problems) = judge(&facts);
        assert_eq!(
            problems.is_empty(),
            matches!(state, State::Connected | State::Connecting),
            "{problems:?}"
        );
        (state, problems.join("\n"))
    }

    #[test]
    fn it_is_connected_only_with_a_handshake_in_the_last_three_minutes() {
        for (age, state) in [
            (Some(0.0), State::Connected),
            (Some(180.0), State::Connected),
            (Some(180.1), State::Idle),
            (None, State::Connecting),
        ] {
            assert_eq!(judged(|facts| facts.handshake_age = age).0, state, "{age:?}");
        }
    }

    #[test]
    fn after_sleep_nobody_is_said_not_to_answer_who_was_not_asked() {
        let slept =
            |trying| judged(|facts| (facts.handshake_age, facts.trying_for) = (Some(36_000.0), trying));
        for trying in [None, Some(1.0)] {
            let (state, words) = slept(trying);
            assert!(state == State::Idle && words.contains("the last handshake was 10 h ago"), "{words}");
        }
        assert_eq!(slept(Some(6.0)).0, State::NoAnswer);
    }

    #[test]
    fn a_gateway_that_falls_silent_is_told_before_its_session_ends() {
        let (state, words) = judged(|facts| facts.trying_for = Some(20.0));
        assert_eq!(state, State::NoAnswer);
        assert!(
            words.contains("no answer from 192.0.2.1:51820 for 20 s: this network may block UDP"),
            "{words}"
        );
        assert_eq!(judged(|facts| facts.trying_for = Some(1.0)).0, State::Connected, "a rekey under way");
    }

    #[test]
    fn each_reason_has_its_word_and_its_words() {
        let silent = |facts: &mut Facts| {
            facts.handshake_age = None;
            facts.trying_for = Some(7.0);
        };
        type Change = fn(&mut Facts);
        let reasons: [(Change, State, &str); 10] = [
            (|facts| facts.up = false, State::Broken, "set down"),
            (|facts| facts.lease_left = Some(-1_000.0), State::Expired, "the lease expired 16 min 40 s ago"),
            (
                |facts| facts.route_error = Some("Network is unreachable".into()),
                State::NoRoute,
                "no route to",
            ),
            (|facts| facts.verdict = Verdict::Refused, State::Refused, "refused: 192.0.2.1:51820"),
            (|facts| facts.verdict = Verdict::Unreachable, State::NoRoute, "the network says"),
            (|facts| facts.verdict = Verdict::HeldBack, State::HeldBack, "a firewall of this machine"),
            (|facts| facts.wall_of_handshake = Some(1_003_600.0), State::Clock, "is 1 h behind"),
            (|facts| facts.removed = true, State::Removed, "was removed from the gateway"),
            (|facts| facts.skew = Some(-120.0), State::NoAnswer, "2 min behind the gateway's"),
            (
                |facts| (facts.endpoint, facts.name_error) = (None, Some("no such name".into())),
                State::NoAddress,
                "gate.example:51820 cannot be looked up: no such name",
            ),
        ];
        for (change, state, says) in reasons {
            let (judged, words) = judged(|facts| {
                silent(facts);
                change(facts);
            });
            assert_eq!(judged, state, "{words}");
            assert!(words.contains(says), "{words}");
        }
    }

    #[test]
    fn a_gateway_that_answers_by_https_alone_is_behind_something_that_blocks_udp() {
        let (state, words) = judged(|facts| (facts.trying_for, facts.answers_https) = (Some(20.0), true));
        assert_eq!(state, State::NoAnswer);
        assert!(
            words.contains("for 20 s: but the gateway answers by HTTPS, so this network blocks UDP"),
            "{words}"
        );
    }

    #[test]
    fn an_expired_lease_is_not_connected_even_while_packets_pass() {
        let (state, words) = judged(|facts| {
            facts.lease_left = Some(0.0);
            facts.renewal_error = Some("the certificate was revoked".into());
        });
        assert_eq!(
            (state, words.as_str()),
            (State::Expired, "the lease expired 0 s ago: the certificate was revoked")
        );
    }

    #[test]
    fn a_renewal_that_fails_is_told_while_connected() {
        let mut facts = facts();
        facts.renewal_error = Some("no route".into());
        let (state, problems) = judge(&facts);
        assert_eq!((state, problems.len()), (State::Connected, 1));
    }
}
