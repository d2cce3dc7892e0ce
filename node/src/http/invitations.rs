//! Invitations to make a venue, which operators give out where `registry.new_venues` says so.
//!
//! An invitation is the moment until which it counts, signed ([`ConsoleKeys`]). It can be used more than once; the limit of
//! new venues holds for it as well.

use api::Moment;
use api::headers::INVITATION;
use api::operators::check_author;
use api::venues::{INVITED, Invitation, NewInvitation};
use hyper::{HeaderMap, StatusCode};
use replication::Wall;

use super::call::Call;
use super::console_keys::ConsoleKeys;
use super::problem::{Answered, Kind, Problem};
use super::reply::json;
use super::{App, audit, body};
use crate::config::NewVenues;

/// `POST /v1/admin/invitations`.
pub(super) async fn invite(call: Call) -> Answered {
    let body = body::read(&call.parts.headers, call.body).await?;
    let form = r#"an invitation is {"for": "30d", "by": "...", "reason"?: "..."}"#;
    let new: NewInvitation = serde_json::from_slice(&body).map_err(|_| Problem::new(Kind::MalformedBody, form))?;
    let by = call.operator.author(&new.by);
    check_author(&by, &new.reason).map_err(|error| Problem::new(Kind::Invalid, error.to_string()))?;
    if !INVITED.contains(&new.lasts) {
        return Err(Problem::new(Kind::Invalid, "`for`: from 1m to 366d"));
    }
    let until = call.app.now(&call.app.handle.status()).plus(new.lasts);
    let what = format!("an invitation to make a venue, until {}", Moment(until));
    audit::record(&call.app, &call.operator, by, what, &new.reason).await;
    let invitation = sign(&call.app.console_keys, until);
    Ok(json(StatusCode::CREATED, &Invitation { invitation, until: Moment(until) }))
}

/// Whether a client may make a venue: `said` is the invitation of a form.
pub(super) fn check(app: &App, headers: &HeaderMap, said: Option<&str>) -> Result<(), Problem> {
    match app.new_venues {
        NewVenues::Open => Ok(()),
        NewVenues::Closed => Err(Problem::new(Kind::NoNewVenues, "ask the operator of the service for a venue")),
        NewVenues::Invited => {
            let header = headers.get(INVITATION).and_then(|value| value.to_str().ok());
            let now = app.now(&app.handle.status());
            let counts = header.or(said).is_some_and(|text| is_signed(&app.console_keys, text, now));
            let detail = "send Meridian-Invitation with an invitation of the operator that has not ended";
            if counts { Ok(()) } else { Err(Problem::new(Kind::Uninvited, detail)) }
        }
    }
}

/// What the keys sign here.
const PURPOSE: &[u8] = b"meridian invitation 1";

fn sign(keys: &ConsoleKeys, until: Wall) -> String {
    keys.sign(PURPOSE, &until.0.to_be_bytes())
}

fn is_signed(keys: &ConsoleKeys, text: &str, now: Wall) -> bool {
    keys.read(PURPOSE, text).is_some_and(|until| now < Wall(u64::from_be_bytes(until)))
}

#[cfg(test)]
mod tests {
    use replication::Wall;

    use super::{ConsoleKeys, is_signed, sign};

    fn keys() -> ConsoleKeys {
        ConsoleKeys::of(vec![service::signing::SigningKey::random()])
    }

    #[test]
    fn an_invitation_counts_until_its_end_and_for_its_key() {
        let (keys, others) = (keys(), keys());
        let invitation = sign(&keys, Wall(1_000));
        assert!(is_signed(&keys, &invitation, Wall(999)));
        assert!(!is_signed(&keys, &invitation, Wall(1_000)) && !is_signed(&others, &invitation, Wall(999)));
        let later = sign(&others, Wall(2_000));
        for bad in ["", "x", &invitation[1..], &later, &format!("{invitation}A")] {
            assert!(!is_signed(&keys, bad, Wall(0)), "{bad}");
        }
    }
}
