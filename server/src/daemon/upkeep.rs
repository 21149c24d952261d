//! The thread that reads and writes the server's own files while it serves: settings, rules,
//! certificates and revocation lists, when they are reloaded and when the authority sends new ones.
//!
//! It has a runtime of its own, and may wait for the disk: that delays no command and no
//! connection.

use std::{io, sync::Arc, thread};

use rcmd_certs::Layout;
use tokio::{
    runtime::{Handle, Runtime},
    signal::unix::Signal,
};

use super::{manager::ServiceManager, reload::reload, renewal};
use crate::state::ServerState;

/// The runtime of the thread. When it is dropped, a look-up of the authority's name that hangs is
/// not waited for.
pub(super) struct Upkeep(Option<Runtime>);

impl Upkeep {
    /// Makes the runtime.
    ///
    /// # Errors
    /// If the host has no descriptors left.
    pub(super) fn prepare() -> io::Result<Self> {
        tokio::runtime::Builder::new_current_thread().enable_all().build().map(Some).map(Self)
    }

    /// Starts the thread. It ends when the server closes its connections, and the server waits a
    /// moment for that. Each `hangup` reloads the files.
    ///
    /// # Errors
    /// If the host can't start a thread.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub(super) fn start(
        self,
        layout: &Layout,
        state: &Arc<ServerState>,
        manager: &Arc<ServiceManager>,
        hangup: Signal,
    ) -> io::Result<()> {
        let (layout, state, serving) = (layout.clone(), Arc::clone(state), Handle::current());
        let manager = Arc::clone(manager);
        let counted = state.tasks.token();
        let work = move || {
            let Some(runtime) = &self.0 else { return };
            runtime.block_on(async {
                tokio::select! {
                    () = state.closing.cancelled() => {}
                    () = obey(&layout, &state, &manager, &serving, hangup) => {}
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

/// Reloads the files at each signal. Never returns.
async fn obey(
    layout: &Layout,
    state: &ServerState,
    manager: &ServiceManager,
    serving: &Handle,
    mut hangup: Signal,
) {
    while hangup.recv().await.is_some() {
        manager.reloading().await;
        let failed = {
            // Jobs are notified by tasks of the server's runtime.
            let _serving = serving.enter();
            reload(layout, state)
        };
        let status = match failed.as_slice() {
            [] => "reloaded".to_owned(),
            failed => format!("not reloaded, the log says why: {}", failed.join(", ")),
        };
        manager.ready(&status).await;
    }
    std::future::pending().await
}
