//! A small seed corpus of real frames, tokens and rows, written as `FOLDER/<target>/<name>` by the `frame` target
//! when `SEED_CORPUS` names the folder: a program of its own would need a build of its own.

use std::fs;
use std::path::Path;

use replication::{Deltas, Hello, Progress, Body, Change, Claim, Collection, Delta, DocumentId, DocumentKey, DocumentName, Dot, Frame, Hlc, Reason, ReplicaId, Row, SessionToken, TenantId, Value, VersionVector, Wall};

fn key(id: u8) -> DocumentKey {
    let name = DocumentName { collection: Collection(2), tenant: TenantId([1; 16]), id: DocumentId([id; 16]) };
    name.expiring(Wall(1_800_000_000_000))
}

fn change(id: u8, fields: usize) -> Change {
    let names: Vec<String> = (0..fields).map(|field| format!("field{field}")).collect();
    let value = |at: usize| match at % 3 {
        0 => Value::Text("O'Connor Παπαδόπουλος".to_owned()),
        1 => Value::Int(-1_767_225_600_000),
        _ => Value::Bytes(vec![0, 255, id]),
    };
    let fields: Vec<(&str, Value)> = names.iter().enumerate().map(|(at, name)| (name.as_str(), value(at))).collect();
    Change::create(&key(id), &fields)
}

fn deltas(count: u8) -> Frame {
    let origin = ReplicaId(7);
    let entry = |at: u8| Delta {
        dot: Dot { origin, seq: 10 + 3 * u64::from(at) },
        hlc: Hlc(1_800_000_000_000 << 16 | u64::from(at)),
        key: key(at),
        body: match at % 5 {
            1 => Body::Tombstone(Reason::Subject),
            2 => Body::Tombstone(Reason::Owner),
            3 => Body::Erased(Reason::Subject),
            _ => Body::Change(change(at, usize::from(at) + 1)),
        },
    };
    let entries: Vec<Delta> = (0..count).map(entry).collect();
    let through = entries.last().map_or(9, |last| last.dot.seq) + 5;
    Frame::Deltas(Deltas { origin, after: 9, through, heads: Some([1, 2]), entries })
}

/// Writes the corpus if `SEED_CORPUS` says where.
pub fn write_if_asked() {
    if let Some(folder) = std::env::var_os("SEED_CORPUS") {
        write(Path::new(&folder)).expect("the corpus can be written");
    }
}

fn write(folder: &Path) -> std::io::Result<()> {
    let write = |target: &str, name: &str, bytes: Vec<u8>| {
        let folder = folder.join(target);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(name), bytes)
    };
    let vector: VersionVector = [(ReplicaId(7), 3), (ReplicaId(u64::MAX), 1 << 40)].into_iter().collect();
    let (node, region) = ("eu-central-1".parse().expect("a name"), "eu-central".parse().expect("a name"));
    let hello = Hello {
        replica: ReplicaId(7),
        node,
        region,
        vector: vector.clone(),
        seen: vector.clone(),
        boot: 3,
        yours: Some((ReplicaId(7), replication::Head { seq: 3, hash: 4 })),
        wall: Wall(1_800_000_000_000),
        max_retention_ms: 28 * 86_400_000,
        newest: replication::Protocol::default(),
    };
    let claim = Claim {
        node: hello.node.clone(),
        region: hello.region.clone(),
        through: hello.wall,
        needs: vec![(ReplicaId(7), 3)],
        rests_on: vec![(ReplicaId(8), 2)],
    };
    let progress = Progress {
        vector: vector.clone(),
        received: vec![(ReplicaId(8), 9)],
        claim: Some(claim),
        horizon: Wall(1_799_000_000_000),
        wall: hello.wall,
        direct: vec![ReplicaId(8)],
        missing: vec![ReplicaId(9)],
    };
    write("frame", "hello", Frame::Hello(hello).encode())?;
    write("frame", "progress", Frame::Progress(progress).encode())?;
    for count in [0, 1, 3, 12] {
        write("frame", &format!("deltas-{count}"), deltas(count).encode())?;
    }
    // The body alone: the target adds the checksum.
    write("token", "two", SessionToken(vector).encode().split_off(4))?;
    write("token", "none", SessionToken::default().encode().split_off(4))?;
    for count in [1u8, 3, 20] {
        let mut row = Row::default();
        for at in 0..count {
            let fields = usize::from(at % 5) + 1;
            row.add(Dot { origin: ReplicaId(7), seq: u64::from(at) + 1 }, change(2, fields));
        }
        write("row", &format!("changes-{count}"), row.encode().expect("in memory"))?;
    }
    Ok(())
}
