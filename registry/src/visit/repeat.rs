//! Whether a check-in was accepted before: the same body under the same id makes the same change.

use replication::{Change, DocumentKey, Row};

use crate::visit::body::VisitBody;
use crate::visit::id::VisitId;

impl VisitBody {
    /// The row that this exact body made, if it is one of `stored`, the rows of the visit's name; and the change that made
    /// it.
    #[must_use]
    pub fn repeated<'a>(
        &self,
        id: VisitId,
        stored: &'a [(DocumentKey, Row)],
    ) -> Option<(&'a DocumentKey, &'a Row, Change)> {
        if stored.is_empty() {
            return None;
        }
        let forms = self.stored_forms(id);
        stored.iter().find_map(|(key, row)| {
            let mut changes = forms.iter().map(|fields| Change::create(key, fields));
            changes.find(|change| row.contains(change.hash())).map(|change| (key, row, change))
        })
    }
}

#[cfg(test)]
mod tests {
    use replication::{Change, Dot, ReplicaId, Row, Wall};

    use crate::policy::PolicyPack;
    use crate::venue::{NewVenue, OwnerKey, VenueId};
    use crate::visit::body::{CheckAt, VisitBody};
    use crate::visit::id::{Secret, VisitId};

    const ARRIVAL: Wall = Wall(1_767_225_600_000);

    /// A repeat must be recognised for any body that the real rules accept, so both must make the same stored form.
    #[test]
    fn a_repeat_is_recognised_after_the_rules_have_changed() {
        let pack = PolicyPack::built_in("de-bw").expect("a pack");
        let new = NewVenue::parse(br#"{"name": "Adler", "timezone": "Europe/Berlin", "areas": ["Garten"]}"#);
        let venue = new.and_then(|new| new.check(&pack)).expect("a venue").open(VenueId([1; 16]), &OwnerKey([2; 32]));
        let id = VisitId::of(ARRIVAL, &Secret([3; 16]));
        let body = "{\"area\": \" Garten \", \"arrived\": \"2026-01-01T01:00:00+01:00\", \"persons\": [{\"name\": \
            \"  Ju\u{308}rgen  Ærø\", \"phone\": \"0711 / 123-45\", \"street\": \"Weg 1\", \"postal_code\": \
            \"70173\", \"city\": \"Stuttgart\", \"country\": \"DE\"}, {\"name\": \"Zoë\"}]}";
        let written = VisitBody::parse(body.as_bytes()).expect("reads");
        let checked = written.check(&venue, &pack, CheckAt { now: ARRIVAL, arrival: Some(ARRIVAL) });
        let checked = checked.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(written.stored_forms(id), [checked.to_fields()]);

        let key = id.key(&venue);
        let mut row = Row::default();
        row.add(Dot { origin: ReplicaId(1), seq: 1 }, Change::create(&key, &checked.to_fields()));
        let stored = [(key, row)];
        assert!(written.repeated(id, &stored).is_some());
        assert!(written.repeated(id, &[]).is_none());
        let other = VisitBody::parse(body.replace("Zoë", "Zoe").as_bytes()).expect("reads");
        assert!(other.repeated(id, &stored).is_none());
    }
}
