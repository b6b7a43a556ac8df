use super::*;
use std::fmt::Debug;

/// The pairs of a core type, for the round trip.
pub(super) trait Table: Wire {
    fn table() -> Vec<(Self, Self::Aidl)>;
}

/// Goes both ways with each pair of the table, and tries `beyond`, a number that is not in it.
fn check<T>(beyond: T::Aidl)
where
    T: Table + Copy + PartialEq + Debug,
    T::Aidl: Copy + PartialEq + Debug,
{
    for (ours, theirs) in T::table() {
        assert_eq!(ours.to_aidl(), theirs);
        assert_eq!(T::from_aidl(theirs), Ok(ours));
    }
    let error = T::from_aidl(beyond).expect_err("an unknown number");
    assert_eq!(error.kind(), ErrorKind::InvalidRequest);
    assert!(error.to_string().ends_with("=99: unknown value"), "{error}");
}

#[test]
fn every_enum_survives_the_round_trip_and_refuses_an_unknown_number() {
    check::<Direction>(aidl::Direction::Direction(99));
    check::<Mode>(aidl::Mode::Mode(99));
    check::<Priority>(aidl::Priority::Priority(99));
    check::<Durability>(aidl::Durability::Durability(99));
    check::<Heap>(aidl::Heap::Heap(99));
    check::<Option<Method>>(aidl::Method::Method(99));
    check::<Option<FallbackReason>>(aidl::FallbackReason::FallbackReason(99));
}

#[test]
fn every_aidl_value_has_a_core_value() {
    fn covered<T: Table>(values: usize) {
        assert_eq!(T::table().len(), values);
    }
    covered::<Direction>(aidl::Direction::Direction::enum_values().len());
    covered::<Mode>(aidl::Mode::Mode::enum_values().len());
    covered::<Priority>(aidl::Priority::Priority::enum_values().len());
    covered::<Durability>(aidl::Durability::Durability::enum_values().len());
    covered::<Heap>(aidl::Heap::Heap::enum_values().len());
    covered::<Option<Method>>(aidl::Method::Method::enum_values().len());
    covered::<Option<FallbackReason>>(aidl::FallbackReason::FallbackReason::enum_values().len());
}
