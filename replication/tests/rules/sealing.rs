//! A thief of the disk reads nothing of an erased or expired document, at whatever step the machine dies.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use replication::memory::MemoryStorage;
use replication::{
    Bucket, Change, Collection, Destroyed, DocumentId, DocumentKey, DocumentName, Event, KeyFiles, KeyName, MemoryKeys,
    Monotonic, Now, Outcome, RandomBytes, Reader, Reason, Replica, ReplicaConfig, ReplicaId, ScanVisitor, Sealed,
    Storage, StorageError, TenantId, Value, View, Wall, Write, WriteBatch, WriteError,
};

/// The first moment of an hour.
const START: Wall = Wall(1_800_000_000_000);

fn after(time: Duration) -> Now {
    Now { mono: Monotonic(time), wall: START.plus(time) }
}

fn key(id: u8, life: Duration) -> DocumentKey {
    let id = DocumentId::arriving(START, [id; 10]);
    DocumentName { collection: Collection(2), tenant: TenantId([1; 16]), id }.expiring(START.plus(life))
}

fn change(key: &DocumentKey) -> Change {
    Change::create(key, &[("name", Value::Text("Maria Musterfrau".into()))])
}

fn random(seed: u8) -> RandomBytes {
    let mut next = u128::from(seed) << 64;
    Box::new(move || {
        next += 1;
        next.to_be_bytes()
    })
}

/// An engine that keeps every value that it ever got, as stale pages and spare blocks do.
#[derive(Clone, Default)]
struct Keeping {
    memory: MemoryStorage,
    batches: Arc<Mutex<Vec<WriteBatch>>>,
}

impl Storage for Keeping {
    fn get(&self, bucket: Bucket, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        self.memory.get(bucket, key)
    }
    fn scan(&self, bucket: Bucket, start: &[u8], end: &[u8], see: &mut ScanVisitor<'_>) -> Result<(), StorageError> {
        self.memory.scan(bucket, start, end, see)
    }
    fn apply(&self, batch: &WriteBatch) -> Result<(), StorageError> {
        self.batches.lock().unwrap().push(batch.clone());
        self.memory.apply(batch)
    }
    fn sync(&self) -> Result<(), StorageError> {
        self.memory.sync()
    }
    fn drop_bucket(&self, bucket: Bucket) -> Result<(), StorageError> {
        self.memory.drop_bucket(bucket)
    }
    fn expire(&self, over: Wall) -> Result<(), StorageError> {
        self.memory.expire(over)
    }
    fn buckets(&self) -> BTreeSet<Bucket> {
        self.memory.buckets()
    }
}

const LONGEST: Duration = Duration::from_hours(28 * 24);

type Store = Arc<Sealed<Keeping, MemoryKeys>>;

/// A process.
struct Running {
    replica: Replica<Store>,
    store: Store,
}

/// One machine: what its disk shows, what its disk hides, and its key files.
#[derive(Clone, Default)]
struct Machine {
    engine: Keeping,
    keys: MemoryKeys,
}

impl Machine {
    fn start(&self, seed: u8) -> Result<Running, StorageError> {
        let store = Arc::new(Sealed::open(self.engine.clone(), self.keys.clone(), random(seed), LONGEST)?);
        let config = ReplicaConfig::new("a".parse().unwrap(), "a".parse().unwrap(), BTreeMap::new());
        let replica = Replica::open(config, store.clone(), Box::new(|| ReplicaId(1)), after(Duration::ZERO))?;
        Ok(Running { replica, store })
    }

    /// Whether a thief of the disk reads the document: each value that the engine ever got is given to a new engine,
    /// beside a copy of the key files. Nothing else says that the document is erased.
    fn is_readable(&self, key: &DocumentKey) -> bool {
        let batches = self.engine.batches.lock().unwrap();
        let row = |(name, value): &&(Vec<u8>, Option<Vec<u8>>)| name[0] == b'd' && value.is_some();
        batches.iter().flat_map(|batch| &batch.buckets).any(|(bucket, batch)| {
            batch.writes.iter().filter(row).any(|write| {
                let engine = MemoryStorage::default();
                let writes = vec![write.clone()];
                let batch = WriteBatch { buckets: vec![(*bucket, replication::BucketBatch { writes })] };
                engine.apply(&batch).unwrap();
                let Ok(thief) = Sealed::open(engine, self.keys.copied(|_| true), random(99), LONGEST) else {
                    return false;
                };
                let reader = Reader::new(thief, LONGEST);
                reader.row(key, View::applied(Wall::default())).is_ok_and(|row| row.is_some())
            })
        })
    }
}

/// Makes everything durable. Returns how writes ended.
fn settle<S: Storage>(replica: &mut Replica<S>, now: Now) -> Result<Vec<Outcome>, StorageError> {
    replica.settle_batches(now)?;
    let events = std::iter::from_fn(|| replica.poll_event());
    Ok(events
        .filter_map(|event| if let Event::Written { outcome, .. } = event { Some(outcome) } else { None })
        .collect())
}

/// What a play has seen acknowledged.
#[derive(Default)]
struct Acknowledged {
    visits: Vec<DocumentKey>,
    erasure: Asked,
    /// The hour of the first visits is over.
    expiry: Asked,
}

/// Whether something was asked for, and whether it is known to have happened.
#[derive(Clone, Copy, Default, PartialEq)]
enum Asked {
    #[default]
    Never,
    Unanswered,
    Done,
}

const HOURS: [Duration; 2] = [Duration::from_hours(1), Duration::from_hours(30)];

/// Three visits of one hour and one of a later one; the first is erased, then its hour passes.
fn play(running: &mut Running, seen: &mut Acknowledged) -> Result<(), StorageError> {
    let replica = &mut running.replica;
    let visits = [key(1, HOURS[0]), key(2, HOURS[0]), key(3, HOURS[0]), key(4, HOURS[1])];
    let now = after(Duration::ZERO);
    for key in visits {
        if !seen.visits.contains(&key) {
            // The machine may have died before it could answer.
            let taken = replica.handle_write(now, Write::Change { key, change: change(&key) });
            taken.map_err(|error| StorageError::Engine { action: "was tried", source: error.into() })?;
            settle(replica, now)?;
            seen.visits.push(key);
        }
    }
    if seen.erasure != Asked::Done {
        seen.erasure = Asked::Unanswered;
        let erase = Write::Erase { name: visits[0].name, lasting: false, reason: Reason::Subject };
        replica.handle_write(now, erase).unwrap();
        assert!(matches!(settle(replica, now)?[..], [Outcome::Erased(_) | Outcome::AlreadyErased]));
        seen.erasure = Asked::Done;
    }
    seen.expiry = Asked::Unanswered;
    replica.handle_timeout(after(Duration::from_hours(4)))?;
    settle(replica, after(Duration::from_hours(4)))?;
    seen.expiry = Asked::Done;
    Ok(())
}

/// What must hold at every moment.
fn check(machine: &Machine, running: &Running, seen: &Acknowledged, died: usize) {
    for key in &seen.visits {
        let asked = [(*key == seen.visits[0], seen.erasure), (key.expires_at < START.plus(HOURS[1]), seen.expiry)];
        let erased = asked.contains(&(true, Asked::Done));
        if !erased && asked.contains(&(true, Asked::Unanswered)) {
            continue;
        }
        let reader = Reader::new(running.store.clone(), LONGEST);
        let row = reader.row(key, View::applied(running.replica.dead_through())).unwrap();
        assert_eq!(row.is_none(), erased, "died in call {died}: {key:?}");
        assert_eq!(machine.is_readable(key), !erased, "died in call {died}: what is left of {key:?}");
    }
}

/// A document whose key is destroyed cannot live again.
fn refuses_what_is_over(running: &mut Running, seen: &Acknowledged, died: usize) {
    for key in seen.visits.iter().filter(|key| key.expires_at < START.plus(HOURS[1])) {
        let write = Write::Change { key: *key, change: change(key) };
        let refused = running.replica.handle_write(after(Duration::ZERO), write);
        assert!(
            matches!(refused, Err(WriteError::Gone | WriteError::ClockInDoubt)),
            "died in call {died}: {refused:?}"
        );
    }
}

#[test]
fn a_machine_that_dies_at_any_step_leaves_no_key_of_what_is_gone_and_every_other_key() {
    for died in 0..64 {
        for (keeps, in_half) in [(true, true), (false, true), (true, false), (false, false)] {
            let (machine, mut seen) = (Machine::default(), Acknowledged::default());
            let mut running = machine.start(1).unwrap();
            machine.keys.die_after(Some(died), in_half);
            if play(&mut running, &mut seen).is_ok() {
                machine.keys.die_after(None, true);
                check(&machine, &running, &seen, died);
                refuses_what_is_over(&mut running, &seen, died);
                assert_eq!(
                    died, 7,
                    "three files are made, one is written to and overwritten, and an hour is destroyed"
                );
                return;
            }
            drop(running);
            machine.engine.memory.crash(|_, count| if keeps { count } else { 0 });
            machine.keys.die_after(None, true);
            let mut running = machine.start(2).unwrap();
            check(&machine, &running, &seen, died);
            play(&mut running, &mut seen).unwrap();
            check(&machine, &running, &seen, died);
            drop(running);
            // The clock shows the time of the check-ins again.
            refuses_what_is_over(&mut machine.start(3).unwrap(), &seen, died);
        }
    }
    panic!("the play never ended");
}

#[test]
fn a_start_that_dies_while_it_finishes_an_erasure_is_repeated() {
    // The first machine dies when the row is gone and its key is not.
    for died in 0..8 {
        let (machine, mut seen) = (Machine::default(), Acknowledged::default());
        let mut running = machine.start(1).unwrap();
        // Three key files were made.
        machine.keys.die_after(Some(3), true);
        assert!(play(&mut running, &mut seen).is_err());
        drop(running);
        machine.engine.memory.crash(|_, count| count);
        machine.keys.die_after(Some(died), true);
        let started = machine.start(2).is_ok();
        machine.keys.die_after(None, true);
        let running = machine.start(3).unwrap();
        // Its tombstone was durable.
        seen.erasure = Asked::Done;
        check(&machine, &running, &seen, died);
        if started {
            assert!(died > 1, "the start writes key files");
            return;
        }
    }
    panic!("the start never ended");
}

/// The row is on the disk, and the engine lost it in a crash. The erasure comes from elsewhere.
#[test]
fn a_name_is_erased_also_where_its_row_was_lost() {
    let (machine, key) = (Machine::default(), key(1, HOURS[1]));
    let mut running = machine.start(1).unwrap();
    running.replica.handle_write(after(Duration::ZERO), Write::Change { key, change: change(&key) }).unwrap();
    running.replica.poll_batch().unwrap().unwrap();
    drop(running);
    machine.engine.memory.crash(|_, _| 0);
    let mut running = machine.start(2).unwrap();
    assert!(machine.is_readable(&key));
    let erase = Write::Erase { name: key.name, lasting: false, reason: Reason::Subject };
    running.replica.handle_write(after(Duration::ZERO), erase).unwrap();
    settle(&mut running.replica, after(Duration::ZERO)).unwrap();
    assert!(!machine.is_readable(&key));
}

/// An old backup of the store is put back beside the keys. Nobody else has the tombstone.
#[test]
fn an_erasure_that_went_back_with_the_store_is_issued_again() {
    for backup_has_row in [true, false] {
        let (machine, key) = (Machine::default(), key(1, HOURS[1]));
        let now = after(Duration::ZERO);
        let mut running = machine.start(1).unwrap();
        let before = machine.engine.memory.snapshot();
        running.replica.handle_write(now, Write::Change { key, change: change(&key) }).unwrap();
        settle(&mut running.replica, now).unwrap();
        let with_row = machine.engine.memory.snapshot();
        let erase = Write::Erase { name: key.name, lasting: false, reason: Reason::Subject };
        running.replica.handle_write(now, erase).unwrap();
        settle(&mut running.replica, now).unwrap();
        drop(running);
        machine.engine.memory.restore(if backup_has_row { &with_row } else { &before });
        let mut running = machine.start(2).unwrap();
        settle(&mut running.replica, now).unwrap();
        let again = running.replica.handle_write(now, Write::Change { key, change: change(&key) });
        assert!(matches!(again, Err(WriteError::Gone)), "{again:?}");
        let reader = Reader::new(running.store.clone(), LONGEST);
        // Without the row there is no name to issue a tombstone for, until a peer sends the change.
        assert_eq!(reader.is_erased(&key.name, false, View::applied(START)).unwrap(), backup_has_row);
    }
}

/// An old copy of the key files is put back beside the store.
#[test]
fn keys_that_come_back_are_destroyed_again() {
    let (machine, key, now) = (Machine::default(), key(1, HOURS[1]), after(Duration::ZERO));
    let mut running = machine.start(1).unwrap();
    running.replica.handle_write(now, Write::Change { key, change: change(&key) }).unwrap();
    settle(&mut running.replica, now).unwrap();
    let keys = machine.keys.copied(|_| true);
    running
        .replica
        .handle_write(now, Write::Erase { name: key.name, lasting: false, reason: Reason::Subject })
        .unwrap();
    settle(&mut running.replica, now).unwrap();
    // So that its tombstone counts as dealt with.
    running.replica.handle_stop(now);
    settle(&mut running.replica, now).unwrap();
    drop(running);
    let machine = Machine { keys, ..machine };
    assert!(machine.is_readable(&key));
    machine.start(2).unwrap();
    assert!(!machine.is_readable(&key));
}

#[test]
fn what_was_destroyed_is_counted() {
    let (machine, mut seen) = (Machine::default(), Acknowledged::default());
    let mut running = machine.start(1).unwrap();
    play(&mut running, &mut seen).unwrap();
    let hour = KeyName::secret(&key(1, HOURS[0])).unwrap();
    let expected = [Destroyed::Documents(1), Destroyed::File(hour)];
    assert_eq!(machine.keys.destroyed(), expected);
}

#[test]
fn a_store_without_its_key_files_does_not_open() {
    let (machine, mut seen) = (Machine::default(), Acknowledged::default());
    let mut running = machine.start(1).unwrap();
    play(&mut running, &mut seen).unwrap();
    drop(running);
    let opened = Sealed::open(machine.engine, MemoryKeys::default(), random(2), LONGEST).map(|_| ());
    assert!(matches!(opened, Err(StorageError::KeysLost { .. })));
}

/// Key files whose note of which keys are over is damaged.
struct NoteLost(MemoryKeys);

impl KeyFiles for NoteLost {
    fn all(&self) -> Result<Vec<(KeyName, Vec<u8>)>, StorageError> {
        self.0.all()
    }
    fn create(&self, name: KeyName, contents: &[u8]) -> Result<(), StorageError> {
        self.0.create(name, contents)
    }
    fn write(&self, name: KeyName, offset: u64, bytes: &[u8]) -> Result<(), StorageError> {
        self.0.write(name, offset, bytes)
    }
    fn overwrite(&self, name: KeyName, offsets: &[u64], length: usize) -> Result<(), StorageError> {
        self.0.overwrite(name, offsets, length)
    }
    fn destroy(&self, name: KeyName) -> Result<(), StorageError> {
        self.0.destroy(name)
    }
    fn set_over(&self, over: Wall) -> Result<(), StorageError> {
        self.0.set_over(over)
    }
    fn over(&self) -> Result<Option<Wall>, StorageError> {
        Ok(None)
    }
    fn note(&self, destroyed: Destroyed) {
        self.0.note(destroyed);
    }
}

#[test]
fn a_damaged_note_of_which_keys_are_over_keeps_the_store_from_nothing() {
    let (machine, mut seen) = (Machine::default(), Acknowledged::default());
    let mut running = machine.start(1).unwrap();
    play(&mut running, &mut seen).unwrap();
    drop(running);
    let store = Sealed::open(machine.engine, NoteLost(machine.keys), random(2), LONGEST).unwrap();
    let rows = Reader::new(store, LONGEST).all(Wall(0)).unwrap();
    assert_eq!(rows.into_keys().collect::<Vec<_>>(), seen.visits[3..]);
}
