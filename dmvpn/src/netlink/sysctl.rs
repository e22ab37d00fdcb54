//! Kernel settings below `/proc/sys/net`, which show the network namespace of the calling thread.

use std::{fs, io, path::PathBuf};

use super::{Error, error::Cause};

/// One setting, for example `ipv4/conf/dmvpn0/forwarding`.
pub(super) struct Setting(PathBuf);

impl Setting {
    /// A setting of one interface in `section`, for example `ipv4/conf`. An interface name holds no `/`.
    pub(super) fn of_interface(section: &str, interface: &str, name: &str) -> Self {
        Self(PathBuf::from("/proc/sys/net").join(section).join(interface).join(name))
    }

    /// The value, or `None` when the running kernel has no such setting.
    pub(super) fn read(&self) -> Result<Option<String>, Error> {
        match fs::read_to_string(&self.0) {
            Ok(text) => Ok(Some(text.trim().to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::new(format!("read {}", self.0.display()), error)),
        }
    }

    /// Writes `value` unless it is there; what was changed, for the log. `None` when nothing was, be it that
    /// the running kernel has no such setting.
    pub(super) fn ensure(&self, value: &str) -> Result<Option<String>, Error> {
        match self.read()? {
            Some(current) if current != value => {}
            _ => return Ok(None),
        }
        fs::write(&self.0, value).map_err(|error| {
            let what = format!("write {value} to {}", self.0.display());
            if error.kind() == io::ErrorKind::ReadOnlyFilesystem {
                let cause = "/proc/sys is read-only here (a container?): make it writable, or set this \
                             before the start";
                return Error::new(what, Cause::Conflict(cause.to_owned()));
            }
            Error::new(what, error)
        })?;
        Ok(Some(format!("{} = {value}", self.0.display())))
    }
}
