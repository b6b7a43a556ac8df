//! A shortage of memory, as the kernel reports it (PSI).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// A process that waits for memory most of the time: it wants more than its control group lets it
/// have without a pause. The rest of the system has enough.
pub struct Hungry {
    child: Child,
    mount: PathBuf,
}

impl Hungry {
    pub fn start(dir: &Path) -> Self {
        let mount = dir.join("cgroup");
        fs::create_dir(&mount).expect("mkdir");
        let mounted = Command::new("mount").args(["-t", "cgroup2", "none"]).arg(&mount).status();
        assert!(mounted.is_ok_and(|status| status.success()), "mount cgroup2");
        fs::write(mount.join("cgroup.subtree_control"), "+memory").expect("the memory controller");
        let group = mount.join("hungry");
        fs::create_dir(&group).expect("a control group");
        fs::write(group.join("memory.high"), "4M").expect("memory.high");
        // tail(1) keeps all of a line without an end.
        let command = "echo $$ >cgroup.procs && head -c 1G /dev/zero | tail -n 1";
        let child = Command::new("setsid")
            .args(["sh", "-c", command])
            .current_dir(&group)
            .stdout(Stdio::null())
            .spawn()
            .expect("start it");
        Self { child, mount }
    }
}

impl Drop for Hungry {
    fn drop(&mut self) {
        let group = self.mount.join("hungry");
        let _ = fs::write(group.join("cgroup.kill"), "1");
        let _ = self.child.wait();
        // The group is there for the next test too until the last process of the pipe has ended.
        let start = Instant::now();
        while fs::remove_dir(&group).is_err() && start.elapsed() < Duration::from_secs(10) {
            sleep(Duration::from_millis(10));
        }
        let _ = Command::new("umount").arg("-l").arg(&self.mount).status();
    }
}
