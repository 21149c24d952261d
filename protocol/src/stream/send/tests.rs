use super::*;

fn outgoing() -> SendStream {
    SendStream::new(Stream::Stdout, Algorithm::Sha256)
}

fn drain(stream: &mut SendStream) -> Vec<(u64, Vec<u8>)> {
    std::iter::from_fn(|| stream.next(1)).map(|d| (d.offset, d.payload.to_vec())).collect()
}

#[test]
fn what_is_confirmed_is_forgotten_and_the_rest_is_sent_again() {
    let mut stream = outgoing();
    stream.append(Bytes::from_static(b"abc"), None);
    stream.append(Bytes::from_static(b"def"), None);
    assert_eq!(drain(&mut stream), [(0, b"abc".to_vec()), (3, b"def".to_vec())]);
    stream.window(4, CREDIT).unwrap();
    assert_eq!(stream.retained(), 3);
    assert_eq!(stream.resume(4), Ok(4));
    assert_eq!(drain(&mut stream), [(4, b"ef".to_vec())]);
    assert!(stream.is_drained());
}

#[test]
fn a_late_receiver_is_told_where_data_begins() {
    let mut stream = outgoing();
    stream.append(Bytes::from_static(b"abc"), None);
    stream.append(Bytes::from_static(b"def"), None);
    drain(&mut stream);
    stream.window(3, CREDIT).unwrap();
    assert_eq!(stream.resume(0), Ok(3));
    assert_eq!(drain(&mut stream), [(3, b"def".to_vec())]);
}

#[test]
fn a_receiver_that_claims_what_was_never_sent_is_at_fault() {
    let mut stream = outgoing();
    stream.append(Bytes::from_static(b"abc"), None);
    assert!(stream.window(1, CREDIT).is_err());
    assert!(stream.resume(1).is_err());
    drain(&mut stream);
    assert!(stream.window(3, 0).is_ok());
    assert!(stream.window(4, CREDIT).is_err());
}

#[test]
fn credit_bounds_what_is_sent_and_generosity_does_not_bound_memory() {
    let mut stream = outgoing();
    assert_eq!(stream.room(), CREDIT);
    stream.window(0, u64::MAX).unwrap();
    assert_eq!(stream.room(), CREDIT);
    stream.append(Bytes::from(vec![7; CREDIT as usize + 5]), None);
    let sent: usize = drain(&mut stream).iter().map(|(_, bytes)| bytes.len()).sum();
    assert_eq!(sent as u64, CREDIT);
    assert_eq!(stream.room(), 0);
    stream.window(10, u64::MAX).unwrap();
    assert_eq!(drain(&mut stream), [(CREDIT, vec![7; 5])]);
}

#[test]
fn many_small_pieces_are_joined_without_losing_place_or_time() {
    let mut stream = outgoing();
    let mut all = Vec::new();
    for n in 0..3000_u32 {
        let piece = n.to_le_bytes()[..1 + n as usize % 4].to_vec();
        all.extend_from_slice(&piece);
        stream.append(Bytes::from(piece), Some(u64::from(n / 1000)));
        if n == 1234 {
            drain(&mut stream);
        }
    }
    assert!(stream.pieces.len() <= PIECES + 1);
    stream.resume(0).unwrap();
    let mut at = 0;
    for (offset, bytes) in drain(&mut stream) {
        assert_eq!(offset, at as u64);
        assert_eq!(bytes, all[at..at + bytes.len()]);
        at += bytes.len();
    }
    assert_eq!(at, all.len());
}

#[test]
fn tiny_pieces_of_many_times_stay_few_and_true_to_the_grain() {
    let mut stream = outgoing();
    for time in 0..CREDIT / 4 {
        stream.append(Bytes::from_static(b"tick"), Some(time));
    }
    assert!(stream.pieces.len() <= TIMED_PIECES);
    let mut bytes = 0;
    while let Some(data) = stream.next(1) {
        assert_eq!(data.time, Some(data.offset / 4));
        assert!(data.payload.len() <= GRAIN);
        bytes += data.payload.len();
    }
    assert_eq!(bytes as u64, CREDIT);
}

#[test]
fn a_receiver_may_confirm_what_it_asked_for_again() {
    let mut stream = outgoing();
    stream.append(Bytes::from_static(b"abc"), None);
    stream.append(Bytes::from_static(b"def"), None);
    drain(&mut stream);
    assert_eq!(stream.resume(0), Ok(0));
    stream.window(4, CREDIT).unwrap();
    assert_eq!(drain(&mut stream), [(4, b"ef".to_vec())]);
    assert_eq!(stream.resume(0), Ok(3));
    stream.window(6, CREDIT).unwrap();
    assert_eq!(drain(&mut stream), []);
}

#[test]
fn a_late_receiver_gets_every_byte_from_where_it_was_told_on() {
    let mut stream = outgoing();
    stream.append(Bytes::from_static(b"abcdef"), None);
    drain(&mut stream);
    stream.window(4, CREDIT).unwrap();
    assert_eq!(stream.resume(1), Ok(1));
    stream.append(Bytes::from_static(b"ghi"), None);
    stream.window(2, CREDIT).unwrap();
    assert_eq!(drain(&mut stream), [(2, b"cdef".to_vec()), (6, b"ghi".to_vec())]);
}

#[test]
fn bytes_that_an_earlier_sender_delivered_are_hashed_and_not_sent() {
    let mut stream = outgoing();
    stream.skip_to(4);
    stream.append(Bytes::from_static(b"abc"), None);
    stream.append(Bytes::from_static(b"def"), None);
    assert_eq!(drain(&mut stream), [(4, b"ef".to_vec())]);
    let mut whole = outgoing();
    whole.append(Bytes::from_static(b"abcdef"), None);
    assert_eq!(stream.finish(), whole.finish());
}

#[test]
fn a_sender_stays_within_its_own_credit_whatever_it_is_granted() {
    let mut stream = SendStream::with_credit(Stream::Stdout, Algorithm::Sha256, 4096);
    assert_eq!(stream.room(), 4096);
    stream.append(Bytes::from(vec![7; 10_000]), None);
    let sent: usize = drain(&mut stream).iter().map(|(_, bytes)| bytes.len()).sum();
    assert_eq!(sent, 4096);
    stream.window(1000, CREDIT).unwrap();
    let sent: usize = drain(&mut stream).iter().map(|(_, bytes)| bytes.len()).sum();
    assert_eq!(sent, 1000);
}
