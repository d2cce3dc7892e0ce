//! What a browser asks for the page of another origin, and what it gets.

use super::super::testing::{Answer, Api};
use super::{NOW, body};

const CITY: &str = "https://city.example";

async fn api(origins: &[&str]) -> Api {
    Api::with(|config| config.cors_origins = origins.iter().map(ToString::to_string).collect()).await
}

async fn preflight(api: &Api, path: &str, origin: &str, method: &str) -> Answer {
    let headers = [
        ("Origin", origin),
        ("Access-Control-Request-Method", method),
        ("Access-Control-Request-Headers", "content-type,meridian-secret"),
    ];
    api.ask("OPTIONS", path, &headers, None).await
}

fn allowed(answer: &Answer) -> Option<&str> {
    answer.header("access-control-allow-origin")
}

#[tokio::test]
async fn a_page_of_a_listed_origin_checks_in_corrects_and_erases() {
    let api = api(&["https://other.example", CITY]).await;
    let venue = api.venue().await;
    let guest = venue.guest(1, NOW);
    let path = format!("{}/visits/{}", venue.path(), guest.id);
    let asked = preflight(&api, &path, CITY, "PUT").await;
    assert_eq!((asked.status, allowed(&asked)), (204, Some(CITY)), "{asked:?}");
    assert_eq!(asked.header("access-control-allow-methods"), Some("GET, PUT, PATCH, DELETE"));
    let headers = asked.header("access-control-allow-headers").expect("headers");
    for name in ["content-type", "meridian-secret", "meridian-session", "if-match"] {
        assert!(headers.split(", ").any(|one| one == name), "{headers}");
    }
    assert!(asked.header("access-control-max-age").is_some());
    assert_eq!(asked.header("access-control-allow-credentials"), None);

    for (method, body, status) in [("PUT", Some(body("Anna")), 201), ("GET", None, 200), ("DELETE", None, 204)] {
        let answer = guest.ask_with(&api, method, &[("Origin", CITY)], body.as_ref()).await;
        assert_eq!((answer.status, allowed(&answer)), (status, Some(CITY)), "{answer:?}");
        let readable = answer.header("access-control-expose-headers").expect("names");
        assert!(readable.contains("meridian-session") && readable.contains("etag"), "{readable}");
    }
    // A script must be able to read what is wrong, too.
    let gone = guest.ask_with(&api, "GET", &[("Origin", CITY)], None).await;
    assert_eq!((gone.status, allowed(&gone)), (410, Some(CITY)));
    let posted = api.ask("POST", &format!("{}/visits", venue.path()), &[("Origin", CITY)], Some(&body("Ben"))).await;
    assert_eq!((posted.status, allowed(&posted)), (201, Some(CITY)));
    // A cache must not hand this on to a page of another origin.
    for headers in [&[("Origin", CITY)][..], &[]] {
        let profile = api.ask("GET", venue.path(), headers, None).await;
        let vary: Vec<_> = profile.head().lines().filter_map(|line| line.strip_prefix("vary: ")).collect();
        assert!(profile.status == 200 && vary.contains(&"origin"), "{profile:?}");
    }
}

#[tokio::test]
async fn no_other_page_and_no_other_route_is_let_in() {
    let api = api(&[CITY]).await;
    let venue = api.venue().await;
    let visits = format!("{}/visits", venue.path());
    for origin in ["https://evil.example", "null", "http://city.example", "https://city.example.evil.example"] {
        let asked = preflight(&api, &visits, origin, "POST").await;
        assert_eq!((asked.status, allowed(&asked)), (204, None), "{origin}: {asked:?}");
        let answer = api.ask("GET", venue.path(), &[("Origin", origin)], None).await;
        assert_eq!((answer.status, allowed(&answer)), (200, None), "{origin}");
    }
    for (path, method) in [
        (venue.path().to_owned(), "PATCH"),
        (venue.path().to_owned(), "DELETE"),
        ("/v1/venues".to_owned(), "POST"),
        (format!("{}/guests", venue.path()), "GET"),
        (format!("{}/changes", venue.path()), "GET"),
        (format!("/c/{}", venue.id), "POST"),
        ("/console/guests".to_owned(), "POST"),
        ("/v1/cluster".to_owned(), "GET"),
    ] {
        let asked = preflight(&api, &path, CITY, method).await;
        assert_eq!(allowed(&asked), None, "{method} {path}");
        let answer = api.ask(method, &path, &[("Origin", CITY)], None).await;
        assert_eq!(allowed(&answer), None, "{method} {path}");
    }
}

#[tokio::test]
async fn any_page_is_let_in_only_if_that_is_configured() {
    for (origins, origin) in [(&["*"][..], Some("*")), (&[], None)] {
        let api = api(origins).await;
        let venue = api.venue().await;
        let asked = preflight(&api, &format!("{}/visits", venue.path()), CITY, "POST").await;
        assert_eq!((asked.status, allowed(&asked)), (204, origin));
        // A cache may give the answer to a request without an origin to a page.
        let plain = api.ask("GET", venue.path(), &[], None).await;
        assert_eq!(allowed(&plain), origin);
        let profile = api.ask("GET", venue.path(), &[("Origin", CITY)], None).await;
        assert_eq!(allowed(&profile), origin);
        assert!(!profile.head().lines().any(|line| line == "vary: origin"), "{profile:?}");
    }
}
