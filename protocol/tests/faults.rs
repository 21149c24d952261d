//! The words in which each fault of a header is told. Whoever writes another peer reads them.

// A panic is how a test fails; clippy exempts test functions, not those beside them.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

use rcmd_protocol::frame::Decoder;

#[path = "support/victim.rs"]
#[allow(dead_code)] // Each test uses a part of it.
mod victim;
use victim::{HELLO, framed};

/// Headers, each with the fault that a reader finds in it.
#[rustfmt::skip]
const FAULTS: &[(&str, &str)] = &[
    (r#"[]"#, r#"a header is not valid: invalid type: sequence, expected an object at line 1 column 0"#),
    (r#"1"#, r#"a header is not valid: invalid type: integer `1`, expected an object at line 1 column 1"#),
    (r#"{"#, r#"a header is not valid: EOF while parsing an object at line 1 column 1"#),
    (r#"{}{}"#, r#"a header is not valid: trailing characters at line 1 column 3"#),
    (r#"{} x"#, r#"a header is not valid: trailing characters at line 1 column 4"#),
    (r#"null"#, r#"a header is not valid: invalid type: null, expected an object at line 1 column 4"#),
    (r#"{}"#, r#"a header is not valid: there is no "type" in it"#),
    (r#"{"number":1}"#, r#"a header is not valid: there is no "type" in it"#),
    (r#"{"type":"ping","number":1,}"#, r#"a header is not valid: trailing comma at line 1 column 27"#),
    (r#"{"type":"ping","number":1,"x":NaN}"#, r#"a header is not valid: expected value at line 1 column 31"#),
    (r#"{"type":"ping","number":1,"number":1}"#, r#"a header is not valid: a key stands twice: number at line 1 column 34"#),
    (r#"{"type":"ping","type":"ping"}"#, r#"a header is not valid: a key stands twice: type at line 1 column 21"#),
    (r#"{"type":"ping","number":1,"x":"a\u0000b"}"#, r#"a header is not valid: a string holds a NUL at line 1 column 40"#),
    (r#"{"type":"ping","number":1,"a\u0000b":1}"#, r#"a header is not valid: a string holds a NUL at line 1 column 36"#),
    (r#"{"type":"ping","number":1,"x":{"a\u0000b":1}}"#, r#"a header is not valid: a string holds a NUL at line 1 column 41"#),
    (r#"{"type":"ping","number":1,"x":[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]}"#, r#"a header is not valid: JSON is nested too deep at line 1 column 47"#),
    (r#"{"type":1}"#, r#"a header is not valid: invalid type: integer `1`, expected a type of frame at line 1 column 9"#),
    (r#"{"type":null}"#, r#"a header is not valid: invalid type: null, expected a type of frame at line 1 column 12"#),
    (r#"{"type":"later"}"#, r#"a header is not valid: this is not a type of frame at line 1 column 15"#),
    (r#"{"type":"Ping","number":1}"#, r#"a header is not valid: this is not a type of frame at line 1 column 14"#),
    (r#"{"type":"ping"}"#, r#"the ping frame lacks number"#),
    (r#"{"type":"ping","number":null}"#, r#"a header is not valid: invalid type: null, expected u64 at line 1 column 28"#),
    (r#"{"type":"ping","number":"7"}"#, r#"a header is not valid: invalid type: string "7", expected u64 at line 1 column 27"#),
    (r#"{"type":"ping","number":true}"#, r#"a header is not valid: invalid type: boolean `true`, expected u64 at line 1 column 28"#),
    (r#"{"type":"ping","number":-1}"#, r#"a header is not valid: invalid value: integer `-1`, expected u64 at line 1 column 26"#),
    (r#"{"type":"ping","number":1.5}"#, r#"a header is not valid: invalid type: floating point `1.5`, expected u64 at line 1 column 27"#),
    (r#"{"type":"ping","number":1e3}"#, r#"a header is not valid: invalid type: floating point `1000.0`, expected u64 at line 1 column 27"#),
    (r#"{"type":"ping","number":9007199254740992}"#, r#"a header is not valid: an integer is past 2^53 - 1 at line 1 column 41"#),
    (r#"{"type":"ping","number":18446744073709551616}"#, r#"a header is not valid: invalid type: floating point `1.8446744073709552e+19`, expected u64 at line 1 column 44"#),
    (r#"{"type":"ping","number":[1]}"#, r#"a header is not valid: invalid type: sequence, expected u64 at line 1 column 24"#),
    (r#"{"type":"ping","number":{}}"#, r#"a header is not valid: invalid type: map, expected u64 at line 1 column 24"#),
    (r#"{"number":"7","x":1,"type":"ping"}"#, r#"a header is not valid: invalid type: string "7", expected u64 at line 1 column 13"#),
    (r#"{"type":"hello","agent":"a"}"#, r#"the hello frame lacks capabilities"#),
    (r#"{"type":"hello","capabilities":[]}"#, r#"the hello frame lacks agent"#),
    (r#"{"type":"hello","agent":1,"capabilities":[]}"#, r#"a header is not valid: invalid type: integer `1`, expected a string at line 1 column 25"#),
    (r#"{"type":"hello","agent":"a","capabilities":["x",1]}"#, r#"a header is not valid: invalid type: integer `1`, expected a string at line 1 column 49"#),
    (r#"{"type":"hello","agent":"a","capabilities":"x"}"#, r#"a header is not valid: invalid type: string "x", expected a list of at most 64 strings at line 1 column 46"#),
    (r#"{"type":"hello","agent":"a","capabilities":["x","x","x","x","x","x","x","x","x","x","x","x","x","x","x","x","x","x","x","x","x","x","x","x","x","x","x","x","x","x","x","x","x","x","x","x","x","x","x","x","x","x","x","x","x","x","x","x","x","x","x","x","x","x","x","x","x","x","x","x","x","x","x","x","x"]}"#, r#"a header is not valid: a list is too long at line 1 column 304"#),
    (r#"{"type":"hello","agent":"a","capabilities":[],"instance":"0"}"#, r#"a header is not valid: this is not an instance of 32 digits at line 1 column 60"#),
    (r#"{"type":"hello","agent":"a","capabilities":[],"instance":"00000000000000000000000000000000","grace_ms":1,"keepalive_ms":1}"#, r#"the hello frame lacks retain_ms"#),
    (r#"{"type":"error","message":"m"}"#, r#"the error frame lacks kind"#),
    (r#"{"type":"error","kind":"busy"}"#, r#"the error frame lacks message"#),
    (r#"{"type":"error","kind":"Busy","message":"m"}"#, r#"a header is not valid: this is not a kind of error at line 1 column 29"#),
    (r#"{"type":"error","kind":"busy","message":"m","hint":null}"#, r#"a header is not valid: invalid type: null, expected a string at line 1 column 55"#),
    (r#"{"type":"cancel"}"#, r#"the cancel frame lacks ch"#),
    (r#"{"type":"cancel","ch":0}"#, r#"the cancel frame has an invalid ch"#),
    (r#"{"type":"cancel","ch":4294967296}"#, r#"the cancel frame has an invalid ch"#),
    (r#"{"type":"cancel","ch":"1"}"#, r#"a header is not valid: invalid type: string "1", expected u64 at line 1 column 25"#),
    (r#"{"type":"cancel","ch":1,"len":1}"#, r#"the cancel frame has an invalid len"#),
    (r#"{"type":"cancel","ch":1,"len":1048577}"#, r#"a payload of 1048577 bytes is past the limit of 1048576"#),
    (r#"{"type":"stop","ch":1,"stream":"stdnone"}"#, r#"a header is not valid: this is not a stream at line 1 column 40"#),
    (r#"{"type":"stop","ch":1,"stream":1}"#, r#"a header is not valid: invalid type: integer `1`, expected a stream at line 1 column 32"#),
    (r#"{"type":"stop","ch":1}"#, r#"the stop frame lacks stream"#),
    (r#"{"type":"signal","ch":1,"number":1,"signal":"INT"}"#, r#"a header is not valid: this is not a signal at line 1 column 49"#),
    (r#"{"type":"data","ch":1,"stream":"stdin","offset":0}"#, r#"the data frame has an invalid len"#),
    (r#"{"type":"data","ch":1,"stream":"stdin","offset":0,"len":0}"#, r#"the data frame has an invalid len"#),
    (r#"{"type":"data","ch":1,"stream":"stdin","offset":0,"len":"1"}"#, r#"a header is not valid: invalid type: string "1", expected u64 at line 1 column 59"#),
    (r#"{"type":"data","ch":1,"stream":"stdin","offset":0,"time":null,"len":1}"#, r#"a header is not valid: invalid type: null, expected u64 at line 1 column 61"#),
    (r#"{"type":"window","ch":1,"stream":"stdin","got":0}"#, r#"the window frame lacks upto"#),
    (r#"{"type":"start","ch":1,"key":"0","generation":1}"#, r#"a header is not valid: this is not a key of 32 digits at line 1 column 32"#),
    (r#"{"type":"start","ch":1,"key":"00000000000000000000000000000000","generation":1,"digest":"x","mode":"exec","argc":1,"len":2}"#, r#"the start frame has an invalid digest"#),
    (r#"{"type":"start","ch":1,"key":"00000000000000000000000000000000","generation":1,"digest":"0000000000000000000000000000000000000000000000000000000000000000","mode":"run","argc":1,"len":2}"#, r#"a header is not valid: this is not a mode at line 1 column 167"#),
    (r#"{"type":"start","ch":1,"key":"00000000000000000000000000000000","generation":1,"digest":"0000000000000000000000000000000000000000000000000000000000000000","mode":"exec","len":2}"#, r#"the start frame lacks argc"#),
    (r#"{"type":"start","ch":1,"key":"00000000000000000000000000000000","generation":1,"digest":"0000000000000000000000000000000000000000000000000000000000000000","mode":"exec","argc":1,"cwd":1,"len":2}"#, r#"a header is not valid: invalid type: integer `1`, expected a boolean at line 1 column 185"#),
    (r#"{"type":"start","ch":1,"key":"00000000000000000000000000000000","generation":1,"digest":"0000000000000000000000000000000000000000000000000000000000000000","mode":"exec","argc":1,"digests":["a","b","c","d","e","f","g","h","i"],"len":2}"#, r#"a header is not valid: a list is too long at line 1 column 225"#),
    (r#"{"type":"start","ch":1,"key":"00000000000000000000000000000000","generation":1,"digest":"0000000000000000000000000000000000000000000000000000000000000000","mode":"exec","argc":1,"lock":true,"len":2}"#, r#"a header is not valid: invalid type: boolean `true`, expected a string at line 1 column 189"#),
    (r#"{"type":"verdict","ch":1}"#, r#"the verdict frame lacks permitted"#),
    (r#"{"type":"verdict","ch":1,"permitted":false}"#, r#"the verdict frame has an invalid permitted"#),
    (r#"{"type":"verdict","ch":1,"permitted":true,"kind":"denied","message":"m"}"#, r#"the verdict frame has an invalid permitted"#),
    (r#"{"type":"started","ch":1,"job":"x","digest":"sha256","started_at":1}"#, r#"a header is not valid: this is not a job at line 1 column 34"#),
    (r#"{"type":"started","ch":1,"job":"0000000000000000","digest":"md5","started_at":1}"#, r#"the started frame has an invalid digest"#),
    (r#"{"type":"attached","ch":1,"job":"0000000000000000","digest":"sha256","stdin":"x","number":0,"stdout":0,"stderr":0}"#, r#"a header is not valid: invalid type: string "x", expected u64 at line 1 column 80"#),
    (r#"{"type":"attached","ch":1,"job":"0000000000000000","digest":"sha256","stdin":true,"number":0,"stdout":0,"stderr":0}"#, r#"a header is not valid: invalid type: boolean `true`, expected u64 at line 1 column 81"#),
    (r#"{"type":"attached","ch":1,"job":"0000000000000000","digest":"sha256","stdin":0,"number":0,"stdout":0}"#, r#"the attached frame lacks stderr"#),
    (r#"{"type":"refused","ch":1,"reason":"why"}"#, r#"a header is not valid: this is not a reason at line 1 column 39"#),
    (r#"{"type":"end","ch":1,"stream":"stdout","total":0,"digest":"sha256:0"}"#, r#"the end frame has an invalid digest"#),
    (r#"{"type":"end","ch":1,"stream":"stdout","total":0,"digest":"sha256:0000000000000000000000000000000000000000000000000000000000000000","open":null}"#, r#"a header is not valid: invalid type: null, expected a boolean at line 1 column 143"#),
    (r#"{"type":"exit","ch":1,"outcome":"gone","stdout_bytes":0,"stderr_bytes":0,"ended_at":1}"#, r#"a header is not valid: this is not an outcome at line 1 column 38"#),
    (r#"{"type":"exit","ch":1,"outcome":"exited","stdout_bytes":0,"stderr_bytes":0,"ended_at":1}"#, r#"the exit frame lacks code"#),
    (r#"{"type":"exit","ch":1,"outcome":"exited","code":256,"stdout_bytes":0,"stderr_bytes":0,"ended_at":1}"#, r#"the exit frame has an invalid code"#),
    (r#"{"type":"exit","ch":1,"outcome":"signaled","stdout_bytes":0,"stderr_bytes":0,"ended_at":1}"#, r#"the exit frame lacks signal"#),
    (r#"{"type":"exit","ch":1,"outcome":"unknown","stdout_bytes":0,"stderr_bytes":0,"ended_at":1}"#, r#"the exit frame lacks kind"#),
    (r#"{"type":"exit","ch":1,"outcome":"exited","code":0,"stdout_bytes":0,"stderr_bytes":0,"stdout_digest":"x","ended_at":1}"#, r#"the exit frame has an invalid stdout_digest"#),
    (r#"{"type":"exit","ch":1,"outcome":"exited","code":0,"stdout_bytes":0,"stderr_bytes":0,"ended_at":1,"audit":"x"}"#, r#"a header is not valid: this is not a head of an audit at line 1 column 108"#),
    (r#"{"type":"exit","ch":1,"outcome":"exited","code":0,"stdout_bytes":0,"stderr_bytes":0}"#, r#"the exit frame lacks ended_at"#),
];

#[test]
fn each_fault_of_a_header_is_told_in_these_words() {
    for (header, words) in FAULTS {
        let mut decoder = Decoder::default();
        decoder.decode(&mut framed(HELLO, b"")).unwrap();
        let fault = decoder.decode(&mut framed(header, b"")).expect_err(header);
        assert_eq!(fault.to_string(), *words, "{header}");
    }
}

#[test]
fn fields_of_other_frames_are_not_looked_at() {
    let header = r#"{"type":"suspend","ch":"x","stream":null,"number":1.5,"digest":[],"stdin":{}}"#;
    let mut decoder = Decoder::default();
    decoder.decode(&mut framed(HELLO, b"")).unwrap();
    assert!(decoder.decode(&mut framed(header, b"")).unwrap().is_some());
}
