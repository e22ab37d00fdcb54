//! Attaches the underlay program to XDP.
//!
//! A new agent finds the link of the last one pinned and swaps the program in it: the interface is never without one.

use std::{
    thread,
    time::{Duration, Instant},
};

use aya::programs::{
    Xdp, XdpMode as AyaMode,
    links::FdLink,
    xdp::{XdpLink, XdpLinkId},
};
use dmvpn_common::program_names;

use super::{
    DataPathError,
    attach::{errno, in_one_line, interface_index, pinned_link, unusable},
    link_name::{Hook, LinkName},
    pin_directory::PinDirectory,
    xdp_status::{self, RunningMode},
};
use crate::config::XdpMode;

/// Longest wait for the kernel to take a program off an interface after its link went.
const DETACH_PATIENCE: Duration = Duration::from_secs(2);

/// How an interface's XDP program is attached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct XdpAttachment {
    /// Mode the kernel reports.
    pub mode: RunningMode,
    /// The link of an earlier run was taken over; its program was swapped in place.
    pub kept: bool,
    /// Why the program does not run natively although that was allowed; for the log.
    pub fallback: Option<String>,
}

/// Attaches `program` to `interface` and pins the link.
pub(super) fn attach(
    program: &mut Xdp,
    pins: &PinDirectory,
    interface: &str,
    wanted: XdpMode,
) -> Result<XdpAttachment, DataPathError> {
    let mut target = Target { program, pins, interface, ifindex: interface_index(interface)? };
    if let Some(mode) = target.take_over(wanted)? {
        let fallback = (wanted == XdpMode::Auto && mode == RunningMode::Generic)
            .then(|| "kept from an earlier run; remove its link to have native mode tried again".to_owned());
        return Ok(XdpAttachment { mode, kept: true, fallback });
    }
    let (link, fallback) = target.attach_new(wanted)?;
    let mode = target.pin(link)?;
    Ok(XdpAttachment { mode, kept: false, fallback })
}

/// What is attached to what.
struct Target<'a> {
    program: &'a mut Xdp,
    pins: &'a PinDirectory,
    interface: &'a str,
    ifindex: u32,
}

impl Target<'_> {
    /// Swaps the program in the link of an earlier run. `None` when there is none, or it was of no use and is gone now.
    fn take_over(&mut self, wanted: XdpMode) -> Result<Option<RunningMode>, DataPathError> {
        let name = LinkName::new(Hook::Xdp, self.interface);
        let path = self.pins.link(&name);
        let Some((link, program_id)) = pinned_link(&path)? else { return Ok(None) };
        // The link may be of an interface that has gone, or has another name now, while a new one took over the name.
        let mode = self.mode_of(program_id)?;
        let usable = match (mode, wanted) {
            (None, _) => false,
            (Some(_), XdpMode::Auto) => true,
            (Some(mode), XdpMode::Native) => mode == RunningMode::Native,
            (Some(mode), XdpMode::Generic) => mode == RunningMode::Generic,
        };
        if !usable {
            self.pins.remove_link(&name)?;
            drop(link);
            self.wait_until_detached(program_id)?;
            return Ok(None);
        }
        let link = XdpLink::try_from(link).map_err(|error| unusable(&path, error))?;
        match self.program.attach_to_link(link) {
            Ok(id) => {
                // The pin holds the link; this side of it is not needed.
                drop(self.program.take_link(id).map_err(|error| self.failed("XDP", in_one_line(&error)))?);
                self.running_mode().map(Some)
            }
            Err(error) => Err(self.failed("XDP (in place of the running program)", in_one_line(&error))),
        }
    }

    /// Attaches in the wanted mode; in automatic mode also says why it could not be native.
    fn attach_new(&mut self, wanted: XdpMode) -> Result<(XdpLinkId, Option<String>), DataPathError> {
        if wanted == XdpMode::Generic {
            return Ok((self.attach_in(AyaMode::Skb)?, None));
        }
        match self.attach_in(AyaMode::Driver) {
            Ok(link) => Ok((link, None)),
            Err(DataPathError::Attach { reason, .. }) if wanted == XdpMode::Auto => {
                Ok((self.attach_in(AyaMode::Skb)?, Some(reason)))
            }
            Err(error) => Err(error),
        }
    }

    fn attach_in(&mut self, mode: AyaMode) -> Result<XdpLinkId, DataPathError> {
        let error = match self.program.attach_to_if_index(self.ifindex, mode) {
            Ok(link) => return Ok(link),
            Err(error) => error,
        };
        match errno(&error) {
            // Busy: a program in this mode. Exists: one in the other mode, or on an upper device.
            Some(libc::EBUSY | libc::EEXIST) => Err(DataPathError::XdpOccupied {
                interface: self.interface.to_owned(),
                found: self.describe_attached()?,
            }),
            number => {
                let native = mode == AyaMode::Driver;
                let advice = if native { native_advice(number) } else { "" };
                let hook = if native { "XDP (native)" } else { "XDP (generic)" };
                Err(self.failed(hook, in_one_line(&error) + advice))
            }
        }
    }

    /// Pins a new link and returns the mode it runs in.
    fn pin(&mut self, id: XdpLinkId) -> Result<RunningMode, DataPathError> {
        let link = self.program.take_link(id).map_err(|error| self.failed("XDP", in_one_line(&error)))?;
        let Ok(link) = FdLink::try_from(link) else {
            // aya attached without a link, and forgot about it just now.
            let mode = self.running_mode()?;
            xdp_status::detach_linkless(self.ifindex, mode)
                .map_err(|error| self.failed("XDP, nor detach it again,", error.to_string()))?;
            return Err(DataPathError::NotPinnable { interface: self.interface.to_owned() });
        };
        let path = self.pins.link(&LinkName::new(Hook::Xdp, self.interface));
        link.pin(&path)
            .map_err(|error| self.failed("XDP for good (its link cannot be pinned)", in_one_line(&error)))?;
        self.running_mode()
    }

    /// The mode the kernel says our program runs in.
    fn running_mode(&self) -> Result<RunningMode, DataPathError> {
        let id = self.program.info().map_err(|source| DataPathError::Program {
            program: program_names::XDP_UNDERLAY,
            source: Box::new(source),
        })?;
        self.mode_of(id.id())?
            .ok_or_else(|| self.failed("XDP", "the kernel does not list the program on it".to_owned()))
    }

    fn mode_of(&self, program_id: u32) -> Result<Option<RunningMode>, DataPathError> {
        let attached = self.attached()?;
        Ok(attached.iter().find(|attached| attached.program_id == program_id).map(|attached| attached.mode))
    }

    fn attached(&self) -> Result<Vec<xdp_status::AttachedXdp>, DataPathError> {
        xdp_status::attached(self.ifindex)
            .map_err(|source| DataPathError::Query { interface: self.interface.to_owned(), source })
    }

    fn describe_attached(&self) -> Result<String, DataPathError> {
        let attached = self.attached()?;
        if attached.is_empty() {
            return Ok("on a device above or below it".to_owned());
        }
        let programs = attached.iter().map(|one| format!("id {}, {}", one.program_id, one.mode.name()));
        Ok(programs.collect::<Vec<_>>().join(" and "))
    }

    /// The kernel frees a link some time after its last user went.
    fn wait_until_detached(&self, program_id: u32) -> Result<(), DataPathError> {
        let deadline = Instant::now() + DETACH_PATIENCE;
        while self.mode_of(program_id)?.is_some() {
            if Instant::now() >= deadline {
                let reason = format!("program {program_id} of an earlier run does not go away");
                return Err(self.failed("XDP", reason));
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    fn failed(&self, hook: &'static str, reason: String) -> DataPathError {
        DataPathError::Attach { hook, interface: self.interface.to_owned(), reason }
    }
}

/// What the answers of drivers to native mode mean; they are as many as there are drivers, so only the usual ones.
const fn native_advice(errno: Option<i32>) -> &'static str {
    match errno {
        Some(libc::EOPNOTSUPP) => " (the driver has no native XDP)",
        Some(libc::ERANGE | libc::EINVAL) => {
            " (usual reasons: an MTU the driver cannot do with XDP, or receive offloads: try `ethtool -K <interface> \
             lro off`)"
        }
        Some(libc::ENOSPC | libc::ENOMEM) => {
            " (usual reason: not enough queues: see `ethtool -l <interface>`)"
        }
        _ => "",
    }
}
