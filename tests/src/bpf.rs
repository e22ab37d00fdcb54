//! bpf(2): what the crates of the workspace do not wrap.

use std::{
    ffi::CString,
    io,
    os::{
        fd::{AsRawFd, BorrowedFd, FromRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

use anyhow::{Context as _, Result};

// Commands, program type and attach type of `linux/bpf.h`.
const PROG_LOAD: libc::c_int = 5;
const OBJ_PIN: libc::c_int = 6;
const PROG_TEST_RUN: libc::c_int = 10;
const LINK_CREATE: libc::c_int = 28;
const LINK_UPDATE: libc::c_int = 29;
const TYPE_XDP: u32 = 6;
const ATTACH_XDP: u32 = 37;
/// `XDP_FLAGS_DRV_MODE`: native, by the driver.
const DRIVER_MODE: u32 = 1 << 2;
/// `BPF_F_TEST_XDP_LIVE_FRAMES`: what the program returns is done.
const LIVE_FRAMES: u32 = 1 << 1;

/// `r0 = XDP_PASS; exit`.
const PASS: [[u8; 8]; 2] = [[0xb7, 0, 0, 0, 2, 0, 0, 0], [0x95, 0, 0, 0, 0, 0, 0, 0]];

/// First fields of `union bpf_attr` for `BPF_PROG_LOAD`; the kernel takes the rest as zero, here and below.
#[repr(C)]
struct Load {
    kind: u32,
    instructions: u32,
    code: u64,
    license: u64,
}

/// The same for `BPF_OBJ_PIN`.
#[repr(C)]
struct Pin {
    path: u64,
    program: u32,
    flags: u32,
}

/// The same for `BPF_LINK_CREATE`.
#[repr(C)]
struct LinkCreate {
    program: u32,
    interface: u32,
    attach_type: u32,
    flags: u32,
}

/// The same for `BPF_LINK_UPDATE`.
#[repr(C)]
struct LinkUpdate {
    link: u32,
    program: u32,
    flags: u32,
    old_program: u32,
}

/// The same for `BPF_PROG_TEST_RUN`.
#[repr(C)]
#[derive(Default)]
struct TestRun {
    program: u32,
    result: u32,
    data_in_size: u32,
    data_out_size: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    context_in_size: u32,
    context_out_size: u32,
    context_in: u64,
    context_out: u64,
    flags: u32,
    processor: u32,
    batch: u32,
    padding: u32,
}

/// `struct xdp_md`: where a packet comes from.
#[repr(C)]
#[derive(Default)]
struct XdpContext {
    data: u32,
    data_end: u32,
    data_meta: u32,
    interface: u32,
    queue: u32,
    egress_interface: u32,
}

/// What a test run returned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestResult {
    /// What the program returned the last time.
    pub verdict: u32,
    /// Nanoseconds a run, on average; 0 for live frames.
    pub nanoseconds: u32,
    /// The packet after the last run; empty for live frames.
    pub packet: Vec<u8>,
}

/// A program that lets everything pass, pinned at `path` so that `ip` can attach it.
pub(crate) fn pin_pass_program(path: &Path) -> Result<()> {
    let license = c"GPL";
    let load = Load {
        kind: TYPE_XDP,
        instructions: u32::try_from(PASS.len())?,
        code: PASS.as_ptr() as u64,
        license: license.as_ptr() as u64,
    };
    let program = owned(bpf(PROG_LOAD, &load).context("loading")?);
    let text = CString::new(path.as_os_str().as_bytes())?;
    let pin = Pin { path: text.as_ptr() as u64, program: number(&program)?, flags: 0 };
    bpf(OBJ_PIN, &pin).context("pinning").map(drop)
}

/// Attaches an XDP program to an interface, natively. It is detached when the link is dropped.
pub fn attach_xdp(program: BorrowedFd<'_>, interface: u32) -> Result<OwnedFd> {
    let create =
        LinkCreate { program: number(&program)?, interface, attach_type: ATTACH_XDP, flags: DRIVER_MODE };
    bpf(LINK_CREATE, &create).map(owned).context("attaching an XDP program natively")
}

/// Puts another program in the place of the one that is attached.
pub fn exchange(link: &OwnedFd, program: BorrowedFd<'_>) -> Result<()> {
    let update = LinkUpdate { link: number(link)?, program: number(&program)?, flags: 0, old_program: 0 };
    bpf(LINK_UPDATE, &update).context("exchanging an attached program").map(drop)
}

/// Runs an XDP program `repeat` times on `packet`, as if it came in by `interface` (0: by the loopback interface). Each
/// run gets the packet as the last one left it.
pub fn test_run(program: BorrowedFd<'_>, packet: &[u8], interface: u32, repeat: u32) -> Result<TestResult> {
    run(program, packet, interface, repeat, 0)
}

/// Runs an XDP program `repeat` times, each on a frame of its own, and does with the frame what it returns.
pub fn send_live(program: BorrowedFd<'_>, packet: &[u8], interface: u32, repeat: u32) -> Result<()> {
    run(program, packet, interface, repeat, LIVE_FRAMES).map(drop)
}

fn run(
    program: BorrowedFd<'_>,
    packet: &[u8],
    interface: u32,
    repeat: u32,
    flags: u32,
) -> Result<TestResult> {
    let mut output = vec![0; if flags == 0 { packet.len() + 256 } else { 0 }];
    let context = XdpContext { data_end: u32::try_from(packet.len())?, interface, ..XdpContext::default() };
    let mut attributes = TestRun {
        program: number(&program)?,
        data_in_size: u32::try_from(packet.len())?,
        data_in: packet.as_ptr() as u64,
        data_out_size: u32::try_from(output.len())?,
        data_out: if output.is_empty() { 0 } else { output.as_mut_ptr() as u64 },
        repeat,
        context_in_size: u32::try_from(size_of::<XdpContext>())?,
        context_in: &raw const context as u64,
        flags,
        ..TestRun::default()
    };
    loop {
        // A signal for the whole process may meet this thread.
        match bpf_mut(PROG_TEST_RUN, &mut attributes) {
            Ok(_) => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error).context("running a program on a packet"),
        }
    }
    output.truncate(attributes.data_out_size as usize);
    Ok(TestResult { verdict: attributes.result, nanoseconds: attributes.duration, packet: output })
}

fn number(fd: &impl AsRawFd) -> Result<u32> {
    u32::try_from(fd.as_raw_fd()).context("a file descriptor")
}

/// A descriptor that the kernel has just returned.
fn owned(fd: libc::c_int) -> OwnedFd {
    // SAFETY: the kernel has just returned this descriptor, nobody else has it.
    #[expect(unsafe_code, reason = "the kernel gives numbers")]
    unsafe {
        OwnedFd::from_raw_fd(fd)
    }
}

/// The system call for commands that only read their attributes.
fn bpf<T>(command: libc::c_int, attributes: &T) -> io::Result<libc::c_int> {
    // SAFETY: the commands only read the attributes and what they point to, which the callers keep alive.
    #[expect(unsafe_code, reason = "bpf(2) has no wrapper in libc")]
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attributes, size_of::<T>()) };
    returned(result)
}

/// The system call for a command that writes into its attributes and what they point to.
fn bpf_mut<T>(command: libc::c_int, attributes: &mut T) -> io::Result<libc::c_int> {
    // SAFETY: the caller keeps alive what the attributes point to, and they say how large it is.
    #[expect(unsafe_code, reason = "bpf(2) has no wrapper in libc")]
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut *attributes, size_of::<T>()) };
    returned(result)
}

fn returned(result: libc::c_long) -> io::Result<libc::c_int> {
    match libc::c_int::try_from(result) {
        Ok(value) if value >= 0 => Ok(value),
        _ => Err(io::Error::last_os_error()),
    }
}
