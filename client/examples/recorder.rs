//! A camera in small: records frames into a file, and names those that were lost.
//!
//! ```sh
//! cargo run -p dmabufio_client --example recorder -- FILE [SOCKET]
//! ```
//!
//! It needs the service: on kernel binder, or on a socket
//! (`dmabufio-service --heap memfd --socket SOCKET`).

use dmabufio_client::stream::{Acquired, Ring, StreamRequest};
use dmabufio_client::{Buffer, Client};
use dmabufio_core::extent::Direction;
use dmabufio_core::priority::Priority;
use dmabufio_core::transfer::receipt::Receipt;
use dmabufio_core::transfer::Durability;
use std::env::args_os;
use std::error::Error;
use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// What a camera makes.
pub struct Camera {
    /// The length of a frame. Frames of whole pages go direct from the start of a buffer.
    pub frame_bytes: u64,
    /// The time from one frame to the next.
    pub period: Duration,
    /// Its buffers: as many as it fills at a time, one that the disk writes, and one for each frame
    /// of the longest pause of the disk.
    pub buffers: usize,
}

/// What is in the file.
pub struct Recording {
    /// The numbers of the frames that are not, from 0.
    pub dropped: Vec<u64>,
    /// What moved.
    pub receipt: Receipt,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = args_os().skip(1).collect();
    let (client, path) = match arguments.as_slice() {
        [path] => (Client::service()?, path),
        [path, socket] => (Client::socket(Path::new(socket))?, path),
        _ => return Err("usage: recorder FILE [SOCKET]".into()),
    };
    // NV12, of 1920 x 1088 pixels.
    let frame_bytes = 1920 * 1088 * 3 / 2;
    let camera = Camera { frame_bytes, period: Duration::from_secs(1) / 30, buffers: 6 };
    let frames = 90;
    let Recording { dropped, receipt } = record(&client, Path::new(path), &camera, frames)?;
    println!("{} of {frames} frames recorded", frames - dropped.len() as u64);
    println!("dropped: {dropped:?}");
    println!("{} bytes, {} direct", receipt.bytes(), receipt.direct);
    Ok(())
}

/// Records so many frames into a new file, which is durable on return.
pub fn record(
    client: &Client,
    path: &Path,
    camera: &Camera,
    frames: u64,
) -> Result<Recording, Box<dyn Error>> {
    let allocate = |_| client.allocate(camera.frame_bytes, "camera");
    let buffers: Vec<Buffer> = (0..camera.buffers).map(allocate).collect::<Result<_, _>>()?;
    let ring: Vec<_> = buffers.iter().map(Buffer::as_fd).collect();
    let file = File::create(path)?;
    let request =
        StreamRequest::new(file.as_fd(), Direction::Save, camera.frame_bytes, Ring::Own(&ring));
    // The user sees a lost frame, and plays the file after the battery was empty.
    let (priority, durability) = (Priority::Interactive, Durability::Full);
    let mut stream = client.open_stream(&StreamRequest { priority, durability, ..request })?;

    let mut picture = vec![0; camera.frame_bytes as usize];
    let (start, mut due, mut dropped) = (Instant::now(), Instant::now(), Vec::new());
    for _ in 0..frames {
        sleep(due.saturating_duration_since(Instant::now()));
        due += camera.period;
        // The camera cannot wait for longer than until the next frame.
        match stream.acquire(Some(due))? {
            Acquired::Buffer { index, frame } => {
                paint(&mut picture, frame);
                buffers[index].write(0, &picture)?;
                let timestamp = start.elapsed().as_nanos() as i64;
                stream.submit(index, 0, camera.frame_bytes, timestamp)?;
            }
            Acquired::Dropped { frame } => dropped.push(frame),
        }
    }
    stream.finish()?;
    let receipt = stream.wait()?;
    // The content is durable. The name of a new file is that of its folder.
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
    Ok(Recording { dropped, receipt })
}

/// A picture that begins with its number, and is as bright as that.
fn paint(picture: &mut [u8], number: u64) {
    picture.fill(number as u8);
    picture[..8].copy_from_slice(&number.to_le_bytes());
}
