//! The signals that stop a broker.
//!
//! They are taken over before the broker starts: one that comes while it starts, or in the moment in which it says that it
//! has, stops it in order as soon as it serves. Otherwise it would end the process with its logs open.

use std::io;

use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// SIGTERM and SIGINT, taken over.
#[derive(Debug)]
pub(super) struct Signals {
    runtime: Runtime,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// # Errors
    /// The system does not hand them over.
    pub(super) fn take_over() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (terminate, interrupt) = {
            let _inside = runtime.enter();
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?)
        };
        Ok(Self { runtime, terminate, interrupt })
    }

    /// Waits until the broker is to stop; why, if it is not a signal.
    pub(super) fn wait(mut self, mut failure: watch::Receiver<Option<String>>) -> Option<String> {
        self.runtime.block_on(async {
            tokio::select! {
                _ = self.terminate.recv() => None,
                _ = self.interrupt.recv() => None,
                failed = failure.wait_for(Option::is_some) => failed.ok().and_then(|cause| cause.clone()),
            }
        })
    }
}
