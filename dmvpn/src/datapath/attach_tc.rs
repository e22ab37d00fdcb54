//! Attaches the tunnel program to the egress of a tunnel interface, and the underlay's TC program to the ingress of an
//! underlay interface.
//!
//! From kernel 6.6 on by a TCX link, which is pinned and taken over like that of XDP. Before, by a `clsact` queueing
//! discipline with a filter of fixed priority and handle, which a new agent replaces in place.

use std::mem;

use aya::programs::{
    ProgramError, SchedClassifier, TcAttachType,
    links::{FdLink, Link, LinkOrder},
    tc::{self, NlOptions, SchedClassifierLink, TcAttachOptions, TcError, TcHandle},
};

use super::{
    DataPathError,
    attach::{errno, in_one_line, interface_index, pinned_link, unusable},
    link_name::{Hook, LinkName},
    pin_directory::PinDirectory,
};

/// Where our filter is in a `clsact`: fixed, so that it is found again.
const PRIORITY: u16 = 54;
const HANDLE: TcHandle = TcHandle::new(0, 1);

/// By which means a program is attached to TC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcMode {
    /// By a TCX link (kernel 6.6 and later).
    Tcx,
    /// By a filter of a `clsact` queueing discipline.
    Clsact,
}

impl TcMode {
    /// Name in logs, tables and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcx => "tcx",
            Self::Clsact => "clsact",
        }
    }
}

/// How a program is attached to TC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcAttachment {
    /// How.
    pub mode: TcMode,
    /// What an earlier run attached was taken over; its program was swapped in place.
    pub kept: bool,
}

/// Attaches `program` to a hook of `interface`. [`TcMode::Tcx`] falls back to `clsact` on a kernel without TCX.
pub(super) fn attach(
    program: &mut SchedClassifier,
    pins: &PinDirectory,
    name: &LinkName,
    wanted: TcMode,
) -> Result<TcAttachment, DataPathError> {
    interface_index(&name.interface)?;
    if wanted == TcMode::Tcx
        && let Some(kept) = attach_tcx(program, pins, name)?
    {
        return Ok(TcAttachment { mode: TcMode::Tcx, kept });
    }
    let kept = attach_clsact(program, name)?;
    Ok(TcAttachment { mode: TcMode::Clsact, kept })
}

/// Removes the filter that [`attach`] put into the interface's `clsact`.
pub(super) fn detach_clsact(name: &LinkName) -> Result<(), DataPathError> {
    let detached = clsact_filter(name).and_then(Link::detach);
    match detached {
        // The interface or the filter has gone already.
        Err(error) if matches!(errno(&error), Some(libc::ENODEV | libc::ENOENT | libc::EINVAL)) => Ok(()),
        result => result.map_err(|error| failed(name, "TC (clsact), or rather detach it,", &error)),
    }
}

/// `None` when the kernel has no TCX, else whether an earlier run's link was taken over.
fn attach_tcx(
    program: &mut SchedClassifier,
    pins: &PinDirectory,
    name: &LinkName,
) -> Result<Option<bool>, DataPathError> {
    let failed = |error: &ProgramError| failed(name, "TC (tcx)", error);
    let path = pins.link(name);
    if let Some((link, program_id)) = pinned_link(&path)? {
        let link = SchedClassifierLink::try_from(link).map_err(|error| unusable(&path, error))?;
        if is_on(name, program_id) {
            match program.attach_to_link(link) {
                Ok(id) => {
                    // The pin holds the link; this side of it is not needed.
                    drop(program.take_link(id).map_err(|error| failed(&error))?);
                    return Ok(Some(true));
                }
                // The interface has gone; this one has its name only.
                Err(error) if errno(&error) == Some(libc::ENOLINK) => {}
                Err(error) => return Err(failed(&error)),
            }
        }
        pins.remove_link(name)?;
    }
    let options = TcAttachOptions::TcxOrder(LinkOrder::default());
    let id = match program.attach_with_options(&name.interface, direction(name), options) {
        Ok(id) => id,
        Err(error) if errno(&error) == Some(libc::EINVAL) => return Ok(None),
        Err(error) => return Err(failed(&error)),
    };
    let link = program.take_link(id).map_err(|error| failed(&error))?;
    let link = FdLink::try_from(link).map_err(|error| unusable(&path, error))?;
    link.pin(&path).map_err(|error| DataPathError::Attach {
        hook: "TC for good (its link cannot be pinned)",
        interface: name.interface.clone(),
        reason: in_one_line(&error),
    })?;
    Ok(Some(false))
}

/// The side of the interface on which a hook is.
const fn direction(name: &LinkName) -> TcAttachType {
    match name.hook {
        Hook::TcIngress => TcAttachType::Ingress,
        Hook::TcEgress | Hook::Xdp => TcAttachType::Egress,
    }
}

/// Whether a program is on the interface's hook. An agent without `CAP_SYS_ADMIN` may not ask: then the name of the
/// pin has to do.
fn is_on(name: &LinkName, program_id: u32) -> bool {
    SchedClassifier::query_tcx(&name.interface, direction(name))
        .map_or(true, |(_, programs)| programs.iter().any(|program| program.id() == program_id))
}

/// Whether an earlier run's filter was replaced.
fn attach_clsact(program: &mut SchedClassifier, name: &LinkName) -> Result<bool, DataPathError> {
    let failed = |error: &ProgramError| failed(name, "TC (clsact)", error);
    match tc::qdisc_add_clsact(&name.interface) {
        Ok(()) => {}
        Err(TcError::NetlinkError(error)) if error.raw_os_error() == Some(libc::EEXIST) => {}
        Err(error) => return Err(failed(&error.into())),
    }
    let options = NlOptions { priority: PRIORITY, handle: HANDLE, classid: None };
    let attached =
        program.attach_with_options(&name.interface, direction(name), TcAttachOptions::Netlink(options));
    let (id, kept) = match attached {
        Ok(id) => (id, false),
        Err(error) if errno(&error) == Some(libc::EEXIST) => {
            let filter = clsact_filter(name).map_err(|error| failed(&error))?;
            (program.attach_to_link(filter).map_err(|error| failed(&error))?, true)
        }
        Err(error) => return Err(failed(&error)),
    };
    // Dropping it would remove the filter: it has to outlive the agent.
    mem::forget(program.take_link(id).map_err(|error| failed(&error))?);
    Ok(kept)
}

fn clsact_filter(name: &LinkName) -> Result<SchedClassifierLink, ProgramError> {
    Ok(SchedClassifierLink::attached(&name.interface, direction(name), PRIORITY, HANDLE, None)?)
}

fn failed(name: &LinkName, hook: &'static str, error: &ProgramError) -> DataPathError {
    DataPathError::Attach { hook, interface: name.interface.clone(), reason: in_one_line(error) }
}
