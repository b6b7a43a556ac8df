use super::*;

#[test]
fn one_user_cannot_fill_the_lane() {
    let lane = Lane::default();
    let _held = [lane.enter(1).expect("first"), lane.enter(1).expect("second")];
    assert_eq!(lane.enter(1).expect_err("third").kind(), ErrorKind::Busy);
    lane.enter(2).expect("another user");
}

#[test]
fn full_lane_is_busy_for_everyone_until_somebody_leaves() {
    let lane = Lane::default();
    let mut held: Vec<_> =
        [1, 1, 2, 2].into_iter().map(|uid| lane.enter(uid).expect("room")).collect();
    assert_eq!(lane.enter(3).expect_err("full").kind(), ErrorKind::Busy);
    held.pop();
    lane.enter(3).expect("room again");
}
