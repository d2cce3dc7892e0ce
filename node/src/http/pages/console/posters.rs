//! Posters of the venue, for the door and for each table.

use fluent_bundle::FluentArgs;
use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use registry::Venue;

use super::access::Owner;
use crate::http::call::Call;
use crate::http::pages::page::{language, redirect};
use crate::http::pages::texts::Texts;
use crate::http::problem::{Answered, Problem};
use crate::http::reply::full;
use crate::poster::{Poster, PosterError, Sheet, Words, to_pdf};

/// `GET /console/poster/{file}`: `a4.pdf`, `tent.svg`; `?areas=all` makes one page for each area, `?area=0` is for the
/// first one.
pub(in super::super::super) async fn poster(call: Call) -> Answered {
    let texts = language(&call.parts);
    let Some(owner) = Owner::of_open(&call.app, &call.parts) else { return Ok(redirect("/console")) };
    let file = call.name("file").split_once('.');
    let sheet = file.and_then(|(name, _)| Sheet::ALL.into_iter().find(|sheet| sheet.name() == name));
    let (Some(sheet), Some((_, kind @ ("pdf" | "svg")))) = (sheet, file) else {
        return Ok(redirect("/console/settings"));
    };
    let is_pdf = kind == "pdf";
    let query = call.parts.uri.query().unwrap_or_default();
    let pairs: Vec<_> = form_urlencoded::parse(query.as_bytes()).collect();
    let each = pairs.iter().any(|(name, value)| name == "areas" && value == "all");
    let area = pairs.iter().find(|(name, _)| name == "area").and_then(|(_, number)| number.parse().ok());
    let places = if each { Places::EachArea } else { area.map_or(Places::Door, Places::Area) };
    let (app, known) = (call.app.clone(), owner.known.clone());
    // Shaping the text of many tables takes a while and keeps a processor busy.
    let one_of_few = app.posters.clone().acquire_owned().await.map_err(|_| Problem::internal())?;
    let drawn = tokio::task::spawn_blocking(move || {
        let _until_drawn = one_of_few;
        draw(texts, &app.public_url, &known.venue, places, sheet, is_pdf)
    });
    match drawn.await.map_err(|_| Problem::internal())? {
        Ok(bytes) => {
            let mut reply = full(StatusCode::OK, bytes);
            let (kind, name) = if is_pdf {
                ("application/pdf", "inline; filename=\"poster.pdf\"")
            } else {
                ("image/svg+xml", "inline; filename=\"poster.svg\"")
            };
            let headers = reply.headers_mut();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
            headers.insert(CONTENT_DISPOSITION, HeaderValue::from_static(name));
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            // An SVG that is opened by itself is a document: it needs nothing from anywhere.
            headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'"));
            Ok(reply)
        }
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "a poster cannot be drawn");
            Err(Problem::internal())
        }
    }
}

/// For which places posters are drawn.
#[derive(Clone, Copy)]
enum Places {
    /// The venue as a whole.
    Door,
    /// One area, by its place in the list.
    Area(usize),
    /// A page for each area.
    EachArea,
}

/// The posters, one after the other.
fn draw(
    texts: &Texts,
    public_url: &str,
    venue: &Venue,
    places: Places,
    sheet: Sheet,
    is_pdf: bool,
) -> Result<Vec<u8>, PosterError> {
    let days = venue.retention.as_secs().div_ceil(86_400);
    let mut length = FluentArgs::new();
    length.set("days", days);
    let privacy = texts.fill("poster-privacy", Some(&length));
    let keys = ["product", "poster-headline", "poster-by-hand", "poster-code", "poster-fold"];
    let [service, headline, by_hand, code, fold] = keys.map(|key| texts.text(key));
    let steps = ["poster-scan", "poster-enter", "poster-show"].map(|key| texts.text(key));
    let words = Words {
        service: &service,
        headline: &headline,
        steps: [&steps[0], &steps[1], &steps[2]],
        by_hand: &by_hand,
        privacy: &privacy,
        code: &code,
        fold: &fold,
    };
    let address = |area: Option<&String>| match area {
        None => format!("{public_url}/c/{}", venue.id),
        Some(area) => format!("{public_url}/c/{}/{}", venue.id, utf8_percent_encode(area, NON_ALPHANUMERIC)),
    };
    let areas = match places {
        Places::EachArea if !venue.areas.is_empty() => venue.areas.iter().map(Some).collect(),
        Places::Area(number) => vec![venue.areas.get(number)],
        Places::EachArea | Places::Door => vec![None],
    };
    let addresses: Vec<String> = areas.iter().map(|area| address(*area)).collect();
    let posters: Vec<Poster<'_>> = areas
        .iter()
        .zip(&addresses)
        .map(|(area, address)| Poster {
            venue: &venue.name,
            area: area.map(String::as_str),
            address,
            language: texts.tag,
            words,
        })
        .collect();
    if is_pdf { to_pdf(&posters, sheet) } else { posters[0].to_svg(sheet).map(String::into_bytes) }
}
