//! Long transfers in slices, so that progress can be shown between them.

use crate::progress::Progress;
use anyhow::{Context, Result};
use dmabufio_client::{Client, Transfer};
use dmabufio_core::extent::{Direction, Extent};
use dmabufio_core::transfer::receipt::Receipt;
use dmabufio_core::transfer::Durability;

/// Bytes in one slice: several pieces of the core, so that slicing costs nothing measurable.
const SLICE: u64 = 256 << 20;

/// As [`Client::transfer`] for one extent, with `progress` advanced slice by slice. The receipt is
/// the sum. Durability is asked for with the last slice, which covers the whole file.
pub fn transfer(
    client: &Client,
    transfer: &Transfer<'_>,
    extent: Extent,
    mut progress: Progress,
) -> Result<Receipt> {
    let mut total = Receipt::default();
    let mut done = 0;
    // At least one: nothing to move is to be checked, and made durable, all the same.
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
        add(&mut total, &receipt);
        progress.add(receipt.bytes());
        done += slice.len;
        if last || receipt.bytes() < slice.len {
            return Ok(total);
        }
    }
}

/// Adds a receipt to the sum of those before it.
pub fn add(total: &mut Receipt, slice: &Receipt) {
    // A slice with nothing direct has nothing to check.
    let checked = |receipt: &Receipt| receipt.direct == 0 || receipt.checked;
    total.checked = total.direct + slice.direct > 0 && checked(total) && checked(slice);
    total.direct += slice.direct;
    total.bounced += slice.bounced;
    total.buffered += slice.buffered;
    // All but the last are alike, so the first one's method moved the most.
    total.method = total.method.or(slice.method);
    total.first_fallback = total.first_fallback.or(slice.first_fallback);
    total.queue += slice.queue;
    total.io += slice.io;
    total.sync += slice.sync;
}
