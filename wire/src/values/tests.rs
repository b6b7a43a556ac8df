use super::*;
use dmabufio_core::method::{FallbackReason, Method};

#[test]
fn receipt_survives_the_round_trip() {
    let receipt = Receipt {
        id: 7,
        direct: 1,
        bounced: 2,
        buffered: 3,
        method: Some(Method::RwFileDirect),
        first_fallback: Some(FallbackReason::Unaligned),
        checked: true,
        queue: Duration::from_nanos(4),
        io: Duration::from_nanos(5),
        sync: Duration::from_nanos(6),
    };
    let sent = receipt_to_aidl(receipt);
    assert_eq!(sent.bytes, 6);
    assert_eq!(receipt_from_aidl(&sent), Ok(receipt));
}

#[test]
fn extent_plan_survives_the_round_trip() {
    let plan = ExtentPlan {
        direct: 1,
        bounced: 2,
        buffered: 3,
        method: Some(Method::MappedBuffered),
        reason: Some(FallbackReason::NoIoctl),
    };
    assert_eq!(extent_plan_from_aidl(&extent_plan_to_aidl(plan)), Ok(plan));
}

#[test]
fn extents_survive_the_round_trip_and_negative_fields_are_named() {
    let extents = [Extent { file_offset: 1, buffer_offset: 2, len: 3 }];
    let mut sent = extents_to_aidl(&extents).expect("small numbers");
    assert_eq!(extents_from_aidl(&sent).expect("positive numbers"), extents);
    sent[0].bufferOffset = -1;
    let error = extents_from_aidl(&sent).expect_err("negative");
    assert_eq!(error.to_string(), "extent 0: bufferOffset=-1: negative");
}

#[test]
fn number_beyond_63_bits_is_refused() {
    let error = signed("size", 1 << 63).expect_err("too large");
    assert_eq!(error.to_string(), "size=9223372036854775808: beyond 63 bits");
}
