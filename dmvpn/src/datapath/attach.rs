//! What attaching to XDP and to TC have in common: the interface's index and the pinned link of an earlier run.

use std::{error::Error, io, path::Path};

use aya::{
    programs::{
        ProgramError,
        links::{FdLink, LinkError, PinnedLink},
        tc::TcError,
        xdp::XdpError,
    },
    sys::SyscallError,
};

use super::DataPathError;

/// Index of an interface of this network namespace.
pub(super) fn interface_index(interface: &str) -> Result<u32, DataPathError> {
    nix::net::if_::if_nametoindex(interface).map_err(|errno| DataPathError::NoSuchInterface {
        interface: interface.to_owned(),
        source: errno.into(),
    })
}

/// The link pinned at `path` and the id of the program it holds; `None` when nothing is pinned there.
pub(super) fn pinned_link(path: &Path) -> Result<Option<(FdLink, u32)>, DataPathError> {
    let link = match PinnedLink::from_pin(path) {
        Ok(link) => FdLink::from(link),
        Err(LinkError::SyscallError(SyscallError { io_error, .. }))
            if io_error.kind() == io::ErrorKind::NotFound =>
        {
            return Ok(None);
        }
        Err(error) => return Err(unusable(path, error)),
    };
    let program_id = link.info().map_err(|error| unusable(path, error))?.program_id();
    Ok(Some((link, program_id)))
}

/// A pin that is no link, or that the kernel does not let us open.
pub(super) fn unusable(path: &Path, error: LinkError) -> DataPathError {
    let source = match error {
        LinkError::SyscallError(SyscallError { io_error, .. }) => io_error,
        other => io::Error::other(other),
    };
    DataPathError::File { operation: "use the pinned link", path: path.to_owned(), source }
}

/// The kernel's error number in an error of an attach operation.
pub(super) fn errno(error: &ProgramError) -> Option<i32> {
    match error {
        ProgramError::SyscallError(SyscallError { io_error, .. }) => io_error.raw_os_error(),
        ProgramError::XdpError(XdpError::NetlinkError(error))
        | ProgramError::TcError(TcError::NetlinkError(error))
        | ProgramError::NetlinkError(error) => error.raw_os_error(),
        ProgramError::TcError(TcError::IoError(error)) | ProgramError::IOError(error) => error.raw_os_error(),
        _ => None,
    }
}

/// An error with all its causes in one line.
pub(super) fn in_one_line(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !line.contains(&text) {
            line = format!("{line}: {text}");
        }
        cause = error.source();
    }
    line
}
