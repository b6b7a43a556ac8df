//! Converts ranges, receipts and plans.

use crate::enums::Wire;
use dmabufio_core::error::{Error, ErrorKind, Result};
use dmabufio_core::extent::Extent;
use dmabufio_core::transfer::plan::ExtentPlan;
use dmabufio_core::transfer::receipt::Receipt;
use std::time::Duration;
use vendor_dmabufio::aidl::vendor::dmabufio as aidl;

/// Converts a number of bytes to the type of the interface. The error names `name`.
///
/// # Errors
/// `InvalidRequest` if the number needs 64 bits.
pub fn signed(name: &str, value: u64) -> Result<i64> {
    i64::try_from(value).map_err(|_| invalid(format!("{name}={value}: beyond 63 bits")))
}

/// Converts a number of bytes or nanoseconds from the interface. The error names `name`.
///
/// # Errors
/// `InvalidRequest` if the number is negative.
pub fn unsigned(name: &str, value: i64) -> Result<u64> {
    u64::try_from(value).map_err(|_| invalid(format!("{name}={value}: negative")))
}

/// The extents of a request, for the service.
pub fn extents_to_aidl(extents: &[Extent]) -> Result<Vec<aidl::Extent::Extent>> {
    let convert = |extent: &Extent| {
        Ok(aidl::Extent::Extent {
            fileOffset: signed("file_offset", extent.file_offset)?,
            bufferOffset: signed("buffer_offset", extent.buffer_offset)?,
            length: signed("length", extent.len)?,
        })
    };
    extents.iter().map(convert).collect()
}

/// The extents of a request that a client sent.
///
/// # Errors
/// `InvalidRequest` if a field is negative.
pub fn extents_from_aidl(extents: &[aidl::Extent::Extent]) -> Result<Vec<Extent>> {
    let convert = |(i, extent): (usize, &aidl::Extent::Extent)| {
        let field = |name, value| {
            unsigned(name, value).map_err(|error| invalid(format!("extent {i}: {error}")))
        };
        Ok(Extent {
            file_offset: field("fileOffset", extent.fileOffset)?,
            buffer_offset: field("bufferOffset", extent.bufferOffset)?,
            len: field("length", extent.length)?,
        })
    };
    extents.iter().enumerate().map(convert).collect()
}

/// A prediction, for the client.
pub fn extent_plan_to_aidl(plan: ExtentPlan) -> aidl::ExtentPlan::ExtentPlan {
    aidl::ExtentPlan::ExtentPlan {
        bytesDirect: saturated(plan.direct),
        bytesBounced: saturated(plan.bounced),
        bytesBuffered: saturated(plan.buffered),
        method: plan.method.to_aidl(),
        reason: plan.reason.to_aidl(),
    }
}

/// A prediction that the service sent.
pub fn extent_plan_from_aidl(plan: &aidl::ExtentPlan::ExtentPlan) -> Result<ExtentPlan> {
    Ok(ExtentPlan {
        direct: unsigned("bytesDirect", plan.bytesDirect)?,
        bounced: unsigned("bytesBounced", plan.bytesBounced)?,
        buffered: unsigned("bytesBuffered", plan.bytesBuffered)?,
        method: Wire::from_aidl(plan.method)?,
        reason: Wire::from_aidl(plan.reason)?,
    })
}

/// A receipt, for the client.
pub fn receipt_to_aidl(receipt: Receipt) -> aidl::Receipt::Receipt {
    aidl::Receipt::Receipt {
        id: saturated(receipt.id),
        bytes: saturated(receipt.bytes()),
        bytesDirect: saturated(receipt.direct),
        bytesBounced: saturated(receipt.bounced),
        bytesBuffered: saturated(receipt.buffered),
        method: receipt.method.to_aidl(),
        firstFallback: receipt.first_fallback.to_aidl(),
        checked: receipt.checked,
        queueNanos: nanos(receipt.queue),
        ioNanos: nanos(receipt.io),
        syncNanos: nanos(receipt.sync),
    }
}

/// A receipt that the service sent.
pub fn receipt_from_aidl(from: &aidl::Receipt::Receipt) -> Result<Receipt> {
    Ok(Receipt {
        id: unsigned("id", from.id)?,
        direct: unsigned("bytesDirect", from.bytesDirect)?,
        bounced: unsigned("bytesBounced", from.bytesBounced)?,
        buffered: unsigned("bytesBuffered", from.bytesBuffered)?,
        method: Wire::from_aidl(from.method)?,
        first_fallback: Wire::from_aidl(from.firstFallback)?,
        checked: from.checked,
        queue: Duration::from_nanos(unsigned("queueNanos", from.queueNanos)?),
        io: Duration::from_nanos(unsigned("ioNanos", from.ioNanos)?),
        sync: Duration::from_nanos(unsigned("syncNanos", from.syncNanos)?),
    })
}

/// A count of moved bytes. The extents of a request keep it below 63 bits.
fn saturated(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

fn invalid(what: String) -> Error {
    Error::new(ErrorKind::InvalidRequest, what)
}

#[cfg(test)]
mod tests;
