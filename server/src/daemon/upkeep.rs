//! The thread that reads and writes the server's own files while it serves: settings, rules, certificates and
//! revocation lists, when they are read again and when the authority has new ones.
//!
//! It has a runtime of its own, and the disk may stand still there: it holds up no command and no connection.

use std::{io, sync::Arc, thread};

use rcmd_certs::Layout;
use tokio::{
    runtime::{Handle, Runtime},
    signal::unix::Signal,
};

use super::{reload::reload, renewal};
use crate::state::ServerState;

/// The runtime of the thread. A look-up of the authority's name that hangs is not waited for when it is dropped.
pub(super) struct Upkeep(Option<Runtime>);

impl Upkeep {
    /// Makes the runtime.
    ///
    /// # Errors
    /// When the host has no descriptors to give.
    pub(super) fn prepare() -> io::Result<Self> {
        tokio::runtime::Builder::new_current_thread().enable_all().build().map(Some).map(Self)
    }

    /// Starts the thread. It ends when the server closes its connections, which waits for it a moment. `hangup`
    /// has files read again.
    ///
    /// # Errors
    /// When the host has no thread to give.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub(super) fn start(
        self,
        layout: &Layout,
        state: &Arc<ServerState>,
        hangup: Signal,
    ) -> io::Result<()> {
        let (layout, state, serving) = (layout.clone(), Arc::clone(state), Handle::current());
        let counted = state.tasks.token();
        let work = move || {
            let Some(runtime) = &self.0 else { return };
            runtime.block_on(async {
                tokio::select! {
                    () = state.closing.cancelled() => {}
                    () = obey(&layout, &state, &serving, hangup) => {}
                    () = renewal::tend(&layout, &state) => {}
                }
            });
            drop(counted);
        };
        thread::Builder::new().name("upkeep".to_owned()).spawn(work).map(drop)
    }
}

impl Drop for Upkeep {
    fn drop(&mut self) {
        let _ = self.0.take().map(Runtime::shutdown_background);
    }
}

/// Reads the files again, each time that it is asked to. Never returns.
async fn obey(layout: &Layout, state: &ServerState, serving: &Handle, mut hangup: Signal) {
    while hangup.recv().await.is_some() {
        // Commands are told by tasks of the server's runtime.
        let _serving = serving.enter();
        reload(layout, state);
    }
    std::future::pending().await
}
