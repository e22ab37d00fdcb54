//! Gives attached programs their successors, and the pins of their links another directory.

use std::{fs, path::Path};

use aya::{
    Ebpf,
    programs::{
        ProgramError, SchedClassifier, Xdp,
        links::{FdLink, LinkError},
        loaded_programs,
        tc::SchedClassifierLink,
        xdp::XdpLink,
    },
};
use dmvpn_common::program_names;

use crate::datapath::{
    DataPathError,
    attach::{errno, in_one_line, pinned_link, unusable},
    link_name::{Hook, LinkName},
    loader::program,
    pin_directory::{PinDirectory, links_in},
};

/// Takes over every link in the directory `other`. An interface is never without a program, nor does it have two.
pub(super) fn take_over(
    ebpf: &mut Ebpf,
    pins: &PinDirectory,
    other: &Path,
    underlay: &'static str,
) -> Result<(), DataPathError> {
    for name in links_in(other)? {
        let (old, new) = (other.join(name.file_name()), pins.link(&name));
        let Some((link, program_id)) = pinned_link(&old)? else { continue };
        // There cannot be one of each version. If there is, ours is the one that the rest of this agent knows.
        let successor = match name.hook {
            Hook::Xdp if is_lan(program_id) => program_names::XDP_LAN,
            Hook::Xdp => underlay,
            Hook::TcEgress => program_names::TC_TUNNEL,
            Hook::TcIngress => program_names::TC_UNDERLAY,
        };
        let is_live = !new.exists() && swap(ebpf, &name, &old, link, successor)?;
        let (moved, operation) = if is_live {
            // At once in the one directory and not in the other any more.
            (fs::rename(&old, &new), "move the pinned link")
        } else {
            (fs::remove_file(&old), "remove the pinned link")
        };
        moved.map_err(|source| DataPathError::File { operation, path: old, source })?;
    }
    Ok(())
}

/// Swaps the program in a link. `false` when its interface has gone.
fn swap(
    ebpf: &mut Ebpf,
    name: &LinkName,
    path: &Path,
    link: FdLink,
    successor: &'static str,
) -> Result<bool, DataPathError> {
    let foreign = |error: LinkError| unusable(path, error);
    let swapped = match name.hook {
        Hook::Xdp => {
            let program = program::<Xdp>(ebpf, successor)?;
            let link = XdpLink::try_from(link).map_err(foreign)?;
            // The pin holds the link; this side of it is not needed.
            program.attach_to_link(link).and_then(|id| program.take_link(id).map(drop))
        }
        Hook::TcEgress | Hook::TcIngress => {
            let program = program::<SchedClassifier>(ebpf, successor)?;
            let link = SchedClassifierLink::try_from(link).map_err(foreign)?;
            program.attach_to_link(link).and_then(|id| program.take_link(id).map(drop))
        }
    };
    match swapped {
        Ok(()) => Ok(true),
        Err(error) if errno(&error) == Some(libc::ENOLINK) => Ok(false),
        Err(error) => Err(failed(name, &error)),
    }
}

/// Whether a program is that of accelerated interfaces, by its name.
fn is_lan(program_id: u32) -> bool {
    let mut programs = loaded_programs().filter_map(Result::ok);
    programs.any(|found| found.id() == program_id && found.name() == program_names::XDP_LAN.as_bytes())
}

fn failed(name: &LinkName, error: &ProgramError) -> DataPathError {
    let hook = "the program of this version in place of the other's";
    DataPathError::Attach { hook, interface: name.interface.clone(), reason: in_one_line(error) }
}
