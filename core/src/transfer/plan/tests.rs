use super::super::piece::MAX_PIECE;
use super::*;
use proptest::prelude::*;

const PAGE: u64 = 4096;

fn direct() -> Route {
    Route {
        direct: Some(Method::RwFileDirect),
        copy: Method::RwFileBuffered,
        align: PAGE,
        reason: None,
        extents: false,
        uncached: false,
    }
}

fn buffered() -> Route {
    Route { direct: None, reason: Some(FallbackReason::NoIoctl), ..direct() }
}

fn extent(file_offset: u64, buffer_offset: u64, len: u64) -> Extent {
    Extent { file_offset, buffer_offset, len }
}

fn predict(extent: Extent, len: u64, route: Route) -> ExtentPlan {
    let runs = vec![Run::new(vec![0], &extent, len, route, false)];
    Plan { extents: &[extent], runs, route }.predict()[0]
}

fn merged(extents: &[Extent]) -> Vec<(Vec<usize>, u64)> {
    merge(extents).into_iter().map(|(members, whole)| (members, whole.len)).collect()
}

#[test]
fn extents_that_continue_each_other_are_one_run() {
    let extents = [extent(8292, 100, 50), extent(0, 1000, 10), extent(8192, 0, 100)];
    assert_eq!(merged(&extents), [(vec![1], 10), (vec![2, 0], 150)]);
}

#[test]
fn gap_in_file_or_buffer_ends_a_run() {
    let extents = [extent(0, 0, 10), extent(10, 11, 10), extent(21, 21, 10)];
    assert_eq!(merged(&extents), [(vec![0], 10), (vec![1], 10), (vec![2], 10)]);
}

#[test]
fn merged_extents_have_edges_at_the_ends_of_the_run_only() {
    let extents = [extent(0, 0, 5000), extent(5000, 5000, 5000)];
    let route = direct();
    let whole = extent(0, 0, 10_000);
    let runs = vec![Run::new(vec![0, 1], &whole, 10_000, route, false)];
    let plan = Plan { extents: &extents, runs, route };
    let [first, second] = plan.predict()[..] else { panic!("two extents") };
    assert_eq!((first.direct, first.bounced), (5000, 0));
    assert_eq!((second.direct, second.bounced), (3192, 1808));
    let at = |file_offset| Piece { file_offset, buffer_offset: file_offset, len: 1 };
    assert_eq!(plan.extent_of(&plan.runs[0], at(4999)), 0);
    assert_eq!(plan.extent_of(&plan.runs[0], at(5000)), 1);
}

#[test]
fn resident_run_is_copied_and_says_so() {
    let whole = extent(0, 0, 8192);
    let runs = vec![Run::new(vec![0], &whole, 8192, direct(), true)];
    let plan = Plan { extents: &[whole], runs, route: direct() }.predict()[0];
    assert_eq!((plan.direct, plan.buffered), (0, 8192));
    assert_eq!(plan.reason, Some(FallbackReason::Resident));
}

#[test]
fn aligned_extent_is_all_body() {
    let plan = predict(extent(8192, 0, 1 << 20), 1 << 20, direct());
    assert_eq!((plan.direct, plan.bounced, plan.buffered), (1 << 20, 0, 0));
    assert_eq!((plan.method, plan.reason), (Some(Method::RwFileDirect), None));
}

#[test]
fn equal_phase_leaves_an_edge_at_each_end() {
    let plan = predict(extent(4095, 8191, 10_000), 10_000, direct());
    assert_eq!((plan.direct, plan.bounced, plan.buffered), (8192, 1 + 1807, 0));
}

#[test]
fn different_phase_is_copied_whole() {
    let plan = predict(extent(0, 1, 10_000), 10_000, direct());
    assert_eq!((plan.direct, plan.bounced, plan.buffered), (0, 0, 10_000));
    assert_eq!(plan.reason, Some(FallbackReason::Unaligned));
}

#[test]
fn extent_inside_a_page_is_an_edge() {
    let plan = predict(extent(100, 100, 200), 200, direct());
    assert_eq!((plan.direct, plan.bounced, plan.buffered), (0, 200, 0));
    assert_eq!((plan.method, plan.reason), (Some(Method::RwFileBuffered), None));
}

#[test]
fn extent_across_a_page_boundary_without_a_whole_page_is_two_edges() {
    let plan = predict(extent(4000, 4000, 200), 200, direct());
    assert_eq!((plan.direct, plan.bounced), (0, 200));
}

#[test]
fn nothing_within_the_file_is_nothing_to_do() {
    let plan = predict(extent(1 << 40, 0, 4096), 0, direct());
    assert_eq!((plan.direct, plan.bounced, plan.buffered, plan.method), (0, 0, 0, None));
}

#[test]
fn route_without_direct_copies_and_says_why() {
    let plan = predict(extent(0, 0, 8192), 8192, buffered());
    assert_eq!((plan.direct, plan.bounced, plan.buffered), (0, 0, 8192));
    assert_eq!(plan.method, Some(Method::RwFileBuffered));
    assert_eq!(plan.reason, Some(FallbackReason::NoIoctl));
}

proptest! {
    #[test]
    fn at_most_two_blocks_of_a_long_request_are_bounced(
        start in 0..1_u64 << 50,
        page in 0..1_u64 << 20,
        len in 65_536..1_u64 << 32,
        cuts in prop::collection::btree_set(1..65_536_u64, 0..8),
    ) {
        // Cut into extents that continue each other, as callers with many small parts have them.
        let buffer_offset = page * PAGE + start % PAGE;
        let ends = cuts.iter().copied().chain([len]);
        let starts = [0].into_iter().chain(cuts.iter().copied());
        let extents: Vec<Extent> = starts
            .zip(ends)
            .map(|(from, to)| extent(start + from, buffer_offset + from, to - from))
            .collect();
        let [(members, whole)] = &merge(&extents)[..] else { panic!("one run") };
        let runs = vec![Run::new(members.clone(), whole, len, direct(), false)];
        let plan = Plan { extents: &extents, runs, route: direct() };
        let edges: Vec<Piece> = plan.runs[0]
            .segments()
            .filter(|segment| segment.role == Role::Edge)
            .flat_map(|segment| segment.pieces(MAX_PIECE))
            .collect();
        prop_assert!(edges.len() <= 2);
        for edge in edges {
            prop_assert_eq!(edge.file_offset / PAGE, (edge.in_file().end - 1) / PAGE);
        }
        let plans = plan.predict();
        prop_assert_eq!(plans.iter().map(|plan| plan.buffered).sum::<u64>(), 0);
        let moved = |plan: &ExtentPlan| plan.direct + plan.bounced;
        prop_assert_eq!(plans.iter().map(moved).sum::<u64>(), len);
    }

    #[test]
    fn pieces_tile_the_extent(
        file_offset in 0..1_u64 << 50,
        buffer_offset in 0..1_u64 << 33,
        same_phase: bool,
        len in 1..200_u64 << 20,
        short in 0..1_u64 << 20,
        shift in 12..17_u32,
    ) {
        let route = Route { align: 1 << shift, ..direct() };
        let buffer_offset = if same_phase {
            (buffer_offset & !(route.align - 1)) + file_offset % route.align
        } else {
            buffer_offset
        };
        let extent = extent(file_offset, buffer_offset, len);
        let moved = len.saturating_sub(short);
        let split = Run::new(vec![0], &extent, moved, route, false);
        let mut done = 0;
        let mut edges = 0;
        for segment in split.segments() {
            for piece in segment.pieces(MAX_PIECE) {
                // No gap, no overlap, no shift between file and buffer.
                prop_assert_eq!(piece.file_offset, file_offset + done);
                prop_assert_eq!(piece.buffer_offset, buffer_offset + done);
                prop_assert!(piece.len > 0 && piece.len <= MAX_PIECE);
                if segment.role == Role::Body {
                    let all = piece.file_offset | piece.buffer_offset | piece.len;
                    prop_assert_eq!(all % route.align, 0);
                }
                done += piece.len;
            }
            if segment.role == Role::Edge {
                edges += 1;
                prop_assert!(segment.pieces(MAX_PIECE).map(|piece| piece.len).sum::<u64>() < route.align);
            }
        }
        prop_assert_eq!(done, moved);
        prop_assert!(edges <= 2);
        let has_body = split.segments().any(|segment| segment.role == Role::Body);
        prop_assert!(has_body || !same_phase || moved < 2 * route.align);
    }
}
