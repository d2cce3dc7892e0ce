//! The structure of a page for screen readers: which drawn item is a heading, a figure, a list or an ornament.

use std::num::NonZeroU16;

use krilla::geom::Rect;
use krilla::tagging::{
    Artifact, ArtifactType, BBox, ContentTag, Identifier, ListNumbering, Node, SpanTag, Tag, TagGroup, TagKind,
};

use super::POINTS;
use crate::poster::Poster;
use crate::poster::layout::{Item, Place, Role};

/// The structure of one page while it grows.
pub(super) struct Tags {
    page: usize,
    /// The headline, which a reader may list.
    title: String,
    /// What the code is.
    code: String,
    section: TagGroup,
}

impl Tags {
    /// Nothing drawn yet on page number `page`.
    pub(super) fn new(page: usize, poster: &Poster<'_>) -> Tags {
        Tags {
            page,
            title: poster.words.headline.to_owned(),
            code: format!("{} {}", poster.words.code, poster.address),
            section: TagGroup::new(Tag::Section),
        }
    }

    /// How `item` is marked in the page.
    pub(super) fn content(item: &Item) -> ContentTag<'static> {
        match item {
            Item::Area { .. } | Item::Dashes { .. } => Tags::ornament(),
            Item::Code { .. } => ContentTag::Other,
            Item::Text(_) => ContentTag::Span(SpanTag::empty()),
        }
    }

    /// How everything is marked that is not read aloud.
    pub(super) fn ornament() -> ContentTag<'static> {
        ContentTag::Artifact(Artifact::with_kind(ArtifactType::Layout))
    }

    /// Takes up `item`, which was drawn at `place` as `id`.
    pub(super) fn add(&mut self, item: &Item, place: &Place, id: Identifier) {
        let text = match item {
            Item::Area { .. } | Item::Dashes { .. } => return,
            Item::Code { x, y, side, .. } => {
                let (x, y) = (x + place.x, y + place.y);
                let rect = Rect::from_xywh(x * POINTS, y * POINTS, side * POINTS, side * POINTS);
                let bounds = rect.map(|rect| BBox::new(self.page, rect));
                let figure = Tag::Figure(Some(self.code.clone())).with_bbox(bounds);
                return self.section.push(group(figure, id));
            }
            Item::Text(text) => text,
        };
        match text.role {
            Role::Headline => {
                let heading = Tag::Hn(NonZeroU16::MIN, Some(self.title.clone()));
                self.section.push(group(heading, id));
            }
            Role::Venue | Role::Body | Role::Mark => self.section.push(group(Tag::P, id)),
            Role::Number => {
                let mut entry = TagGroup::new(Tag::LI);
                entry.push(group(Tag::Lbl, id));
                self.list().children.push(entry.into());
            }
            Role::Step => {
                if let Some(Node::Group(entry)) = self.list().children.last_mut() {
                    entry.push(group(Tag::LBody, id));
                }
            }
        }
    }

    /// The structure of the whole page.
    pub(super) fn finish(self) -> TagGroup {
        self.section
    }

    /// The list at the end of the page, a new one if the page does not end with a list.
    fn list(&mut self) -> &mut TagGroup {
        let children = &mut self.section.children;
        if !matches!(children.last(), Some(Node::Group(group)) if matches!(group.tag, TagKind::L(_))) {
            children.push(TagGroup::new(Tag::L(ListNumbering::Decimal)).into());
        }
        match children.last_mut() {
            Some(Node::Group(list)) => list,
            _ => unreachable!("a list was pushed"),
        }
    }
}

/// One drawn item under `tag`.
fn group(tag: impl Into<TagKind>, id: Identifier) -> TagGroup {
    let mut group = TagGroup::new(tag);
    group.push(id);
    group
}
