//! Simulated power cuts.
//!
//! The store lies on ext4 on a loop device, whose backing file lies on an XFS with shared blocks. At a random moment
//! `cp --reflink` takes an atomic copy of the backing file: exactly what the kernel had submitted to the "disk",
//! without the page cache and without uncommitted journal entries. The copy is mounted and opened. This needs root and
//! loop devices. Without them the test prints a warning and passes, unless MERIDIAN_REQUIRE_POWER_CUTS is set.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::Ordering;

use rand::RngExt;

use crate::kill::{Writer, check};
use crate::rounds;

/// Default of MERIDIAN_CUTS.
const CUTS: usize = 4;
/// Plain sled lost data in 12 of 16 cuts when this was first measured. So many cuts without a loss would mean that the
/// test cannot detect one.
const PLAIN_CUTS: usize = 25;

/// A mounted XFS image with an ext4 image in it; unmounted when dropped.
struct Rig {
    folder: tempfile::TempDir,
    mounted: Vec<PathBuf>,
}

impl Rig {
    fn build() -> Result<Rig, String> {
        let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
        let mut rig = Rig { folder, mounted: Vec::new() };
        let xfs = rig.path("xfs.img");
        run("truncate", &["-s", "3G", text(&xfs)])?;
        run("mkfs.xfs", &["-q", "-m", "reflink=1", text(&xfs)])?;
        rig.mount(&xfs, "xfs")?;
        let disk = rig.path("xfs/disk.img");
        run("truncate", &["-s", "768M", text(&disk)])?;
        run("mkfs.ext4", &["-q", text(&disk)])?;
        rig.mount(&disk, "disk")?;
        Ok(rig)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn mount(&mut self, image: &Path, at: &str) -> Result<(), String> {
        let point = self.path(at);
        std::fs::create_dir_all(&point).map_err(|e| e.to_string())?;
        run("mount", &["-o", "loop", text(image), text(&point)])?;
        self.mounted.push(point);
        Ok(())
    }

    fn unmount(&mut self) {
        if let Some(point) = self.mounted.pop() {
            // A mount that cannot be removed stays; the next run makes its own.
            let _ = run("umount", &[text(&point)]);
        }
    }

    /// One writer, one cut, one reopening.
    fn cut(&mut self, engine: &str, number: usize) -> Result<(u64, Result<(), String>), String> {
        let store = self.path("disk").join(format!("store-{number}"));
        std::fs::create_dir(&store).map_err(|e| e.to_string())?;
        run("sync", &["-f", text(&store)])?;
        let mut writer = Writer::start(engine, &store)?;
        writer.wait_for(rand::rng().random_range(20..800))?;
        let acknowledged = writer.acknowledged.load(Ordering::SeqCst);
        let (disk, copy) = (self.path("xfs/disk.img"), self.path("xfs/cut.img"));
        run("cp", &["--reflink=always", text(&disk), text(&copy)])?;
        let at_most = writer.kill();
        self.mount(&copy, "cut")?;
        let store = self.path("cut").join(format!("store-{number}"));
        // More batches may have become durable between the reading of the count and the copy.
        let verdict = check(engine, &store, acknowledged, at_most + 1);
        self.unmount();
        std::fs::remove_file(&copy).map_err(|e| e.to_string())?;
        std::fs::remove_dir_all(self.path("disk").join(format!("store-{number}"))).map_err(|e| e.to_string())?;
        Ok((acknowledged, verdict))
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        while !self.mounted.is_empty() {
            self.unmount();
        }
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a temporary folder's name is plain")
}

fn run(program: &str, args: &[&str]) -> Result<(), String> {
    let output = Command::new(program).args(args).output().map_err(|e| format!("{program}: {e}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(format!("{program} {args:?}: {said}")) }
}

/// `None`, with a printed warning, where no such device can be made.
fn rig() -> Result<Option<Rig>, String> {
    match Rig::build() {
        Ok(rig) => Ok(Some(rig)),
        Err(why) if std::env::var_os("MERIDIAN_REQUIRE_POWER_CUTS").is_some() => Err(why),
        Err(why) => {
            eprintln!("\n!!! POWER CUTS WERE NOT TESTED HERE: {why}");
            eprintln!("!!! They take root, loop devices, mkfs.xfs (xfsprogs) and mkfs.ext4 (e2fsprogs).\n");
            Ok(None)
        }
    }
}

pub(crate) fn cuts_lose_nothing(engine: &str) -> Result<(), String> {
    let Some(mut rig) = rig()? else { return Ok(()) };
    let (cuts, mut total, mut broken) = (rounds(CUTS), 0, Vec::new());
    for number in 0..cuts {
        let (acknowledged, verdict) = rig.cut(engine, number)?;
        broken.extend(verdict.err().map(|why| format!("cut {number}: {why}")));
        total += acknowledged;
    }
    if !broken.is_empty() {
        return Err(format!("{} of {cuts} power cuts lost something: {}", broken.len(), broken.join("; ")));
    }
    println!("{engine}: {cuts} power cuts, {total} acknowledged batches before them, nothing lost");
    Ok(())
}

/// The same test without our fsync fails, which shows that the test detects losses.
pub(crate) fn cuts_break_plain_sled() -> Result<(), String> {
    let Some(mut rig) = rig()? else { return Ok(()) };
    for number in 0..PLAIN_CUTS {
        if let (acknowledged, Err(broken)) = rig.cut("plain-sled", number)? {
            println!("plain sled broke at cut {} ({acknowledged} acknowledged batches): {broken}", number + 1);
            return Ok(());
        }
    }
    Err(format!("sled without fsync survived {PLAIN_CUTS} power cuts: this test detects no losses here"))
}
