//! A window manager in small: saves the pictures of tasks, restores one, and forgets what has ended.
//!
//! ```sh
//! cargo run -p dmabufio_client --example snapshot_store -- FOLDER     # --service to use the service
//! ```

use dmabufio_client::snapshot::{
    ColorSpace, Picture, PixelFormat, Pixels, SnapshotStore, TaskId, Variant,
};
use dmabufio_client::Client;
use dmabufio_core::heap::Heap;
use std::env::args_os;
use std::error::Error;
use std::os::fd::AsFd;
use std::path::Path;

/// The display of a phone.
const PICTURE: Picture = Picture {
    width: 1080,
    height: 2400,
    stride: 1080 * 4,
    format: PixelFormat::Abgr8888,
    rotation: 0,
    density: 420,
    color_space: ColorSpace::SRGB,
};
/// What all snapshots together may have on the disk, in bytes.
const MAX_BYTES: u64 = 64 << 20;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = args_os().skip(1).collect();
    let (client, folder) = match arguments.as_slice() {
        [folder] => (Client::local(Heap::Memfd)?, folder),
        [flag, folder] if flag == "--service" => (Client::service()?, folder),
        _ => return Err("usage: snapshot_store [--service] FOLDER".into()),
    };
    run(&client, Path::new(folder))
}

/// Saves, restores and sweeps in an existing folder.
pub fn run(client: &Client, folder: &Path) -> Result<(), Box<dyn Error>> {
    let store = SnapshotStore::open(folder, MAX_BYTES)?;

    // The compositor has the window of each task in a buffer. Here the CPU paints one.
    let window = client.allocate(PICTURE.payload_len(), "window")?;
    let tasks = [1, 2, 3].map(|task| TaskId { user: 0, task });
    for task in tasks {
        window.write(0, &paint(task))?;
        let pixels = Pixels { picture: PICTURE, buffer: window.as_fd(), offset: 0 };
        let saved = store.save(client, task, &pixels, true)?;
        println!("saved {task}: {} bytes, {} direct", saved.receipt.bytes(), saved.receipt.direct);
    }

    // The user comes back to the first task: the small picture at once, and then all pixels.
    let small = store.restore(client, tasks[0], Variant::Reduced)?;
    println!("{} x {} to begin with", small.picture.width, small.picture.height);
    let full = store.restore(client, tasks[0], Variant::Full)?;
    let mut pixels = vec![0; PICTURE.payload_len() as usize];
    full.buffer.read(0, &mut pixels)?;
    if full.picture != PICTURE || pixels != paint(tasks[0]) {
        return Err("the snapshot is not what was saved".into());
    }
    println!("restored {}: {} bytes", tasks[0], full.receipt.bytes());

    // Only one task is alive.
    let gone = store.sweep(&tasks[..1])?;
    println!("swept {} tasks, {} left", gone.len(), store.list()?.len());
    Ok(())
}

/// A picture that differs from task to task.
fn paint(task: TaskId) -> Vec<u8> {
    let mut pixels = Vec::with_capacity(PICTURE.payload_len() as usize);
    for y in 0..PICTURE.height {
        for x in 0..PICTURE.width {
            pixels.extend([(x / 5) as u8, (y / 10) as u8, (task.task * 50) as u8, 255]);
        }
    }
    pixels
}
