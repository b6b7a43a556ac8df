use super::*;

fn extent(file_offset: u64, buffer_offset: u64, len: u64) -> Extent {
    Extent { file_offset, buffer_offset, len }
}

fn message(result: Result<()>) -> String {
    let error = result.expect_err("must be refused");
    assert_eq!(error.kind(), ErrorKind::InvalidRequest);
    error.to_string()
}

#[test]
fn well_formed_extents_pass() {
    let extents = [extent(0, 0, 1), extent(i64::MAX as u64 - 1, 1, 1)];
    assert_eq!(check_shape(&extents), Ok(()));
    assert_eq!(check_placement(&extents, 2, Direction::Load), Ok(()));
}

#[test]
fn empty_extent_is_legal_anywhere_in_the_buffer() {
    for offset in [0, 5, 10, 100] {
        let extents = [extent(0, 0, 10), extent(5, offset, 0), extent(5, offset, 0)];
        assert_eq!(check_shape(&extents), Ok(()), "{offset}");
        for direction in [Direction::Load, Direction::Save] {
            assert_eq!(check_placement(&extents, 100, direction), Ok(()), "{offset}");
        }
    }
    let error = message(check_placement(&[extent(0, 101, 0)], 100, Direction::Load));
    assert!(error.contains("beyond the buffer of 100 bytes"), "{error}");
}

#[test]
fn overflowing_ends_are_refused() {
    for bad in [
        extent(i64::MAX as u64, 0, 1),
        extent(0, i64::MAX as u64, 1),
        extent(u64::MAX, 0, 1),
        extent(0, 0, u64::MAX),
    ] {
        assert!(message(check_shape(&[bad])).contains("overflows"), "{bad}");
    }
}

#[test]
fn number_of_extents_is_bounded() {
    assert!(message(check_shape(&[])).starts_with("extents: 0 given"));
    let many = vec![extent(0, 0, 1); MAX_EXTENTS + 1];
    assert!(message(check_shape(&many)).starts_with("extents: 2049 given"));
}

#[test]
fn end_of_the_buffer_is_the_limit() {
    assert_eq!(check_placement(&[extent(0, 96, 4)], 100, Direction::Load), Ok(()));
    let error = message(check_placement(&[extent(0, 97, 4)], 100, Direction::Load));
    assert!(error.contains("beyond the buffer of 100 bytes"), "{error}");
}

#[test]
fn loads_may_not_overlap_in_the_buffer() {
    let extents = [extent(0, 10, 10), extent(50, 0, 10), extent(90, 19, 1)];
    let error = message(check_placement(&extents, 100, Direction::Load));
    assert!(error.starts_with("extent 2: "), "{error}");
    assert!(error.contains("overlaps extent 0 in the buffer"), "{error}");
    // The same ranges do not overlap in the file.
    assert_eq!(check_placement(&extents, 100, Direction::Save), Ok(()));
}

#[test]
fn saves_may_not_overlap_in_the_file() {
    let extents = [extent(0, 0, 10), extent(9, 20, 10)];
    let error = message(check_placement(&extents, 100, Direction::Save));
    assert!(error.contains("overlaps extent 0 in the file"), "{error}");
    assert_eq!(check_placement(&extents, 100, Direction::Load), Ok(()));
}
