//! Creates a venue through the public API.

use api::client::{Base, Call, CallError};
use api::headers::INVITATION;
use hyper::Method;
use hyper::header::HeaderValue;
use registry::{CreatedVenue, NewVenue};

use crate::args::Usage;

/// Creates a venue at a node or a router.
pub(crate) async fn create(base: &Base, venue: &NewVenue) -> anyhow::Result<CreatedVenue> {
    create_invited(base, venue, None).await
}

/// Creates a venue at a node or a router with an operator's invitation.
pub(crate) async fn create_invited(
    base: &Base,
    venue: &NewVenue,
    invitation: Option<&str>,
) -> anyhow::Result<CreatedVenue> {
    let mut call = Call::new(Method::POST, "/v1/venues").json(venue)?;
    if let Some(invitation) = invitation {
        let value = HeaderValue::from_str(invitation).map_err(|_| Usage::error("--invitation is no invitation"))?;
        call = call.header(INVITATION, value);
    }
    let made: Result<CreatedVenue, CallError> = call.send(base).await?.json();
    Ok(made?)
}
