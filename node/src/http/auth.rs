//! Proofs of a client's rights: the owner's key and the guest's secret.
//!
//! # Invariants
//! - A secret is compared with the id before any lookup, so a client with a wrong secret learns nothing.

use api::headers::SECRET;
use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;

use super::problem::{Kind, Problem};
use registry::{OwnerKey, Secret, VisitId};

/// The owner's key of `Authorization: Bearer`.
pub(super) fn owner_key(headers: &HeaderMap) -> Result<OwnerKey, Problem> {
    let text = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let key = text
        .and_then(|text| text.split_once(' '))
        .and_then(|(scheme, key)| if scheme.eq_ignore_ascii_case("bearer") { key.trim().parse().ok() } else { None });
    key.ok_or_else(|| Problem::new(Kind::OwnerKeyMissing, "send Authorization: Bearer with the venue's owner key"))
}

/// The guest's secret, if it makes `id`.
pub(super) fn check_secret(headers: &HeaderMap, id: VisitId) -> Result<Secret, Problem> {
    let value = headers
        .get(SECRET)
        .ok_or_else(|| Problem::new(Kind::SecretMissing, "send Meridian-Secret with the receipt's secret"))?;
    let secret = value.to_str().ok().and_then(|text| text.trim().parse::<Secret>().ok());
    secret
        .filter(|secret| id.proves(secret))
        .ok_or_else(|| Problem::new(Kind::SecretWrong, "the secret of this visit's receipt is expected"))
}

/// Fills a secret, a key or an id with the system's random bytes.
pub(super) fn random(bytes: &mut [u8]) -> Result<(), Problem> {
    getrandom::fill(bytes).map_err(|error| {
        tracing::error!(%error, "the system has no random bytes: the request fails");
        Problem::internal()
    })
}

#[cfg(test)]
mod tests {
    use api::headers::SECRET;
    use hyper::HeaderMap;
    use hyper::header::{AUTHORIZATION, HeaderName, HeaderValue};
    use replication::Wall;

    use super::super::problem::Kind;
    use super::{check_secret, owner_key};
    use registry::{OwnerKey, Secret, VisitId};

    fn headers(name: &str, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(HeaderName::try_from(name).expect("a name"), HeaderValue::from_str(value).expect("a header"));
        headers
    }

    #[test]
    fn only_a_bearer_key_is_a_key() {
        let key = OwnerKey([7; 32]);
        assert_eq!(owner_key(&headers(AUTHORIZATION.as_str(), &format!("bearer {key}"))).ok(), Some(key.clone()));
        for bad in ["", "Bearer", "Bearer ", "Bearer x", &format!("Basic {key}"), &key.to_string()] {
            let problem = owner_key(&headers(AUTHORIZATION.as_str(), bad)).expect_err("refused");
            assert_eq!(problem.kind(), Kind::OwnerKeyMissing, "{bad}");
        }
    }

    #[test]
    fn a_secret_is_missing_wrong_or_right() {
        let secret = Secret([3; 16]);
        let id = VisitId::of(Wall(1_767_225_600_000), &secret);
        let kind = |headers: &HeaderMap| check_secret(headers, id).err().map(|problem| problem.kind());
        assert_eq!(kind(&HeaderMap::new()), Some(Kind::SecretMissing));
        assert_eq!(kind(&headers(SECRET.as_str(), &Secret([4; 16]).to_string())), Some(Kind::SecretWrong));
        assert_eq!(kind(&headers(SECRET.as_str(), "?")), Some(Kind::SecretWrong));
        assert_eq!(kind(&headers(SECRET.as_str(), &secret.to_string())), None);
    }
}
