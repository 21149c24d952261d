//! The three streams of a command, as the link holds them.

use rcmd_protocol::frame::Stream;

use crate::link::{input::Input, receiving::Receiving};

/// The streams.
#[derive(Debug)]
pub(super) struct Streams {
    /// Standard input, if it comes from the caller.
    pub(super) input: Option<Input>,
    pub(super) stdout: Receiving,
    pub(super) stderr: Receiving,
}

impl Streams {
    /// Returns an output stream.
    pub(super) fn output(&mut self, stream: Stream) -> &mut Receiving {
        match stream {
            Stream::Stdout | Stream::Stdin => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }

    /// Makes standard input begin anew. Returns false when its beginning is gone.
    pub(super) fn rewind_input(&mut self) -> bool {
        self.input.as_mut().is_none_or(Input::rewind)
    }

    /// Ends standard input: nobody reads it any more.
    pub(super) fn close_input(&mut self) {
        if let Some(input) = &mut self.input {
            input.close();
        }
    }

    /// Ends all streams for the caller, whole or not.
    pub(super) fn close(&mut self) {
        self.close_input();
        self.stdout.close();
        self.stderr.close();
    }

    /// Returns the output streams that the server has to hear are not read.
    pub(super) fn stopped(&self) -> impl Iterator<Item = Stream> + use<> {
        let stdout = self.stdout.is_stopped().then_some(Stream::Stdout);
        let stderr = self.stderr.is_stopped().then_some(Stream::Stderr);
        stdout.into_iter().chain(stderr)
    }
}
