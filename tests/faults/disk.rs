//! Row 4: the disk is full, with a pair in flight.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::kills::{lock, unlock};
use crate::kit::{TestDatabase, eventually, on_every_database};
use crate::provider::{Held, Reuse};
use crate::scene::{LIFETIME_S, Scene};

on_every_database! {
    a_pair_that_neither_database_nor_spool_can_take_is_kept_when_there_is_room_again,
}

/// A disk of its own below a directory, mounted by root, or by `sudo` without a password.
struct SmallDisk(PathBuf);

fn as_root(program: &str) -> Command {
    if rustix::process::getuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("sudo");
    command.args(["-n", program]);
    command
}

impl SmallDisk {
    fn on(directory: &Path) -> Self {
        let mut mount = as_root("mount");
        mount.args(["-t", "tmpfs", "-o", "size=16m,mode=1777", "none"]);
        let mounted = mount.arg(directory).status();
        let mounted = mounted.expect("mount can be run").success();
        assert!(mounted, "a disk cannot be mounted; run this as root");
        Self(directory.to_owned())
    }

    fn ballast(&self) -> PathBuf {
        self.0.join("ballast")
    }

    /// Leaves no room for a single byte.
    fn fill(&self) {
        let zeroes = std::fs::File::open("/dev/zero").expect("there are zeroes");
        let ballast = std::fs::File::create(self.ballast());
        let mut ballast = ballast.expect("the file can be made");
        let copied = std::io::copy(&mut &zeroes, &mut ballast);
        let full = copied.expect_err("the disk ends");
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    }

    fn make_room(&self) {
        std::fs::remove_file(self.ballast()).expect("the file is there");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = as_root("umount").arg("--lazy").arg(&self.0).status();
    }
}

async fn a_pair_that_neither_database_nor_spool_can_take_is_kept_when_there_is_room_again(
    database: TestDatabase,
) {
    let mut scene = Scene::set(database, Reuse::EndsFamily, LIFETIME_S).await;
    let disk = SmallDisk::on(scene.database.directory.path());
    let server = scene.replica("a");
    scene.begin(&server.client).await;
    scene.rotates_unanswered().await;
    // A database on another disk is locked instead.
    let lock = lock(&scene.database).await;
    disk.fill();
    scene.provider.hold(Held::Nowhere);
    eventually("the spool cannot take it", async || {
        let log = server.logged();
        log.iter()
            .any(|line| line.contains("could not be written to the spool"))
            .then_some(())
    })
    .await;
    assert_eq!(scene.read(&server.client, 0, "k").await, Some(1));
    unlock(lock).await;
    disk.make_room();
    server.client.generation("r", "k", 2).await;
    assert_eq!(scene.provider.rotations(), 2);
    scene.renews_again(&server.client, "k").await;
    scene.judge(&server.client).await;
}
