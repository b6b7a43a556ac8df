use super::*;
use crate::extent::{Direction, Extent};
use crate::file::RegularFile;
use crate::heap::{Allocator, Heap};
use crate::method::{Method, Mode};
use crate::transfer::plan::Plan;
use crate::transfer::request::Durability;
use crate::transfer::turns::few::Few;
use crate::transfer::turns::{Unlimited, TURN_UNIT};
use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;

const ROUTE: Route = Route {
    direct: Some(Method::MappedBuffered),
    copy: Method::MappedBuffered,
    align: 4096,
    reason: None,
    extents: false,
    uncached: false,
};

/// Moves the pieces of 10 extents, each a page with an edge on each side, of a file of 1 MiB.
fn with_request(test: impl FnOnce(&Request<'_>, &[(Role, Piece)])) {
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(&vec![7; 1 << 20]).expect("write");
    let buffer = Allocator::open(Heap::Memfd).and_then(|heap| heap.allocate(1 << 20));
    let buffer = buffer.expect("allocate");
    let extent = |i: u64| Extent {
        file_offset: i * 65_536 + 4000,
        buffer_offset: i * 65_536 + 4000,
        len: 4300,
    };
    let extents: Vec<Extent> = (0..10).map(extent).collect();
    let file: &File = &file;
    let file = &RegularFile::new(file.as_fd(), Heap::Memfd).expect("a regular file");
    let (direction, mode) = (Direction::Load, Mode::Direct);
    let plan = Plan::new(&extents, file, direction, mode, ROUTE).expect("plan");
    let pieces: Vec<_> = plan.runs().iter().flat_map(|run| run.pieces(1 << 20)).collect();
    let buffer = &buffer.buffer();
    let durability = Durability::None;
    test(&Request { buffer, file, extents: &extents, direction, mode, durability }, &pieces);
}

#[test]
fn edges_move_beside_bodies() {
    with_request(|request, pieces| {
        let roles = pieces.iter().filter(|(role, _)| *role == Role::Edge).count();
        assert_eq!((roles, pieces.len()), (20, 30));
        let mut ahead = Ahead::move_small(request, pieces.iter().copied(), ROUTE, &mut Unlimited);
        for (role, piece) in pieces {
            let moved = ahead.take(*piece).unwrap_or_else(|| panic!("{role:?} {piece:?}"));
            assert_eq!(moved.len, piece.len, "{role:?} {piece:?}");
            assert!(ahead.take(*piece).is_none(), "only once");
        }
    });
}

#[test]
fn few_pieces_wait_for_their_turn() {
    with_request(|request, pieces| {
        let few = pieces.iter().copied().take(MANY - 1);
        let mut ahead = Ahead::move_small(request, few, ROUTE, &mut Unlimited);
        assert!(pieces.iter().all(|(_, piece)| ahead.take(*piece).is_none()));
    });
}

#[test]
fn every_byte_moves_in_a_turn_and_none_after_the_last() {
    with_request(|request, pieces| {
        // Each of these pieces is moved several times over: more than one turn has room for.
        let many: Vec<_> = (0..60).flat_map(|_| pieces.iter().copied()).collect();
        let all = wanted(&many);
        for left in [usize::MAX, 1, 0] {
            let mut turns = Few { left, asked: Vec::new() };
            Ahead::move_small(request, many.iter().copied(), ROUTE, &mut turns);
            let moved: u64 = turns.asked.iter().map(|(moved, _)| moved).sum();
            match left {
                0 => assert_eq!((moved, turns.asked[0]), (0, (0, all))),
                1 => assert!(moved > 0 && moved <= TURN_UNIT, "{moved}"),
                _ => assert_eq!(moved, all),
            }
            assert_eq!(turns.asked.last().expect("asked").1, 0, "the turn is given back");
        }
    });
}
