//! Long transfers in slices, to show progress between them.

use anyhow::{Context, Result};
use dmabufio_client::{Client, Error, Transfer};
use dmabufio_core::extent::{Direction, Extent};
use dmabufio_core::transfer::receipt::Receipt;
use dmabufio_core::transfer::Durability;

/// Bytes in one slice: several pieces of the core, so that the cost of slices is not measurable.
const SLICE: u64 = 256 << 20;

/// As [`Client::transfer`] for one extent, slice by slice. `moved` is called after each slice with what
/// moved of it. The receipt is the sum. Durability is asked for with the last slice, which covers the whole file.
pub fn transfer(
    client: &Client,
    transfer: &Transfer<'_>,
    extent: Extent,
    moved: &mut dyn FnMut(Extent) -> Result<(), Error>,
) -> Result<Receipt> {
    let mut total = Receipt::default();
    let mut done = 0;
    // At least one slice: an empty transfer needs the checks and the durability, too.
    loop {
        let slice = Extent {
            file_offset: extent.file_offset + done,
            buffer_offset: extent.buffer_offset + done,
            len: SLICE.min(extent.len - done),
        };
        let last = done + slice.len == extent.len;
        let durability = if last { transfer.durability } else { Durability::None };
        let request = Transfer { extents: &[slice], durability, ..*transfer };
        let receipt = client.transfer(&request).with_context(|| match transfer.direction {
            Direction::Load => {
                format!("load {} bytes from offset {}", slice.len, slice.file_offset)
            }
            Direction::Save => format!("save {} bytes to offset {}", slice.len, slice.file_offset),
        })?;
        total.add(&receipt);
        moved(Extent { len: receipt.bytes(), ..slice })?;
        done += slice.len;
        if last || receipt.bytes() < slice.len {
            return Ok(total);
        }
    }
}
