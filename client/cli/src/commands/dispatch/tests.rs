use std::collections::BTreeMap;

use rcmd_client::{ErrorKind, Target};

use super::*;
use crate::arguments::words::CommandSpec;

fn target(name: &str, index: usize) -> HostTarget {
    HostTarget::new(name.into(), index, name.parse::<Target>().unwrap(), None)
}

fn set(count: usize) -> Vec<HostTarget> {
    (0..count).map(|index| target(&format!("a{index}"), index)).collect()
}

fn line(place: u64) -> Entry {
    Entry { place, number: place + 1, words: Ok(CommandSpec::Shell("true".into())) }
}

fn failure() -> WireError {
    WireError::new(ErrorKind::Unreachable, "no")
}

/// Carries out all moves, connects at once, and returns what was begun: hosts and places of lines.
fn begun(dispatch: &mut Dispatch<()>) -> Vec<(HostId, u64)> {
    let mut begun = Vec::new();
    while let Some(next) = dispatch.next() {
        match next {
            Move::Connect(id) => dispatch.connected(id, Ok(())),
            Move::Leave(id, ()) => dispatch.left(id),
            Move::Begin(turn) => begun.push((turn.host, turn.entry.place)),
            Move::Fail(..) => panic!("nothing fails"),
        }
    }
    begun
}

#[test]
fn lines_begin_in_their_order_so_many_on_a_host_and_so_many_over_all() {
    let mut dispatch = Dispatch::new(2, 3, &set(2));
    (0..3).for_each(|place| dispatch.push(line(place)));
    let mut first = begun(&mut dispatch);
    first.sort_unstable();
    assert!(first == [(0, 0), (0, 1), (1, 0)] || first == [(0, 0), (1, 0), (1, 1)], "{first:?}");
    assert!(!dispatch.wants_lines(), "there is no room");
    let busier = if first[1] == (0, 1) { 0 } else { 1 };
    dispatch.ended(busier, false);
    assert_eq!(begun(&mut dispatch), [(1 - busier, 1)], "the other host's turn");
    assert_eq!((dispatch.running(), dispatch.waiting()), (3, 2));
}

#[test]
fn a_line_goes_to_the_hosts_that_it_names_and_each_has_its_own_place() {
    let mut dispatch: Dispatch<()> = Dispatch::new(8, 8, &set(2));
    let (known, new) = (target("a1", 0), target("b", 1));
    let hosts = [(dispatch.host_of(&known).unwrap(), 0), (dispatch.host_of(&new).unwrap(), 1)];
    assert_eq!(hosts, [(1, 0), (2, 1)], "one host has one connection");
    dispatch.push(line(0));
    dispatch.push_named(line(1), &hosts);
    dispatch.push(line(2));
    let mut turns = BTreeMap::new();
    while let Some(next) = dispatch.next() {
        match next {
            Move::Connect(id) => dispatch.connected(id, Ok(())),
            Move::Begin(turn) => {
                turns
                    .entry(turn.host)
                    .or_insert_with(Vec::new)
                    .push((turn.entry.place, turn.index));
            }
            other => panic!("{other:?}"),
        }
    }
    let expected =
        [(0, vec![(0, 0), (2, 0)]), (1, vec![(0, 1), (1, 0), (2, 1)]), (2, vec![(1, 1)])];
    assert_eq!(turns, BTreeMap::from(expected));
}

#[test]
fn a_host_keeps_its_connection_until_another_needs_the_place_or_no_line_comes() {
    let mut dispatch = Dispatch::new(1, 1, &set(2));
    dispatch.push_named(line(0), &[(0, 0)]);
    assert_eq!(begun(&mut dispatch), [(0, 0)]);
    dispatch.ended(0, false);
    assert!(dispatch.next().is_none() && dispatch.connection(0).is_some());
    dispatch.push_named(line(1), &[(1, 0)]);
    assert!(matches!(dispatch.next(), Some(Move::Leave(0, ()))));
    assert!(dispatch.next().is_none(), "its place is free when it has left");
    dispatch.left(0);
    assert_eq!(begun(&mut dispatch), [(1, 1)]);
    assert!(dispatch.connection(0).is_none());
    dispatch.ended(1, false);
    dispatch.complete();
    assert!(matches!(dispatch.next(), Some(Move::Leave(1, ()))));
}

#[test]
fn only_so_many_leave_as_others_need_a_place() {
    let mut dispatch = Dispatch::new(1, 3, &set(4));
    (0..3).for_each(|id| dispatch.push_named(line(0), &[(id, 0)]));
    assert_eq!(begun(&mut dispatch).len(), 3);
    (0..3).for_each(|id| dispatch.ended(id, false));
    dispatch.push_named(line(3), &[(3, 0)]);
    assert_eq!(begun(&mut dispatch), [(3, 3)]);
    assert_eq!(dispatch.connections().count(), 3);
}

#[test]
fn what_waits_for_a_host_not_reached_fails_and_a_later_line_tries_again() {
    let mut dispatch: Dispatch<()> = Dispatch::new(1, 1, &set(1));
    dispatch.push(line(0));
    dispatch.push(line(1));
    assert!(matches!(dispatch.next(), Some(Move::Connect(0))));
    dispatch.connected(0, Err(failure()));
    for place in 0..2 {
        let Some(Move::Fail(turn, why)) = dispatch.next() else { panic!("it does not fail") };
        assert_eq!((turn.entry.place, why), (place, failure()));
    }
    assert!(dispatch.next().is_none());
    dispatch.push(line(2));
    assert!(matches!(dispatch.next(), Some(Move::Connect(0))));
}

#[test]
fn after_a_lost_connection_a_host_is_connected_to_anew() {
    let mut dispatch = Dispatch::new(2, 2, &set(1));
    (0..4).for_each(|place| dispatch.push(line(place)));
    assert_eq!(begun(&mut dispatch), [(0, 0), (0, 1)]);
    dispatch.ended(0, true);
    assert!(dispatch.next().is_none(), "nothing begins on it");
    dispatch.ended(0, true);
    assert!(matches!(dispatch.next(), Some(Move::Leave(0, ()))));
    dispatch.left(0);
    assert_eq!(begun(&mut dispatch), [(0, 2), (0, 3)]);
}

#[test]
fn a_stop_fails_all_that_waits_and_nothing_that_runs() {
    let mut dispatch = Dispatch::new(1, 2, &set(3));
    (0..2).for_each(|place| dispatch.push(line(place)));
    assert_eq!(begun(&mut dispatch), [(0, 0), (1, 0)]);
    dispatch.stop(failure());
    let mut failed = Vec::new();
    while let Some(Move::Fail(turn, _)) = dispatch.next() {
        failed.push((turn.host, turn.entry.place));
    }
    failed.sort_unstable();
    assert_eq!(failed, [(0, 1), (1, 1), (2, 0), (2, 1)]);
    assert_eq!((dispatch.running(), dispatch.waiting()), (2, 0));
    assert!(!dispatch.wants_lines());
}

#[test]
fn lines_that_not_all_have_taken_are_bounded() {
    let mut dispatch: Dispatch<()> = Dispatch::new(1, 2, &set(2));
    let mut read = 0;
    while dispatch.wants_lines() {
        let words = Ok(CommandSpec::Shell("x".repeat(1 << 20).into()));
        dispatch.push(Entry { place: read, number: read + 1, words });
        read += 1;
        assert!(read < 100);
    }
    assert!(read >= 60, "{read}");
}

/// Returns a number that looks random, below `end`.
fn drawn(state: &mut u64, end: usize) -> usize {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
    (*state >> 33) as usize % end
}

#[test]
fn each_line_ends_once_on_each_of_its_hosts_whatever_happens() {
    for seed in 0..300 {
        let mut state = seed;
        let state = &mut state;
        let (hosts, parallel, fanout) = (drawn(state, 6), 1 + drawn(state, 3), 1 + drawn(state, 4));
        let mut dispatch = Dispatch::new(parallel, fanout, &set(hosts));
        let (mut expected, mut ended) = (BTreeMap::new(), BTreeMap::new());
        let (mut running, mut connecting, mut leaving) = (Vec::new(), Vec::new(), Vec::new());
        let mut read = 0;
        for step in 0.. {
            while let Some(next) = dispatch.next() {
                match next {
                    Move::Connect(id) => connecting.push(id),
                    Move::Leave(id, ()) => leaving.push(id),
                    Move::Begin(turn) => running.push(turn),
                    Move::Fail(turn, _) => {
                        *ended.entry((turn.entry.place, turn.host)).or_insert(0) += 1
                    }
                }
                assert!(running.len() <= fanout);
                assert!((0..9).all(|id| running.iter().filter(|turn| turn.host == id).count() <= parallel));
                let here = dispatch.connections().count();
                assert!(here + connecting.len() + leaving.len() <= fanout);
            }
            match drawn(state, 5) {
                0 if read < 20 && dispatch.wants_lines() => {
                    let ids: Vec<_> = match drawn(state, 2) {
                        0 if hosts > 0 => {
                            dispatch.push(line(read));
                            (0..hosts).collect()
                        }
                        _ => {
                            let named = (0..3).filter(|_| drawn(state, 2) == 0);
                            let named: Vec<_> = named
                                .map(|number| {
                                    let target = target(&format!("a{}", number * 3), number);
                                    (dispatch.host_of(&target).unwrap(), number)
                                })
                                .collect();
                            dispatch.push_named(line(read), &named);
                            named.iter().map(|(id, _)| *id).collect()
                        }
                    };
                    expected.extend(ids.into_iter().map(|id| ((read, id), 1)));
                    read += 1;
                }
                1 if !running.is_empty() => {
                    let turn: HostLine = running.swap_remove(drawn(state, running.len()));
                    *ended.entry((turn.entry.place, turn.host)).or_insert(0) += 1;
                    dispatch.ended(turn.host, drawn(state, 4) == 0);
                }
                2 if !connecting.is_empty() => {
                    let id = connecting.swap_remove(drawn(state, connecting.len()));
                    let connected = if drawn(state, 4) == 0 { Err(failure()) } else { Ok(()) };
                    dispatch.connected(id, connected);
                }
                3 if !leaving.is_empty() => {
                    dispatch.left(leaving.swap_remove(drawn(state, leaving.len())));
                }
                4 if read == 20 => dispatch.complete(),
                4 if step > 200 && drawn(state, 20) == 0 => {
                    dispatch.stop(failure());
                    connecting.drain(..).for_each(|id| dispatch.connected(id, Err(failure())));
                    read = 20;
                }
                _ => {}
            }
            let idle = running.is_empty() && connecting.is_empty() && leaving.is_empty();
            if read == 20 && idle && dispatch.waiting() == 0 && dispatch.connections().count() == 0
            {
                break;
            }
            assert!(step < 100_000, "it stands still with seed {seed}: {dispatch:?}");
        }
        assert_eq!(ended, expected, "seed {seed}");
    }
}
