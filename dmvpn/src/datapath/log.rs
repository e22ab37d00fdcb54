//! What the eBPF programs log, for debugging.

use std::io;

use aya::Ebpf;
use aya_log::EbpfLogger;
use tokio::io::{Interest, unix::AsyncFd};
use tracing_log::log::Log;

use super::DataPathError;

/// The records of the eBPF programs, which are passed on to the `log` crate.
pub struct DataPathLog {
    logger: AsyncFd<EbpfLogger<&'static dyn Log>>,
}

impl DataPathLog {
    /// Registers the buffer with the runtime, in which this has to be called.
    pub(super) fn new(ebpf: &mut Ebpf) -> Result<Self, DataPathError> {
        const WHAT: &str = "log";
        let logger = EbpfLogger::init(ebpf).map_err(|error| match error {
            aya_log::Error::MapNotFound => DataPathError::AlreadyTaken { what: WHAT },
            error => DataPathError::Wait { what: WHAT, source: io::Error::other(error) },
        })?;
        // SAFETY: the logger owns the descriptor of its ring buffer, and has no way to change or close it.
        #[expect(unsafe_code, reason = "tokio wants it said that the descriptor stays open")]
        let logger = unsafe { AsyncFd::register_with_interest(logger, Interest::READABLE) };
        let logger =
            logger.map_err(|error| DataPathError::Wait { what: WHAT, source: error.into_parts().1 })?;
        Ok(Self { logger })
    }

    /// Passes records on until waiting for them fails. Nothing is lost when the future is dropped.
    pub async fn pass_on(&mut self) -> io::Error {
        loop {
            self.logger.get_mut().flush();
            match self.logger.readable_mut().await {
                Ok(mut ready) => ready.clear_ready(),
                Err(error) => return error,
            }
        }
    }
}
