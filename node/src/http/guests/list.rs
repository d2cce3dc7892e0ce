//! `GET /v1/venues/{venue}/guests`: who was here.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use api::headers::COMPLETENESS;
use api::wait::WAIT;
use api::{Moment, RegionId};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE, HeaderValue, VARY};
use replication::{Status, Wall};

use super::super::call::Call;
use super::super::problem::{Kind, Problem};
use super::super::query::Query;
use super::super::reply::{BrokeOff, Reply, full, header, stream as streamed};
use super::super::session::Session;
use super::super::venues::{self, CachedVenue};
use super::super::{App, auth};
use super::accept::{Format, LIST};
use super::cursor::{Cursor, Scope};
use super::listing::{Listing, Shape};
use super::pages::Pages;
use super::{shown, xlsx};
use registry::EARLIEST_ARRIVAL;
use registry::{GuestTable, TableWords, VenueId, Window};

/// The longest window: more than any visit is kept.
const LONGEST_WINDOW: Duration = Duration::from_secs(31 * 86_400);

/// Rows of a JSON page if the request does not say.
const LIMIT: usize = 1_000;

/// Rows of a JSON page at most.
const MOST: usize = 10_000;

/// The parameters of a request.
struct GuestListRequest {
    scope: Scope,
    window: Window,
    limit: usize,
    cursor: Option<Cursor>,
}

/// `GET /v1/venues/{venue}/guests`.
pub(in super::super) async fn list(call: Call) -> Result<Reply, Problem> {
    let venue = call.venue()?;
    let app = &call.app;
    let owner = auth::owner_key(&call.parts.headers)?;
    let format = Format::of(&call.parts.headers, LIST)?;
    let query = Query::parse(call.parts.uri.query(), &["from", "to", "area", "limit", "cursor", "dialect", WAIT])?;
    let format = format.in_dialect(query.get("dialect"))?;
    let session = Session::begin(app, &call.parts.headers, query.wait()?).await?;
    let asked = GuestListRequest::read(&query, venue, format, app.now(&session.status))?;
    let known = venues::find_owned_venue(app, venue, &owner, &session)?;
    let (after, through) = match asked.cursor {
        // A visit that arrived since the first page may lie before this page, so the completeness stays that of the
        // first page.
        Some(Cursor { last, completeness, .. }) => (Some(last), completeness),
        None => (None, session.status.complete_through.clone()),
    };
    let status = session.status.clone();
    let mut reply = if format == Format::Json {
        let pages = Pages::new(call.app.clone(), status, known, asked.window, asked.scope.area.clone(), after);
        send(Listing::new(pages, Shape::Json(asked.limit, asked.scope), through), format.media_type()).await?
    } else {
        let asked = Export { window: asked.window, area: asked.scope.area, format, words: TableWords::default() };
        export(&call.app, status, known, asked).await?
    };
    reply.headers_mut().insert(VARY, HeaderValue::from_static("accept"));
    session.sign_read(&mut reply);
    Ok(reply)
}

/// A list of the whole window.
pub(in super::super) struct Export {
    pub(in super::super) window: Window,
    pub(in super::super) area: Option<String>,
    /// Any but JSON, which goes page by page.
    pub(in super::super) format: Format,
    pub(in super::super) words: TableWords,
}

/// The answer with a list of the whole window.
pub(in super::super) async fn export(
    app: &Arc<App>,
    status: Arc<Status>,
    known: Arc<CachedVenue>,
    asked: Export,
) -> Result<Reply, Problem> {
    let Export { window, area, format, words } = asked;
    let through = status.complete_through.clone();
    let table = GuestTable::new(words, &known.venue.timezone);
    let completeness = shown(&through);
    let scope = Scope { venue: known.venue.id, from: Some(window.from), to: Some(window.to), area: area.clone() };
    let pages = Pages::new(app.clone(), status, known, window, area, None);
    let send = |pages, shape| send(Listing::new(pages, shape, through.clone()), format.media_type());
    let mut reply = match format {
        Format::Json => send(pages, Shape::Json(MOST, scope)).await?,
        Format::Ndjson => send(pages, Shape::Ndjson).await?,
        Format::Csv => send(pages, Shape::Csv).await?,
        Format::ExcelCsv => send(pages.with_acceptance(), Shape::ExcelCsv(Box::new(table))).await?,
        Format::Xlsx => xlsx::answer(app, pages.with_acceptance(), table, through, xlsx::BEGIN).await?,
    };
    describe_file(&mut reply, format, "guests", &completeness);
    Ok(reply)
}

/// Adds the headers of an answer that a browser stores as a file: its name, and the completeness, for which a table has no
/// place.
pub(super) fn describe_file(reply: &mut Reply, format: Format, name: &str, completeness: &BTreeMap<RegionId, Moment>) {
    let Some(extension) = format.extension() else { return };
    let regions = completeness.iter().map(|(region, moment)| format!("{region}={moment}")).collect::<Vec<_>>();
    let headers = reply.headers_mut();
    headers.insert(COMPLETENESS, header(regions.join(", ")));
    headers.insert(CONTENT_DISPOSITION, header(format!("attachment; filename=\"{name}.{extension}\"")));
}

/// A list of one page goes out in one piece with its length, a longer one as a stream.
async fn send(mut listing: Listing, media_type: HeaderValue) -> Result<Reply, Problem> {
    let first = listing.next().await?.unwrap_or_default();
    if listing.has_ended() {
        let mut reply = full(StatusCode::OK, first);
        reply.headers_mut().insert(CONTENT_TYPE, media_type);
        reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        return Ok(reply);
    }
    let place = listing.place()?;
    let rest = stream::unfold(Some((listing, place)), |under_way| async move {
        let (mut listing, place) = under_way?;
        if Instant::now() >= place.until {
            return Some((Err(BrokeOff), None));
        }
        match listing.next().await {
            Ok(piece) => piece.map(|piece| (Ok(piece), Some((listing, place)))),
            // The status was sent already, so the only way to report an error is to break the connection off.
            Err(_) => Some((Err(BrokeOff), None)),
        }
    });
    let pieces = stream::once(async move { Ok::<Bytes, BrokeOff>(first) }).chain(rest);
    Ok(streamed(media_type, pieces))
}

impl GuestListRequest {
    fn read(query: &Query<'_>, venue: VenueId, format: Format, now: Wall) -> Result<GuestListRequest, Problem> {
        let to = query.time("to")?;
        let from = query.time("from")?;
        let scope = Scope { venue, from, to, area: query.get("area").map(str::to_owned) };
        let window = window(from, to, now)?;
        if format != Format::Json && (query.get("limit").is_some() || query.get("cursor").is_some()) {
            let words = "`limit` and `cursor` page through JSON; the other formats have the whole window";
            return Err(Problem::new(Kind::MalformedQuery, words));
        }
        let cursor = match query.get("cursor") {
            None => None,
            Some(text) => Some(Cursor::read(&scope, text).ok_or_else(|| {
                let words = "the cursor of an earlier page is expected, with the same `from`, `to` and `area`";
                Problem::parameter("cursor", words)
            })?),
        };
        // Later pages have the window of the first, also if it was left to the node.
        let window = cursor.as_ref().map_or(window, |cursor| cursor.window);
        Ok(GuestListRequest { scope, window, limit: query.count("limit", MOST)?.unwrap_or(LIMIT), cursor })
    }
}

/// The window that is asked for. Without `to` it ends after every possible arrival; without `from` it begins before
/// everything that is still kept.
fn window(from: Option<Wall>, to: Option<Wall>, now: Wall) -> Result<Window, Problem> {
    let to = to.unwrap_or(from.map_or(Wall(0), |from| Wall(from.0.saturating_add(1))).max(now.plus(EARLIEST_ARRIVAL)));
    let from = from.unwrap_or(to.minus(LONGEST_WINDOW));
    if to <= from {
        return Err(Problem::parameter("to", "a moment after `from` is expected"));
    }
    if to.since(from) > LONGEST_WINDOW {
        return Err(Problem::parameter("from", "the window may be 31 days at most"));
    }
    Ok(Window { from, to })
}

#[cfg(test)]
mod tests {
    use replication::Wall;

    use super::window;

    const NOW: Wall = Wall(1_767_225_600_000);
    const DAY: u64 = 86_400_000;

    #[test]
    fn a_window_is_half_open_and_bounded() {
        let of = |from: Option<u64>, to: Option<u64>| window(from.map(Wall), to.map(Wall), NOW).ok();
        assert_eq!(of(Some(5), Some(6)).map(|w| (w.from, w.to)), Some((Wall(5), Wall(6))));
        assert!(of(Some(6), Some(6)).is_none() && of(Some(7), Some(6)).is_none());
        assert!(of(Some(0), Some(31 * DAY)).is_some() && of(Some(0), Some(31 * DAY + 1)).is_none());
    }

    #[test]
    fn without_bounds_it_is_all_that_is_kept() {
        let all = window(None, None, NOW).expect("a window");
        assert!(all.to > NOW && all.from < Wall(NOW.0 - 28 * DAY - DAY));
        let open = window(Some(NOW), None, NOW).expect("a window");
        assert_eq!(open.from, NOW);
        assert!(window(Some(Wall(NOW.0 - 32 * DAY)), None, NOW).is_err());
    }
}
