//! Which answers are streams, where one may be cut, and when it ends.

use std::sync::Arc;

use api::explanation::RegionState;
use bytes::Bytes;
use http_body_util::{Full, StreamBody};
use hyper::Response;
use hyper::body::Frame;
use tokio::sync::watch;

use super::super::testing;
use super::{Boundary, Source, StreamEnd, is_stream, until_end};
use crate::fleet::{Fleet, NodeId, RegionIndex};
use crate::view::View;

#[test]
fn only_an_answer_of_events_without_a_length_is_a_stream() {
    let endless = || StreamBody::new(futures_util::stream::empty::<Result<Frame<Bytes>, std::io::Error>>());
    let is = |media_type: &str, encoding: Option<&str>| {
        let response = Response::builder().header("content-type", media_type);
        let response = encoding.into_iter().fold(response, |response, one| response.header("content-encoding", one));
        is_stream(&response.body(endless()).unwrap())
    };
    assert!(is("text/event-stream", None) && is("Text/Event-Stream; charset=utf-8", None));
    assert!(!is("text/event-streams", None) && !is("text/html", None) && !is("text", None) && !is("", None));
    // The last words cannot be put into what is compressed.
    assert!(!is("text/event-stream", Some("gzip")));
    let whole = Response::builder().header("content-type", "text/event-stream");
    assert!(!is_stream(&whole.body(Full::new(Bytes::from("data: x\n\n"))).unwrap()));
    assert!(!is_stream(&Response::new(endless())));
}

#[test]
fn the_last_words_come_only_between_events() {
    let after = |pieces: &[&str]| {
        let mut boundary = Boundary::default();
        pieces.iter().for_each(|piece| boundary.pass(piece.as_bytes()));
        boundary.is_between_events()
    };
    assert!(after(&[]) && after(&["data: 1\n\n"]) && after(&["data: 1\n", "\n"]) && after(&["data: 1", "\n\n", ""]));
    assert!(!after(&["data: 1\n"]) && !after(&["d"]) && !after(&["data: 1\n\n", "data: 2\n"]));
}

const FIRST: NodeId = NodeId { region: RegionIndex(0), node: 0 };

/// A view with the regions in these states.
fn view(fleet: &Arc<Fleet>, states: [RegionState; 2], is_up: bool) -> Arc<View> {
    let mut view = testing::view(fleet);
    view.regions.iter_mut().zip(states).for_each(|(region, state)| region.state = state);
    view.regions[0].nodes_up[0] = is_up;
    Arc::new(view)
}

#[tokio::test]
async fn a_stream_ends_when_its_node_is_out_and_another_serves() {
    use RegionState::{Down, Drained, Maintenance, Up};
    let fleet = Arc::new(testing::fleet(&[2, 1]));
    let ends = async |views: &[Arc<View>]| {
        let (sender, views_seen) = watch::channel(Arc::clone(&views[0]));
        let (_stop, stops) = watch::channel(false);
        let end = tokio::spawn(until_end(Source::of(&fleet, FIRST), views_seen, stops));
        tokio::task::yield_now().await;
        for view in &views[1..] {
            sender.send_replace(Arc::clone(view));
            tokio::task::yield_now().await;
        }
        if end.is_finished() { Some(end.await.unwrap()) } else { None }
    };
    let (up, hung) = (view(&fleet, [Up, Up], true), view(&fleet, [Up, Up], false));
    assert_eq!(ends(&[up.clone(), view(&fleet, [Drained, Up], true)]).await, None);
    assert_eq!(ends(&[up.clone(), view(&fleet, [Maintenance, Up], true)]).await, Some(StreamEnd::Maintenance));
    assert_eq!(ends(&[up.clone(), view(&fleet, [Down, Up], true)]).await, Some(StreamEnd::Down));
    assert_eq!(ends(&[up.clone(), hung.clone()]).await, Some(StreamEnd::Down));
    let (other, gone) = (Arc::new(testing::fleet(&[0, 1])), Arc::new(testing::fleet(&[2])));
    assert_eq!(ends(&[up.clone(), Arc::new(testing::view(&other))]).await, Some(StreamEnd::Gone));
    assert_eq!(ends(&[up.clone(), Arc::new(testing::view(&gone))]).await, None, "only another region went");
    // It began there although the node was out already.
    assert_eq!(ends(&[hung.clone(), view(&fleet, [Down, Up], false)]).await, None);
    assert_eq!(ends(&[hung.clone(), up.clone(), hung.clone()]).await, Some(StreamEnd::Down));
    // There is no better place.
    assert_eq!(ends(&[up.clone(), view(&fleet, [Down, Down], true)]).await, None);
    assert_eq!(ends(&[up.clone(), view(&fleet, [Maintenance, Maintenance], true)]).await, None);
}

#[tokio::test]
async fn a_stream_ends_when_the_router_stops() {
    let fleet = Arc::new(testing::fleet(&[1]));
    let (sender, views) = watch::channel(Arc::new(testing::view(&fleet)));
    let (stop, stops) = watch::channel(false);
    let end = tokio::spawn(until_end(Source::of(&fleet, FIRST), views, stops));
    // A control plane that is gone ends nothing.
    drop(sender);
    tokio::task::yield_now().await;
    assert!(!end.is_finished());
    stop.send_replace(true);
    assert_eq!(end.await.unwrap(), StreamEnd::Stop);
}
